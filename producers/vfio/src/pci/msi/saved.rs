//! Saving MSI and taking it back, whole or not at all.

use serde::Deserialize;
use serde::Serialize;

use super::super::effect::MessageEffect;
use super::super::effect::VectorIndex;
use super::super::saved::SAVED_VERSION;
use super::capability::MsiCapability;
use super::registers::MsiControl;
use super::registers::MsiRegisters;

/// MSI as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMsi {
    /// [`SAVED_VERSION`](crate::pci::SAVED_VERSION).
    pub version: u32,
    /// Message Control as the guest reads it.
    pub control: u16,
    /// Message address.
    pub address: u64,
    /// Message data, extended data in bits 31:16.
    pub data: u32,
    /// Mask bits.
    pub mask: u32,
    /// Vectors with an event in their source, one bit each.
    pub pending: u32,
}

/// Saved state that is not one of this MSI capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreMsiError {
    /// Written by other software than this.
    #[error("saved msi has version {found}, not {SAVED_VERSION}")]
    Version {
        /// The version it says.
        found: u32,
    },
    /// Another shape, or reserved bits.
    #[error("saved msi control {found:#06x} is of another shape, or has reserved bits")]
    Control {
        /// The control word.
        found: u16,
    },
    /// More vectors allocated than there are.
    #[error("saved msi has {found} vectors allocated of {possible}")]
    Allocated {
        /// Number of vectors the function can have.
        possible: u8,
        /// Number it says are allocated.
        found: u8,
    },
    /// Low bits, or an upper half that the shape has no place for.
    #[error("saved msi address {found:#x} has bits that the capability has not")]
    Address {
        /// The address.
        found: u64,
    },
    /// An upper half that the shape has no place for.
    #[error("saved msi data {found:#x} has bits that the capability has not")]
    Data {
        /// The data.
        found: u32,
    },
    /// Vectors that the function has not, or no mask bits at all.
    #[error("saved msi mask {found:#x} has bits that the capability has not")]
    Mask {
        /// The mask bits.
        found: u32,
    },
    /// Vectors that the function has not.
    #[error("saved msi pending bits {found:#x} name vectors that the function has not")]
    Pending {
        /// The pending bits.
        found: u32,
    },
}

/// Saved state that has been looked at and can be taken over.
#[derive(Debug)]
pub(in crate::pci) struct CheckedMsi {
    registers: MsiRegisters,
    pending: u32,
}

impl CheckedMsi {
    pub(in crate::pci) fn is_enabled(&self) -> bool {
        self.registers.control.enabled()
    }
}

impl MsiCapability {
    /// What the guest has set, and for which vectors `pending` finds an event in the source,
    /// masked or not: an event on its way to a deliverable vector is saved too.
    pub fn save(&self, pending: impl Fn(VectorIndex) -> bool) -> SavedMsi {
        SavedMsi {
            version: SAVED_VERSION,
            control: self.registers.control.into_bits(),
            address: self.registers.address,
            data: self.registers.data,
            mask: self.registers.mask,
            pending: (0..u16::from(self.layout.vectors))
                .filter(|vector| pending(VectorIndex(*vector)))
                .fold(0, |bits, vector| bits | 1 << vector),
        }
    }

    /// Takes saved state over; the effects lead from the present state to it.
    ///
    /// # Errors
    ///
    /// [`RestoreMsiError`] if it does not fit, in which case nothing has changed.
    pub fn restore(&mut self, saved: &SavedMsi) -> Result<Vec<MessageEffect>, RestoreMsiError> {
        let checked = self.check(saved)?;
        Ok(self.adopt(&checked, self.is_suppressed()))
    }

    pub(in crate::pci) fn check(&self, saved: &SavedMsi) -> Result<CheckedMsi, RestoreMsiError> {
        if saved.version != SAVED_VERSION {
            return Err(RestoreMsiError::Version {
                found: saved.version,
            });
        }
        let layout = &self.layout;
        let control = MsiControl::from_bits(saved.control);
        let possible = MsiRegisters::at_reset(layout)
            .control
            .with_enabled(control.enabled())
            .with_multiple_enable(control.multiple_enable())
            .with_extended_data_enable(layout.extended_data && control.extended_data_enable());
        if control != possible {
            return Err(RestoreMsiError::Control {
                found: saved.control,
            });
        }
        if control.multiple_enable() > layout.multiple_capable() {
            return Err(RestoreMsiError::Allocated {
                possible: layout.vectors,
                found: 1 << control.multiple_enable(),
            });
        }
        let high = saved.address >> 32;
        if saved.address & 3 != 0 || (high != 0 && !layout.address_64) {
            return Err(RestoreMsiError::Address {
                found: saved.address,
            });
        }
        if saved.data >> 16 != 0 && !layout.extended_data {
            return Err(RestoreMsiError::Data { found: saved.data });
        }
        let maskable = match layout.per_vector_masking {
            true => layout.vector_bits(),
            false => 0,
        };
        if saved.mask & !maskable != 0 {
            return Err(RestoreMsiError::Mask { found: saved.mask });
        }
        if saved.pending & !layout.vector_bits() != 0 {
            return Err(RestoreMsiError::Pending {
                found: saved.pending,
            });
        }
        Ok(CheckedMsi {
            registers: MsiRegisters {
                control,
                address: saved.address,
                data: saved.data,
                mask: saved.mask,
            },
            pending: saved.pending,
        })
    }

    pub(in crate::pci) fn adopt(
        &mut self,
        checked: &CheckedMsi,
        suppressed: bool,
    ) -> Vec<MessageEffect> {
        let mut effects = self.replace(checked.registers, suppressed);
        let pending = (0..32).filter(|vector| checked.pending >> vector & 1 != 0);
        effects.extend(pending.map(|vector| {
            let vector = VectorIndex(vector);
            MessageEffect::Resignal { vector }
        }));
        effects
    }
}
