//! Saving MSI-X and taking it back, whole or not at all.

use serde::Deserialize;
use serde::Serialize;

use super::super::effect::MessageEffect;
use super::super::effect::VectorIndex;
use super::super::saved::SAVED_VERSION;
use super::capability::MsixCapability;
use super::registers::MsixControl;
use super::registers::MsixEntry;

/// MSI-X as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMsix {
    /// [`SAVED_VERSION`](crate::pci::SAVED_VERSION).
    pub version: u32,
    /// Message Control as the guest reads it.
    pub control: u16,
    /// The table, one for each vector.
    pub entries: Vec<SavedMsixEntry>,
    /// Vectors with an event in their source, ascending.
    pub pending: Vec<u16>,
}

/// An entry of the MSI-X table as it is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMsixEntry {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
    /// Vector Control as the guest reads it.
    pub control: u32,
}

/// Saved state that is not one of this MSI-X capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreMsixError {
    /// Written by other software than this.
    #[error("saved msi-x has version {found}, not {SAVED_VERSION}")]
    Version {
        /// The version it says.
        found: u32,
    },
    /// Another table size, or reserved bits.
    #[error("saved msi-x control {found:#06x} is of another table, or has reserved bits")]
    Control {
        /// The control word.
        found: u16,
    },
    /// Truncated, or too long.
    #[error("saved msi-x has {found} entries, the table {expected}")]
    Entries {
        /// What the table has.
        expected: u16,
        /// What was saved.
        found: usize,
    },
    /// Bits that an entry cannot have.
    #[error("saved msi-x entry {vector} has reserved bits")]
    Reserved {
        /// The entry.
        vector: VectorIndex,
    },
    /// No such vector, or not ascending.
    #[error("saved msi-x vector {vector} is pending out of order or not in the table")]
    Pending {
        /// The vector.
        vector: VectorIndex,
    },
}

/// Saved state that has been looked at and can be taken over.
#[derive(Debug)]
pub(in crate::pci) struct CheckedMsix {
    control: MsixControl,
    entries: Box<[MsixEntry]>,
    pending: Vec<u16>,
}

impl CheckedMsix {
    pub(in crate::pci) fn is_enabled(&self) -> bool {
        self.control.enabled()
    }
}

impl MsixCapability {
    /// What the guest has set, and for which vectors `pending` finds an event in the source,
    /// masked or not: an event on its way to a deliverable vector is saved too.
    pub fn save(&self, pending: impl Fn(VectorIndex) -> bool) -> SavedMsix {
        SavedMsix {
            version: SAVED_VERSION,
            control: self.control.into_bits(),
            entries: self.entries.iter().map(|entry| saved(*entry)).collect(),
            pending: (0..self.vectors())
                .filter(|vector| pending(VectorIndex(*vector)))
                .collect(),
        }
    }

    /// Takes saved state over; the effects lead from the present state to it.
    ///
    /// # Errors
    ///
    /// [`RestoreMsixError`] if it does not fit, in which case nothing has changed.
    pub fn restore(&mut self, saved: &SavedMsix) -> Result<Vec<MessageEffect>, RestoreMsixError> {
        let checked = self.check(saved)?;
        Ok(self.adopt(checked))
    }

    pub(in crate::pci) fn check(&self, saved: &SavedMsix) -> Result<CheckedMsix, RestoreMsixError> {
        if saved.version != SAVED_VERSION {
            return Err(RestoreMsixError::Version {
                found: saved.version,
            });
        }
        let control = MsixControl::from_bits(saved.control);
        let possible = MsixControl::new()
            .with_size_minus_one(self.control.size_minus_one())
            .with_function_mask(control.function_mask())
            .with_enabled(control.enabled());
        if control != possible {
            return Err(RestoreMsixError::Control {
                found: saved.control,
            });
        }
        if saved.entries.len() != usize::from(self.vectors()) {
            return Err(RestoreMsixError::Entries {
                expected: self.vectors(),
                found: saved.entries.len(),
            });
        }
        let entries = (0..self.vectors())
            .zip(&saved.entries)
            .map(|(vector, saved)| {
                let vector = VectorIndex(vector);
                entry(saved).ok_or(RestoreMsixError::Reserved { vector })
            })
            .collect::<Result<_, _>>()?;
        let mut least = 0;
        for vector in saved.pending.iter().copied() {
            if vector < least || vector >= self.vectors() {
                let vector = VectorIndex(vector);
                return Err(RestoreMsixError::Pending { vector });
            }
            least = vector + 1;
        }
        Ok(CheckedMsix {
            control,
            entries,
            pending: saved.pending.clone(),
        })
    }

    pub(in crate::pci) fn adopt(&mut self, checked: CheckedMsix) -> Vec<MessageEffect> {
        let mut effects = self.replace(checked.control, checked.entries);
        effects.extend(checked.pending.into_iter().map(|vector| {
            let vector = VectorIndex(vector);
            MessageEffect::Resignal { vector }
        }));
        effects
    }
}

fn saved(entry: MsixEntry) -> SavedMsixEntry {
    SavedMsixEntry {
        address: entry.address(),
        data: entry.data(),
        control: entry.masked().into(),
    }
}

/// The entry, unless it has bits that no guest could have set.
fn entry(saved: &SavedMsixEntry) -> Option<MsixEntry> {
    let masked = match saved.control {
        0 => false,
        1 => true,
        _ => return None,
    };
    (saved.address & 3 == 0).then(|| {
        MsixEntry::new()
            .with_address(saved.address)
            .with_data(saved.data)
            .with_masked(masked)
    })
}
