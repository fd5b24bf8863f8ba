use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::Producer;
use irqbroker_core::Reason;
use irqbroker_core::Token;
use irqbroker_vfio_abi::IrqIndex;
use rustix::process::Resource;

use super::*;
use crate::bus_master::enable_bus_master;
use crate::conformance::KernelProfile;
use crate::counting::CountingDevice;
use crate::counting::RequestCounts;
use crate::raw::Request;
use crate::sim::Fault;
use crate::sim::Raised;
use crate::sim::SimDevice;
use crate::sim::SimDeviceBuilder;

mod agreement;
mod bind;
mod change;

/// A device behind the counting seam, and its index.
struct Rig {
    sim: Arc<SimDevice>,
    seam: Arc<CountingDevice<SimDevice>>,
    device: Arc<ProducerDevice>,
}

impl Rig {
    fn new(builder: SimDeviceBuilder) -> Self {
        let sim = builder.build();
        let seam = Arc::new(CountingDevice::new(Arc::clone(&sim)));
        let device = ProducerDevice::new("dev", seam.clone(), None).unwrap();
        enable_bus_master(&*sim).unwrap();
        Self { sim, seam, device }
    }

    fn msix(vectors: u32) -> (Self, IndexProducers) {
        let rig = Self::new(SimDevice::pci().intx().msi(4).msix(vectors));
        let index = rig.device.index(IrqIndex::MSIX).unwrap();
        (rig, index)
    }

    fn set_irqs(&self, during: impl FnOnce()) -> u64 {
        let before = self.seam.counts();
        during();
        let RequestCounts { set_irqs, .. } = self.seam.counts() - before;
        set_irqs
    }

    /// Whether the device reaches the producer's eventfd.
    fn reaches(&self, producer: &VfioProducer) -> bool {
        take(producer.token());
        self.sim
            .raise(producer_index(producer), producer.sub_index())
            == Raised::Signalled
            && take(producer.token()) == 1
    }
}

fn producer_index(producer: &VfioProducer) -> IrqIndex {
    match producer.name() {
        name if name.contains("msix") => IrqIndex::MSIX,
        name if name.contains("msi") => IrqIndex::MSI,
        _ => IrqIndex::REQ,
    }
}

fn take(token: &Token) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(token, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

fn consumer() -> ConsumerInfo {
    ConsumerInfo {
        delivers: Delivers::Relay(Reason::UserSpaceConsumer),
        resample: None,
        device_id: None,
    }
}

/// One fd a vector for the producer, one for the simulator, and what other tests have open.
fn allow_many_fds() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn fire_signals_what_is_bound_as_the_device_would() {
    let (_rig, index) = Rig::msix(5);
    let producers = index.bind(0..5).unwrap();
    let taken = || producers.iter().map(|producer| take(producer.token()));

    index.fire(1..3).unwrap();
    assert_eq!(taken().collect::<Vec<_>>(), [0, 1, 1, 0, 0]);
    index
        .fire_where(0, &[true, false, true, false, true])
        .unwrap();
    assert_eq!(taken().collect::<Vec<_>>(), [1, 0, 1, 0, 1]);
    // No sub-index, which as a request would disable the index.
    index.fire(2..2).unwrap();
    index.fire(0..5).unwrap();
    assert_eq!(taken().sum::<u64>(), 5);
    assert_eq!(index.fire(0..6).unwrap_err().source, Errno::EINVAL);
}

#[test]
fn err_and_req_are_bound_beside_the_active_index() {
    let rig = Rig::new(SimDevice::pci().msix(2).express());
    let indexes = [IrqIndex::MSIX, IrqIndex::ERR, IrqIndex::REQ];
    let indexes = indexes.map(|index| rig.device.index(index).unwrap());
    for index in &indexes {
        index.bind(0..1).unwrap();
    }
    assert!(indexes.iter().all(|index| index.fire(0..1).is_ok()));
    let requests = rig.set_irqs(|| {
        indexes[1].unbind(0).unwrap();
        // Nothing is left to disable, and the kernel would refuse to.
        indexes[1].disable().unwrap();
    });
    assert_eq!(requests, 1);
    indexes[1].bind(0..1).unwrap();
}

#[test]
fn device_that_is_gone_while_armed_refuses_and_is_dropped_in_peace() {
    let (rig, index) = Rig::msix(4);
    let producer = index.bind(0..2).unwrap().remove(0);
    producer.add_consumer(&consumer()).unwrap();

    rig.sim.unplug();

    assert_eq!(rig.sim.raise(IrqIndex::MSIX, 0), Raised::Gone);
    let gone = Errno::ENODEV;
    assert!(matches!(index.bind(2..3), Err(BindError::Refused { source, .. }) if source == gone));
    assert!(matches!(index.rebind(1), Err(RebindError::Lost { source, .. }) if source == gone));
    assert_eq!(index.fire(0..1).unwrap_err().source, gone);
    producer.del_consumer();
    drop(index);
    assert!(producer.is_retired());
}
