//! A function joined to simulated eventfds and a simulated interrupt controller input.

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use super::effect::Effect;
use super::effect::IntxEffect;
use super::effect::Level;
use super::effect::MessageEffect;
use super::effect::MessageSource;
use super::effect::VectorIndex;
use super::interrupts::LayoutError;
use super::interrupts::PciInterrupts;
use super::interrupts::PciInterruptsLayout;
use super::interrupts::RestoreError;
use super::interrupts::SavedPciInterrupts;
use super::interrupts::Written;
use super::intx::IntxSource;

/// Where a function's pin leads at first; below are a PC's legacy interrupts.
pub(super) const FIRST_INPUT: Gsi = Gsi(16);

/// An interrupt that the guest got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// A message arrived.
    Message(MsiMessage),
    /// A level-triggered input of the interrupt controller was taken.
    Line(Gsi),
}

/// A level-triggered input: taken when high, and again after the EOI if high still.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimInput {
    pub(super) gsi: Gsi,
    level: Level,
    in_service: bool,
}

impl SimInput {
    pub(super) fn new(gsi: Gsi) -> Self {
        Self {
            gsi,
            level: Level::Deasserted,
            in_service: false,
        }
    }

    pub(super) fn set(&mut self, level: Level) -> Option<Delivery> {
        self.level = level;
        self.take()
    }

    pub(super) fn eoi(&mut self) {
        self.in_service = false;
    }

    pub(super) fn take(&mut self) -> Option<Delivery> {
        if self.level == Level::Deasserted || self.in_service {
            return None;
        }
        self.in_service = true;
        Some(Delivery::Line(self.gsi))
    }
}

/// The eventfd of a vector, and the route it is bound to while the vector is deliverable.
#[derive(Debug, Clone, Copy, Default)]
struct SimSource {
    signalled: bool,
    route: Option<MsiMessage>,
}

/// A [`PciInterrupts`] and an embedder that does what the effects say, and nothing else.
///
/// Panics where effects contradict each other: that is what it is for.
#[derive(Debug, Clone)]
pub struct SimFunction {
    interrupts: PciInterrupts,
    intx_source: IntxSource,
    msi: Vec<SimSource>,
    msix: Vec<SimSource>,
    inputs: Vec<SimInput>,
    leads_to: Gsi,
    device: Level,
    source_masked: bool,
    delivered: Vec<Delivery>,
    effects: u32,
}

impl SimFunction {
    /// A function after a reset, its line routed to GSI 16.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] as [`PciInterrupts::new`].
    pub fn new(layout: PciInterruptsLayout) -> Result<Self, LayoutError> {
        let msi = layout.msi.map_or(0, |msi| msi.layout.vectors.into());
        let msix = layout.msix.map_or(0, |msix| msix.layout.vectors.into());
        let intx = layout.intx.map(|intx| intx.source);
        let mut function = Self {
            interrupts: PciInterrupts::new(layout)?,
            intx_source: intx.unwrap_or(IntxSource::Tracked),
            msi: vec![SimSource::default(); msi],
            msix: vec![SimSource::default(); msix],
            inputs: Vec::new(),
            leads_to: FIRST_INPUT,
            device: Level::Deasserted,
            source_masked: false,
            delivered: Vec::new(),
            effects: 0,
        };
        function.reroute(FIRST_INPUT);
        Ok(function)
    }

    /// The state machine, to be looked at.
    #[must_use]
    pub fn interrupts(&self) -> &PciInterrupts {
        &self.interrupts
    }

    /// A guest's read of config space, over zeros.
    pub fn read_config(&self, offset: u16, data: &mut [u8]) {
        data.fill(0);
        self.interrupts
            .read_config(offset, data, |source| self.holds_event(source));
    }

    /// A guest's write to config space.
    pub fn write_config(&mut self, offset: u16, data: &[u8]) {
        let Written { effects, .. } = self.interrupts.write_config(offset, data);
        self.apply(effects);
    }

    /// A guest's read of a BAR, over zeros.
    pub fn read_bar(&self, bar: u8, offset: u64, data: &mut [u8]) {
        data.fill(0);
        self.interrupts
            .read_bar(bar, offset, data, |source| self.holds_event(source));
    }

    /// A guest's write to a BAR.
    pub fn write_bar(&mut self, bar: u8, offset: u64, data: &[u8]) {
        let Written { effects, .. } = self.interrupts.write_bar(bar, offset, data);
        self.apply(effects);
    }

    /// The device signals a vector's eventfd; one it has not is ignored.
    pub fn signal(&mut self, source: MessageSource) {
        if let Some(held) = self.source_mut(source) {
            held.signalled = true;
            self.deliver(source);
        }
    }

    /// The device's line changes.
    pub fn set_device(&mut self, level: Level) {
        self.device = level;
        match self.intx_source {
            IntxSource::Tracked => {
                let effects = self.interrupts.set_level(level);
                self.apply(effects);
            }
            IntxSource::Automasked => self.fire_unless_masked(),
        }
    }

    /// The guest ends the interrupt at an input.
    pub fn eoi(&mut self, gsi: Gsi) {
        if let Some(input) = self.input_mut(gsi) {
            input.eoi();
        }
        let effects = self.interrupts.eoi(gsi);
        self.apply(effects);
        let taken = self.input_mut(gsi).and_then(SimInput::take);
        self.delivered.extend(taken);
    }

    /// The pin leads to another input.
    pub fn reroute(&mut self, gsi: Gsi) {
        if self.input_mut(gsi).is_none() {
            self.inputs.push(SimInput::new(gsi));
        }
        self.leads_to = gsi;
        let effects = self.interrupts.reroute(Some(gsi));
        self.apply(effects);
    }

    /// The function is reset and asserts its line no more; what its eventfds hold stays there.
    pub fn reset(&mut self) {
        self.device = Level::Deasserted;
        let effects = self.interrupts.reset();
        self.apply(effects);
    }

    /// What is saved, pending events with it.
    #[must_use]
    pub fn save(&self) -> SavedPciInterrupts {
        self.interrupts.save(|source| self.holds_event(source))
    }

    /// Takes saved state over, its pending events into the eventfds.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] as [`PciInterrupts::restore`].
    pub fn restore(&mut self, saved: &SavedPciInterrupts) -> Result<(), RestoreError> {
        let effects = self.interrupts.restore(saved)?;
        self.apply(effects);
        Ok(())
    }

    /// Continues in a function of the same layout that has but the saved state. The device and
    /// the interrupt controller save their own.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] as [`PciInterrupts::restore`].
    pub fn continue_in(&self, mut fresh: Self) -> Result<Self, RestoreError> {
        fresh.inputs.clone_from(&self.inputs);
        for input in &mut fresh.inputs {
            // Nobody drives them until the state is taken over.
            input.level = Level::Deasserted;
        }
        fresh.reroute(self.leads_to);
        fresh.delivered.clone_from(&self.delivered);
        fresh.restore(&self.save())?;
        fresh.set_device(self.device);
        Ok(fresh)
    }

    /// What the guest got since this was last asked.
    pub fn take_delivered(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.delivered)
    }

    /// How many effects there were since this was last asked.
    pub fn take_effects(&mut self) -> u32 {
        std::mem::take(&mut self.effects)
    }

    /// Asserts that what the effects said is what the state machine says.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn assert_consistent(&self) {
        let msix = self.interrupts.msix();
        let msi = self.interrupts.msi();
        for (vector, held) in (0..).map(VectorIndex).zip(&self.msix) {
            assert_eq!(held.route, msix.and_then(|msix| msix.deliverable(vector)));
            assert!(held.route.is_none() || !held.signalled, "{vector} is held");
        }
        for (vector, held) in (0..).map(VectorIndex).zip(&self.msi) {
            assert_eq!(held.route, msi.and_then(|msi| msi.deliverable(vector)));
            assert!(held.route.is_none() || !held.signalled, "{vector} is held");
        }
        for input in &self.inputs {
            let high = self.driven() == Some(input.gsi);
            assert_eq!(input.level == Level::Asserted, high, "input {}", input.gsi);
        }
    }

    fn driven(&self) -> Option<Gsi> {
        self.interrupts.intx().and_then(|intx| intx.driven())
    }

    fn holds_event(&self, source: MessageSource) -> bool {
        let (sources, vector) = match source {
            MessageSource::Msi(vector) => (&self.msi, vector),
            MessageSource::Msix(vector) => (&self.msix, vector),
        };
        let held = sources.get(usize::from(vector.0));
        held.is_some_and(|held| held.signalled)
    }

    fn source_mut(&mut self, source: MessageSource) -> Option<&mut SimSource> {
        let (sources, vector) = match source {
            MessageSource::Msi(vector) => (&mut self.msi, vector),
            MessageSource::Msix(vector) => (&mut self.msix, vector),
        };
        sources.get_mut(usize::from(vector.0))
    }

    fn input_mut(&mut self, gsi: Gsi) -> Option<&mut SimInput> {
        self.inputs.iter_mut().find(|input| input.gsi == gsi)
    }

    fn deliver(&mut self, source: MessageSource) {
        let Some(held) = self.source_mut(source) else {
            return;
        };
        if let Some(message) = held.route.filter(|_| held.signalled) {
            held.signalled = false;
            self.delivered.push(Delivery::Message(message));
        }
    }

    fn fire_unless_masked(&mut self) {
        if self.device == Level::Asserted && !self.source_masked {
            self.source_masked = true;
            let effects = self.interrupts.set_level(Level::Asserted);
            self.apply(effects);
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects += 1;
            match effect {
                Effect::Msi(effect) => self.apply_message(effect, MessageSource::Msi),
                Effect::Msix(effect) => self.apply_message(effect, MessageSource::Msix),
                Effect::Intx(effect) => self.apply_intx(effect),
            }
        }
    }

    fn apply_message(&mut self, effect: MessageEffect, kind: fn(VectorIndex) -> MessageSource) {
        let (vector, route) = match effect {
            MessageEffect::Enabled | MessageEffect::Disabled => return,
            MessageEffect::Resignal { vector } => return self.signal(kind(vector)),
            MessageEffect::Masked { vector } => (vector, None),
            MessageEffect::Unmasked { vector, message }
            | MessageEffect::Retargeted { vector, message } => (vector, Some(message)),
        };
        if let Some(held) = self.source_mut(kind(vector)) {
            let was_unmasked = held.route.is_some();
            let unmasks = matches!(effect, MessageEffect::Unmasked { .. });
            assert_ne!(was_unmasked, unmasks, "{effect:?} after {:?}", held.route);
            assert_ne!(held.route, route, "{effect:?} changes nothing");
            held.route = route;
            self.deliver(kind(vector));
        }
    }

    fn apply_intx(&mut self, effect: IntxEffect) {
        let (gsi, level) = match effect {
            IntxEffect::Enabled | IntxEffect::Disabled => return,
            IntxEffect::Unmask => {
                self.source_masked = false;
                return self.fire_unless_masked();
            }
            IntxEffect::Assert { gsi } => (gsi, Level::Asserted),
            IntxEffect::Deassert { gsi } => (gsi, Level::Deasserted),
        };
        if let Some(input) = self.input_mut(gsi) {
            assert_ne!(input.level, level, "{effect:?} changes nothing");
            let taken = input.set(level);
            self.delivered.extend(taken);
        }
    }
}
