//! Collects what the source signalled and what the guest handled, and judges the two.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_guest::Event;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Ledger;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::StampReader;
use irqbroker_guest::Tally;
use irqbroker_guest::TscClock;
use irqbroker_guest::tsc_now;

use super::feed::Feed;
use super::report::Counts;
use super::report::LineResult;
use crate::percentiles::Latencies;

/// The longest a late interrupt of one event can trail its first: far above what delivery takes,
/// below the shortest period (1 ms at 1000 Hz).
const SETTLE: Duration = Duration::from_micros(500);

/// Stamps younger than this wait for the next look: the guest stores a stamp a moment after it has
/// read it, and may be kept from running in between.
const HOLD_BACK: Duration = Duration::from_secs(1);

/// The accounts of all lines.
#[derive(Debug)]
pub(super) struct Account {
    clock: TscClock,
    lines: Vec<LineAccount>,
}

#[derive(Debug)]
struct LineAccount {
    reader: StampReader,
    /// Handler runs taken in.
    taken: u64,
    /// What the source had counted at the start.
    before: Option<u64>,
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
        feed: &dyn Feed,
        vectors: Vec<GuestVector>,
        clock: TscClock,
    ) -> anyhow::Result<Self> {
        let lines = vectors.into_iter().enumerate().map(|(line, vector)| {
            Ok(LineAccount {
                reader: guest.counters().stamps(vector),
                taken: 0,
                before: feed.signalled(line)?,
                ledger: Ledger::new(clock.ticks(SETTLE)),
                latencies: Latencies::new()?,
                produced: VecDeque::new(),
                delivered: VecDeque::new(),
                scratch: Vec::new(),
            })
        });
        Ok(Self {
            clock,
            lines: lines.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Takes in what has come, and judges what is old enough.
    pub(super) fn collect(&mut self, feed: &dyn Feed) -> anyhow::Result<()> {
        let before = tsc_now().saturating_sub(self.clock.ticks(HOLD_BACK));
        self.take_in(feed, before)
    }

    /// Judges everything, given that nothing was under way at `quiet`.
    pub(super) fn close(&mut self, feed: &dyn Feed, quiet: u64) -> anyhow::Result<()> {
        self.take_in(feed, quiet)?;
        for line in &mut self.lines {
            line.ledger.record(Event::Quiesced(quiet))?;
        }
        Ok(())
    }

    fn take_in(&mut self, feed: &dyn Feed, before: u64) -> anyhow::Result<()> {
        for (at, line) in self.lines.iter_mut().enumerate() {
            let stamps = feed.stamps();
            // Before the guest's: an interrupt must not be older than its event.
            let produced = stamps.map(|stamps| stamps.take(at));
            let overrun = line.reader.drain(&mut line.scratch);
            ensure!(
                overrun == 0 || stamps.is_none(),
                "{overrun} stamps of interrupt {at} were overwritten unread"
            );
            line.taken += overrun + line.scratch.len() as u64;
            let Some(produced) = produced else {
                line.scratch.clear();
                continue;
            };
            line.produced.extend(produced);
            line.delivered.extend(line.scratch.drain(..));
            let mut events: Vec<Event> = until(&mut line.produced, before)
                .map(Event::Produced)
                .collect();
            events.extend(until(&mut line.delivered, before).map(Event::Delivered));
            line.ledger.record_all(&mut events)?;
            for ticks in line.ledger.take_latencies() {
                line.latencies.record(self.clock.nanos(ticks));
            }
        }
        Ok(())
    }

    /// What the live line says.
    pub(super) fn line(&self) -> String {
        let tally: Tally = self.lines.iter().map(|line| line.ledger.tally()).sum();
        let delivered: u64 = self.lines.iter().map(|line| line.taken).sum();
        let p50 = self.lines.first().and_then(|line| line.latencies.at(0.5));
        let p50 = p50.map_or_else(String::new, |p50| format!(", p50 {p50:.1} µs"));
        format!("{delivered} delivered, {} lost{p50}", tally.lost)
    }

    /// The results of all lines, which travelled on `paths`.
    pub(super) fn results(
        self,
        feed: &dyn Feed,
        paths: Vec<(String, String)>,
    ) -> anyhow::Result<Vec<LineResult>> {
        let lines = self.lines.into_iter().zip(feed.lines()).zip(paths);
        lines
            .enumerate()
            .map(|(at, ((account, line), (path, reason)))| {
                let after = feed.signalled(at)?;
                let signalled = after
                    .zip(account.before)
                    .map(|(after, before)| after - before);
                let counts = match feed.stamps() {
                    Some(_) => account.judged(signalled, &line.name)?,
                    None => account.counted(signalled.context("the source keeps no count")?),
                };
                Ok(LineResult {
                    name: line.name.clone(),
                    path,
                    reason,
                    counts: Counts {
                        missed: feed.missed(at),
                        ..counts
                    },
                    latencies: account.latencies,
                })
            })
            .collect()
    }
}

impl LineAccount {
    /// What the ledger found. The source's own count, if it has one, must agree with its stamps.
    fn judged(&self, signalled: Option<u64>, name: &str) -> anyhow::Result<Counts> {
        let tally = self.ledger.tally();
        ensure!(
            signalled.is_none_or(|signalled| signalled == tally.produced),
            "{name}: {signalled:?} events signalled, {} seen",
            tally.produced
        );
        Ok(Counts {
            produced: tally.produced,
            delivered: tally.delivered,
            coalesced: tally.coalesced,
            lost: tally.lost,
            invented: tally.invented,
            missed: 0,
        })
    }

    /// One quiesced round, in which only numbers are known.
    fn counted(&self, produced: u64) -> Counts {
        let delivered = self.taken;
        Counts {
            produced,
            delivered,
            coalesced: match delivered {
                0 => 0,
                delivered => produced.saturating_sub(delivered),
            },
            lost: u64::from(produced > 0 && delivered == 0),
            invented: delivered.saturating_sub(produced),
            missed: 0,
        }
    }
}

/// Takes the stamps older than `before` off the front.
fn until(stamps: &mut VecDeque<u64>, before: u64) -> impl Iterator<Item = u64> + '_ {
    let end = stamps.partition_point(|stamp| *stamp < before);
    stamps.drain(..end)
}
