//! The daemon's relay: from a producer's eventfd to a consumer's, for links nobody does better.
//!
//! It differs from the registry's in what it leaves behind: around each claim stands a note in the
//! consumer's [`ClaimRecord`], so that a daemon that dies between the read and the write has lost
//! nothing. The source's counter is the only record of what is pending otherwise.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use irqbroker::Token;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

use super::claim_fd::ClaimRecord;
use super::sink_fd::Signalled;
use super::sink_fd::Signaller;

/// Edge-triggered: one report an event, and adding an entry reports what stands in it.
const INTEREST: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);

/// A consumer's place in its claim record.
#[derive(Debug, Clone)]
pub(crate) struct ClaimSlot {
    pub(crate) record: Rc<ClaimRecord>,
    pub(crate) slot: u32,
}

/// What the relay forwards for a link.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding {
    /// The producer's eventfd.
    pub(crate) source: Token,
    /// The consumer's.
    pub(crate) sink: Token,
    /// Where claims are noted.
    pub(crate) claims: Option<ClaimSlot>,
    /// Events claimed, for the link's row.
    pub(crate) events: Rc<Cell<u64>>,
}

/// Whether to look into the source once more before leaving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastClaim {
    /// The next taker finds what stands in the source.
    Leave,
    /// Nobody will look into it again.
    Forward,
}

/// The links the daemon forwards, by id.
#[derive(Debug)]
pub(crate) struct Relay {
    links: HashMap<u64, Forwarding>,
    relayed: u64,
    signaller: Signaller,
    /// Links whose consumers made their eventfds block, since this was asked last.
    held_up: Vec<u64>,
}

impl Relay {
    /// For the calling thread.
    ///
    /// # Errors
    ///
    /// The kernel refused a timer.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            links: HashMap::new(),
            relayed: 0,
            signaller: Signaller::new()?,
            held_up: Vec::new(),
        })
    }

    /// Starts to forward; what stands in the source is reported at once.
    ///
    /// # Errors
    ///
    /// The epoll set takes no more.
    pub(crate) fn start(
        &mut self,
        epoll: BorrowedFd<'_>,
        link: u64,
        forwarding: Forwarding,
    ) -> Result<(), Errno> {
        self.stop(epoll, link, LastClaim::Leave);
        let data = epoll::EventData::new_u64(link);
        epoll::add(epoll, &forwarding.source, data, INTEREST)?;
        self.links.insert(link, forwarding);
        Ok(())
    }

    /// Stops to forward. Nothing is claimed after return.
    pub(crate) fn stop(&mut self, epoll: BorrowedFd<'_>, link: u64, last: LastClaim) {
        if last == LastClaim::Forward {
            self.forward(link);
        }
        if let Some(forwarding) = self.links.remove(&link) {
            // The only failure is that it is not in the set.
            let _gone = epoll::delete(epoll, &forwarding.source);
        }
    }

    /// Claims what stands in a link's source and writes one event to its sink.
    pub(crate) fn forward(&mut self, link: u64) {
        // A report that was on its way while the link left the relay finds nothing here.
        let Some(forwarding) = self.links.get(&link) else {
            return;
        };
        if let Some(claims) = &forwarding.claims {
            claims.record.begin(claims.slot);
        }
        let count = claim(forwarding.source.as_fd());
        if count > 0 {
            if self.signaller.signal(forwarding.sink.as_fd()) == Signalled::HeldUp {
                self.held_up.push(link);
            }
            let events = &forwarding.events;
            events.set(events.get().saturating_add(count));
            self.relayed += 1;
        }
        if let Some(claims) = &forwarding.claims {
            claims.record.end(claims.slot);
        }
    }

    /// Interrupts forwarded so far.
    pub(crate) fn relayed(&self) -> u64 {
        self.relayed
    }

    /// Delivers what an earlier daemon claimed and may not have delivered. Returns whether there
    /// was something.
    pub(crate) fn recover(&mut self, link: u64, claims: &ClaimSlot, sink: &Token) -> bool {
        let open = claims.record.is_open(claims.slot);
        if open {
            if self.signaller.signal(sink.as_fd()) == Signalled::HeldUp {
                self.held_up.push(link);
            }
            claims.record.end(claims.slot);
        }
        open
    }

    /// The turn is over: the links whose consumers held it up.
    pub(crate) fn rest(&mut self) -> Vec<u64> {
        self.signaller.rest();
        std::mem::take(&mut self.held_up)
    }
}

/// Takes what stands in an eventfd; 0 if nothing does. Never waits, whatever the peer does to the
/// flags the two share: an offset of all ones is the file's own position.
fn claim(source: BorrowedFd<'_>) -> u64 {
    let mut count = [0u8; 8];
    let mut buffers = [IoSliceMut::new(&mut count)];
    match rustix::io::preadv2(source, &mut buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::EventfdFlags;

    struct Rig {
        epoll: std::os::fd::OwnedFd,
        relay: Relay,
        source: Token,
        sink: Token,
        claims: ClaimSlot,
    }

    fn signal(event: &Token) {
        rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
    }

    /// The link of these tests.
    const LINK: u64 = 5;

    fn token() -> Token {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Token::of(rustix::event::eventfd(0, flags).unwrap()).unwrap()
    }

    impl Rig {
        fn new() -> Self {
            Self {
                epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
                relay: Relay::new().unwrap(),
                source: token(),
                sink: token(),
                claims: ClaimSlot {
                    record: Rc::new(ClaimRecord::create().unwrap()),
                    slot: 3,
                },
            }
        }

        fn start(&mut self) -> Rc<Cell<u64>> {
            let events = Rc::new(Cell::new(0));
            let forwarding = Forwarding {
                source: self.source.clone(),
                sink: self.sink.clone(),
                claims: Some(self.claims.clone()),
                events: Rc::clone(&events),
            };
            let epoll = self.epoll.as_fd();
            self.relay.start(epoll, LINK, forwarding).unwrap();
            events
        }
    }

    #[test]
    fn forward_claims_all_and_signals_once_and_closes_its_note() {
        let mut rig = Rig::new();
        let events = rig.start();
        signal(&rig.source);
        signal(&rig.source);
        rig.relay.forward(LINK);
        assert_eq!(rig.source.pending().unwrap(), 0);
        assert_eq!(rig.sink.pending().unwrap(), 1);
        assert_eq!((events.get(), rig.relay.relayed()), (2, 1));
        assert!(!rig.claims.record.is_open(rig.claims.slot));
    }

    #[test]
    fn forward_of_an_empty_source_invents_nothing() {
        let mut rig = Rig::new();
        rig.start();
        rig.relay.forward(LINK);
        assert_eq!(rig.sink.pending().unwrap(), 0);
    }

    #[test]
    fn stop_leaves_or_forwards_what_stands_as_told() {
        let mut rig = Rig::new();
        rig.start();
        signal(&rig.source);
        rig.relay.stop(rig.epoll.as_fd(), LINK, LastClaim::Leave);
        rig.relay.forward(LINK);
        assert_eq!(rig.source.pending().unwrap(), 1);
        rig.start();
        rig.relay.stop(rig.epoll.as_fd(), LINK, LastClaim::Forward);
        assert_eq!(rig.source.pending().unwrap(), 0);
        assert_eq!(rig.sink.pending().unwrap(), 1);
    }

    #[test]
    fn recover_delivers_an_open_claim_once() {
        let mut rig = Rig::new();
        rig.claims.record.begin(rig.claims.slot);
        assert!(rig.relay.recover(LINK, &rig.claims, &rig.sink));
        assert!(!rig.relay.recover(LINK, &rig.claims, &rig.sink));
        assert_eq!(rig.sink.pending().unwrap(), 1);
    }

    #[test]
    fn claim_of_a_blocking_eventfd_that_is_empty_returns_at_once() {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(claim(event.as_fd()), 0);
    }
}
