//! The built-in guest behind posted-interrupt descriptors, with a look at what its vCPU does.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker::posted::ApicMode;
use irqbroker::posted::Blocked;
use irqbroker::posted::LocalApic;
use irqbroker::posted::PostedVcpu;
use irqbroker::posted::PostedVm;
use irqbroker::posted::VcpuId;
use irqbroker::posted::VcpuSetup;
use irqbroker_core::MsiMessage;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::InterruptSource;
use irqbroker_guest::Irqchip;
use irqbroker_guest::Nesting;
use irqbroker_guest::Notifier;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Served;
use irqbroker_guest::Sleep;

/// How long a guest may take to serve what has reached it. Only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processors that the vCPU moves between.
pub(crate) const PROCESSORS: u16 = 2;

/// Messages of the guest's devices: more than any story has links.
const MESSAGES: u32 = 64;

/// What happened to a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The vCPU was interrupted with it.
    Taken(u8),
    /// Its handler asked for its device.
    Served(u8),
    /// Its handler ended it.
    Ended(u8),
}

/// The vCPU as the guest's thread sees it, with counts of what it went through.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The vCPU's thread takes it, and now and then a story that looks.
    vcpu: Mutex<PostedVcpu>,
    /// Where the thread is said to run from its next entry on.
    pub(crate) processor: AtomicUsize,
    last: AtomicUsize,
    pub(crate) migrations: AtomicUsize,
    pub(crate) preemptions: AtomicUsize,
    pub(crate) sleeps: AtomicUsize,
    pub(crate) deepest: AtomicUsize,
    /// Kept only if there is a list.
    notes: Option<Arc<Mutex<Vec<Note>>>>,
}

impl Seat {
    fn vcpu(&self) -> MutexGuard<'_, PostedVcpu> {
        self.vcpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is posted or under way, seen without a kick that would help it along.
    pub(crate) fn is_idle(&self) -> bool {
        self.vcpu().is_idle()
    }

    fn note(&self, note: Note) {
        if let Some(notes) = &self.notes {
            notes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(note);
        }
    }
}

// Relaxed throughout: counts, and a processor number that orders nothing.
impl InterruptSource for Seat {
    fn enter(&self) {
        let processor = self.processor.load(Ordering::Relaxed);
        if self.last.swap(processor, Ordering::Relaxed) != processor {
            self.migrations.fetch_add(1, Ordering::Relaxed);
        }
        self.vcpu().load(processor);
    }

    fn is_pending(&self) -> bool {
        self.vcpu().registers().next().is_some()
    }

    fn take(&self) -> Option<GuestVector> {
        let mut vcpu = self.vcpu();
        let vector = vcpu.accept()?;
        let depth = usize::try_from(vcpu.registers().in_service()).unwrap_or(usize::MAX);
        self.deepest.fetch_max(depth, Ordering::Relaxed);
        self.note(Note::Taken(vector));
        GuestVector::new(vector)
    }

    fn leave(&self) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
        self.vcpu().preempt();
    }

    fn block(&self) -> Sleep {
        match self.vcpu().block() {
            Blocked::Sleep => {
                self.sleeps.fetch_add(1, Ordering::Relaxed);
                Sleep::Allowed
            }
            Blocked::Wake => Sleep::Denied,
        }
    }

    fn eoi(&self) {
        if let Some(vector) = self.vcpu().eoi() {
            self.note(Note::Ended(vector));
        }
    }
}

/// A guest, with or without a list of what happens in it.
pub(crate) struct PostedGuest {
    pub(crate) vm: Arc<PostedVm>,
    pub(crate) seat: Arc<Seat>,
    guest: GuestVm,
}

/// The same, running.
pub(crate) struct RunningPosted {
    pub(crate) vm: Arc<PostedVm>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) guest: RunningGuest,
}

impl PostedGuest {
    /// Handlers of `served` ask for their devices.
    pub(crate) fn build(
        nesting: Nesting,
        served: &[GuestVector],
        notes: Option<Arc<Mutex<Vec<Note>>>>,
    ) -> anyhow::Result<Self> {
        let builder = GuestVm::builder()
            .irqchip(Irqchip::UserSpace)
            .nesting(nesting);
        let guest = served
            .iter()
            .fold(builder, |builder, vector| builder.served(*vector))
            .build()?;
        let notifier: Notifier = guest.notifier();
        let apic = |id| LocalApic {
            vcpu: VcpuId(id),
            x2apic_id: id,
            mode: ApicMode::X2Apic,
            software_enabled: true,
            priority: 0,
        };
        let setup = VcpuSetup {
            apic: apic(0),
            kick: Arc::new(move || notifier.notify()),
        };
        // Never runs: it is there so that a message can have several destinations.
        let second = VcpuSetup {
            apic: apic(1),
            kick: Arc::new(|| {}),
        };
        let processors = NonZero::new(PROCESSORS).context("no processors")?;
        let (vm, vcpus) = PostedVm::new(processors, MESSAGES, vec![setup, second])?;
        let vcpu = vcpus.into_iter().next().context("no vcpu")?;
        let seat = Arc::new(Seat {
            vcpu: Mutex::new(vcpu),
            processor: AtomicUsize::new(0),
            last: AtomicUsize::new(0),
            migrations: AtomicUsize::new(0),
            preemptions: AtomicUsize::new(0),
            sleeps: AtomicUsize::new(0),
            deepest: AtomicUsize::new(0),
            notes,
        });
        Ok(Self { vm, seat, guest })
    }

    pub(crate) fn run(self, served: Option<Arc<dyn Served>>) -> anyhow::Result<RunningPosted> {
        let Self { vm, seat, guest } = self;
        let source: Arc<dyn InterruptSource> = seat.clone();
        let guest = guest.run(RunOptions {
            source: Some(source),
            served,
            ..RunOptions::default()
        })?;
        Ok(RunningPosted { vm, seat, guest })
    }
}

impl RunningPosted {
    /// Waits until what has been posted has been handled.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        self.guest.quiesce(Instant::now() + PATIENCE)?;
        Ok(())
    }

    pub(crate) fn delivered(&self, vector: u8) -> u64 {
        GuestVector::new(vector).map_or(0, |vector| self.guest.counters().delivered(vector))
    }
}

/// The message that raises `vector` in both vCPUs, which cannot be posted.
pub(crate) fn to_both(vector: u8) -> MsiMessage {
    MsiMessage {
        // Logical: the first two of the first cluster.
        address: 0xfee0_0000 | 3 << 12 | 1 << 2,
        data: vector.into(),
    }
}

/// The message that raises `vector`.
pub(crate) fn message(vector: u8) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: vector.into(),
    }
}
