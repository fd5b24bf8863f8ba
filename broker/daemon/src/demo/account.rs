//! Collects what the vGPU signalled and what the guest handled, and judges the two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::ensure;
use irqbroker::vgpu::Vblank;
use irqbroker::vgpu::VblankObserver;
use irqbroker::vgpu::VgpuInstance;
use irqbroker_guest::Event;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Ledger;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::StampReader;
use irqbroker_guest::Tally;
use irqbroker_guest::TscClock;
use irqbroker_guest::tsc_now;

use super::report::Counts;
use super::report::HeadResult;
use crate::percentiles::Latencies;

/// The longest a late interrupt of one vblank can trail its first: far above what delivery takes,
/// below the shortest period (1 ms at 1000 Hz).
const SETTLE: Duration = Duration::from_micros(500);

/// Stamps younger than this wait for the next look: the guest stores a stamp a moment after it has
/// read it, and may be kept from running in between.
const HOLD_BACK: Duration = Duration::from_secs(1);

/// The production stamps of each head, taken on the thread that signals.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Leaf locks, one a head; a stamp is taken under the lock, so a collector that has it has
    /// seen all older ones.
    heads: Vec<Mutex<Vec<u64>>>,
}

impl Stamps {
    pub(super) fn new(heads: usize) -> Self {
        Self {
            heads: (0..heads).map(|_| Mutex::default()).collect(),
        }
    }

    fn head(&self, head: usize) -> Option<MutexGuard<'_, Vec<u64>>> {
        Some(
            self.heads
                .get(head)?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl VblankObserver for Stamps {
    fn vblank(&self, vblank: &Vblank) {
        if let Some(mut stamps) = self.head(vblank.head.0.into()) {
            stamps.push(tsc_now());
        }
    }
}

/// The accounts of all heads.
#[derive(Debug)]
pub(super) struct Account {
    stamps: Arc<Stamps>,
    clock: TscClock,
    heads: Vec<HeadAccount>,
}

#[derive(Debug)]
struct HeadAccount {
    reader: StampReader,
    ledger: Ledger,
    latencies: Latencies,
    /// Collected but not judged yet.
    produced: VecDeque<u64>,
    delivered: VecDeque<u64>,
    scratch: Vec<u64>,
}

impl Account {
    /// Starts at the guest's next interrupts.
    pub(super) fn new(
        guest: &RunningGuest,
        stamps: &Arc<Stamps>,
        vectors: Vec<GuestVector>,
        clock: TscClock,
    ) -> anyhow::Result<Self> {
        let heads = vectors.into_iter().map(|vector| {
            Ok(HeadAccount {
                reader: guest.counters().stamps(vector),
                ledger: Ledger::new(clock.ticks(SETTLE)),
                latencies: Latencies::new()?,
                produced: VecDeque::new(),
                delivered: VecDeque::new(),
                scratch: Vec::new(),
            })
        });
        Ok(Self {
            stamps: Arc::clone(stamps),
            clock,
            heads: heads.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Takes in what has come, and judges what is old enough.
    pub(super) fn collect(&mut self) -> anyhow::Result<()> {
        let before = tsc_now().saturating_sub(self.clock.ticks(HOLD_BACK));
        self.take_in(before)
    }

    /// Judges everything, given that nothing was under way at `quiet`.
    pub(super) fn close(&mut self, quiet: u64) -> anyhow::Result<()> {
        self.take_in(quiet)?;
        for head in &mut self.heads {
            head.ledger.record(Event::Quiesced(quiet))?;
        }
        Ok(())
    }

    fn take_in(&mut self, before: u64) -> anyhow::Result<()> {
        for (at, head) in self.heads.iter_mut().enumerate() {
            if let Some(mut stamps) = self.stamps.head(at) {
                head.produced.extend(stamps.drain(..));
            }
            let overrun = head.reader.drain(&mut head.scratch);
            ensure!(
                overrun == 0,
                "{overrun} stamps of head {at} were overwritten unread"
            );
            head.delivered.extend(head.scratch.drain(..));
            let mut events: Vec<Event> = until(&mut head.produced, before)
                .map(Event::Produced)
                .collect();
            events.extend(until(&mut head.delivered, before).map(Event::Delivered));
            head.ledger.record_all(&mut events)?;
            for ticks in head.ledger.take_latencies() {
                head.latencies.record(self.clock.nanos(ticks));
            }
        }
        Ok(())
    }

    /// What the live line says.
    pub(super) fn line(&self) -> String {
        let tally: Tally = self.heads.iter().map(|head| head.ledger.tally()).sum();
        let waiting: usize = self.heads.iter().map(|head| head.delivered.len()).sum();
        let p50 = self.heads.first().and_then(|head| head.latencies.at(0.5));
        let p50 = p50.map_or_else(String::new, |p50| format!(", p50 {p50:.1} µs"));
        let delivered = tally.delivered + waiting as u64;
        format!("{delivered} delivered, {} lost{p50}", tally.lost)
    }

    /// The results of all heads, which travelled on `paths`.
    pub(super) fn results(
        self,
        vgpu: &VgpuInstance,
        paths: Vec<(String, String)>,
    ) -> anyhow::Result<Vec<HeadResult>> {
        let heads = self.heads.into_iter().zip(vgpu.heads()).zip(paths);
        heads
            .map(|((account, head), (path, reason))| {
                let tally = account.ledger.tally();
                let signalled = head.signalled();
                // Two counts of one thing: the stamps judged, and the eventfd's writer.
                ensure!(
                    tally.produced == signalled,
                    "{}: {signalled} events signalled, {} seen",
                    head.id(),
                    tally.produced
                );
                Ok(HeadResult {
                    path,
                    reason,
                    counts: Counts {
                        produced: tally.produced,
                        delivered: tally.delivered,
                        coalesced: tally.coalesced,
                        lost: tally.lost,
                        invented: tally.invented,
                        missed: head.missed(),
                    },
                    latencies: account.latencies,
                })
            })
            .collect()
    }
}

/// Takes the stamps older than `before` off the front.
fn until(stamps: &mut VecDeque<u64>, before: u64) -> impl Iterator<Item = u64> + '_ {
    let end = stamps.partition_point(|stamp| *stamp < before);
    stamps.drain(..end)
}
