//! What soaks have in common: how many events, and how they are signalled.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Context;

use crate::bench::Source;

/// Events, unless the environment says otherwise: a tenth of what the invariant is to be shown
/// over, which takes minutes.
const EVENTS: u64 = 100_000;

/// How many events a soak is to take, by the environment's `variable`.
pub(crate) fn events(variable: &str) -> anyhow::Result<u64> {
    match std::env::var(variable) {
        Ok(events) => events
            .parse()
            .with_context(|| format!("{variable} is no number")),
        Err(_) => Ok(EVENTS),
    }
}

/// Signals sources at random, and counts in `sent`.
pub(crate) fn signal(sources: &[Source], sent: &[AtomicU64], events: u64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..events {
        let at = random.usize(..sources.len());
        // Relaxed: read after the thread has been joined.
        sent[at].fetch_add(1, Ordering::Relaxed);
        sources[at].signal();
        if random.u8(..16) == 0 {
            // Now and then long enough for the guest to serve all and to halt, and for links to be
            // promoted again.
            (0..random.u32(..20_000)).for_each(|_| std::hint::spin_loop());
        }
    }
}
