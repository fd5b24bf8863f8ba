//! One PCI function: its registers as the guest sees them, joined to sources and routes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use irqbroker_core::Consumer;
use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::pci::Claim;
use irqbroker_vfio::pci::Effect;
use irqbroker_vfio::pci::InterruptKind;
use irqbroker_vfio::pci::InterruptMode;
use irqbroker_vfio::pci::IntxEffect;
use irqbroker_vfio::pci::Level;
use irqbroker_vfio::pci::MessageEffect;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::PciInterrupts;
use irqbroker_vfio::pci::VectorIndex;
use irqbroker_vfio::pci::Written;

use crate::manager::fault::Fault;
use crate::manager::line::Line;
use crate::manager::shared::Shared;
use crate::manager::source::DeviceSource;
use crate::manager::vectors::Joins;
use crate::manager::vectors::Vectors;
use crate::remapping::RemappedDevice;

/// A function of a device.
///
/// Lock order: [`State`], then the shared lines, then whatever the registry or a remapping unit
/// takes. Nothing that these call back takes any of the former.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) source: DeviceSource,
    messages: Messages,
    this: Weak<Self>,
    state: Mutex<State>,
}

/// What becomes of a function's messages.
#[derive(Debug)]
pub(super) enum Messages {
    /// They are the VM's as the guest wrote them.
    Vm {
        /// The id they carry, where the interrupt controller wants one.
        device_id: Option<DeviceId>,
    },
    /// They are looked up in the guest's tables.
    Remapped(RemappedDevice),
}

/// What the lock of a function is for. Held across requests to the device and calls of the
/// registry, never across a commit of routes where promotion is deferred.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pci: PciInterrupts,
    pub(super) msi: Vectors,
    pub(super) msix: Vectors,
    pub(super) line: Line,
}

/// Vectors of one capability that a batch of effects makes deliverable.
type Due = BTreeMap<u16, MsiMessage>;

impl Function {
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        source: DeviceSource,
        messages: Messages,
        pci: PciInterrupts,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            name,
            shared,
            source,
            messages,
            this: Weak::clone(this),
            state: Mutex::new(State {
                pci,
                msi: Vectors::new(InterruptKind::Msi),
                msix: Vectors::new(InterruptKind::Msix),
                line: Line::default(),
            }),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves no half-made change that a later access would not mend.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn this(&self) -> Weak<Self> {
        Weak::clone(&self.this)
    }

    pub(super) fn read_config(&self, offset: u16, data: &mut [u8]) -> Claim {
        let state = self.state();
        state
            .pci
            .read_config(offset, data, |source| self.is_pending(&state, source))
    }

    pub(super) fn read_bar(&self, bar: u8, offset: u64, data: &mut [u8]) -> Claim {
        let state = self.state();
        let device = DevicePba::default();
        let pending = |source| {
            self.pending_here(&state, source)
                .unwrap_or_else(|| device.holds(self, &state, source))
        };
        state.pci.read_bar(bar, offset, data, pending)
    }

    pub(super) fn write_config(&self, offset: u16, data: &[u8]) -> Claim {
        self.change(|state| state.pci.write_config(offset, data))
    }

    pub(super) fn write_bar(&self, bar: u8, offset: u64, data: &[u8]) -> Claim {
        self.change(|state| state.pci.write_bar(bar, offset, data))
    }

    fn change(&self, write: impl FnOnce(&mut State) -> Written) -> Claim {
        let mut state = self.state();
        let Written { claim, effects } = write(&mut state);
        self.carry_out(&mut state, effects);
        // DisINTx has no effect of its own while nothing is asserted.
        if claim != Claim::None {
            self.settle_line(&mut state);
        }
        claim
    }

    /// A reset of the function: nothing is pending any more.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        let effects = state.pci.reset();
        self.carry_out(&mut state, effects);
        state.msi.forget();
        state.msix.forget();
        self.source.forget();
        self.settle_line(&mut state);
    }

    /// Does what a change of the registers asks for, all of it with one commit of routes.
    pub(super) fn carry_out(&self, state: &mut State, effects: Vec<Effect>) {
        let begins = |effect: &Effect| {
            let (Effect::Msi(effect) | Effect::Msix(effect)) = effect else {
                return false;
            };
            matches!(
                effect,
                MessageEffect::Unmasked { .. } | MessageEffect::Retargeted { .. }
            )
        };
        let hold = effects
            .iter()
            .any(begins)
            .then(|| self.shared.registry.hold_promotions());
        let (mut msi, mut msix) = (Due::new(), Due::new());
        let mut pending = Vec::new();
        for effect in effects {
            match effect {
                Effect::Msi(effect) => {
                    let vectors = state.pci.msi().map_or(0, |msi| msi.allocated());
                    pending.extend(
                        self.carry_out_message(&mut state.msi, &mut msi, vectors, effect)
                            .map(MessageSource::Msi),
                    );
                }
                Effect::Msix(effect) => {
                    let vectors = state.pci.msix().map_or(0, |msix| msix.vectors());
                    pending.extend(
                        self.carry_out_message(&mut state.msix, &mut msix, vectors, effect)
                            .map(MessageSource::Msix),
                    );
                }
                Effect::Intx(effect) => self.carry_out_line(state, effect),
            }
        }
        state.msi.unmask(&self.joins(), &msi);
        state.msix.unmask(&self.joins(), &msix);
        for source in pending {
            match source {
                MessageSource::Msi(VectorIndex(vector)) => state.msi.resignal(vector),
                MessageSource::Msix(VectorIndex(vector)) => state.msix.resignal(vector),
            }
        }
        drop(hold);
        self.look_again_if_faulty(state);
    }

    fn look_again_if_faulty(&self, state: &State) {
        if state.msi.wants_retry() || state.msix.wants_retry() {
            self.shared.look_again();
        }
    }

    /// Carries out what does not wait for the batch; returns a vector that is to be signalled.
    fn carry_out_message(
        &self,
        vectors: &mut Vectors,
        due: &mut Due,
        count: u16,
        effect: MessageEffect,
    ) -> Option<VectorIndex> {
        match effect {
            MessageEffect::Enabled => vectors.enable(&self.joins(), count),
            MessageEffect::Disabled => {
                due.clear();
                vectors.disable();
            }
            MessageEffect::Unmasked { vector, message } => {
                due.insert(vector.0, message);
            }
            MessageEffect::Masked { vector } => {
                due.remove(&vector.0);
                vectors.mask(vector.0);
            }
            MessageEffect::Retargeted { vector, message } => {
                vectors.retarget(&self.joins(), vector.0, message);
            }
            MessageEffect::Resignal { vector } => return Some(vector),
        }
        None
    }

    fn carry_out_line(&self, state: &mut State, effect: IntxEffect) {
        match effect {
            IntxEffect::Enabled | IntxEffect::Disabled => self.settle_line(state),
            IntxEffect::Assert { gsi } => {
                self.drive(gsi, Level::Asserted);
                self.shared.look_again();
            }
            IntxEffect::Deassert { gsi } => self.drive(gsi, Level::Deasserted),
            IntxEffect::Unmask => state.line.unmask(),
        }
    }

    /// Serves again what was not served.
    pub(super) fn retry(&self) {
        let mut state = self.state();
        let (kind, vectors) = match state.pci.mode() {
            InterruptMode::Msix => (
                InterruptKind::Msix,
                state.pci.msix().map(|own| own.vectors()),
            ),
            InterruptMode::Msi => (
                InterruptKind::Msi,
                state.pci.msi().map(|own| own.allocated()),
            ),
            InterruptMode::Intx => return self.settle_line(&mut state),
            InterruptMode::None => return,
        };
        let State { pci, msi, msix, .. } = &mut *state;
        let (own, message): (_, &dyn Fn(u16) -> Option<MsiMessage>) = match kind {
            InterruptKind::Msix => (msix, &|vector| pci.msix()?.deliverable(VectorIndex(vector))),
            _ => (msi, &|vector| pci.msi()?.deliverable(VectorIndex(vector))),
        };
        if !own.is_enabled() {
            own.enable(&self.joins(), vectors.unwrap_or(0));
        }
        let again: Vec<u16> = own.to_retry().collect();
        let due = again
            .into_iter()
            .filter_map(|vector| Some((vector, message(vector)?)));
        let due: Due = due.collect();
        if !due.is_empty() {
            let _hold = self.shared.registry.hold_promotions();
            own.unmask(&self.joins(), &due);
        }
        self.look_again_if_faulty(&state);
    }

    /// Lets go of everything, as if the guest had disabled it.
    pub(super) fn tear_down(&self) {
        let mut state = self.state();
        state.msi.disable();
        state.msix.disable();
        self.close_line(&mut state);
        let routed = state.line.routed();
        if let Some(gsi) = routed {
            self.shared.lines().leave(gsi, &self.this);
        }
    }

    pub(super) fn is_pending(&self, state: &State, source: MessageSource) -> bool {
        let device = DevicePba::default();
        self.pending_here(state, source)
            .unwrap_or_else(|| device.holds(self, state, source))
    }

    fn pending_here(&self, state: &State, source: MessageSource) -> Option<bool> {
        match source {
            MessageSource::Msi(VectorIndex(vector)) => {
                // MSI has its pending bits in config space, which only the kernel reads right.
                let here = state.msi.is_pending(&self.shared.registry, vector);
                Some(here.unwrap_or(false))
            }
            MessageSource::Msix(VectorIndex(vector)) => {
                state.msix.is_pending(&self.shared.registry, vector)
            }
        }
    }

    /// What new vectors of this function are joined with.
    fn joins(&self) -> Joins<'_> {
        Joins {
            registry: &self.shared.registry,
            source: &self.source,
            consumer: self,
        }
    }
}

impl crate::manager::vectors::NewConsumer for Function {
    fn new_consumer(&self, vector: u16, message: MsiMessage) -> Result<Arc<dyn Consumer>, Fault> {
        let name = format!("{}.msi{vector}", self.name);
        Ok(match &self.messages {
            Messages::Vm { device_id } => self.shared.domain.msi(name, message, *device_id)?,
            Messages::Remapped(device) => device.msi(name, message)?,
        })
    }
}

/// The device's own pending-bit array: where an event is while its vector has no eventfd. Read
/// once for all vectors of a quadword.
#[derive(Debug, Default)]
struct DevicePba(Cell<Option<(u64, u64)>>);

impl DevicePba {
    fn holds(&self, function: &Function, state: &State, source: MessageSource) -> bool {
        let (MessageSource::Msix(VectorIndex(vector)), DeviceSource::Vfio(device)) =
            (source, &function.source)
        else {
            return false;
        };
        let Some(place) = state.pci.msix().map(|msix| msix.layout().pba) else {
            return false;
        };
        let at = u64::from(place.offset) + u64::from(vector / 64) * 8;
        let bits = match self.0.get() {
            Some((read_at, bits)) if read_at == at => bits,
            _ => {
                let mut bytes = [0; 8];
                let region = RegionIndex(u32::from(place.bar));
                // A device that does not say has nothing pending.
                let read = device.device().region_read(region, at, &mut bytes);
                let bits = read.map_or(0, |_| u64::from_le_bytes(bytes));
                self.0.set(Some((at, bits)));
                bits
            }
        };
        bits & 1 << (vector % 64) != 0
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where a line of this function leads, see [`Line`].
impl Function {
    pub(super) fn drive(&self, gsi: Gsi, level: Level) {
        self.shared.lines().set(gsi, &self.this, level);
    }
}
