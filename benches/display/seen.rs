//! What the ways of looking did, and how they compare.

use std::time::Duration;

use irqbroker_vgpu::MonotonicTime;
use serde_json::Value;
use serde_json::json;

use crate::FLOOR;
use crate::POLLER;

/// What one way of looking did in a round.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) wakeups: u64,
    pub(crate) changes: u64,
    /// Changes after the first one, and the head's flips since then.
    pub(crate) taken: u64,
    pub(crate) flips: u64,
    /// From the vblank, nanoseconds.
    pub(crate) latencies: Vec<u64>,
    /// Until the thread that looks was running.
    pub(crate) woken: Vec<u64>,
    /// From the guest's commit, and from there to the vblank.
    pub(crate) since_commit: Vec<u64>,
    pub(crate) waited: Vec<u64>,
    /// Of the vGPU's scheduler in the whole round, and the head's flips in it.
    pub(crate) scheduler_wakeups: u64,
    pub(crate) all_flips: u64,
}

impl Seen {
    /// A new picture, now; whoever looks was running at `woken`.
    pub(crate) fn changed(&mut self, vblank: MonotonicTime, woken: Option<MonotonicTime>) {
        self.changes += 1;
        self.latencies.push(nanos(vblank, MonotonicTime::now()));
        self.woken.extend(woken.map(|woken| nanos(vblank, woken)));
    }

    /// The same of a picture that the guest committed, at `commit` if that is known.
    pub(crate) fn flipped(
        &mut self,
        commit: Option<MonotonicTime>,
        vblank: MonotonicTime,
        woken: Option<MonotonicTime>,
    ) {
        self.changed(vblank, woken);
        if let Some(commit) = commit {
            self.since_commit.push(nanos(commit, MonotonicTime::now()));
            self.waited.push(nanos(commit, vblank));
        }
    }
}

fn nanos(from: MonotonicTime, to: MonotonicTime) -> u64 {
    u64::try_from(to.saturating_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// A percentile in microseconds.
fn percentile(nanos: &[u64], percent: usize) -> Option<f64> {
    let mut sorted = nanos.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().max(1) - 1);
    sorted.get(at).map(|&nanos| float(nanos) / 1e3)
}

/// The median of the ratios of rounds' medians to those of another way.
fn ratio(rounds: &[Seen], others: &[Seen]) -> Option<f64> {
    let median = |seen: &Seen| percentile(&seen.latencies, 50);
    let pairs = rounds.iter().zip(others);
    let mut ratios: Vec<f64> = pairs
        .filter_map(|(own, other)| Some(median(own)? / median(other)?))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// One way in all rounds, beside those of all ways.
pub(crate) fn report(rounds: &[Seen], all: &[Vec<Seen>], length: Duration) -> Value {
    let join = |of: fn(&Seen) -> &Vec<u64>| rounds.iter().flat_map(of).copied().collect();
    let latencies: Vec<u64> = join(|seen| &seen.latencies);
    let woken: Vec<u64> = join(|seen| &seen.woken);
    let since_commit: Vec<u64> = join(|seen| &seen.since_commit);
    let waited: Vec<u64> = join(|seen| &seen.waited);
    let fetch = |seen: &Seen| -> Vec<u64> {
        let both = seen.latencies.iter().zip(&seen.woken);
        both.map(|(all, woken)| all - woken).collect()
    };
    let fetches: Vec<u64> = rounds.iter().flat_map(fetch).collect();
    let p99 = |seen: &Seen| percentile(&seen.latencies, 99);
    let seen_something = rounds.iter().filter_map(|seen| Some((p99(seen)?, seen)));
    let best = seen_something.min_by(|(one, _), (other, _)| one.total_cmp(other));
    let best = best.map(|(_, seen)| seen);
    let median = |seen: &Seen| percentile(&seen.latencies, 50);
    let total = length.as_secs_f64() * float(rounds.len() as u64);
    let sum = |of: fn(&Seen) -> u64| rounds.iter().map(of).sum::<u64>();
    let rate = |of: fn(&Seen) -> u64| float(sum(of)) / total;
    let (scheduler_wakeups, all_flips) = (
        sum(|seen| seen.scheduler_wakeups),
        sum(|seen| seen.all_flips),
    );
    json!({
        "wakeups_per_second": rate(|seen| seen.wakeups),
        "changes_per_second": rate(|seen| seen.changes),
        "latency_p50_us": percentile(&latencies, 50),
        "latency_p99_us": percentile(&latencies, 99),
        "woken_p50_us": percentile(&woken, 50),
        "woken_p99_us": percentile(&woken, 99),
        "fetch_p50_us": percentile(&fetches, 50),
        "fetch_p99_us": percentile(&fetches, 99),
        "best_p50_us": best.and_then(median),
        "best_p99_us": best.and_then(p99),
        "best_fetch_p99_us": best.and_then(|seen| percentile(&fetch(seen), 99)),
        "wait_p50_us": percentile(&waited, 50),
        "commit_p50_us": percentile(&since_commit, 50),
        "commit_p99_us": percentile(&since_commit, 99),
        "scheduler_wakeups_per_flip": (all_flips > 0).then(|| float(scheduler_wakeups) / float(all_flips)),
        "taken": sum(|seen| seen.taken),
        "flips": sum(|seen| seen.flips),
        "ratio_to_poller": ratio(rounds, &all[POLLER]),
        "ratio_to_floor": ratio(rounds, &all[FLOOR]),
    })
}

fn float(number: u64) -> f64 {
    // Counts and times of a run are far below 2^32 units of what is lost.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let float = number as f64;
    float
}
