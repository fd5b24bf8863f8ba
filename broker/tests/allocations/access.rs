//! What a guest can do to a function's registers, sense or none.

use std::ops::Range;

use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::IntxLayout;
use irqbroker_vfio::pci::IntxPin;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::MsiLayout;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterruptsLayout;

const COMMAND: u16 = 4;
const MSI: u8 = 0x50;
const MSIX: u8 = 0x70;
const MSI_CONTROL: u16 = MSI as u16 + 2;
const MSIX_CONTROL: u16 = MSIX as u16 + 2;
const BAR: u8 = 1;
const TABLE: u32 = 0x100;

/// The longest access: it spans three entries of the table.
const LONGEST: usize = 40;

/// Every interrupt a function can have. The pending-bit array is right behind the table, so that
/// accesses span both.
pub(crate) fn layout(vectors: u16, messages: u8) -> PciInterruptsLayout {
    let in_bar = |offset| BarOffset { bar: BAR, offset };
    PciInterruptsLayout {
        intx: Some(IntxLayout {
            pin: IntxPin::A,
            source: IntxSource::Automasked,
        }),
        msi: Some(Capability {
            at: MSI,
            layout: MsiLayout {
                vectors: messages,
                address_64: true,
                per_vector_masking: true,
                extended_data: true,
            },
        }),
        msix: Some(Capability {
            at: MSIX,
            layout: MsixLayout {
                vectors,
                table: in_bar(TABLE),
                pba: in_bar(TABLE + u32::from(vectors) * 16),
            },
        }),
    }
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Which address space they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Config { offset: u16 },
    Bar { bar: u8, offset: u64 },
}

/// One access. It holds its bytes itself, so that making one allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) direction: Direction,
    pub(crate) place: Place,
    bytes: [u8; LONGEST],
    len: usize,
}

impl Access {
    /// The next access of a guest that sometimes drives the device and mostly gropes.
    pub(crate) fn random(random: &mut fastrand::Rng, vectors: u16) -> Self {
        let bytes = nasty(random);
        match random.u8(0..16) {
            0..3 => Self::control(random),
            3..7 => Self::entry(random, vectors),
            7..10 => {
                let offset = match random.u8(0..4) {
                    0 => random.u16(..),
                    1 => random.u16(0..8),
                    _ => u16::from(random.u8(MSI - 8..MSIX + 24)),
                };
                Self::any(random, Place::Config { offset }, bytes)
            }
            _ => {
                let bar = match random.u8(0..16) {
                    0 => random.u8(..),
                    _ => BAR,
                };
                let offset = near(random, vectors);
                Self::any(random, Place::Bar { bar, offset }, bytes)
            }
        }
    }

    /// What is read, or written.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    fn any(random: &mut fastrand::Rng, place: Place, bytes: [u8; LONGEST]) -> Self {
        let direction = match random.bool() {
            true => Direction::Read,
            false => Direction::Write,
        };
        Self {
            direction,
            place,
            bytes,
            len: random.usize(0..=LONGEST),
        }
    }

    fn write(place: Place, data: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..data.len()].copy_from_slice(data);
        Self {
            direction: Direction::Write,
            place,
            bytes,
            len: data.len(),
        }
    }

    /// A control register: a capability goes on or off, or the line does.
    fn control(random: &mut fastrand::Rng) -> Self {
        let (offset, value) = match random.u8(0..8) {
            // Enable with and without function mask, disable.
            0..4 => (MSIX_CONTROL, random.choice([0x8000, 0x8000, 0xc000, 0])),
            // Enable with 1 to 128 messages asked for, disable.
            4..7 => (MSI_CONTROL, Some(random.u16(0..8) << 4 | random.u16(0..2))),
            // Interrupt Disable.
            _ => (COMMAND, random.choice([0, 0x400])),
        };
        let value = value.unwrap_or_default();
        Self::write(Place::Config { offset }, &value.to_le_bytes())
    }

    /// A whole entry that an interrupt controller would take, masked or not.
    fn entry(random: &mut fastrand::Rng, vectors: u16) -> Self {
        let mut entry = [0; 16];
        entry[..4].copy_from_slice(&0xfee0_0000u32.to_le_bytes());
        entry[8] = random.u8(..);
        entry[12] = random.u8(0..2);
        let offset = u64::from(TABLE) + u64::from(random.u16(0..vectors)) * 16;
        Self::write(Place::Bar { bar: BAR, offset }, &entry)
    }
}

/// Bytes of one kind, or of none.
fn nasty(random: &mut fastrand::Rng) -> [u8; LONGEST] {
    match random.u8(0..4) {
        0 => [0; LONGEST],
        1 => [0xff; LONGEST],
        2 => [random.choice([0x80, 0x7f, 0x01, 0xc0]).unwrap_or(0); LONGEST],
        _ => {
            let mut bytes = [0; LONGEST];
            random.fill(&mut bytes);
            bytes
        }
    }
}

/// In table and array, about each of their ends, or anywhere.
fn near(random: &mut fastrand::Rng, vectors: u16) -> u64 {
    const ABOUT: Range<u64> = 0..2 * LONGEST as u64;
    let table = u64::from(TABLE);
    let table_end = table + u64::from(vectors) * 16;
    let pba_end = table_end + u64::from(vectors.div_ceil(64)) * 8;
    let about = random.u64(ABOUT);
    match random.u8(0..8) {
        0 => (table - LONGEST as u64) + about,
        1 => (table_end - LONGEST as u64) + about,
        2 => (pba_end - LONGEST as u64) + about,
        3 => u64::MAX - about,
        4 => random.u64(..),
        _ => random.u64(table..pba_end),
    }
}
