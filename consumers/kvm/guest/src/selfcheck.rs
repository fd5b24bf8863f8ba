//! Checks of the guest against the kernel's KVM, for a harness that can report a skip.
//!
//! They need a node that opens, so they are not `#[test]`s of this crate, which would either fail
//! without one or pass in silence. Each takes well under a second, except on a loaded machine.

mod error;
mod level;
mod lifecycle;
mod paced;
mod raiser;
mod served;
mod user_apic;

use std::time::Duration;
use std::time::Instant;

use crate::Irqchip;

pub use error::CheckError;
pub use level::level_eoi_under_split_irqchip;
pub use level::resample_round_trip;
pub use lifecycle::interrupt_before_run_is_kept;
pub use lifecycle::start_and_stop;
pub use lifecycle::stray_vector_ends_every_wait;
pub use lifecycle::tsc_is_the_hosts;
pub use lifecycle::tsc_offset_estimate_agrees;
pub use paced::Latency;
pub use paced::Measured;
pub use paced::PacedRun;
pub use paced::burst;
pub use raiser::Raise;
pub use served::served_before_the_handler_goes_on;
pub use user_apic::eoi_in_user_space;

/// A check, by the name a harness shows.
pub type Check = (&'static str, fn() -> Result<(), CheckError>);

/// How long one interrupt may take: far beyond any latency, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(120);
/// Interrupts per check: enough for each of them to meet the others' timer ticks and wake-ups.
const ROUNDS: u64 = 1000;

/// Every check that stands on its own.
#[must_use]
pub fn all() -> &'static [Check] {
    &[
        ("guest_irqfd_full_irqchip_paced_run_loses_none", || {
            paced(Raise::Irqfd, Irqchip::Full, 1)
        }),
        ("guest_signal_msi_full_irqchip_paced_run_loses_none", || {
            paced(Raise::SignalMsi, Irqchip::Full, 1)
        }),
        ("guest_irqfd_split_irqchip_paced_run_loses_none", || {
            paced(Raise::Irqfd, Irqchip::Split { reserved_pins: 24 }, 1)
        }),
        (
            "guest_irqfd_eight_vectors_interleaved_each_counts_its_own",
            || paced(Raise::Irqfd, Irqchip::Full, 8),
        ),
        ("guest_without_irqchip_takes_what_its_source_has", || {
            paced(Raise::Source, Irqchip::None, 8)
        }),
        (
            "guest_without_irqchip_ends_each_interrupt_in_user_space",
            || eoi_in_user_space(ROUNDS),
        ),
        ("guest_burst_merges_and_loses_none", burst),
        ("guest_resample_round_trip_signals_each_eoi", || {
            resample_round_trip(ROUNDS)
        }),
        (
            "guest_level_eoi_under_split_irqchip_reaches_its_listener",
            || level_eoi_under_split_irqchip(ROUNDS),
        ),
        ("guest_handler_waits_for_its_device_to_be_served", || {
            served_before_the_handler_goes_on(ROUNDS)
        }),
        (
            "guest_interrupt_before_run_is_kept",
            interrupt_before_run_is_kept,
        ),
        (
            "guest_stray_vector_ends_every_wait",
            stray_vector_ends_every_wait,
        ),
        ("guest_start_and_stop_never_hangs", start_and_stop),
        ("guest_stamps_are_the_hosts_tsc", tsc_is_the_hosts),
        (
            "guest_tsc_offset_estimate_agrees_with_the_kernels",
            tsc_offset_estimate_agrees,
        ),
    ]
}

/// A paced run whose account must be even, with and without halt polling.
fn paced(raise: Raise, irqchip: Irqchip, vectors: u8) -> Result<(), CheckError> {
    for halt_poll_ns in [0, 200_000] {
        let run = PacedRun {
            raise,
            irqchip,
            vectors,
            halt_poll_ns: Some(halt_poll_ns),
            count: ROUNDS,
            vcpu_core: None,
        };
        run.measure()?.require_even()?;
    }
    Ok(())
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}
