//! Producers through a registry.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker_core::Consumer;
use irqbroker_core::Registry;
use irqbroker_core::RouteInfo;
use irqbroker_core::Wait;

use super::*;
use crate::bus_master::enable_bus_master;

/// A guest in user space: counts, and serves a level interrupt when told.
#[derive(Debug)]
struct Guest {
    resample: Option<Arc<OwnedFd>>,
    taken: AtomicU64,
}

impl Guest {
    fn new(resample: Option<Arc<OwnedFd>>) -> Arc<Self> {
        Arc::new(Self {
            resample,
            taken: AtomicU64::new(0),
        })
    }

    fn taken(&self) -> u64 {
        // Relaxed: everything is on one thread.
        self.taken.load(Ordering::Relaxed)
    }
}

impl Consumer for Guest {
    fn name(&self) -> String {
        "guest".into()
    }
    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            resample: self.resample.clone().map(ResampleEvent::new),
            ..without_resample()
        }
    }
    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }
    fn del_producer(&self) {}
    fn inject(&self) -> Result<(), PeerError> {
        // Relaxed: everything is on one thread.
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

#[test]
fn msix_through_a_registry_reaches_its_consumer_once_for_each_event() {
    let (sim, device) = device(SimDevice::pci().msix(16));
    enable_bus_master(&*sim).unwrap();
    let index = device.index(IrqIndex::MSIX).unwrap();
    let registry = Registry::new().unwrap();
    let mut links = Vec::new();
    for producer in index.bind(0..16).unwrap() {
        let guest = Guest::new(None);
        let token = producer.token().clone();
        let consumer = registry
            .register_consumer(token.clone(), guest.clone())
            .unwrap();
        let handle = registry.register_producer(token, producer).unwrap();
        links.push((guest, consumer, handle));
    }
    for round in 1..=10 {
        for vector in 0..16 {
            sim.raise(IrqIndex::MSIX, vector);
        }
        registry.service(Wait::No).unwrap();
        assert!(links.iter().all(|(guest, ..)| guest.taken() == round));
    }
}

#[test]
fn intx_through_a_registry_is_unmasked_without_it_and_survives_a_change_of_guests() {
    let rig = LineRig::intx();
    let registry = Registry::new().unwrap();
    let token = rig.producer.token().clone();
    let _handle = registry
        .register_producer(token.clone(), rig.producer.clone())
        .unwrap();
    for _ in 0..3 {
        let guest = Guest::new(Some(Arc::clone(&rig.resample)));
        let consumer = registry
            .register_consumer(token.clone(), guest.clone())
            .unwrap();
        rig.sim.assert_line(INTX);
        registry.service(Wait::No).unwrap();
        assert_eq!(guest.taken(), 1);
        rig.sim.deassert_line(INTX);
        rig.eoi();
        rig.sim.assert_line(INTX);
        registry.service(Wait::No).unwrap();
        assert_eq!(guest.taken(), 2);
        // The guest goes with the interrupt unserved; the next one finds it.
        drop(consumer);
        rig.sim.deassert_line(INTX);
    }
    assert_eq!(registry.relay_counters().unmasks, 0);
}
