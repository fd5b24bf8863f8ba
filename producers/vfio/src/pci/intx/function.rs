//! INTx of one function: its line towards the interrupt controller.

use irqbroker_core::Gsi;

use super::super::effect::IntxEffect;
use super::super::effect::Level;

/// Which of the four lines a function uses (Interrupt Pin register).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntxPin {
    /// INTA#.
    A,
    /// INTB#.
    B,
    /// INTC#.
    C,
    /// INTD#.
    D,
}

impl IntxPin {
    /// The Interrupt Pin register, 1-4.
    #[must_use]
    pub fn register(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
            Self::C => 3,
            Self::D => 4,
        }
    }
}

/// What a device tells of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntxSource {
    /// Each change of the level, as a device model in this process does.
    Tracked,
    /// Only that it is asserted, and then nothing until it is unmasked, as VFIO does. Unmasked
    /// while the device still asserts, it tells so again.
    Automasked,
}

/// INTx of a function.
///
/// ```text
///            device asserts          open: DisINTx clear, no MSI or MSI-X, routed
///  low ─────────────────────► high ───► Assert
///   ▲                          │
///   └── EOI: Deassert ─────────┘        Automasked: Unmask, and the source asserts again if need be
///                                       Tracked: Assert again if the level is still asserted
/// ```
///
/// An automasked source that asserted while the line was closed stays masked until it opens: it
/// is then unmasked instead of its old news passed on, for the device may have been served. The
/// same goes for a line that is rerouted while it is high.
#[derive(Debug, Clone)]
pub struct Intx {
    pub(super) pin: IntxPin,
    pub(super) source: IntxSource,
    pub(super) line_register: u8,
    pub(super) level: Level,
    pub(super) disabled: bool,
    pub(super) suppressed: bool,
    gsi: Option<Gsi>,
    /// Which input is driven high.
    driven: Option<Gsi>,
}

impl Intx {
    /// Deasserted, not disabled and not routed.
    #[must_use]
    pub fn new(pin: IntxPin, source: IntxSource) -> Self {
        Self {
            pin,
            source,
            line_register: 0,
            level: Level::Deasserted,
            disabled: false,
            suppressed: false,
            gsi: None,
            driven: None,
        }
    }

    /// The function's pin.
    #[must_use]
    pub fn pin(&self) -> IntxPin {
        self.pin
    }

    /// What the device last told, until an automasked source's EOI.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether the guest has disabled the line (DisINTx, command bit 10).
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The input that is driven high, if one is.
    #[must_use]
    pub fn driven(&self) -> Option<Gsi> {
        self.driven
    }

    /// The device tells its level; an automasked source only ever that it is asserted.
    #[must_use = "effects are to be carried out"]
    pub fn set_level(&mut self, level: Level) -> Vec<IntxEffect> {
        self.change(|intx| intx.level = level)
    }

    /// The guest has served the line: end of interrupt at an input.
    ///
    /// Nothing if the line does not drive that input, say because it was rerouted since.
    #[must_use = "effects are to be carried out"]
    pub fn eoi(&mut self, gsi: Gsi) -> Vec<IntxEffect> {
        if self.driven != Some(gsi) {
            return Vec::new();
        }
        match self.source {
            IntxSource::Automasked => self.change(|intx| intx.level = Level::Deasserted),
            IntxSource::Tracked => {
                self.driven = None;
                let mut effects = vec![IntxEffect::Deassert { gsi }];
                effects.extend(self.drive());
                effects
            }
        }
    }

    /// The pin leads to another input of the interrupt controller, or to none.
    #[must_use = "effects are to be carried out"]
    pub fn reroute(&mut self, gsi: Option<Gsi>) -> Vec<IntxEffect> {
        self.change(|intx| intx.gsi = gsi)
    }

    /// MSI or MSI-X delivers in place of the line, or no longer.
    #[must_use = "effects are to be carried out"]
    pub fn set_suppressed(&mut self, suppressed: bool) -> Vec<IntxEffect> {
        self.change(|intx| intx.suppressed = suppressed)
    }

    /// Back to the state after a reset; the route stays.
    #[must_use = "effects are to be carried out"]
    pub fn reset(&mut self) -> Vec<IntxEffect> {
        self.replace(0, Level::Deasserted, false, self.suppressed)
    }

    /// A reset that ends what the line gave way to as well.
    pub(in crate::pci) fn reset_enabled(&mut self) -> Vec<IntxEffect> {
        self.replace(0, Level::Deasserted, false, false)
    }

    /// Takes over a whole new state, with the effects of the difference.
    pub(super) fn replace(
        &mut self,
        line_register: u8,
        level: Level,
        disabled: bool,
        suppressed: bool,
    ) -> Vec<IntxEffect> {
        self.change(|intx| {
            intx.line_register = line_register;
            intx.level = level;
            intx.disabled = disabled;
            intx.suppressed = suppressed;
        })
    }

    /// The input that an asserted level drives, while the line is open.
    fn leads_to(&self) -> Option<Gsi> {
        self.gsi.filter(|_| !self.disabled && !self.suppressed)
    }

    /// Whether the source masked itself and has not been unmasked since.
    fn is_source_masked(&self) -> bool {
        self.source == IntxSource::Automasked && self.level == Level::Asserted
    }

    pub(super) fn change(&mut self, change_state: impl FnOnce(&mut Self)) -> Vec<IntxEffect> {
        let (led_to, was_suppressed) = (self.leads_to(), self.suppressed);
        let was_source_masked = self.is_source_masked();
        change_state(self);
        let source_masked = was_source_masked || self.is_source_masked();
        let leads_to = self.leads_to();
        if self.is_source_masked() && leads_to.is_some() && leads_to != led_to {
            self.level = Level::Deasserted;
        }
        let mut effects = Vec::new();
        if was_suppressed && !self.suppressed {
            effects.push(IntxEffect::Enabled);
        }
        effects.extend(self.drive());
        if source_masked && !self.is_source_masked() {
            effects.push(IntxEffect::Unmask);
        }
        if self.suppressed && !was_suppressed {
            effects.push(IntxEffect::Disabled);
        }
        effects
    }

    /// Brings the line to where it should be: off the old input before on to the new.
    fn drive(&mut self) -> impl Iterator<Item = IntxEffect> + use<> {
        let asserted = self.level == Level::Asserted;
        let wanted = self.leads_to().filter(|_| asserted);
        let driven = std::mem::replace(&mut self.driven, wanted);
        let moved = driven != wanted;
        let deassert = driven.filter(|_| moved);
        let assert = wanted.filter(|_| moved);
        deassert
            .map(|gsi| IntxEffect::Deassert { gsi })
            .into_iter()
            .chain(assert.map(|gsi| IntxEffect::Assert { gsi }))
    }
}
