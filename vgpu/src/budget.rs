//! How many vGPUs a parent has room for.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

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
        let devices = left.devices.checked_sub(1).ok_or(BudgetError::Devices)?;
        let rest = left.vram.checked_sub(vram).ok_or(BudgetError::Vram {
            needed: vram,
            left: left.vram,
        })?;
        *left = VgpuBudget {
            vram: rest,
            devices,
        };
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
}
