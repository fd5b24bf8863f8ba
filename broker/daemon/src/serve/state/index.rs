//! What follows from the links: names, keys, eventfds, holdings. Kept when a link goes in or out.

use irqbroker::Token;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Name;
use irqbroker_protocol::Side;
use irqbroker_protocol::WireError;

use super::link::Link;
use super::object::Owner;
use super::session::State;

/// What a side of a link is indexed by.
struct Entry<'a> {
    side: Side,
    name: &'a Name,
    event: u64,
    owner: &'a Owner,
    slot: Option<u32>,
    instruction: Option<InstructionId>,
    fds: usize,
}

/// The sides that are there.
fn entries(link: &Link) -> impl Iterator<Item = Entry<'_>> {
    // One fd is held for an eventfd, whoever of the two passed it: the producer's is its own.
    let of_producer = link.producer.as_ref().map(|producer| &producer.token);
    let of_consumer = link.consumer.as_ref().map(|consumer| &consumer.token);
    let not = |held: Option<&Token>, token: &Option<Token>| {
        usize::from(token.is_some() && token.as_ref() != held)
    };
    let producer = link.producer.as_ref().map(|producer| Entry {
        side: Side::Producer,
        name: &producer.request.name,
        event: producer.token.id().0,
        owner: &producer.owner,
        slot: None,
        instruction: producer.pending.as_ref().map(|pending| pending.id),
        fds: 1 + not(of_consumer, &producer.switched_to),
    });
    let consumer = link.consumer.as_ref().map(|consumer| Entry {
        side: Side::Consumer,
        name: &consumer.name,
        event: consumer.token.id().0,
        owner: &consumer.owner,
        slot: consumer.slot,
        instruction: consumer.pending.as_ref().map(|pending| pending.id),
        fds: usize::from(of_producer != Some(&consumer.token))
            + usize::from(consumer.resample.is_some())
            + not(of_producer, &consumer.attached),
    });
    producer.into_iter().chain(consumer)
}

impl State {
    /// Takes a link out to change it; [`put`](Self::put) has to follow.
    pub(crate) fn take(&mut self, id: u64) -> Option<Link> {
        let link = self.links.remove(&id)?;
        if let Some(journal) = &mut self.journal {
            journal.push((id, Some(link.clone())));
        }
        self.unindex(&link);
        Some(link)
    }

    /// Puts a link in; one without sides is forgotten.
    pub(crate) fn put(&mut self, link: Link) {
        if link.is_empty() {
            return;
        }
        self.index(&link);
        self.links.insert(link.id, link);
    }

    /// Does `change`; if it fails everything is as it was.
    pub(crate) fn all_or_nothing<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        if self.journal.is_some() {
            // Part of something larger, which takes this back as well.
            return change(self);
        }
        let told = self.effects.len();
        self.journal = Some(Vec::new());
        let result = change(self);
        let journal = self.journal.take().unwrap_or_default();
        if result.is_err() {
            self.effects.truncate(told);
            for (id, before) in journal.into_iter().rev() {
                if let Some(now) = self.links.remove(&id) {
                    self.unindex(&now);
                }
                if let Some(before) = before {
                    self.put(before);
                }
            }
        }
        result
    }

    /// The eventfd a peer says it holds, if one of `side` has it.
    pub(crate) fn known(&self, side: Side, event_id: Option<u64>) -> Option<&Token> {
        let link = self.events.get(&(side, event_id?))?;
        Some(self.links.get(link)?.side(side)?.1)
    }

    /// Notes that `id` is a link that was not there before.
    pub(crate) fn note_new(&mut self, id: u64) {
        if let Some(journal) = &mut self.journal {
            journal.push((id, None));
        }
    }

    fn index(&mut self, link: &Link) {
        self.keys.insert(link.key.clone(), link.id);
        for entry in entries(link) {
            let Owner {
                uid,
                session,
                until,
            } = *entry.owner;
            let name = (uid, entry.side, entry.name.clone());
            self.names.insert(name, link.id);
            self.events.insert((entry.side, entry.event), link.id);
            let holdings = self.holdings.entry(uid).or_default();
            holdings.objects += 1;
            holdings.fds += entry.fds;
            if let Some(until) = until {
                self.lingering.insert((until, link.id, entry.side));
            }
            if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
                session.objects.insert((link.id, entry.side));
                session.slots.extend(entry.slot);
                let told = entry.instruction.map(|id| (id, (link.id, entry.side)));
                session.instructions.extend(told);
            }
        }
    }

    fn unindex(&mut self, link: &Link) {
        self.keys.remove(&link.key);
        for entry in entries(link) {
            let Owner {
                uid,
                session,
                until,
            } = *entry.owner;
            self.names.remove(&(uid, entry.side, entry.name.clone()));
            self.events.remove(&(entry.side, entry.event));
            if let Some(holdings) = self.holdings.get_mut(&uid) {
                holdings.objects -= 1;
                holdings.fds -= entry.fds;
                if holdings.objects == 0 {
                    self.holdings.remove(&uid);
                }
            }
            if let Some(until) = until {
                self.lingering.remove(&(until, link.id, entry.side));
            }
            if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
                session.objects.remove(&(link.id, entry.side));
                if let Some(slot) = entry.slot {
                    session.slots.remove(&slot);
                }
                if let Some(instruction) = entry.instruction {
                    session.instructions.remove(&instruction);
                }
            }
        }
    }
}
