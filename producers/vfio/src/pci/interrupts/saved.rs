//! Saving all interrupts of a function and taking them back, whole or not at all.

use serde::Deserialize;
use serde::Serialize;

use super::super::effect::Effect;
use super::super::effect::MessageSource;
use super::super::intx::RestoreIntxError;
use super::super::intx::SavedIntx;
use super::super::msi::RestoreMsiError;
use super::super::msi::SavedMsi;
use super::super::msix::RestoreMsixError;
use super::super::msix::SavedMsix;
use super::super::saved::SAVED_VERSION;
use super::function::PciInterrupts;

/// The interrupts of a function as they are saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPciInterrupts {
    /// [`SAVED_VERSION`](crate::pci::SAVED_VERSION).
    pub version: u32,
    /// Its line, if it has one.
    pub intx: Option<SavedIntx>,
    /// Its MSI, if it has it.
    pub msi: Option<SavedMsi>,
    /// Its MSI-X, if it has it.
    pub msix: Option<SavedMsix>,
}

/// A kind of interrupt that a function has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptKind {
    /// INTx.
    Intx,
    /// MSI.
    Msi,
    /// MSI-X.
    Msix,
}

/// Saved state that is not one of this function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by other software than this.
    #[error("saved interrupts have version {found}, not {SAVED_VERSION}")]
    Version {
        /// The version it says.
        found: u32,
    },
    /// One of the two has a kind of interrupt that the other has not.
    #[error("saved interrupts and the function do not both have {0:?}")]
    Kind(InterruptKind),
    /// It does not fit the function's line.
    #[error("saved intx refused")]
    Intx(#[from] RestoreIntxError),
    /// It does not fit the function's MSI.
    #[error("saved msi refused")]
    Msi(#[from] RestoreMsiError),
    /// It does not fit the function's MSI-X.
    #[error("saved msi-x refused")]
    Msix(#[from] RestoreMsixError),
}

impl PciInterrupts {
    /// What the guest has set, and which sources `pending` finds an event in.
    pub fn save(&self, pending: impl Fn(MessageSource) -> bool) -> SavedPciInterrupts {
        let msi = |vector| pending(MessageSource::Msi(vector));
        let msix = |vector| pending(MessageSource::Msix(vector));
        SavedPciInterrupts {
            version: SAVED_VERSION,
            intx: self.intx.as_ref().map(|own| own.save()),
            msi: self.msi.as_ref().map(|own| own.save(msi)),
            msix: self.msix.as_ref().map(|own| own.save(msix)),
        }
    }

    /// Takes saved state over; the effects lead from the present state to it.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if it does not fit, in which case nothing has changed.
    pub fn restore(&mut self, saved: &SavedPciInterrupts) -> Result<Vec<Effect>, RestoreError> {
        if saved.version != SAVED_VERSION {
            return Err(RestoreError::Version {
                found: saved.version,
            });
        }
        let intx = both(&mut self.intx, &saved.intx, InterruptKind::Intx)?;
        let msi = both(&mut self.msi, &saved.msi, InterruptKind::Msi)?;
        let msix = both(&mut self.msix, &saved.msix, InterruptKind::Msix)?;
        // All is looked at before any of it is taken over.
        if let Some((own, saved)) = &intx {
            own.check(saved)?;
        }
        let msi = msi
            .map(|(own, saved)| own.check(saved).map(|checked| (own, checked)))
            .transpose()?;
        let msix = msix
            .map(|(own, saved)| own.check(saved).map(|checked| (own, checked)))
            .transpose()?;

        let by_msix = msix.as_ref().is_some_and(|(_, saved)| saved.is_enabled());
        let by_msi = msi.as_ref().is_some_and(|(_, saved)| saved.is_enabled());
        let mut effects = Vec::new();
        if let Some((own, saved)) = intx {
            let changes = own.adopt(saved, by_msix || by_msi);
            effects.extend(changes.into_iter().map(Effect::Intx));
        }
        if let Some((own, saved)) = msi {
            effects.extend(own.adopt(&saved, by_msix).into_iter().map(Effect::Msi));
        }
        if let Some((own, saved)) = msix {
            effects.extend(own.adopt(saved).into_iter().map(Effect::Msix));
        }
        effects.sort_by_key(Effect::phase);
        Ok(effects)
    }
}

/// A part that both the function and the saved state have, or neither.
fn both<'a, T, S>(
    own: &'a mut Option<T>,
    saved: &'a Option<S>,
    kind: InterruptKind,
) -> Result<Option<(&'a mut T, &'a S)>, RestoreError> {
    match (own, saved) {
        (Some(own), Some(saved)) => Ok(Some((own, saved))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(RestoreError::Kind(kind)),
    }
}
