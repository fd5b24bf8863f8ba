//! Connections that open and close, and what becomes of their objects.

use irqbroker_protocol::EventKind;
use irqbroker_protocol::Name;
use irqbroker_protocol::Side;

use super::link::Link;
use super::object::Owner;
use super::session::NewSession;
use super::session::Session;
use super::session::SessionId;
use super::session::State;

impl State {
    /// A connection has shaken hands.
    pub(crate) fn open(&mut self, id: SessionId, new: NewSession) {
        self.event(EventKind::Connected {
            session: id.0,
            uid: new.uid,
            client: new.client.clone(),
        });
        self.sessions.insert(id, Session::new(new));
    }

    /// A connection has closed: what it registered is withdrawn, or stays for a hand-over.
    pub(crate) fn close(&mut self, id: SessionId, now_ms: u64) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let linger = session.linger_ms.min(self.quotas.linger_ms);
        let objects: Vec<(u64, Side)> = session.objects.iter().copied().collect();
        for (link, side) in objects {
            match linger {
                0 => self.withdraw(link, side),
                _ => self.leave_behind(link, side, now_ms + u64::from(linger)),
            }
        }
        self.sessions.remove(&id);
        self.event(EventKind::Disconnected { session: id.0 });
    }

    /// Withdraws what has waited for its hand-over long enough.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(until, link, side)) = self.lingering.first()
            && until <= now_ms
        {
            self.withdraw(link, side);
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.lingering.first().map(|&(until, ..)| until)
    }

    fn leave_behind(&mut self, id: u64, side: Side, until: u64) {
        let Some(mut link) = self.take(id) else {
            return;
        };
        if let Some(owner) = link.owner_mut(side) {
            owner.session = None;
            owner.until = Some(until);
        }
        if let Some(name) = link.name(side) {
            self.event(EventKind::Lingering {
                link: id,
                side,
                name,
            });
        }
        self.settle(&mut link);
        self.put(link);
    }

    /// Withdraws a link's consumer, whether it lingers or not. Returns its connection.
    pub(crate) fn evict(&mut self, link: u64) -> Option<SessionId> {
        let (owner, _) = self.links.get(&link)?.side(Side::Consumer)?;
        let session = owner.session;
        self.withdraw(link, Side::Consumer);
        session
    }

    /// Takes a side out of its link.
    pub(crate) fn withdraw(&mut self, id: u64, side: Side) {
        let Some(mut link) = self.take(id) else {
            return;
        };
        let Some(name) = link.name(side) else {
            self.put(link);
            return;
        };
        match side {
            Side::Producer => link.producer = None,
            Side::Consumer => link.consumer = None,
        }
        link.left = true;
        link.declined = None;
        self.event(EventKind::Unregistered {
            link: id,
            side,
            name,
        });
        self.show_parting(&link);
        self.show_mask(&link);
        self.settle(&mut link);
        self.put(link);
    }
}

impl Link {
    fn owner_mut(&mut self, side: Side) -> Option<&mut Owner> {
        match side {
            Side::Producer => self.producer.as_mut().map(|one| &mut one.owner),
            Side::Consumer => self.consumer.as_mut().map(|one| &mut one.owner),
        }
    }

    pub(crate) fn name(&self, side: Side) -> Option<Name> {
        match side {
            Side::Producer => self.producer.as_ref().map(|one| one.request.name.clone()),
            Side::Consumer => self.consumer.as_ref().map(|one| one.name.clone()),
        }
    }
}
