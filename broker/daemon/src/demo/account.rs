//! Collects what the source signalled and what the guest handled, and judges the two.

use std::collections::VecDeque;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_guest::Event;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Ledger;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::StampReader;
use irqbroker_guest::Tally;
use irqbroker_guest::TscClock;

use super::feed::Feed;
use super::report::Counts;
use super::report::LineResult;
use crate::percentiles::Latencies;

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
    /// Handler runs whose stamps were overwritten, which happened before the next one there is.
    unstamped: u64,
    /// From when to when such runs count, if they are not judged yet: how long anything took of which
    /// the ledger tells with them is not known.
    blurred: Option<(u64, u64)>,
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
                ledger: Ledger::new(),
                latencies: Latencies::new()?,
                produced: VecDeque::new(),
                delivered: VecDeque::new(),
                unstamped: 0,
                blurred: None,
                scratch: Vec::new(),
            })
        });
        Ok(Self {
            clock,
            lines: lines.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Takes in what has come, and judges what was stamped before `settled`.
    ///
    /// That is when the guest was found at rest last: it stores a stamp a moment after it has read
    /// it, and may be kept from running in between, for any time.
    pub(super) fn collect(&mut self, feed: &dyn Feed, settled: u64) -> anyhow::Result<()> {
        self.take_in(feed);
        self.judge(settled)
    }

    /// Judges everything, given that nothing was under way at `quiet`.
    pub(super) fn close(&mut self, feed: &dyn Feed, quiet: u64) -> anyhow::Result<()> {
        self.take_in(feed);
        for line in &mut self.lines {
            line.place_unstamped(quiet.saturating_sub(1));
        }
        self.judge(quiet)?;
        for line in &mut self.lines {
            line.ledger.record(Event::Quiesced(quiet))?;
        }
        Ok(())
    }

    fn take_in(&mut self, feed: &dyn Feed) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            // Before the guest's: an interrupt must not be older than its event.
            let produced = feed.stamps().map(|stamps| stamps.take(at));
            let overrun = line.reader.drain(&mut line.scratch);
            line.taken += overrun + line.scratch.len() as u64;
            let Some(produced) = produced else {
                line.scratch.clear();
                continue;
            };
            line.produced.extend(produced);
            line.unstamped += overrun;
            if let Some(&first) = line.scratch.first() {
                line.place_unstamped(first);
            }
            line.delivered.extend(line.scratch.drain(..));
        }
    }

    fn judge(&mut self, before: u64) -> anyhow::Result<()> {
        for line in &mut self.lines {
            let mut events: Vec<Event> = until(&mut line.produced, before)
                .map(Event::Produced)
                .collect();
            events.extend(until(&mut line.delivered, before).map(Event::Delivered));
            line.ledger.record_all(&mut events)?;
            let latencies = line.ledger.take_latencies();
            if line.blurred.is_none_or(|(from, _)| from >= before) {
                let nanos = latencies.into_iter().map(|ticks| self.clock.nanos(ticks));
                nanos.for_each(|nanos| line.latencies.record(nanos));
            }
            line.blurred = line.blurred.filter(|(_, to)| *to >= before);
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
    /// Runs without a stamp count as of the latest time they can have had, which makes none of them
    /// older than its event.
    fn place_unstamped(&mut self, latest: u64) {
        let unstamped = usize::try_from(std::mem::take(&mut self.unstamped)).unwrap_or(usize::MAX);
        self.delivered
            .extend(std::iter::repeat_n(latest, unstamped));
        if unstamped > 0 {
            let (from, _) = self.blurred.unwrap_or((latest, latest));
            self.blurred = Some((from, latest));
        }
    }

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
