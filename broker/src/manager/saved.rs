//! Saving what the guest has set and what is pending, and taking it back, whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use irqbroker_vfio::pci::SavedPciInterrupts;
use serde::Deserialize;
use serde::Serialize;

use crate::manager::error::RestoreDeviceError;
use crate::manager::error::RestoreManagerError;
use crate::manager::fault::Fault;
use crate::manager::function::Function;
use crate::manager::function::State;
use crate::manager::shared::Shared;

/// The version of [`SavedDevice`] and [`SavedManager`] that is written, and the only one read.
pub const SAVED_VERSION: u32 = 1;

/// The interrupts of a device as they are saved, with what stood in its eventfds.
///
/// Neither GSIs nor eventfds are in it: they are had anew where it is restored. Where its pin
/// leads is the embedder's to say before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDevice {
    /// [`SAVED_VERSION`].
    pub version: u32,
    /// Its registers and pending bits.
    pub interrupts: SavedPciInterrupts,
}

/// The interrupts of all devices as they are saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedManager {
    /// [`SAVED_VERSION`].
    pub version: u32,
    /// By the name they were added under.
    pub devices: BTreeMap<String, SavedDevice>,
}

impl Function {
    pub(super) fn save(&self) -> SavedDevice {
        let state = self.state();
        self.save_locked(&state)
    }

    fn save_locked(&self, state: &State) -> SavedDevice {
        SavedDevice {
            version: SAVED_VERSION,
            interrupts: state.pci.save(|source| self.is_pending(state, source)),
        }
    }

    /// Whether the state could be taken over as far as the registers go.
    fn check(&self, saved: &SavedDevice) -> Result<(), RestoreDeviceError> {
        check_version(saved.version)
            .map_err(|(found, expected)| RestoreDeviceError::Version { found, expected })?;
        self.state().pci.clone().restore(&saved.interrupts)?;
        Ok(())
    }

    pub(super) fn restore(&self, saved: &SavedDevice) -> Result<(), RestoreDeviceError> {
        check_version(saved.version)
            .map_err(|(found, expected)| RestoreDeviceError::Version { found, expected })?;
        let mut state = self.state();
        let before = self.save_locked(&state);
        self.adopt(&mut state, saved)?;
        let Some(fault) = self.fault(&state) else {
            return Ok(());
        };
        // Cannot be refused: it is what the registers held a moment ago.
        self.adopt(&mut state, &before)?;
        Err(RestoreDeviceError::Fault {
            name: self.name.clone(),
            fault,
        })
    }

    fn adopt(&self, state: &mut State, saved: &SavedDevice) -> Result<(), RestoreDeviceError> {
        let effects = state.pci.restore(&saved.interrupts)?;
        self.carry_out(state, effects);
        self.settle_line(state);
        Ok(())
    }

    fn fault(&self, state: &State) -> Option<Arc<Fault>> {
        let own = [&state.msi, &state.msix].into_iter();
        let mut faults = own.filter_map(|vectors| vectors.first_fault());
        faults.next().or(state.line.fault()).cloned()
    }
}

impl Shared {
    pub(super) fn save(&self) -> SavedManager {
        let devices = self.all_functions().into_iter();
        SavedManager {
            version: SAVED_VERSION,
            devices: devices
                .map(|function| (function.name.clone(), function.save()))
                .collect(),
        }
    }

    pub(super) fn restore(&self, saved: &SavedManager) -> Result<(), RestoreManagerError> {
        check_version(saved.version)
            .map_err(|(found, expected)| RestoreManagerError::Version { found, expected })?;
        let functions = self.functions().clone();
        let names = functions.keys().chain(saved.devices.keys());
        let mut odd = names
            .filter(|name| !(functions.contains_key(*name) && saved.devices.contains_key(*name)));
        if let Some(name) = odd.next() {
            return Err(RestoreManagerError::Device { name: name.clone() });
        }
        let refused = |name: &String, source| RestoreManagerError::Refused {
            name: name.clone(),
            source,
        };
        let pairs = || functions.iter().zip(saved.devices.values());
        for ((name, function), device) in pairs() {
            function
                .check(device)
                .map_err(|source| refused(name, source))?;
        }
        let _hold = self.registry.hold_promotions();
        let mut done: Vec<(&Arc<Function>, SavedDevice)> = Vec::new();
        for ((name, function), device) in pairs() {
            let before = function.save();
            if let Err(source) = function.restore(device) {
                for (function, before) in done {
                    if let Err(error) = function.restore(&before) {
                        tracing::warn!(device = function.name, %error, "not as it was");
                    }
                }
                return Err(refused(name, source));
            }
            done.push((function, before));
        }
        Ok(())
    }
}

fn check_version(found: u32) -> Result<(), (u32, u32)> {
    match found {
        SAVED_VERSION => Ok(()),
        _ => Err((found, SAVED_VERSION)),
    }
}
