//! A consumer in user space that counts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker::Consumer;
use irqbroker::ConsumerInfo;
use irqbroker::Delivers;
use irqbroker::PeerError;
use irqbroker::ProducerInfo;
use irqbroker::Reason;
use irqbroker::RouteInfo;
use irqbroker::Token;

/// Counts the interrupts it is given.
#[derive(Debug)]
pub(super) struct Counting {
    name: String,
    count: AtomicU64,
}

impl Counting {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            count: AtomicU64::new(0),
        }
    }

    /// Interrupts so far.
    pub(super) fn count(&self) -> u64 {
        // Relaxed: a count, which orders nothing.
        self.count.load(Ordering::Relaxed)
    }
}

impl Consumer for Counting {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Relay(Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }

    fn del_producer(&self) {}

    fn inject(&self) -> Result<(), PeerError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn route(&self) -> Option<RouteInfo> {
        None
    }
}
