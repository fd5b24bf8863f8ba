//! Boots the built-in guest for a measurement.

use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use irqbroker_guest::CoreId;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Trigger;
use rustix::thread::CpuSet;

/// A pin of the guest's IOAPIC with a level line on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LevelPin {
    /// The pin, and its GSI.
    pub(crate) pin: u8,
    /// What it raises.
    pub(crate) vector: GuestVector,
}

/// Boots a guest with a full irqchip and these level pins, its vCPU on the last core.
///
/// # Errors
///
/// See [`irqbroker_guest::BuildError`], [`irqbroker_guest::PinError`] and
/// [`irqbroker_guest::StartError`].
pub(crate) fn boot(
    node: &Path,
    halt_poll_ns: Option<u32>,
    pins: &[LevelPin],
) -> anyhow::Result<RunningGuest> {
    let mut builder = GuestVm::builder().node(node).irqchip(Irqchip::Full);
    if let Some(nanoseconds) = halt_poll_ns {
        builder = builder.halt_poll_ns(nanoseconds.into());
    }
    let guest = builder.build()?;
    for LevelPin { pin, vector } in pins {
        guest.route_pin(*pin, *vector, Trigger::Level)?;
    }
    Ok(guest.run(RunOptions {
        core: last_core(),
        ..RunOptions::default()
    })?)
}

/// The core of the vCPU; none on a machine with only one, where there is nothing to keep apart.
pub(crate) fn last_core() -> Option<CoreId> {
    cores()?.pop()
}

/// The first core; none where there is no other.
pub(crate) fn first_core() -> Option<CoreId> {
    cores()?.into_iter().next()
}

/// The core of a relay's thread: the one before the vCPU's, or the vCPU's if there is only the first
/// beside it.
pub(crate) fn relay_core() -> Option<CoreId> {
    let mut cores = cores()?;
    let last = cores.pop();
    match cores.len() {
        1 => last,
        _ => cores.pop(),
    }
}

/// The cores this thread may use, two at least; they need not begin with 0, as in a container.
fn cores() -> Option<Vec<CoreId>> {
    // Also 1 where this process may use no more than the time of one.
    if available_parallelism().map_or(1, NonZero::get) == 1 {
        return None;
    }
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let cores: Vec<CoreId> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .map(CoreId)
        .collect();
    (cores.len() > 1).then_some(cores)
}
