//! Judges productions against handler runs: what was lost, merged or invented.
//!
//! A *round* opens with a production. It closes at a mark that nothing is in flight
//! ([`Event::Quiesced`]), or at the next production if each of the round's productions has been
//! answered by a handler run of its own: nothing of it can come any more. Per closed round:
//!
//! | produced | delivered | counts as |
//! |---|---|---|
//! | n > 0 | 0 | n lost |
//! | n | 0 < m <= n | n - m coalesced: they merged while a delivery was pending |
//! | n | m > n | m - n invented |
//!
//! ```text
//! paced     P  H  Q   P  H  Q   P     Q        third round: lost
//! free      P  H   P  P  H   P  H  H   Q       second round: it has three productions, all answered
//! ```
//!
//! No round is closed by time: a guest, a relay or a device that was kept from running has lost and
//! invented nothing, however long that was. So a paced run marks quiesced after every event, and a
//! free-running one at its end, and before it whenever everything is found at rest. What a round has
//! too few of is told at its close; until then a run too many may be taken for one that is due.

use std::iter::Sum;
use std::ops::AddAssign;

#[cfg(test)]
mod tests;

/// Something that happened to one vector, with its host TSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The device signalled; stamped before it did.
    Produced(u64),
    /// The handler ran; stamped by its first instruction.
    Delivered(u64),
    /// All productions stamped before had been signalled and nothing was in flight any more.
    Quiesced(u64),
}

impl Event {
    /// The event's host TSC.
    #[must_use]
    pub fn stamp(self) -> u64 {
        match self {
            Self::Produced(stamp) | Self::Delivered(stamp) | Self::Quiesced(stamp) => stamp,
        }
    }

    /// Events of one stamp happen in this order.
    fn rank(self) -> u8 {
        match self {
            Self::Produced(_) => 0,
            Self::Delivered(_) => 1,
            Self::Quiesced(_) => 2,
        }
    }
}

/// Interrupts counted by what became of them.
///
/// Once all rounds are closed, `produced + invented == delivered + coalesced + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Events the device signalled, open round included.
    pub produced: u64,
    /// Handler runs, open round included.
    pub delivered: u64,
    /// Events that merged with another one whose delivery was pending, as edges do in hardware.
    pub coalesced: u64,
    /// Events of rounds that no handler run answered.
    pub lost: u64,
    /// Handler runs in excess of a round's events.
    pub invented: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.produced += other.produced;
        self.delivered += other.delivered;
        self.coalesced += other.coalesced;
        self.lost += other.lost;
        self.invented += other.invented;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    }
}

/// An event is older than one recorded before; the ledger is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event at tsc {stamp} is older than the one at {newest} recorded before")]
pub struct StampOrder {
    /// The event's stamp.
    pub stamp: u64,
    /// The newest stamp recorded.
    pub newest: u64,
}

/// The account of one vector.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    newest: u64,
    tally: Tally,
    round: Round,
    latencies: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Round {
    produced: u64,
    delivered: u64,
    /// The earliest production that no handler run has answered.
    unanswered: Option<u64>,
}

impl Ledger {
    /// An empty account.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one event.
    ///
    /// # Errors
    ///
    /// [`StampOrder`] if it is older than one recorded before; nothing changes.
    pub fn record(&mut self, event: Event) -> Result<(), StampOrder> {
        let stamp = event.stamp();
        if stamp < self.newest {
            return Err(StampOrder {
                stamp,
                newest: self.newest,
            });
        }
        self.newest = stamp;
        match event {
            Event::Produced(stamp) => self.produced(stamp),
            Event::Delivered(stamp) => self.delivered(stamp),
            Event::Quiesced(_) => self.close(),
        }
        Ok(())
    }

    /// Records events gathered in several places: sorts them by stamp, then records each.
    ///
    /// # Errors
    ///
    /// [`StampOrder`] if the oldest is older than one recorded before; nothing changes.
    pub fn record_all(&mut self, events: &mut [Event]) -> Result<(), StampOrder> {
        events.sort_by_key(|event| (event.stamp(), event.rank()));
        events.iter().try_for_each(|event| self.record(*event))
    }

    /// The account so far: what merged, was lost or invented in closed rounds, all else up to now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Ticks from the first unanswered production of a burst to the handler run that answered it, one
    /// sample per such run, in order.
    #[must_use]
    pub fn latencies(&self) -> &[u64] {
        &self.latencies
    }

    /// Hands the latencies over, for a run too long to keep them all.
    #[must_use]
    pub fn take_latencies(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.latencies)
    }

    fn produced(&mut self, stamp: u64) {
        if self.round.delivered >= self.round.produced {
            self.close();
        }
        self.tally.produced += 1;
        self.round.produced += 1;
        self.round.unanswered.get_or_insert(stamp);
    }

    fn delivered(&mut self, stamp: u64) {
        self.tally.delivered += 1;
        self.round.delivered += 1;
        if let Some(produced) = self.round.unanswered.take() {
            self.latencies.push(stamp - produced);
        }
    }

    fn close(&mut self) {
        let Round {
            produced,
            delivered,
            ..
        } = std::mem::take(&mut self.round);
        if delivered == 0 {
            self.tally.lost += produced;
        } else {
            self.tally.coalesced += produced.saturating_sub(delivered);
            self.tally.invented += delivered.saturating_sub(produced);
        }
    }
}
