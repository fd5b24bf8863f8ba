//! Which interrupt capabilities a function has, and where.

use super::super::access::Window;
use super::super::intx::IntxPin;
use super::super::intx::IntxSource;
use super::super::msi::MsiLayout;
use super::super::msi::MsiLayoutError;
use super::super::msix::MsixCapability;
use super::super::msix::MsixLayout;
use super::super::msix::MsixLayoutError;

/// A capability at its place in config space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability<T> {
    /// Byte in config space, a multiple of 4, 0x40-0xff.
    pub at: u8,
    /// Its shape.
    pub layout: T,
}

/// INTx as the function has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntxLayout {
    /// Which line.
    pub pin: IntxPin,
    /// What the device tells of it.
    pub source: IntxSource,
}

/// What interrupts a function has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PciInterruptsLayout {
    /// Its line.
    pub intx: Option<IntxLayout>,
    /// Its MSI capability.
    pub msi: Option<Capability<MsiLayout>>,
    /// Its MSI-X capability.
    pub msix: Option<Capability<MsixLayout>>,
}

/// No function can have its interrupts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// In the header, across the end, or not on a dword.
    #[error("capability at {0:#x}, not a place for one of its length")]
    Place(u8),
    /// MSI and MSI-X share bytes.
    #[error("msi at {msi:#x} and msi-x at {msix:#x} overlap")]
    Overlap {
        /// Where MSI is.
        msi: u8,
        /// Where MSI-X is.
        msix: u8,
    },
    /// No such MSI.
    #[error("shape of the msi capability")]
    Msi(#[from] MsiLayoutError),
    /// No such MSI-X.
    #[error("shape of the msi-x capability")]
    Msix(#[from] MsixLayoutError),
}

impl Capability<MsiLayout> {
    pub(super) fn window(&self) -> Window {
        Window::new(self.at.into(), self.layout.len().into())
    }
}

impl Capability<MsixLayout> {
    pub(super) fn window(&self) -> Window {
        Window::new(self.at.into(), MsixCapability::LEN.into())
    }
}

impl PciInterruptsLayout {
    pub(super) fn check(&self) -> Result<(), LayoutError> {
        if let Some(msi) = self.msi {
            check_place(msi.at, msi.layout.len())?;
        }
        if let Some(msix) = self.msix {
            check_place(msix.at, MsixCapability::LEN)?;
        }
        if let (Some(msi), Some(msix)) = (self.msi, self.msix)
            && msi.window().intersects(msix.window())
        {
            return Err(LayoutError::Overlap {
                msi: msi.at,
                msix: msix.at,
            });
        }
        Ok(())
    }
}

fn check_place(at: u8, len: u16) -> Result<(), LayoutError> {
    // The header ends at 0x40, the part of config space that has capabilities at 0x100.
    let fits = at >= 0x40 && at.is_multiple_of(4) && u16::from(at) + len <= 0x100;
    if !fits {
        return Err(LayoutError::Place(at));
    }
    Ok(())
}
