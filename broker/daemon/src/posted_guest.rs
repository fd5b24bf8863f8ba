//! Boots the built-in guest without local APICs in the kernel, for interrupts that are posted.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::available_parallelism;

use anyhow::Context;
use irqbroker::posted::ApicMode;
use irqbroker::posted::Blocked;
use irqbroker::posted::LocalApic;
use irqbroker::posted::PostedVcpu;
use irqbroker::posted::PostedVm;
use irqbroker::posted::VcpuId;
use irqbroker::posted::VcpuSetup;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::InterruptSource;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Sleep;

use crate::guest;

/// Messages the guest's devices have room for: more than it has vectors.
const MESSAGES: u32 = 256;

/// Boots the guest, its vCPU on the last core.
///
/// # Errors
///
/// See [`irqbroker_guest::BuildError`] and [`irqbroker_guest::StartError`].
pub(crate) fn boot(
    node: &Path,
    halt_poll_ns: Option<u32>,
) -> anyhow::Result<(RunningGuest, Arc<PostedVm>)> {
    let mut builder = GuestVm::builder().node(node).irqchip(Irqchip::UserSpace);
    if let Some(nanoseconds) = halt_poll_ns {
        builder = builder.halt_poll_ns(nanoseconds.into());
    }
    let guest = builder.build()?;
    let notifier = guest.notifier();
    let setup = VcpuSetup {
        apic: LocalApic {
            vcpu: VcpuId(0),
            x2apic_id: 0,
            mode: ApicMode::X2Apic,
            software_enabled: true,
            priority: 0,
        },
        kick: Arc::new(move || notifier.notify()),
    };
    let cores = available_parallelism().map_or(1, NonZero::get);
    let processors = NonZero::new(u16::try_from(cores)?).context("a machine without cores")?;
    let (vm, vcpus) = PostedVm::new(processors, MESSAGES, vec![setup])?;
    let vcpu = vcpus.into_iter().next().context("the guest has a vcpu")?;
    let running = guest.run(RunOptions {
        core: guest::last_core(),
        source: Some(Arc::new(PostedSource(Mutex::new(vcpu)))),
        ..RunOptions::default()
    })?;
    Ok((running, vm))
}

/// The vCPU's descriptor and interrupt registers, as what the guest's thread injects from. Only
/// that thread takes the lock.
struct PostedSource(Mutex<PostedVcpu>);

impl PostedSource {
    fn vcpu(&self) -> MutexGuard<'_, PostedVcpu> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterruptSource for PostedSource {
    fn enter(&self) {
        self.vcpu().load(rustix::thread::sched_getcpu());
    }

    fn is_pending(&self) -> bool {
        self.vcpu().registers().next().is_some()
    }

    fn take(&self) -> Option<GuestVector> {
        self.vcpu().accept().and_then(GuestVector::new)
    }

    fn leave(&self) {
        self.vcpu().preempt();
    }

    fn block(&self) -> Sleep {
        match self.vcpu().block() {
            Blocked::Sleep => Sleep::Allowed,
            Blocked::Wake => Sleep::Denied,
        }
    }

    fn eoi(&self) {
        self.vcpu().eoi();
    }
}
