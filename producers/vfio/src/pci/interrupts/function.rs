//! All interrupts of a PCI function, of which one kind at a time delivers.

use irqbroker_core::Gsi;

use super::super::access::Claim;
use super::super::effect::Effect;
use super::super::effect::IntxEffect;
use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::intx::Intx;
use super::super::msi::MsiCapability;
use super::super::msix::MsixCapability;
use super::layout::LayoutError;
use super::layout::PciInterruptsLayout;

/// Which kind of interrupt a function delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptMode {
    /// None: neither MSI nor MSI-X is enabled, and the function has no line.
    None,
    /// Its line.
    Intx,
    /// MSI.
    Msi,
    /// MSI-X.
    Msix,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Written {
    /// How much of it was the interrupts'.
    pub claim: Claim,
    /// What it asks for, in this order.
    pub effects: Vec<Effect>,
}

/// The interrupts of a PCI function.
///
/// MSI-X delivers while it is enabled, else MSI while it is enabled, else INTx. Software must
/// not enable both MSI and MSI-X; where it does, MSI is as if disabled. What a change of mode
/// ends always comes before what it begins.
///
/// Reads lay the interrupts' bits over what the caller has read from its own config space or
/// BAR memory. Writes take theirs and leave the buffer alone. An access may have any width; one
/// that spans both capabilities takes effect one capability after the other.
#[derive(Debug, Clone)]
pub struct PciInterrupts {
    pub(super) layout: PciInterruptsLayout,
    pub(super) msix: Option<MsixCapability>,
    pub(super) msi: Option<MsiCapability>,
    pub(super) intx: Option<Intx>,
}

impl PciInterrupts {
    /// The interrupts after a reset; INTx is not routed yet.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if no function can be laid out like that.
    pub fn new(layout: PciInterruptsLayout) -> Result<Self, LayoutError> {
        let msi = layout.msi.map(|msi| MsiCapability::new(msi.layout));
        let msix = layout.msix.map(|msix| MsixCapability::new(msix.layout));
        let interrupts = Self {
            layout,
            msix: msix.transpose()?,
            msi: msi.transpose()?,
            intx: layout.intx.map(|intx| Intx::new(intx.pin, intx.source)),
        };
        layout.check()?;
        Ok(interrupts)
    }

    /// What delivers now.
    #[must_use]
    pub fn mode(&self) -> InterruptMode {
        if self.msix.as_ref().is_some_and(MsixCapability::is_enabled) {
            InterruptMode::Msix
        } else if self.msi.as_ref().is_some_and(MsiCapability::is_enabled) {
            InterruptMode::Msi
        } else if self.intx.is_some() {
            InterruptMode::Intx
        } else {
            InterruptMode::None
        }
    }

    /// The MSI-X capability, to be looked at.
    #[must_use]
    pub fn msix(&self) -> Option<&MsixCapability> {
        self.msix.as_ref()
    }

    /// The MSI capability, to be looked at.
    #[must_use]
    pub fn msi(&self) -> Option<&MsiCapability> {
        self.msi.as_ref()
    }

    /// The line, to be looked at.
    #[must_use]
    pub fn intx(&self) -> Option<&Intx> {
        self.intx.as_ref()
    }

    /// Lays the interrupts' bits over a read of config space.
    ///
    /// `pending` tells without draining it whether a source holds an event; it is asked only if
    /// the access covers pending bits of MSI.
    pub fn read_config(
        &self,
        offset: u16,
        data: &mut [u8],
        pending: impl Fn(MessageSource) -> bool,
    ) -> Claim {
        let (mut taken, mut some_bits, len) = (0, false, data.len());
        if let (Some(place), Some(msix)) = (self.layout.msix, &self.msix)
            && let Some((at, data)) = place.window().part_mut(offset.into(), data)
        {
            taken += own_bytes(at, data.len());
            msix.read_config(in_capability(at), data);
        }
        if let (Some(place), Some(msi)) = (self.layout.msi, &self.msi)
            && let Some((at, data)) = place.window().part_mut(offset.into(), data)
        {
            taken += own_bytes(at, data.len());
            let pending = |vector| pending(MessageSource::Msi(vector));
            msi.read_config(in_capability(at), data, pending);
        }
        match self
            .intx
            .as_ref()
            .map(|intx| intx.read_config(offset, data))
        {
            Some(Claim::All) => taken = len,
            Some(Claim::Part) => some_bits = true,
            Some(Claim::None) | None => {}
        }
        Claim::of(taken, len).and_bits(some_bits)
    }

    /// Takes the interrupts' bits out of a write to config space.
    pub fn write_config(&mut self, offset: u16, data: &[u8]) -> Written {
        let (mut taken, mut some_bits, len) = (0, false, data.len());
        let mut effects = Vec::new();
        let msix = self.layout.msix.map(|place| place.window());
        if let Some((at, part)) = msix.and_then(|window| window.part(offset.into(), data)) {
            taken += own_bytes(at, part.len());
            effects.extend(self.write_msix(in_capability(at), part));
        }
        let msi = self.layout.msi.map(|place| place.window());
        if let Some((at, part)) = msi.and_then(|window| window.part(offset.into(), data)) {
            taken += own_bytes(at, part.len());
            effects.extend(self.write_msi(in_capability(at), part));
        }
        if let Some(intx) = &mut self.intx {
            let (claim, changes) = intx.write_config(offset, data);
            effects.extend(changes.into_iter().map(Effect::Intx));
            match claim {
                Claim::All => taken = len,
                Claim::Part => some_bits = true,
                Claim::None => {}
            }
        }
        Written {
            claim: Claim::of(taken, len).and_bits(some_bits),
            effects,
        }
    }

    /// Lays the MSI-X table and pending-bit array over a read of a BAR.
    ///
    /// `pending` tells without draining it whether a source holds an event; it is asked only for
    /// the vectors that the access covers.
    pub fn read_bar(
        &self,
        bar: u8,
        offset: u64,
        data: &mut [u8],
        pending: impl Fn(MessageSource) -> bool,
    ) -> Claim {
        let (mut taken, len) = (0, data.len());
        let Some(msix) = &self.msix else {
            return Claim::None;
        };
        let layout = msix.layout();
        if bar == layout.table.bar
            && let Some((at, data)) = layout.table_window().part_mut(offset, data)
        {
            taken += data.len();
            msix.read_table(at as u64, data);
        }
        if bar == layout.pba.bar
            && let Some((at, data)) = layout.pba_window().part_mut(offset, data)
        {
            taken += data.len();
            let pending = |vector| pending(MessageSource::Msix(vector));
            msix.read_pba(at as u64, data, pending);
        }
        Claim::of(taken, len)
    }

    /// Takes the MSI-X table and pending-bit array out of a write to a BAR; the latter is
    /// read-only.
    pub fn write_bar(&mut self, bar: u8, offset: u64, data: &[u8]) -> Written {
        let mut taken = 0;
        let mut effects = Vec::new();
        if let Some(msix) = &mut self.msix {
            let layout = msix.layout();
            if bar == layout.table.bar
                && let Some((at, data)) = layout.table_window().part(offset, data)
            {
                taken += data.len();
                let changes = msix.write_table(at as u64, data);
                effects.extend(changes.into_iter().map(Effect::Msix));
            }
            if bar == layout.pba.bar
                && let Some((_, data)) = layout.pba_window().part(offset, data)
            {
                taken += data.len();
            }
        }
        Written {
            claim: Claim::of(taken, data.len()),
            effects,
        }
    }

    /// The device tells the level of its line, see [`Intx::set_level`].
    #[must_use = "effects are to be carried out"]
    pub fn set_level(&mut self, level: Level) -> Vec<Effect> {
        self.on_intx(|intx| intx.set_level(level))
    }

    /// The guest has served the line, see [`Intx::eoi`].
    #[must_use = "effects are to be carried out"]
    pub fn eoi(&mut self, gsi: Gsi) -> Vec<Effect> {
        self.on_intx(|intx| intx.eoi(gsi))
    }

    /// The pin leads elsewhere, see [`Intx::reroute`].
    #[must_use = "effects are to be carried out"]
    pub fn reroute(&mut self, gsi: Option<Gsi>) -> Vec<Effect> {
        self.on_intx(|intx| intx.reroute(gsi))
    }

    /// Back to the state after a reset of the function; the route of INTx stays.
    #[must_use = "effects are to be carried out"]
    pub fn reset(&mut self) -> Vec<Effect> {
        let msix = self.msix.as_mut().map(MsixCapability::reset);
        let msi = self.msi.as_mut().map(MsiCapability::reset);
        // In one step with its return: an old level must not be driven in between.
        let mut effects = self.on_intx(|intx| intx.reset_enabled());
        effects.extend(msix.into_iter().flatten().map(Effect::Msix));
        effects.extend(msi.into_iter().flatten().map(Effect::Msi));
        effects.extend(self.settle());
        effects.sort_by_key(Effect::phase);
        effects
    }

    fn on_intx(&mut self, change: impl FnOnce(&mut Intx) -> Vec<IntxEffect>) -> Vec<Effect> {
        let effects = self.intx.as_mut().map(change).unwrap_or_default();
        effects.into_iter().map(Effect::Intx).collect()
    }

    fn write_msix(&mut self, at: u16, data: &[u8]) -> Vec<Effect> {
        let before = self.mode();
        let changes = self.msix.as_mut().map(|msix| msix.write_config(at, data));
        let own = changes.into_iter().flatten().map(Effect::Msix);
        self.settled_since(before, own.collect())
    }

    fn write_msi(&mut self, at: u16, data: &[u8]) -> Vec<Effect> {
        let before = self.mode();
        let changes = self.msi.as_mut().map(|msi| msi.write_config(at, data));
        let own = changes.into_iter().flatten().map(Effect::Msi);
        self.settled_since(before, own.collect())
    }

    /// A capability's own effects, with what others begin or end on account of them.
    fn settled_since(&mut self, before: InterruptMode, own: Vec<Effect>) -> Vec<Effect> {
        let mut effects = own;
        if self.mode() != before {
            effects.extend(self.settle());
            effects.sort_by_key(Effect::phase);
        }
        effects
    }

    /// Tells those that no longer, or once more, deliver.
    fn settle(&mut self) -> Vec<Effect> {
        let mode = self.mode();
        let msix = mode == InterruptMode::Msix;
        let msi = self.msi.as_mut().map(|msi| msi.set_suppressed(msix));
        let messages = msix || mode == InterruptMode::Msi;
        let mut effects = self.on_intx(|intx| intx.set_suppressed(messages));
        effects.extend(msi.into_iter().flatten().map(Effect::Msi));
        effects
    }
}

/// Identifier and next pointer of a capability are the caller's.
fn own_bytes(at: usize, len: usize) -> usize {
    len.saturating_sub(2usize.saturating_sub(at))
}

/// A place within a capability, of which none has more than 24 bytes.
fn in_capability(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
