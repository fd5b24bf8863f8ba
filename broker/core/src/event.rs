//! What a registry tells its subscribers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::TrySendError;

use crate::delivery::Delivery;
use crate::ids::EventId;
use crate::ids::LinkId;

/// One of the two halves of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The half that signals the eventfd.
    Producer,
    /// The half that takes its events.
    Consumer,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// A change in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A side came.
    Registered {
        /// The link it belongs to.
        link: LinkId,
        /// The eventfd it came with.
        event: EventId,
        /// Which side.
        side: Side,
    },
    /// A side left.
    Unregistered {
        /// The link it belonged to.
        link: LinkId,
        /// Which side.
        side: Side,
    },
    /// The two sides met, and one refused the other.
    Refused {
        /// The link that did not come about.
        link: LinkId,
    },
    /// The link's interrupts travel another way, or the same way for another reason.
    Delivery {
        /// The link.
        link: LinkId,
        /// How they travelled.
        from: Delivery,
        /// How they travel now.
        to: Delivery,
    },
    /// An interrupt the relay had claimed could not be injected (a dead VM): it is gone.
    InjectFailed {
        /// The link.
        link: LinkId,
    },
    /// The subscriber was too slow: this many events were left out here.
    Lagged(u64),
}

/// The subscribers of one registry. A leaf lock: taken under a link's lock, takes none.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    /// Saves the lock where nobody listens. Relaxed: a subscriber gets what comes after it.
    any: AtomicBool,
    list: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    sender: Sender<Event>,
    lagged: u64,
}

impl Subscribers {
    pub(crate) fn add(&self, capacity: usize) -> Receiver<Event> {
        // At least the marker and one event must fit.
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(2));
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Subscriber { sender, lagged: 0 });
        self.any.store(true, Ordering::Relaxed);
        receiver
    }

    pub(crate) fn tell(&self, event: Event) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain_mut(|subscriber| subscriber.tell(event));
        self.any.store(!list.is_empty(), Ordering::Relaxed);
    }
}

impl Subscriber {
    /// Whether the subscriber is still there.
    fn tell(&mut self, event: Event) -> bool {
        if self.lagged > 0 {
            match self.sender.try_send(Event::Lagged(self.lagged)) {
                Ok(()) => self.lagged = 0,
                Err(TrySendError::Full(_)) => {
                    self.lagged += 1;
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        match self.sender.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lagged += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn event(slot: u32) -> Event {
        Event::Refused {
            link: LinkId {
                slot,
                generation: 1,
            },
        }
    }

    #[test]
    fn slow_subscriber_gets_a_lagged_marker_with_the_number_left_out() {
        let subscribers = Subscribers::default();
        let receiver = subscribers.add(2);
        (0..5).for_each(|slot| subscribers.tell(event(slot)));
        assert_eq!(
            receiver.try_iter().collect::<Vec<_>>(),
            [event(0), event(1)]
        );
        subscribers.tell(event(5));
        assert_eq!(
            receiver.try_iter().collect::<Vec<_>>(),
            [Event::Lagged(3), event(5)]
        );
    }

    #[test]
    fn subscriber_that_left_is_forgotten() {
        let subscribers = Subscribers::default();
        drop(subscribers.add(2));
        subscribers.tell(event(0));
        assert!(subscribers.list.lock().unwrap().is_empty());
        assert!(!subscribers.any.load(Ordering::Relaxed));
    }
}
