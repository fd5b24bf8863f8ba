//! INTx in the configuration header: Command, Status, Interrupt Line and Interrupt Pin.

use super::super::access::Claim;
use super::super::effect::IntxEffect;
use super::super::effect::Level;
use super::function::Intx;

/// Upper byte of Command, with Interrupt Disable in bit 2 (bit 10 of the word).
const COMMAND_HIGH: u64 = 0x05;
const INTERRUPT_DISABLE: u8 = 1 << 2;

/// Lower byte of Status, with Interrupt Status in bit 3.
const STATUS_LOW: u64 = 0x06;
const INTERRUPT_STATUS: u8 = 1 << 3;

const INTERRUPT_LINE: u64 = 0x3c;
const INTERRUPT_PIN: u64 = 0x3d;

impl Intx {
    /// Lays the function's interrupt bits over a read of config space that the caller has
    /// served.
    ///
    /// Interrupt Status is added to what the caller found: behind an automasked source only the
    /// device itself knows its level.
    pub fn read_config(&self, offset: u16, data: &mut [u8]) -> Claim {
        let (mut taken, mut some_bits) = (0, false);
        for (at, byte) in (u64::from(offset)..).zip(data.iter_mut()) {
            match at {
                COMMAND_HIGH => {
                    *byte &= !INTERRUPT_DISABLE;
                    if self.is_disabled() {
                        *byte |= INTERRUPT_DISABLE;
                    }
                    some_bits = true;
                }
                STATUS_LOW => {
                    if self.level() == Level::Asserted {
                        *byte |= INTERRUPT_STATUS;
                    }
                    some_bits = true;
                }
                INTERRUPT_LINE => {
                    *byte = self.line_register;
                    taken += 1;
                }
                INTERRUPT_PIN => {
                    *byte = self.pin().register();
                    taken += 1;
                }
                _ => {}
            }
        }
        Claim::of(taken, data.len()).and_bits(some_bits)
    }

    /// Takes Interrupt Disable and Interrupt Line out of a write to config space.
    #[must_use = "effects are to be carried out"]
    pub fn write_config(&mut self, offset: u16, data: &[u8]) -> (Claim, Vec<IntxEffect>) {
        let (mut taken, mut some_bits) = (0, false);
        let mut disabled = self.is_disabled();
        for (at, byte) in (u64::from(offset)..).zip(data) {
            match at {
                COMMAND_HIGH => {
                    disabled = byte & INTERRUPT_DISABLE != 0;
                    some_bits = true;
                }
                INTERRUPT_LINE => {
                    self.line_register = *byte;
                    taken += 1;
                }
                INTERRUPT_PIN => taken += 1,
                _ => {}
            }
        }
        let effects = self.change(|intx| intx.disabled = disabled);
        (Claim::of(taken, data.len()).and_bits(some_bits), effects)
    }
}
