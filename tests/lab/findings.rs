//! What a story counted, and what else it has to tell.

use serde_json::Map;
use serde_json::Value;

/// Interrupts of one story, counted in rounds that end with nothing in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Events.
    pub(crate) produced: u64,
    /// Runs of the nested guest's handlers.
    pub(crate) delivered: u64,
    /// Events that merged with another of their round, as edges do while one is pending.
    pub(crate) coalesced: u64,
    /// Events of rounds in which no handler ran.
    pub(crate) lost: u64,
    /// Runs beyond the events of their round.
    pub(crate) invented: u64,
}

impl Account {
    /// Adds a round.
    pub(crate) fn round(&mut self, produced: u64, delivered: u64) {
        self.produced += produced;
        self.delivered += delivered;
        match delivered {
            0 => self.lost += produced,
            _ => self.coalesced += produced.saturating_sub(delivered),
        }
        self.invented += delivered.saturating_sub(produced);
    }

    /// Adds the rounds of another account.
    pub(crate) fn add(&mut self, other: Self) {
        self.produced += other.produced;
        self.delivered += other.delivered;
        self.coalesced += other.coalesced;
        self.lost += other.lost;
        self.invented += other.invented;
    }
}

/// What a story found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// Its interrupts, if it counts any.
    pub(crate) account: Option<Account>,
    /// Anything else worth a line.
    pub(crate) facts: Map<String, Value>,
}

impl Findings {
    /// Nothing but an account.
    pub(crate) fn counted(account: Account) -> Self {
        Self {
            account: Some(account),
            facts: Map::new(),
        }
    }

    /// With one more fact.
    pub(crate) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Why the story is not ok, though it ran to its end.
    pub(crate) fn complaint(&self) -> Option<String> {
        let account = self.account?;
        let uneven = account.lost + account.invented > 0 || account.produced == 0;
        uneven.then(|| format!("the account is not even: {account:?}"))
    }
}
