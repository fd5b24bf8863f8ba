//! What the tests of several modules stand on: a stepped clock and a bound consumer.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::LocalProducer;
use irqbroker_core::Producer;
use irqbroker_core::Reason;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::time::Timespec;

use crate::clock::Clock;
use crate::clock::MonotonicTime;
use crate::instance::InstanceConfig;
use crate::instance::VgpuInstance;
use crate::parent::VgpuParent;
use crate::refresh::Refresh;

/// A clock that stands until it is stepped.
#[derive(Debug)]
pub(crate) struct FakeClock(AtomicU64);

impl FakeClock {
    /// Begins at a time that is no multiple of any period or grid.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_234_567)))
    }

    pub(crate) fn step(&self, by: Duration) -> MonotonicTime {
        let nanos = u64::try_from(by.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::SeqCst);
        self.now()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
pub(crate) struct CountingWaker(AtomicU32);

impl CountingWaker {
    pub(crate) fn wakes(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An instance with a head for each rate.
pub(crate) fn create(parent: &VgpuParent, heads: &[Refresh]) -> Arc<VgpuInstance> {
    let config = InstanceConfig {
        name: None,
        heads: heads.to_vec(),
    };
    parent.create(config).unwrap()
}

/// Binds a consumer that reads the eventfd itself.
pub(crate) fn bind(producer: &LocalProducer) {
    let consumer = ConsumerInfo {
        delivers: Delivers::Relay(Reason::UserSpaceConsumer),
        resample: None,
        device_id: None,
    };
    producer.add_consumer(&consumer).unwrap();
}

/// Waits for the eventfd and drains it.
pub(crate) fn wait(producer: &LocalProducer) -> u64 {
    // Long enough for any machine; only a lost event gets there.
    let limit = Timespec {
        tv_sec: 120,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(producer.token(), PollFlags::IN)];
    let ready = rustix::event::poll(&mut fds, Some(&limit)).unwrap();
    assert_eq!(ready, 1, "no event of {}", producer.name());
    let mut count = [0; 8];
    rustix::io::read(producer.token(), &mut count).unwrap();
    u64::from_ne_bytes(count)
}
