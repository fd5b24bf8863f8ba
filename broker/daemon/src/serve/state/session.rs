//! The connections, and everything they share.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::rc::Rc;

use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::Scope;
use irqbroker_protocol::Side;

use super::effect::Effect;
use super::link::Key;
use super::link::Link;
use crate::serve::claim_fd::ClaimRecord;
use crate::serve::fd_limit::FDS_OF_A_CONNECTION;
use crate::serve::partners::Partners;

/// The number of a connection in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// What an object counts for: more than it takes with its half of the link and of the index.
pub(crate) const OBJECT_BYTES: usize = 1024;

/// How much one uid, and one connection, may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// Connections of one uid.
    pub(crate) connections: usize,
    /// Producers and consumers of one connection.
    pub(crate) objects: usize,
    /// Fds held for one uid: one for each object, and one for a resample event, an attached or a
    /// switched one.
    pub(crate) fds: usize,
    /// Fds of all uids together, with those of their connections.
    pub(crate) all_fds: usize,
    /// Requests a second of one uid, and the burst that is let through.
    pub(crate) requests_per_second: u32,
    /// Bytes kept for a peer that does not read.
    pub(crate) backlog_bytes: usize,
    /// Bytes for one uid: what is kept for its connections, and [`OBJECT_BYTES`] for each of its
    /// objects.
    pub(crate) memory_bytes: usize,
    /// Longest time objects outlive their connection, in milliseconds.
    pub(crate) linger_ms: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            connections: 256,
            objects: 16 * 1024,
            fds: 64 * 1024,
            all_fds: usize::MAX,
            requests_per_second: 50_000,
            backlog_bytes: 1024 * 1024,
            memory_bytes: 128 * 1024 * 1024,
            linger_ms: 30_000,
        }
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) uid: u32,
    pub(crate) client: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) linger_ms: u32,
    pub(crate) record: Option<Rc<ClaimRecord>>,
}

/// A connection. What follows from its objects is kept by the index.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uid: u32,
    pub(crate) linger_ms: u32,
    pub(crate) record: Option<Rc<ClaimRecord>>,
    pub(crate) last_instruction: u64,
    pub(crate) next_slot: u32,
    /// Derived: the links it has a side in.
    pub(crate) objects: BTreeSet<(u64, Side)>,
    /// Derived: places of its consumers in the record.
    pub(crate) slots: BTreeSet<u32>,
    /// Derived: instructions it has not answered, by number.
    pub(crate) instructions: HashMap<InstructionId, (u64, Side)>,
}

impl Session {
    pub(crate) fn new(new: NewSession) -> Self {
        Self {
            uid: new.uid,
            linger_ms: new.linger_ms,
            record: new.record,
            last_instruction: 0,
            next_slot: 0,
            objects: BTreeSet::new(),
            slots: BTreeSet::new(),
            instructions: HashMap::new(),
        }
    }
}

/// What one uid holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holdings {
    pub(crate) objects: usize,
    pub(crate) fds: usize,
}

/// Everything the daemon knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) quotas: Quotas,
    /// Whose objects may meet by name.
    pub(crate) partners: Partners,
    /// Connections there are, with those that have not shaken hands.
    pub(crate) connections: usize,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) last_link: u64,
    /// Derived: links by what they are found by.
    pub(crate) keys: HashMap<Key, u64>,
    /// Derived: links by the names of their sides, which are their users' own.
    pub(crate) names: HashMap<(u32, Side, Name), u64>,
    /// Derived: links by the eventfds of their sides.
    pub(crate) events: HashMap<(Side, u64), u64>,
    /// Derived: what each uid holds.
    pub(crate) holdings: HashMap<u32, Holdings>,
    /// Bytes of messages that wait for the connections of each uid, as the server says.
    pub(crate) waiting: HashMap<u32, usize>,
    /// Derived: sides whose connection has closed, by when they are withdrawn.
    pub(crate) lingering: BTreeSet<(u64, u64, Side)>,
    /// What links were before the request under way changed them.
    pub(crate) journal: Option<Vec<(u64, Option<Link>)>>,
    pub(crate) effects: Vec<Effect>,
}

impl State {
    pub(crate) fn new(quotas: Quotas, partners: Partners) -> Self {
        Self {
            quotas,
            partners,
            connections: 0,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            last_link: 0,
            keys: HashMap::new(),
            names: HashMap::new(),
            events: HashMap::new(),
            holdings: HashMap::new(),
            waiting: HashMap::new(),
            lingering: BTreeSet::new(),
            journal: None,
            effects: Vec::new(),
        }
    }

    /// Fds that all connections and their objects take, as far as they are counted.
    pub(crate) fn fds_taken(&self) -> usize {
        let held: usize = self.holdings.values().map(|one| one.fds).sum();
        held + self.connections * FDS_OF_A_CONNECTION
    }

    /// Bytes that `uid` may still have the daemon keep.
    pub(crate) fn room(&self, uid: u32) -> usize {
        let objects = self.holdings.get(&uid).map_or(0, |one| one.objects);
        let waiting = self.waiting.get(&uid).copied().unwrap_or(0);
        let used = objects.saturating_mul(OBJECT_BYTES).saturating_add(waiting);
        self.quotas.memory_bytes.saturating_sub(used)
    }

    /// What waits for the connections of `uid` has become more or less.
    pub(crate) fn waits(&mut self, uid: u32, before: usize, now: usize) {
        let waiting = self.waiting.entry(uid).or_default();
        *waiting = (*waiting + now).saturating_sub(before);
        if *waiting == 0 {
            self.waiting.remove(&uid);
        }
    }

    /// What has to be done outside since this was called last.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
