//! A conformance rig on the built-in guest, which serves when told where the machine lets it.
//!
//! Some back ends of KVM (kvm-pvm) end an interrupt when they inject it, so that the kernel hears of
//! the EOI before the guest has done anything. The rig tries that out first: there the guest
//! serves at once, elsewhere its handler waits before the EOI until it is told.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Served;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::Rig;
use irqbroker_kvm::conformance::RigPin;
use irqbroker_kvm::conformance::Serving;
use irqbroker_kvm::conformance::VmShape;

/// How long a guest may take to serve what has reached it. Only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a guest is given to answer before a look whether its handler waits.
const GLANCE: Duration = Duration::from_millis(10);

/// Above the pins that lead to the PIC too, which the guest has not programmed: it would interrupt
/// with the vector of an exception.
const EDGE_PIN: u8 = 21;
const LEVEL_PIN: u8 = 20;

/// Vectors that no body sends messages with.
const EDGE_VECTOR: u8 = 0x45;
const LEVEL_VECTOR: u8 = 0x54;

/// A VM of the running kernel whose guest runs.
///
/// Its destination ids have 32 bits, unlike those of [`VmShape::PC`]; no body that needs a guest
/// that serves looks at them.
#[derive(Debug)]
pub(crate) struct GuestRig {
    /// Makes the other VMs, and waits for the kernel's work items.
    kernel: LapicRig,
    vm: Arc<VmIrqFd>,
    guest: RunningGuest,
    gate: Arc<Gate>,
    serving: Serving,
    /// What the level pin had delivered before the first body.
    level_before: u64,
}

/// Where the handler of the level pin waits before its EOI.
#[derive(Debug)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug)]
struct GateState {
    /// Handlers pass without waiting.
    open: bool,
    /// A handler waits.
    waiting: bool,
}

impl Gate {
    fn new() -> Self {
        Self {
            state: Mutex::new(GateState {
                open: false,
                waiting: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a handler has come to wait within [`PATIENCE`].
    fn comes_to_wait(&self) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| !state.waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting
    }

    /// Lets the handler that waits go on.
    fn pass(&self) {
        self.lock().waiting = false;
        self.changed.notify_all();
    }

    fn open(&self) {
        self.lock().open = true;
        self.pass();
    }
}

impl Served for Gate {
    fn serve(&self, _vector: GuestVector) {
        let mut state = self.lock();
        if state.open {
            return;
        }
        state.waiting = true;
        self.changed.notify_all();
        let passed = self.changed.wait_while(state, |state| state.waiting);
        drop(passed.unwrap_or_else(PoisonError::into_inner));
    }
}

impl GuestRig {
    pub(crate) fn new(profile: KernelProfile) -> anyhow::Result<Self> {
        let level = GuestVector::new(LEVEL_VECTOR).ok_or_else(|| no_handler(LEVEL_VECTOR))?;
        let guest = GuestVm::builder().served(level).build()?;
        for trigger in [Trigger::Edge, Trigger::Level] {
            let (pin, vector, trigger) = programmed(trigger);
            let vector = GuestVector::new(vector).ok_or_else(|| no_handler(vector))?;
            guest.route_pin(pin, vector, trigger)?;
        }
        let gate = Arc::new(Gate::new());
        let guest = guest.run(RunOptions {
            served: Some(gate.clone()),
            ..RunOptions::default()
        })?;
        let mut rig = Self {
            kernel: LapicRig::new(profile)?,
            vm: Arc::new(VmIrqFd::new(guest.vm())),
            guest,
            gate,
            serving: Serving::AtOnce,
            level_before: 0,
        };
        rig.serving = rig.find_out()?;
        rig.level_before = rig.guest.counters().delivered(level);
        if rig.serving == Serving::AtOnce {
            rig.gate.open();
        }
        Ok(rig)
    }

    /// Whether the kernel hears of the EOI only once the handler has ended the interrupt.
    fn find_out(&self) -> anyhow::Result<Serving> {
        let (trigger, resample): (OwnedFd, OwnedFd) = (self.eventfd(), self.eventfd());
        let gsi = self.pin(Trigger::Level).gsi;
        self.vm
            .assign_resample_irqfd(trigger.as_fd(), resample.as_fd(), gsi)?;
        rustix::io::write(&trigger, &1u64.to_ne_bytes())?;
        anyhow::ensure!(self.gate.comes_to_wait(), "the level pin raises nothing");
        let mut count = [0; 8];
        let early = rustix::io::read(&resample, &mut count).is_ok();
        self.gate.pass();
        self.settle();
        self.vm.deassign_irqfd(trigger.as_fd(), gsi)?;
        Ok(if early {
            Serving::AtOnce
        } else {
            Serving::OnEoi
        })
    }
}

impl Drop for GuestRig {
    /// Before the guest is stopped, which waits for its handler.
    fn drop(&mut self) {
        self.gate.open();
    }
}

impl Rig for GuestRig {
    fn profile(&self) -> KernelProfile {
        self.kernel.profile()
    }

    fn vm(&self) -> Arc<dyn VmIrq> {
        Arc::<VmIrqFd>::clone(&self.vm)
    }

    fn new_vm(&self, shape: VmShape) -> Arc<dyn VmIrq> {
        self.kernel.new_vm(shape)
    }

    fn message(&self, vector: Vector) -> MsiMessage {
        // Destination 0, as there.
        self.kernel.message(vector)
    }

    fn pin(&self, trigger: Trigger) -> RigPin {
        let (pin, vector, _) = programmed(trigger);
        RigPin {
            gsi: Gsi(pin.into()),
            vector: Vector(vector),
        }
    }

    /// An event for a pin reaches the guest by a work item of the kernel; the rest is the guest's.
    fn settle(&self) {
        self.kernel.settle();
        let deadline = Instant::now() + PATIENCE;
        let mut glance = GLANCE;
        loop {
            let quiet = self.guest.quiesce(Instant::now() + glance);
            // On a busy machine no answer may be in time for a short one.
            glance *= 2;
            // A guest whose handler waits to be told is at rest too, but answers no probe.
            if quiet.as_ref().is_ok_and(|probe| probe.quiet) || self.gate.lock().waiting {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the guest does not come to rest: {quiet:?}"
            );
        }
    }

    fn delivered(&self, vector: Vector) -> u64 {
        let before = match vector.0 {
            LEVEL_VECTOR => self.level_before,
            _ => 0,
        };
        GuestVector::new(vector.0)
            .map_or(0, |vector| self.guest.counters().delivered(vector) - before)
    }

    fn serving(&self) -> Serving {
        self.serving
    }

    /// A guest at rest has served: its handler ends with the EOI.
    fn eoi(&self, _pin: RigPin) {
        self.gate.pass();
        self.settle();
    }
}

/// Pin and vector of a trigger mode.
fn programmed(trigger: Trigger) -> (u8, u8, irqbroker_guest::Trigger) {
    match trigger {
        Trigger::Edge => (EDGE_PIN, EDGE_VECTOR, irqbroker_guest::Trigger::Edge),
        Trigger::Level => (LEVEL_PIN, LEVEL_VECTOR, irqbroker_guest::Trigger::Level),
    }
}

fn no_handler(vector: u8) -> anyhow::Error {
    anyhow::anyhow!("the guest has no handler for vector {vector:#04x}")
}
