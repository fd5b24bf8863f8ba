//! The MSI-X vectors of a simulated device, through a registry, to consumers in user space.
//!
//! With a real device the first lines read:
//!
//! ```ignore
//! let opened = irqbroker_vfio::open(&"0000:00:05.0".parse()?)?;
//! let producers = opened.producers()?;
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use irqbroker_core::Consumer;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::PeerError;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::RouteInfo;
use irqbroker_core::Token;
use irqbroker_core::Wait;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::enable_bus_master;

#[derive(Debug, Default)]
struct Counter(AtomicU32);

impl Consumer for Counter {
    fn name(&self) -> String {
        "counter".into()
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
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = SimDevice::pci().msix(4).build();
    let producers = ProducerDevice::new("sim", device.clone(), None)?;
    enable_bus_master(&*device)?; // Or no message leaves the device.

    let registry = Registry::new()?;
    let msix = producers.index(IrqIndex::MSIX)?;
    let mut links = Vec::new();
    for vector in msix.bind(0..4)? {
        let (token, counter) = (vector.token().clone(), Arc::new(Counter::default()));
        let consumer = registry.register_consumer(token.clone(), counter.clone())?;
        let producer = registry.register_producer(token, vector)?;
        links.push((counter, consumer, producer));
    }
    for vector in [0, 2, 2, 3] {
        let raised = device.raise(IrqIndex::MSIX, vector);
        println!("vector {vector}: {raised:?}");
        registry.service(Wait::No)?;
    }
    for (vector, (counter, ..)) in links.iter().enumerate() {
        let delivered = counter.0.load(Ordering::Relaxed);
        println!("vector {vector}: delivered {delivered}");
    }
    Ok(())
}
