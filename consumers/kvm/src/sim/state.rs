//! What a simulated VM is, and what events do to it.

use std::collections::BTreeMap;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use super::ioapic::Ioapic;
use super::ioapic::LineSource;
use super::irqfd;
use super::irqfd::SimIrqfd;
use super::script::Script;
use crate::route::Route;
use crate::route::RouteEntry;
use crate::vm_irq::LineLevel;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) closed: bool,
    pub(super) table: Vec<RouteEntry>,
    pub(super) irqfds: Vec<SimIrqfd>,
    pub(super) ioapic: Ioapic,
    pub(super) messages: BTreeMap<MsiMessage, u64>,
    pub(super) script: Script,
}

impl State {
    pub(super) fn pump(&mut self) {
        // An injection binds and unbinds nothing, so indexes hold.
        for at in irqfd::readable(&self.irqfds) {
            let irqfd = &mut self.irqfds[at];
            if irqfd.claim() {
                let (gsi, source) = (irqfd.gsi, irqfd.source());
                self.inject(gsi, source);
            }
        }
    }

    /// What an irqfd does with an event: a pulse, or for a resample irqfd an assertion.
    pub(super) fn inject(&mut self, gsi: Gsi, source: LineSource) {
        self.set_gsi(gsi, source, LineLevel::High);
        if source == LineSource::User {
            self.set_gsi(gsi, source, LineLevel::Low);
        }
    }

    pub(super) fn set_gsi(&mut self, gsi: Gsi, source: LineSource, level: LineLevel) {
        let targets: Vec<Route> = self.targets(gsi).collect();
        for target in targets {
            match target {
                Route::Msi(msi) if level == LineLevel::High => self.deliver(msi.message),
                Route::Msi(_) => {}
                Route::Pin { chip, pin } => self.ioapic.set_line(chip, pin, source, level),
            }
        }
    }

    fn targets(&self, gsi: Gsi) -> impl Iterator<Item = Route> + '_ {
        let entries = self.table.iter().filter(move |entry| entry.gsi == gsi);
        entries.map(|entry| entry.target)
    }

    pub(super) fn deliver(&mut self, message: MsiMessage) {
        *self.messages.entry(message).or_default() += 1;
    }

    pub(super) fn eoi(&mut self, gsi: Gsi) {
        if self.has_resampler(gsi) {
            self.set_gsi(gsi, LineSource::Resampler, LineLevel::Low);
            for irqfd in self.irqfds.iter().filter(|irqfd| irqfd.gsi == gsi) {
                irqfd.signal_resample();
            }
        }
        let targets: Vec<Route> = self.targets(gsi).collect();
        for target in targets {
            if let Route::Pin { chip, pin } = target {
                self.ioapic.eoi(chip, pin);
            }
        }
    }

    /// The last resample irqfd of a GSI takes the line down with it.
    pub(super) fn settle_resampler(&mut self, gsi: Gsi) {
        if !self.has_resampler(gsi) {
            self.set_gsi(gsi, LineSource::Resampler, LineLevel::Low);
        }
    }

    fn has_resampler(&self, gsi: Gsi) -> bool {
        let mut irqfds = self.irqfds.iter();
        irqfds.any(|irqfd| irqfd.gsi == gsi && irqfd.source() == LineSource::Resampler)
    }
}
