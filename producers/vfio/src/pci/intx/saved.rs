//! Saving INTx and taking it back, whole or not at all.

use serde::Deserialize;
use serde::Serialize;

use super::super::effect::IntxEffect;
use super::super::effect::Level;
use super::super::saved::SAVED_VERSION;
use super::function::Intx;

/// INTx as it is saved; where the pin leads is the embedder's and not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedIntx {
    /// [`SAVED_VERSION`](crate::pci::SAVED_VERSION).
    pub version: u32,
    /// Interrupt Pin register.
    pub pin: u8,
    /// Interrupt Line register.
    pub line: u8,
    /// What the device last told.
    pub level: Level,
    /// DisINTx.
    pub disabled: bool,
}

/// Saved state that is not one of this function's INTx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreIntxError {
    /// Written by other software than this.
    #[error("saved intx has version {found}, not {SAVED_VERSION}")]
    Version {
        /// The version it says.
        found: u32,
    },
    /// Another pin.
    #[error("saved intx has pin {found}, the function pin {expected}")]
    Pin {
        /// The function's.
        expected: u8,
        /// The saved one.
        found: u8,
    },
}

impl Intx {
    /// What the guest has set and the device told.
    #[must_use]
    pub fn save(&self) -> SavedIntx {
        SavedIntx {
            version: SAVED_VERSION,
            pin: self.pin().register(),
            line: self.line_register,
            level: self.level(),
            disabled: self.is_disabled(),
        }
    }

    /// Takes saved state over; the effects lead from the present state to it.
    ///
    /// With the line routed before, an asserted level is driven at once and its EOI is awaited,
    /// which is how an interrupt the guest is in the midst of serving is carried over.
    ///
    /// # Errors
    ///
    /// [`RestoreIntxError`] if it does not fit, in which case nothing has changed.
    pub fn restore(&mut self, saved: &SavedIntx) -> Result<Vec<IntxEffect>, RestoreIntxError> {
        self.check(saved)?;
        Ok(self.adopt(saved, self.suppressed))
    }

    pub(in crate::pci) fn check(&self, saved: &SavedIntx) -> Result<(), RestoreIntxError> {
        if saved.version != SAVED_VERSION {
            return Err(RestoreIntxError::Version {
                found: saved.version,
            });
        }
        if saved.pin != self.pin().register() {
            return Err(RestoreIntxError::Pin {
                expected: self.pin().register(),
                found: saved.pin,
            });
        }
        Ok(())
    }

    pub(in crate::pci) fn adopt(&mut self, saved: &SavedIntx, suppressed: bool) -> Vec<IntxEffect> {
        self.replace(saved.line, saved.level, saved.disabled, suppressed)
    }
}
