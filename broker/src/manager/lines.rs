//! The inputs of the interrupt controller that functions share, driven from here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;

use irqbroker_core::Gsi;
use irqbroker_vfio::pci::Level;
use irqbroker_vfio::pci::LineMember;
use irqbroker_vfio::pci::SharedLine;

use crate::manager::error::RouteIntxError;
use crate::manager::function::Function;

/// Who drives the inputs of the VM's interrupt controller: the embedder's own IOAPIC, or the
/// kernel's through `KVM_IRQ_LINE`.
///
/// Called for a change of an input's level, on whichever thread it comes from. Must not call the
/// manager.
pub trait IrqLines: Send + Sync {
    /// Brings an input to a level.
    fn set_level(&self, gsi: Gsi, level: Level);
}

impl<F: Fn(Gsi, Level) + Send + Sync> IrqLines for F {
    fn set_level(&self, gsi: Gsi, level: Level) {
        self(gsi, level);
    }
}

/// The inputs with the functions that are wired to them.
pub(super) struct SharedLines {
    driver: Option<Arc<dyn IrqLines>>,
    wired: BTreeMap<Gsi, Wired>,
}

#[derive(Default)]
struct Wired {
    line: SharedLine,
    members: BTreeMap<u8, Weak<Function>>,
}

impl SharedLines {
    pub(super) fn new(driver: Option<Arc<dyn IrqLines>>) -> Self {
        Self {
            driver,
            wired: BTreeMap::new(),
        }
    }

    /// Wires a function to an input.
    pub(super) fn join(
        &mut self,
        gsi: Gsi,
        function: &Weak<Function>,
        needs_driver: bool,
    ) -> Result<(), RouteIntxError> {
        if needs_driver && self.driver.is_none() {
            return Err(RouteIntxError::NoLines { gsi });
        }
        let members = &mut self.wired.entry(gsi).or_default().members;
        let free = (0..=u8::MAX).find(|member| !members.contains_key(member));
        let member = free.ok_or(RouteIntxError::Crowded { gsi })?;
        members.insert(member, Weak::clone(function));
        Ok(())
    }

    /// Takes it off the input again.
    pub(super) fn leave(&mut self, gsi: Gsi, function: &Weak<Function>) {
        self.set(gsi, function, Level::Deasserted);
        let Some(wired) = self.wired.get_mut(&gsi) else {
            return;
        };
        wired.members.retain(|_, member| !member.ptr_eq(function));
        if wired.members.is_empty() {
            self.wired.remove(&gsi);
        }
    }

    /// One function's level.
    pub(super) fn set(&mut self, gsi: Gsi, function: &Weak<Function>, level: Level) {
        let Some(wired) = self.wired.get_mut(&gsi) else {
            return;
        };
        let mut members = wired.members.iter();
        let Some((member, _)) = members.find(|(_, member)| member.ptr_eq(function)) else {
            return;
        };
        let changed = wired.line.set(LineMember(*member), level);
        if let (Some(level), Some(driver)) = (changed, &self.driver) {
            driver.set_level(gsi, level);
        }
    }

    /// The guest has served the input: it is low now, and these are to be asked again.
    #[must_use = "those that are not asked again lose their interrupts"]
    pub(super) fn eoi(&mut self, gsi: Gsi) -> Vec<Arc<Function>> {
        let Some(wired) = self.wired.get_mut(&gsi) else {
            return Vec::new();
        };
        let asserters = wired.line.eoi();
        if asserters.is_empty() {
            return Vec::new();
        }
        if let Some(driver) = &self.driver {
            driver.set_level(gsi, Level::Deasserted);
        }
        let members = asserters.iter();
        members
            .filter_map(|LineMember(member)| wired.members.get(&member)?.upgrade())
            .collect()
    }
}
