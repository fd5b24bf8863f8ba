//! Runs in which each interrupt waits for the one before, and a burst in which none does.

use super::CheckError;
use super::deadline;
use super::raiser::FIRST_VECTOR;
use super::raiser::Raise;
use super::raiser::Raiser;
use crate::CoreId;
use crate::Event;
use crate::GuestVector;
use crate::GuestVm;
use crate::Irqchip;
use crate::Ledger;
use crate::RunOptions;
use crate::RunningGuest;
use crate::StampReader;
use crate::Tally;
use crate::TscClock;
use crate::Wait;
use crate::WaitError;
use crate::tsc_now;

/// Pause after each interrupt: the handler still has to return and the vCPU to halt.
const PAUSE_NANOS: u64 = 20_000;

/// A run in which each interrupt waits for the one before.
#[derive(Debug, Clone, Copy)]
pub struct PacedRun {
    /// How interrupts are raised.
    pub raise: Raise,
    /// Interrupt controllers in the kernel.
    pub irqchip: Irqchip,
    /// Vectors that take turns, from `0x40` on; 1 to 64.
    pub vectors: u8,
    /// Longest halt poll in nanoseconds, the host's setting if `None`.
    pub halt_poll_ns: Option<u64>,
    /// Interrupts to raise.
    pub count: u64,
    /// Core of the vCPU thread; the calling thread's is up to the caller.
    pub vcpu_core: Option<CoreId>,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The account of all vectors.
    pub tally: Tally,
    /// From just before the event was raised to the handler's first instruction, sorted nanoseconds.
    pub latency: Latency,
}

/// Latencies in nanoseconds, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency(Vec<u64>);

impl Latency {
    /// The smallest sample that at least `per_mille` thousandths do not exceed; 0 without samples.
    #[must_use]
    pub fn quantile(&self, per_mille: usize) -> u64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).or(self.0.last()).copied().unwrap_or(0)
    }
}

impl Measured {
    /// Demands that every event was delivered once, by itself.
    ///
    /// # Errors
    ///
    /// [`CheckError::Account`] with the account.
    pub fn require_even(&self) -> Result<(), CheckError> {
        let Tally {
            produced,
            delivered,
            coalesced,
            lost,
            invented,
        } = self.tally;
        if produced == delivered && [coalesced, lost, invented] == [0; 3] {
            Ok(())
        } else {
            Err(CheckError::Account { tally: self.tally })
        }
    }
}

impl PacedRun {
    /// Boots a guest, raises the interrupts and takes the account.
    ///
    /// # Errors
    ///
    /// [`CheckError`] where the run could not be made. An interrupt that does not come is no error
    /// but part of the account.
    pub fn measure(self) -> Result<Measured, CheckError> {
        let clock = TscClock::calibrate()?;
        let mut builder = GuestVm::builder().irqchip(self.irqchip);
        if let Some(nanos) = self.halt_poll_ns {
            builder = builder.halt_poll_ns(nanos);
        }
        let guest = builder.build()?;
        let vectors: Vec<GuestVector> = (FIRST_VECTOR..FIRST_VECTOR + self.vectors.clamp(1, 64))
            .filter_map(GuestVector::new)
            .collect();
        let raiser = Raiser::new(self.raise, &guest, &vectors)?;
        let mut accounts: Vec<Account> = vectors
            .iter()
            .map(|vector| Account::new(&guest, *vector))
            .collect();
        let running = guest.run(RunOptions {
            core: self.vcpu_core,
            source: raiser.source(),
            ..RunOptions::default()
        })?;
        running.quiesce(deadline())?;
        let members = (0..accounts.len()).cycle();
        for member in members.take(usize::try_from(self.count).unwrap_or(usize::MAX)) {
            accounts[member].raise_and_wait(&running, || raiser.raise(member))?;
            pause(&clock);
        }
        running.quiesce(deadline())?;
        let mut latency = Vec::new();
        let mut tally = Tally::default();
        for account in &mut accounts {
            account.settle()?;
            tally += account.ledger.tally();
            let ticks = account.ledger.take_latencies();
            latency.extend(ticks.into_iter().map(|ticks| clock.nanos(ticks)));
        }
        running.stop()?;
        latency.sort_unstable();
        Ok(Measured {
            tally,
            latency: Latency(latency),
        })
    }
}

/// Raises interrupts without waiting for any, round after round, and demands that merging is all
/// that happens to them.
///
/// # Errors
///
/// [`CheckError::Account`] if an interrupt was lost or invented, other errors if the run failed.
pub fn burst() -> Result<(), CheckError> {
    // Rounds and events per round: some bursts end while the handler runs, some while it halts.
    const BURSTS: u64 = 50;
    const LENGTH: u64 = 40;
    let guest = GuestVm::builder().build()?;
    let vector = GuestVector::FIRST;
    let raiser = Raiser::new(Raise::Irqfd, &guest, &[vector])?;
    let mut account = Account::new(&guest, vector);
    let running = guest.run(RunOptions::default())?;
    for _ in 0..BURSTS {
        let mut events = Vec::new();
        for _ in 0..LENGTH {
            events.push(Event::Produced(tsc_now()));
            raiser.raise(0)?;
        }
        running.quiesce(deadline())?;
        account.close(events)?;
    }
    running.stop()?;
    let tally = account.ledger.tally();
    if tally.produced != BURSTS * LENGTH || tally.lost > 0 || tally.invented > 0 {
        return Err(CheckError::Account { tally });
    }
    Ok(())
}

/// One vector's ledger and where its stamps come from.
struct Account {
    vector: GuestVector,
    delivered: u64,
    stamps: StampReader,
    ledger: Ledger,
}

impl Account {
    fn new(guest: &GuestVm, vector: GuestVector) -> Self {
        Self {
            vector,
            delivered: 0,
            stamps: guest.counters().stamps(vector),
            ledger: Ledger::new(),
        }
    }

    fn raise_and_wait(
        &mut self,
        running: &RunningGuest,
        raise: impl FnOnce() -> Result<(), CheckError>,
    ) -> Result<(), CheckError> {
        let produced = Event::Produced(tsc_now());
        raise()?;
        match running.wait_delivered(self.vector, self.delivered + 1, deadline(), Wait::Spin) {
            Ok(_) => {}
            // The account will tell, if nothing is in flight.
            Err(WaitError::TimedOut { .. }) => drop(running.quiesce(deadline())?),
            Err(error) => return Err(error.into()),
        }
        self.close(vec![produced])
    }

    fn settle(&mut self) -> Result<(), CheckError> {
        self.close(Vec::new())
    }

    /// Records the events and what the handler stamped since, then marks the round quiesced.
    fn close(&mut self, mut events: Vec<Event>) -> Result<(), CheckError> {
        let mut stamps = Vec::new();
        let overrun = self.stamps.drain(&mut stamps);
        if overrun > 0 {
            return Err(CheckError::Overrun { overrun });
        }
        self.delivered += stamps.len() as u64;
        events.extend(stamps.into_iter().map(Event::Delivered));
        events.push(Event::Quiesced(tsc_now()));
        self.ledger.record_all(&mut events)?;
        Ok(())
    }
}

fn pause(clock: &TscClock) {
    let start = tsc_now();
    while clock.nanos(tsc_now().saturating_sub(start)) < PAUSE_NANOS {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_the_smallest_sample_that_covers_its_share() {
        let latency = Latency((1..=10).collect());
        assert_eq!(latency.quantile(500), 5);
        assert_eq!(latency.quantile(990), 10);
        assert_eq!(latency.quantile(0), 1);
        assert_eq!(Latency::default().quantile(500), 0);
    }
}
