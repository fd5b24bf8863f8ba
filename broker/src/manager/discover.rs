//! Which interrupts a device has, read out of its config space.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::IntxLayout;
use irqbroker_vfio::pci::IntxPin;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::MsiLayout;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterruptsLayout;

use crate::manager::control::DeviceShape;

const STATUS: usize = 0x06;
/// There is a list of capabilities (PCI Local Bus 3.0, 6.2.3).
const HAS_CAPABILITIES: u8 = 1 << 4;
const FIRST_CAPABILITY: usize = 0x34;
const INTERRUPT_PIN: usize = 0x3d;
/// Capability ids (6.7, appendix H).
const MSI: u8 = 0x05;
const MSIX: u8 = 0x11;
/// Bytes that capabilities can be in, each of 4 bytes at least: a longer list is a loop.
const CAPABILITIES_MAX: usize = (0x100 - 0x40) / 4;

/// Why a device's interrupts could not be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// Config space, or what an index is, could not be read.
    #[error("the device does not tell")]
    Device(#[from] Errno),
    /// The list of capabilities leads out of where they are, or back to where it was.
    #[error("list of capabilities leads nowhere at {at:#x}")]
    List {
        /// Where it leads.
        at: u8,
    },
}

impl DeviceShape {
    /// What a VFIO device says of itself: the interrupts its config space has, of which VFIO
    /// serves each one.
    ///
    /// To be read before the guest writes anything, best right after the device was opened.
    ///
    /// # Errors
    ///
    /// See [`DiscoverError`].
    pub fn of(device: &dyn Device) -> Result<Self, DiscoverError> {
        let mut config = [0; 0x100];
        let read = device.region_read(RegionIndex::CONFIG, 0, &mut config)?;
        if read < config.len() {
            return Err(Errno::EIO.into());
        }
        let serves = |index| Ok::<_, Errno>(device.irq_info(index)?.count > 0);
        let mut layout = PciInterruptsLayout::default();
        if let Some(pin) = pin(config[INTERRUPT_PIN])
            && serves(IrqIndex::INTX)?
        {
            let source = IntxSource::Automasked;
            layout.intx = Some(IntxLayout { pin, source });
        }
        for at in capabilities(&config)? {
            match config[usize::from(at)] {
                MSI if layout.msi.is_none() && serves(IrqIndex::MSI)? => {
                    let layout_of = msi(word(&config, at, 2));
                    layout.msi = Some(Capability {
                        at,
                        layout: layout_of,
                    });
                }
                MSIX if layout.msix.is_none() && serves(IrqIndex::MSIX)? => {
                    layout.msix = Some(Capability {
                        at,
                        layout: msix(&config, at),
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            layout,
            device_id: None,
        })
    }
}

/// Where capabilities are, in the order of the list.
fn capabilities(config: &[u8; 0x100]) -> Result<Vec<u8>, DiscoverError> {
    let mut found = Vec::new();
    if config[STATUS] & HAS_CAPABILITIES == 0 {
        return Ok(found);
    }
    // The two low bits are reserved, and to be masked.
    let mut next = config[FIRST_CAPABILITY] & !3;
    while next != 0 {
        if next < 0x40 || found.len() == CAPABILITIES_MAX {
            return Err(DiscoverError::List { at: next });
        }
        found.push(next);
        next = config[usize::from(next) + 1] & !3;
    }
    Ok(found)
}

fn pin(register: u8) -> Option<IntxPin> {
    match register {
        1 => Some(IntxPin::A),
        2 => Some(IntxPin::B),
        3 => Some(IntxPin::C),
        4 => Some(IntxPin::D),
        _ => None,
    }
}

/// Message control of MSI (6.8.1.3).
fn msi(control: u16) -> MsiLayout {
    MsiLayout {
        // Two of the eight values are reserved: taken for the most there is.
        vectors: 1 << (control >> 1 & 7).min(5),
        address_64: control & 1 << 7 != 0,
        per_vector_masking: control & 1 << 8 != 0,
        extended_data: control & 1 << 9 != 0,
    }
}

fn msix(config: &[u8; 0x100], at: u8) -> MsixLayout {
    let place = |offset| {
        let (low, high) = (word(config, at, offset), word(config, at, offset + 2));
        BarOffset {
            // BIR in the low three bits.
            bar: low.to_le_bytes()[0] & 7,
            offset: u32::from(high) << 16 | u32::from(low & !7),
        }
    };
    MsixLayout {
        vectors: (word(config, at, 2) & 0x7ff) + 1,
        table: place(4),
        pba: place(8),
    }
}

/// A word of a capability; zero past the end of config space.
fn word(config: &[u8; 0x100], at: u8, offset: u8) -> u16 {
    let byte = |at: usize| config.get(at).copied().unwrap_or(0);
    let at = usize::from(at) + usize::from(offset);
    u16::from_le_bytes([byte(at), byte(at + 1)])
}

#[cfg(test)]
mod tests;
