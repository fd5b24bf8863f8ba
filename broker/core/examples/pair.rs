//! Two sides that meet by token, with the consumer in user space: the relay delivers.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::LocalProducer;
use irqbroker_core::PeerError;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_core::Wait;

#[derive(Debug, Default)]
struct Counter(AtomicU32);

impl Consumer for Counter {
    fn name(&self) -> String {
        "counter".into()
    }
    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        let delivers = Delivers::Relay(Reason::UserSpaceConsumer);
        ConsumerInfo {
            delivers,
            resample: None,
            device_id: None,
        }
    }
    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }
    fn del_producer(&self) {}
    fn inject(&self) -> Result<(), PeerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new()?;
    let events = registry.subscribe(16);
    let (device, counter) = (LocalProducer::new("device")?, Arc::new(Counter::default()));
    let token = device.token().clone();

    // The consumer waits for its producer, and what was signalled before waits for both.
    device.signal();
    let consumer = registry.register_consumer(token.clone(), counter.clone())?;
    let _producer = registry.register_producer(token, device.clone())?;
    registry.service(Wait::No)?;
    println!("delivered {}", counter.0.load(Ordering::Relaxed));

    consumer.mask()?;
    device.signal();
    registry.service(Wait::No)?;
    println!(
        "delivered {} while masked",
        counter.0.load(Ordering::Relaxed)
    );
    consumer.unmask()?;
    registry.service(Wait::No)?;
    println!(
        "delivered {} after unmask",
        counter.0.load(Ordering::Relaxed)
    );

    for event in events.try_iter() {
        println!("{event:?}");
    }
    Ok(())
}
