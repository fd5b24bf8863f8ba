//! How many vGPUs a parent has room for.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::vgpu_type::VgpuType;

/// What the devices of a parent may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VgpuBudget {
    /// Bytes of VRAM.
    pub vram: u64,
    /// Devices.
    pub devices: u32,
}

impl VgpuBudget {
    /// As much as the host has.
    pub const UNLIMITED: Self = Self {
        vram: u64::MAX,
        devices: u32::MAX,
    };

    /// What is left of it once so many devices have so many bytes of VRAM together; nothing of what
    /// they have more of than there is.
    #[must_use]
    pub const fn less(self, devices: u32, vram: u64) -> Self {
        Self {
            vram: self.vram.saturating_sub(vram),
            devices: self.devices.saturating_sub(devices),
        }
    }

    /// What is left of it once one more device has `vram` bytes.
    ///
    /// # Errors
    ///
    /// See [`BudgetError`].
    pub fn reserve(self, vram: u64) -> Result<Self, BudgetError> {
        let devices = self.devices.checked_sub(1).ok_or(BudgetError::Devices)?;
        let rest = self.vram.checked_sub(vram).ok_or(BudgetError::Vram {
            needed: vram,
            left: self.vram,
        })?;
        Ok(Self {
            vram: rest,
            devices,
        })
    }

    /// How many devices of a type it has room for; 0 for a type that cannot be.
    #[must_use]
    pub fn available_instances(self, vgpu: &VgpuType) -> u32 {
        if vgpu.check().is_err() {
            return 0;
        }
        let by_vram = u32::try_from(self.vram / vgpu.vram).unwrap_or(u32::MAX);
        by_vram.min(self.devices)
    }
}

/// Why a device does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// All devices there may be are there.
    #[error("no vgpu is left of the parent's budget")]
    Devices,
    /// Its VRAM is more than is left.
    #[error("vram of {needed} bytes is more than the {left} left of the parent's budget")]
    Vram {
        /// Bytes asked for.
        needed: u64,
        /// Bytes left.
        left: u64,
    },
}

/// What is left of a budget; cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Purse {
    /// A leaf: nothing is taken under it.
    left: Arc<Mutex<VgpuBudget>>,
}

/// A part of a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    purse: Purse,
    vram: u64,
}

impl Purse {
    pub(crate) fn new(budget: VgpuBudget) -> Self {
        Self {
            left: Arc::new(Mutex::new(budget)),
        }
    }

    pub(crate) fn left(&self) -> VgpuBudget {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one device with `vram` bytes out of it.
    pub(crate) fn reserve(&self, vram: u64) -> Result<Reservation, BudgetError> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.reserve(vram)?;
        drop(left);
        Ok(Reservation {
            purse: self.clone(),
            vram,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut left = self
            .purse
            .left
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        left.devices += 1;
        left.vram += self.vram;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservation_is_given_back_on_drop_and_refused_beyond_the_budget() {
        let whole = VgpuBudget {
            vram: 100,
            devices: 2,
        };
        let purse = Purse::new(whole);
        let first = purse.reserve(60).unwrap();
        let refused = purse.reserve(41);
        assert_eq!(
            refused.unwrap_err(),
            BudgetError::Vram {
                needed: 41,
                left: 40
            }
        );
        let second = purse.reserve(40).unwrap();
        assert_eq!(purse.reserve(0).unwrap_err(), BudgetError::Devices);
        assert_eq!(
            purse.left(),
            VgpuBudget {
                vram: 0,
                devices: 0
            }
        );
        drop((first, second));
        assert_eq!(purse.left(), whole);
    }

    #[test]
    fn budget_that_was_made_smaller_than_what_is_taken_has_nothing_left() {
        let small = VgpuType::find("small").unwrap();
        let budget = VgpuBudget {
            vram: 4 * small.vram,
            devices: 3,
        };
        assert_eq!(budget.available_instances(&small), 3);
        assert_eq!(budget.less(1, small.vram).available_instances(&small), 2);
        // Three quarters of the VRAM are with one device.
        assert_eq!(
            budget.less(1, 3 * small.vram).available_instances(&small),
            1
        );
        assert_eq!(
            budget.less(4, 5 * small.vram),
            VgpuBudget {
                vram: 0,
                devices: 0
            }
        );
    }
}
