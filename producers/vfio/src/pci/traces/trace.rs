//! What a trace consists of.

use irqbroker_core::Gsi;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::msi::MsiLayout;
use super::super::sim::Delivery;

/// A register by its structure, since targets lay these out differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Byte in the configuration header.
    Header(u16),
    /// Byte in the MSI capability.
    Msi(u16),
    /// Byte in the MSI-X capability.
    Msix(u16),
    /// Byte in the MSI-X table.
    Table(u16),
    /// Byte in the pending-bit array.
    Pba(u16),
}

/// Width of a guest access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Dword,
    /// 8 bytes, BAR memory only.
    Qword,
}

impl Width {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
            Self::Qword => 8,
        }
    }
}

/// Which interrupts the function of a trace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of MSI-X vectors.
    pub msix: Option<u16>,
    /// Its MSI.
    pub msi: Option<MsiLayout>,
    /// Whether it has a line (INTA#), routed to [`LINE`](super::LINE) at first.
    pub intx: bool,
}

/// A message as traces program it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Programmed {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// A step of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The guest writes.
    Write(At, Width, u64),
    /// The guest reads, and finds these bits under this mask.
    Read(At, Width, u64, u64),
    /// The guest writes the inverse of these bits of what it reads, and reads the same again.
    ReadOnly(At, Width, u64),
    /// The guest fills in the message of a table entry, dword by dword, not Vector Control.
    Fill(u16, Programmed),
    /// The device has an event for a vector.
    Signal(MessageSource),
    /// The device's line changes.
    Device(Level),
    /// The guest ends the interrupt at an input.
    Eoi(Gsi),
    /// The embedder leads the pin to another input.
    Reroute(Gsi),
    /// The guest got just these since this was last asked, in any order.
    Delivered(&'static [Delivery]),
    /// No more route or mask updates than this since this was last asked, if the target counts.
    Updates(u32),
    /// The function is saved and continues in a fresh one.
    SaveRestore,
    /// The function is reset.
    Reset,
}

/// A story of a guest and a device, with what has to come of it.
///
/// After its last step nothing more may have been delivered than the steps tell of.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// What it shows, usable as the name of a test.
    pub name: &'static str,
    /// The rule's place in a specification, or the known bug that broke it.
    pub cites: &'static str,
    /// What function it takes.
    pub shape: Shape,
    /// What happens.
    pub steps: &'static [Step],
}
