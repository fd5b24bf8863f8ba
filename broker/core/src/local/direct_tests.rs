//! A producer that calls a consumer past its eventfd.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use super::*;
use crate::info::Delivers;
use crate::info::RouteInfo;

/// Takes interrupts until it is told to refuse them.
#[derive(Debug, Default)]
struct Posting {
    taken: AtomicU32,
    refuses: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("told to refuse")]
struct Told;

impl Consumer for Posting {
    fn name(&self) -> String {
        "posting".into()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Posted,
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }

    fn del_producer(&self) {}

    fn inject(&self) -> Result<(), PeerError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(PeerError::new(Told));
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

#[test]
fn signal_calls_an_attached_consumer_and_writes_what_it_refuses() {
    let producer = LocalProducer::new("p").unwrap();
    let posting = Arc::new(Posting::default());
    Direct::attach(&*producer, posting.clone());
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 0);
    posting.refuses.store(true, Ordering::Relaxed);
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 1);
    posting.refuses.store(false, Ordering::Relaxed);
    producer.mask().unwrap();
    producer.signal();
    assert_eq!(posting.taken.load(Ordering::Relaxed), 1);
    producer.unmask().unwrap();
    assert_eq!(posting.taken.load(Ordering::Relaxed), 2);
    Direct::detach(&*producer);
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 2);
    assert_eq!(posting.taken.load(Ordering::Relaxed), 2);
}
