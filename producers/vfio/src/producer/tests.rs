use std::os::fd::OwnedFd;

use irqbroker_core::Delivers;
use irqbroker_core::Reason;
use irqbroker_core::Rid;

use super::*;
use crate::index::IndexProducers;
use crate::sim::SimDevice;
use crate::sim::SimDeviceBuilder;

mod describe;
mod level;
mod link;

const INTX: IrqIndex = IrqIndex::INTX;

fn device(builder: SimDeviceBuilder) -> (Arc<SimDevice>, Arc<ProducerDevice>) {
    let sim = builder.build();
    // 00:05.0.
    let device = ProducerDevice::new("dev", sim.clone(), Some(Rid(0x28))).unwrap();
    (sim, device)
}

fn bound(device: &Arc<ProducerDevice>, index: IrqIndex) -> (IndexProducers, Arc<VfioProducer>) {
    let index = device.index(index).unwrap();
    let producer = index.bind(0..1).unwrap().remove(0);
    (index, producer)
}

/// A level line, bound, and what a consumer with a resample event brings.
struct LineRig {
    sim: Arc<SimDevice>,
    line: IrqIndex,
    _index: IndexProducers,
    producer: Arc<VfioProducer>,
    resample: Arc<OwnedFd>,
}

impl LineRig {
    fn intx() -> Self {
        Self::new(SimDevice::pci().intx(), INTX)
    }

    fn new(builder: SimDeviceBuilder, line: IrqIndex) -> Self {
        let (sim, device) = device(builder);
        let (index, producer) = bound(&device, line);
        Self {
            sim,
            line,
            _index: index,
            producer,
            resample: Arc::new(eventfd()),
        }
    }

    /// INTx, and a platform's level interrupt behind an edge.
    fn each() -> [Self; 2] {
        let platform = SimDevice::platform(&[Trigger::Edge, Trigger::Level]);
        [Self::intx(), Self::new(platform, IrqIndex(1))]
    }

    fn consumer(&self) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Bypass,
            resample: Some(ResampleEvent::new(Arc::clone(&self.resample))),
            device_id: None,
        }
    }

    /// The guest's EOI, as KVM reports it.
    fn eoi(&self) {
        rustix::io::write(&self.resample, &1u64.to_ne_bytes()).unwrap();
        self.sim.pump();
    }

    fn taken(&self) -> u64 {
        take(self.producer.token())
    }
}

fn eventfd() -> OwnedFd {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    rustix::event::eventfd(0, flags).unwrap()
}

fn take(token: &Token) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(token, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

fn without_resample() -> ConsumerInfo {
    ConsumerInfo {
        delivers: Delivers::Relay(Reason::UserSpaceConsumer),
        resample: None,
        device_id: None,
    }
}
