//! What the state asks for, done: notices, the relay, events.

use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Event;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Notice;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::Status;
use std::os::fd::AsFd;

use super::hooks::View;
use super::peer::Backlog;
use super::peer::OutFd;
use super::peer::Peer;
use super::polled::poll_for;
use super::server::Server;
use super::state::Effect;
use super::welcome::DAEMON;

impl Server {
    /// Does what the state asks for, until it asks for nothing more.
    pub(super) fn apply(&mut self) {
        if let Some(host) = &mut self.hooks.vgpus {
            let events = host.events();
            events
                .into_iter()
                .for_each(|event| self.tell_watchers(event));
        }
        self.answer_decided();
        loop {
            let effects = self.state.take_effects();
            if effects.is_empty() {
                return;
            }
            effects.into_iter().for_each(|effect| self.perform(effect));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartRelay { link, forwarding } => {
                if let Err(error) = self.relay.start(self.epoll.as_fd(), link, forwarding) {
                    tracing::error!(link, %error, "a link cannot be relayed");
                }
            }
            Effect::StopRelay { link, last } => self.relay.stop(self.epoll.as_fd(), link, last),
            Effect::Recover { link, claims, sink } => {
                if self.relay.recover(link, &claims, &sink) {
                    self.tally.recovered += 1;
                    self.tell_watchers(EventKind::Recovered { link });
                }
            }
            Effect::Tell {
                session,
                notice,
                fds,
            } => match ServerFrame::encode_notice(&notice) {
                Ok(bytes) => {
                    let fds = fds.into_iter().map(OutFd::Event).collect();
                    self.send(session.0, bytes, fds);
                }
                Err(error) => tracing::error!(%error, "a notice could not be encoded"),
            },
            Effect::Event(kind) => self.tell_watchers(kind),
        }
    }

    fn tell_watchers(&mut self, kind: EventKind) {
        self.tally.events += 1;
        let watchers: Vec<u64> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.watching)
            .map(|(&id, _)| id)
            .collect();
        if watchers.is_empty() {
            return;
        }
        let event = Event {
            sequence: self.tally.events,
            at_ms: self.now_ms(),
            kind,
        };
        for id in watchers {
            self.tell_watcher(id, event.clone());
        }
    }

    /// Tells one watcher, or leaves the event out where it does not keep up.
    fn tell_watcher(&mut self, id: u64, event: Event) {
        let room = self.options.quotas.backlog_bytes / 2;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.backlog_bytes() > room {
            peer.missed += 1;
            return;
        }
        let missed = std::mem::take(&mut peer.missed);
        let lagged = (missed > 0).then(|| Event {
            kind: EventKind::Lagged { missed },
            ..event.clone()
        });
        for event in lagged.into_iter().chain([event]) {
            if let Ok(bytes) = ServerFrame::encode_notice(&Notice::Event(event)) {
                self.send(id, bytes, Vec::new());
            }
        }
    }

    /// Sends a message, or keeps it for a peer that does not read yet.
    pub(super) fn send(&mut self, id: u64, bytes: Vec<u8>, fds: Vec<OutFd>) {
        self.move_out(id, |peer, limit| peer.send(bytes, fds, limit));
    }

    /// Sends what was kept for a peer.
    pub(super) fn flush(&mut self, id: u64) {
        self.move_out(id, Peer::flush);
    }

    /// Has a peer send, within what may wait for it and for all of its uid.
    fn move_out(&mut self, id: u64, send: impl FnOnce(&mut Peer, usize) -> Backlog) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let before = peer.backlog_bytes();
        let room = self.state.room(peer.uid).saturating_add(before);
        let backlog = send(peer, self.options.quotas.backlog_bytes.min(room));
        self.state.waits(peer.uid, before, peer.backlog_bytes());
        let waits = backlog == Backlog::Waiting;
        let polled = poll_for(&self.epoll, id, peer, waits);
        if backlog == Backlog::Over || polled.is_err() {
            self.leaving.push((id, Some(ErrorCode::SlowReader)));
        }
    }
}

impl View for Server {
    fn status(&self) -> Status {
        let totals = self.state.totals();
        Status {
            daemon: DAEMON.to_owned(),
            pid: std::process::id(),
            run: self.run,
            uptime_ms: self.now_ms(),
            connections: self.peers.len(),
            producers: totals.producers,
            consumers: totals.consumers,
            lingering: totals.lingering,
            links: totals.links,
            fds: totals.fds,
            relayed: self.relay.relayed(),
            recovered: self.tally.recovered,
            requests: self.tally.requests,
            refused: self.tally.refused,
            wakeups: self.tally.wakeups,
            vgpus: self.hooks.vgpus.as_ref().map_or(0, |host| host.count()),
            sandbox: self.hooks.notes.borrow().sandbox.clone(),
            reload: self.hooks.notes.borrow().reload.clone(),
        }
    }

    fn links(&self) -> Vec<LinkRow> {
        self.state.all_rows().collect()
    }
}
