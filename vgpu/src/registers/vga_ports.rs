//! The legacy VGA ports, as far as they blank the screen of head 0.
//!
//! 32 bytes stand for the ports 0x3c0 to 0x3df. Of all that is behind those ports only one bit is
//! kept, with the flip-flop that decides what a write to 0x3c0 means: the attribute controller's
//! palette address source, 0 of which blanks the screen (IBM VGA, attribute address register).

use serde::Deserialize;
use serde::Serialize;

/// How many ports there are.
pub(crate) const PORTS: usize = 0x20;

/// The attribute controller: address and data by turns.
const ATTRIBUTE: usize = 0x00;
/// Input status 1 of a colour display, which makes the next attribute write an address.
const INPUT_STATUS_1: usize = 0x1a;
/// In the attribute address: the picture comes from the palette, that is, is shown.
const PALETTE_ADDRESS_SOURCE: u8 = 0x20;

/// What every port reads as: nothing answers.
pub(crate) const OPEN_BUS: u8 = 0xff;

/// Whether the picture of a head is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Screen {
    /// It is; also for a guest that knows nothing of these ports.
    #[default]
    Shown,
    /// It is black.
    Blank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Attribute {
    #[default]
    Address,
    Data,
}

/// State behind the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VgaPorts {
    screen: Screen,
    next: Attribute,
}

impl VgaPorts {
    /// Reads a port. The flip-flop is the one register here whose read has an effect.
    pub(crate) fn read(&mut self, port: usize) -> u8 {
        if port == INPUT_STATUS_1 {
            self.next = Attribute::Address;
        }
        OPEN_BUS
    }

    pub(crate) fn write(&mut self, port: usize, value: u8) {
        if port != ATTRIBUTE {
            return;
        }
        self.next = match self.next {
            Attribute::Data => Attribute::Address,
            Attribute::Address => {
                self.screen = if value & PALETTE_ADDRESS_SOURCE == 0 {
                    Screen::Blank
                } else {
                    Screen::Shown
                };
                Attribute::Data
            }
        };
    }

    pub(crate) fn screen(&self) -> Screen {
        self.screen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screen_is_blanked_by_the_address_and_not_by_the_data() {
        let mut ports = VgaPorts::default();
        ports.write(ATTRIBUTE, 0x20);
        ports.write(ATTRIBUTE, 0x00);
        assert_eq!(ports.screen(), Screen::Shown);
        ports.write(ATTRIBUTE, 0x00);
        assert_eq!(ports.screen(), Screen::Blank);
    }

    #[test]
    fn read_of_the_status_makes_the_next_write_an_address() {
        let mut ports = VgaPorts::default();
        ports.write(ATTRIBUTE, 0x20);
        assert_eq!(ports.read(INPUT_STATUS_1), 0xff);
        ports.write(ATTRIBUTE, 0x00);
        assert_eq!(ports.screen(), Screen::Blank);
        assert_eq!(ports.read(ATTRIBUTE), 0xff);
        ports.write(ATTRIBUTE, 0x20);
        assert_eq!(
            ports.screen(),
            Screen::Blank,
            "data, since only the status resets"
        );
    }
}
