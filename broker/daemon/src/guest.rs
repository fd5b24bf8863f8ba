//! Boots the built-in guest for a measurement.

use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use irqbroker_guest::CoreId;
use irqbroker_guest::GuestVm;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;

/// Boots a guest with a full irqchip, its vCPU on the last core.
///
/// # Errors
///
/// See [`irqbroker_guest::BuildError`] and [`irqbroker_guest::StartError`].
pub(crate) fn boot(node: &Path, halt_poll_ns: Option<u32>) -> anyhow::Result<RunningGuest> {
    let mut builder = GuestVm::builder().node(node).irqchip(Irqchip::Full);
    if let Some(nanoseconds) = halt_poll_ns {
        builder = builder.halt_poll_ns(nanoseconds.into());
    }
    Ok(builder.build()?.run(RunOptions {
        core: last_core(),
        ..RunOptions::default()
    })?)
}

/// The core of the vCPU; none on a machine with only one, where there is nothing to keep apart.
pub(crate) fn last_core() -> Option<CoreId> {
    match available_parallelism().map_or(1, NonZero::get) {
        1 => None,
        cores => Some(CoreId(cores - 1)),
    }
}
