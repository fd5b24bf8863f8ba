//! Connecting, shaking hands, registering: with the first daemon and with every later one.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use irqbroker_protocol::Batch;
use irqbroker_protocol::Connection;
use irqbroker_protocol::FdCount;
use irqbroker_protocol::Hello;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::Name;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Request;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::Side;
use rustix::event::epoll;
use rustix::time::Itimerspec;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;

use super::event::ClientEvent;
use super::handle::CONNECTION;
use super::handle::ControlClient;
use super::wire::Asked;
use super::wire::Wire;

/// Registrations sent as one: the longest of them have 600 bytes, so that a hundred stay below the
/// longest message.
const TOGETHER: usize = 100;

/// Packets looked at for the reason of a close: the first of a connection, as long as it was turned away.
const LAST_WORDS: usize = 64;

impl ControlClient {
    /// Tries to reach the daemon; later again if that fails.
    pub(super) fn connect(&mut self) {
        let Ok(connection) = Connection::connect_nonblocking(&self.options.socket) else {
            self.fail();
            return;
        };
        let data = epoll::EventData::new_u64(CONNECTION);
        let added = epoll::add(&self.epoll, &connection, data, epoll::EventFlags::IN);
        if added.is_err() {
            self.fail();
            return;
        }
        let linger = u32::try_from(self.options.linger.as_millis()).unwrap_or(u32::MAX);
        let hello = Request::Hello(Hello {
            linger_ms: linger,
            claim_record: self.record.is_some(),
            ..Hello::new(self.options.name.clone(), &self.options.scopes)
        });
        let mut wire = Wire::new(connection);
        let record: Vec<BorrowedFd<'_>> = self.record.iter().map(AsFd::as_fd).collect();
        let asked = wire.ask(&hello, &record, Asked::Hello);
        self.wire = Some(wire);
        if asked.is_err() {
            self.hear_out();
        }
    }

    /// The daemon closes. One that turns a process away says why and closes, before it is asked or
    /// after: the error of the closed socket comes first, and then what was said.
    pub(super) fn hear_out(&mut self) {
        for _ in 0..LAST_WORDS {
            let Some(wire) = &mut self.wire else { return };
            let Ok(packet) = wire.connection.receive() else {
                break;
            };
            // Instructions of a daemon that is gone are nobody's any more.
            match ServerFrame::decode(packet.bytes) {
                Ok(frame @ ServerFrame::Response { .. })
                | Ok(frame @ ServerFrame::Notice(Notice::Closing(_))) => {
                    let fds = packet.fds;
                    self.receive(frame, fds);
                }
                _ => {}
            }
        }
        self.lose();
    }

    /// Everything is told to a daemon that knows nothing of it yet.
    pub(super) fn register_all(&mut self) {
        let producers = self.producers.keys().map(|name| (Side::Producer, name));
        let consumers = self.consumers.keys().map(|name| (Side::Consumer, name));
        let all: Vec<(Side, Name)> = producers
            .chain(consumers)
            .map(|(side, name)| (side, name.clone()))
            .collect();
        let mut batch = Vec::new();
        let mut fds = 0;
        for one in all {
            let needed = self.request(&one).map_or(0, |request| request.fd_count());
            if batch.len() == TOGETHER || fds + needed > MAX_FDS {
                self.register_batch(std::mem::take(&mut batch));
                fds = 0;
            }
            fds += needed;
            batch.push(one);
        }
        if !batch.is_empty() {
            self.register_batch(batch);
        }
        self.all_answered();
    }

    fn register_batch(&mut self, objects: Vec<(Side, Name)>) {
        let requests: Vec<Request> = objects.iter().filter_map(|one| self.request(one)).collect();
        let request = Request::Batch(Batch { requests });
        self.ask_registration(&request, objects, Asked::Batch);
    }

    /// Tells the daemon of one object, if one answers.
    pub(super) fn register_one(&mut self, side: Side, name: &Name) {
        if !self.welcomed {
            return;
        }
        let one = (side, name.clone());
        let Some(request) = self.request(&one) else {
            return;
        };
        self.ask_registration(&request, vec![one], |one| {
            one.into_iter()
                .next()
                .map_or(Asked::Other, |(side, name)| Asked::Register(side, name))
        });
    }

    /// Sends a registration with the fds of what it registers.
    fn ask_registration(
        &mut self,
        request: &Request,
        objects: Vec<(Side, Name)>,
        asked: impl FnOnce(Vec<(Side, Name)>) -> Asked,
    ) {
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        let fds: Vec<BorrowedFd<'_>> = objects.iter().flat_map(|one| self.fds(one)).collect();
        let sent = wire.ask(request, &fds, asked(objects.clone()));
        self.wire = Some(wire);
        self.unanswered += 1;
        if sent.is_err() {
            self.lose();
        }
        self.poll_for_room();
    }

    fn request(&self, (side, name): &(Side, Name)) -> Option<Request> {
        Some(match side {
            Side::Producer => Request::RegisterProducer(self.producers.get(name)?.request()),
            Side::Consumer => Request::RegisterConsumer(self.consumers.get(name)?.request()),
        })
    }

    /// What goes with the request, in the contract's order.
    fn fds(&self, (side, name): &(Side, Name)) -> Vec<BorrowedFd<'_>> {
        let mut fds = Vec::new();
        match side {
            Side::Producer => {
                if let Some(producer) = self.producers.get(name) {
                    fds.push(producer.spec.event.as_fd());
                    fds.extend(producer.switched_to.iter().map(AsFd::as_fd));
                }
            }
            Side::Consumer => {
                if let Some(consumer) = self.consumers.get(name) {
                    fds.push(consumer.own.as_fd());
                    fds.extend(consumer.resample.iter().map(AsFd::as_fd));
                    fds.extend(consumer.attached.iter().map(AsFd::as_fd));
                }
            }
        }
        fds
    }

    /// Notes when nothing is left to be registered.
    pub(super) fn all_answered(&mut self) {
        if self.welcomed && self.unanswered == 0 {
            self.note(ClientEvent::Registered);
        }
    }

    /// The connection is gone: what is bound stays bound, and another is looked for.
    pub(super) fn lose(&mut self) {
        if let Some(wire) = self.wire.take() {
            // The only failure is that it is not in the set.
            let _gone = epoll::delete(&self.epoll, &wire.connection);
        }
        self.unanswered = 0;
        if std::mem::take(&mut self.welcomed) {
            self.note(ClientEvent::Disconnected);
            self.failures = 0;
        }
        self.fail();
    }

    /// Tries again after a while.
    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.ring_after(self.options.backoff.after(self.failures));
    }

    pub(super) fn try_again_now(&self) {
        // Zero would stop the clock.
        self.ring_after(Duration::from_nanos(1));
    }

    fn ring_after(&self, wait: Duration) {
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec::try_from(wait).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            }),
        };
        let flags = TimerfdTimerFlags::empty();
        if let Err(error) = rustix::time::timerfd_settime(&self.clock, flags, &once) {
            tracing::error!(%error, "the client cannot wait for the daemon");
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
