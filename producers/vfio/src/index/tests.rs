use irqbroker_core::Consumer;
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
use crate::producer_device::IndexError;
use crate::raw::Request;
use crate::sim::Fault;
use crate::sim::Raised;
use crate::sim::SimDevice;
use crate::sim::SimDeviceBuilder;

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
fn bind_of_2048_vectors_is_one_request_and_rebinding_one_is_one() {
    allow_many_fds();
    // All that MSI-X can have.
    let (rig, index) = Rig::msix(2048);
    let mut producers = Vec::new();

    let requests = rig.set_irqs(|| producers = index.bind(0..2048).unwrap());

    assert_eq!((requests, producers.len()), (1, 2048));
    assert!(producers.iter().all(|producer| rig.reaches(producer)));
    let mut new = None;
    assert_eq!(rig.set_irqs(|| new = index.rebind(1000).ok()), 1);
    assert!(rig.reaches(&new.unwrap()));
    assert_eq!(rig.set_irqs(|| index.unbind(1000).unwrap()), 1);
    assert_eq!(rig.set_irqs(|| drop(index)), 1);
    assert_eq!(rig.sim.active(), None);
}

#[test]
fn bind_where_the_host_has_fewer_vectors_says_how_many_and_binds_none() {
    let rig = Rig::new(SimDevice::pci().msix(8).host_vectors(3));
    let index = rig.device.index(IrqIndex::MSIX).unwrap();

    let error = index.bind(0..8).unwrap_err();

    let fewer = matches!(
        error,
        BindError::Fewer {
            asked: 8,
            available: 3,
            ..
        }
    );
    assert!(fewer, "{error}");
    assert_eq!(rig.sim.active(), None);
    assert!(index.get(0).is_none());
    assert_eq!(index.bind(0..3).unwrap().len(), 3);
}

#[test]
fn bind_answered_with_a_positive_number_binds_none_and_keeps_the_others() {
    let (rig, index) = Rig::msix(8);
    let kept = index.bind(0..2).unwrap();
    rig.sim.fail_next(Request::SetIrqs, Fault::Answer(2));

    let error = index.bind(2..8).unwrap_err();

    assert!(
        matches!(error, BindError::Fewer { available: 2, .. }),
        "{error}"
    );
    assert!(kept.iter().all(|producer| rig.reaches(producer)));
    assert!(index.get(2).is_none());
    assert_eq!(index.bind(2..8).unwrap().len(), 6);
}

#[test]
fn bind_that_is_refused_changes_nothing() {
    for errno in [Errno::EBUSY, Errno::ENODEV, Errno::EINVAL] {
        let (rig, index) = Rig::msix(8);
        let kept = index.bind(0..2).unwrap();
        rig.sim.fail_next(Request::SetIrqs, Fault::Errno(errno));

        let error = index.bind(2..8).unwrap_err();

        assert!(matches!(error, BindError::Refused { source, .. } if source == errno));
        assert!(kept.iter().all(|producer| rig.reaches(producer)));
        assert_eq!(index.bind(2..8).unwrap().len(), 6);
    }
}

#[test]
fn bind_that_fails_at_a_vector_in_the_middle_is_not_half_done() {
    let (rig, index) = Rig::msix(8);
    let kept = index.bind(0..2).unwrap();
    rig.sim.refuse_vector(5, Errno::ENOSPC);

    let error = index.bind(2..8).unwrap_err();

    assert!(
        matches!(
            error,
            BindError::Refused {
                source: Errno::ENOSPC,
                ..
            }
        ),
        "{error}"
    );
    assert!((2..8).all(|vector| !rig.sim.is_bound(IrqIndex::MSIX, vector)));
    assert!(kept.iter().all(|producer| rig.reaches(producer)));
}

#[test]
fn bind_that_enables_and_fails_leaves_the_index_disabled() {
    let (rig, index) = Rig::msix(8);
    rig.sim.refuse_vector(7, Errno::ENOSPC);

    index.bind(0..8).unwrap_err();

    assert_eq!(rig.sim.active(), None);
    let msi = rig.device.index(IrqIndex::MSI).unwrap();
    assert_eq!(msi.bind(0..1).unwrap().len(), 1);
}

#[test]
fn bind_beyond_the_index_of_nothing_or_twice_costs_no_request() {
    let (rig, index) = Rig::msix(8);
    index.bind(0..2).unwrap();
    let requests = rig.set_irqs(|| {
        for range in [0..9, 8..9, 3..3, 0..u32::MAX] {
            let error = index.bind(range.clone()).unwrap_err();
            assert!(
                matches!(error, BindError::Range { count: 8, .. }),
                "{range:?}"
            );
        }
        let error = index.bind(1..3).unwrap_err();
        assert!(
            matches!(error, BindError::Bound { sub_index: 1, .. }),
            "{error}"
        );
    });
    assert_eq!(requests, 0);
}

#[test]
fn bind_of_as_many_as_a_device_absurdly_claims_is_refused() {
    let (rig, index) = Rig::msix(u32::MAX);
    let requests = rig.set_irqs(|| {
        for range in [0..u32::MAX, 0..2049] {
            let error = index.bind(range).unwrap_err();
            assert!(
                matches!(error, BindError::TooMany { limit: 2048, .. }),
                "{error}"
            );
            let error = index.enable(u32::MAX).unwrap_err();
            assert!(matches!(error, BindError::TooMany { .. }), "{error}");
        }
    });
    assert_eq!(requests, 0);
}

#[test]
fn bind_of_more_vectors_than_enabled_is_refused_where_they_are_fixed() {
    let old = SimDevice::pci().msix(8).kernel(KernelProfile::LINUX_6_1);
    let rig = Rig::new(old);
    let index = rig.device.index(IrqIndex::MSIX).unwrap();
    let first = index.bind(0..1).unwrap();

    let requests = rig.set_irqs(|| {
        let error = index.bind(1..2).unwrap_err();
        assert!(
            matches!(error, BindError::NoResize { enabled: 1, .. }),
            "{error}"
        );
    });

    assert_eq!(requests, 0);
    assert!(rig.reaches(&first[0]));
}

#[test]
fn enable_makes_room_for_vectors_that_are_bound_later() {
    let old = SimDevice::pci().msix(8).kernel(KernelProfile::LINUX_6_1);
    let rig = Rig::new(old);
    let index = rig.device.index(IrqIndex::MSIX).unwrap();
    assert_eq!(rig.set_irqs(|| index.enable(8).unwrap()), 1);

    let late = index.bind(7..8).unwrap();

    assert!(rig.reaches(&late[0]));
    assert!(matches!(
        index.enable(8).unwrap_err(),
        BindError::Bound { .. }
    ));
    index.unbind(7).unwrap();
    assert!(matches!(
        index.enable(8).unwrap_err(),
        BindError::Enabled { .. }
    ));
    let req = rig.device.index(IrqIndex::REQ).unwrap();
    assert!(matches!(
        req.enable(1).unwrap_err(),
        BindError::NoVectors { .. }
    ));
}

#[test]
fn bind_on_demand_adds_vectors_where_the_kernel_can() {
    let (rig, index) = Rig::msix(8);
    let first = index.bind(0..1).unwrap();
    let late = index.bind(6..8).unwrap();
    assert!(
        first
            .iter()
            .chain(&late)
            .all(|producer| rig.reaches(producer))
    );
}

#[test]
fn bind_beside_another_active_index_is_refused_until_that_is_disabled() {
    let (rig, msix) = Rig::msix(2);
    let [msi, intx] = [IrqIndex::MSI, IrqIndex::INTX].map(|at| rig.device.index(at).unwrap());
    msix.bind(0..2).unwrap();
    let requests = rig.set_irqs(|| {
        for other in [&msi, &intx] {
            let error = other.bind(0..1).unwrap_err();
            let named =
                matches!(&error, BindError::OtherActive { active, .. } if active == "dev.msix");
            assert!(named, "{error}");
        }
    });
    assert_eq!(requests, 0);

    assert_eq!(rig.set_irqs(|| msix.disable().unwrap()), 1);
    intx.bind(0..1).unwrap();
    drop(intx);
    msi.bind(0..1).unwrap();
}

#[test]
fn index_that_is_absent_taken_or_unknown_is_refused() {
    let rig = Rig::new(SimDevice::pci().msix(2));
    let refused = |index| rig.device.index(index).unwrap_err();
    assert!(matches!(refused(IrqIndex::INTX), IndexError::Absent { .. }));
    let einval = Errno::EINVAL;
    assert!(
        matches!(refused(IrqIndex::ERR), IndexError::Device { source, .. } if source == einval)
    );
    assert!(matches!(refused(IrqIndex(77)), IndexError::Device { .. }));
    let taken = rig.device.index(IrqIndex::MSIX).unwrap();
    assert!(matches!(refused(IrqIndex::MSIX), IndexError::Taken { .. }));
    drop(taken);
    rig.device.index(IrqIndex::MSIX).unwrap();
}

#[test]
fn rebind_hands_on_what_nobody_took_and_retires_the_old_producer() {
    let (rig, index) = Rig::msix(4);
    let old = index.bind(0..1).unwrap().remove(0);
    for _ in 0..3 {
        rig.sim.raise(IrqIndex::MSIX, 0);
    }

    let new = index.rebind(0).unwrap();

    assert_ne!(old.token(), new.token());
    assert_eq!((take(old.token()), take(new.token())), (0, 3));
    assert!(rig.reaches(&new));
    assert!(old.is_retired() && !new.is_retired());
    old.add_consumer(&consumer()).unwrap_err();
}

#[test]
fn rebind_that_is_refused_puts_the_old_eventfd_back() {
    let (rig, index) = Rig::msix(4);
    let old = index.bind(0..1).unwrap().remove(0);
    // Fails after the kernel has taken the old one away.
    rig.sim.refuse_vector(0, Errno::ENOSPC);

    let mut error = None;
    let requests = rig.set_irqs(|| error = index.rebind(0).err());

    let refused = matches!(
        error,
        Some(RebindError::Refused {
            source: Errno::ENOSPC,
            ..
        })
    );
    assert!(refused, "{error:?}");
    assert_eq!(requests, 2);
    assert!(rig.reaches(&old));
    assert!(!old.is_retired());
}

#[test]
fn rebind_that_loses_the_old_eventfd_too_says_so() {
    let (rig, index) = Rig::msix(4);
    let old = index.bind(0..1).unwrap().remove(0);
    rig.sim.refuse_vector(0, Errno::ENOSPC);
    rig.sim.refuse_vector(0, Errno::ENOMEM);

    let error = index.rebind(0).unwrap_err();

    let lost = matches!(
        error,
        RebindError::Lost {
            restore: Errno::ENOMEM,
            ..
        }
    );
    assert!(lost, "{error}");
    assert!(old.is_retired() && index.get(0).is_none());
    assert_eq!(index.bind(0..1).unwrap().len(), 1);
}

#[test]
fn changes_to_a_linked_sub_index_are_refused_without_a_request() {
    let (rig, index) = Rig::msix(4);
    let linked = index.bind(0..2).unwrap().remove(0);
    linked.add_consumer(&consumer()).unwrap();
    let requests = rig.set_irqs(|| {
        assert!(matches!(index.rebind(0), Err(RebindError::Linked { .. })));
        assert!(matches!(index.unbind(0), Err(UnbindError::Linked { .. })));
        assert!(matches!(index.disable(), Err(DisableError::Linked { .. })));
    });
    assert_eq!(requests, 0);
    assert!(rig.reaches(&linked));
    index.rebind(1).unwrap();

    linked.del_consumer();

    index.rebind(0).unwrap();
}

#[test]
fn changes_to_a_sub_index_that_is_not_bound_are_refused() {
    let (_rig, index) = Rig::msix(4);
    assert!(matches!(index.rebind(0), Err(RebindError::NotBound { .. })));
    assert!(matches!(
        index.unbind(u32::MAX),
        Err(UnbindError::NotBound { .. })
    ));
}

#[test]
fn unbind_and_disable_that_are_refused_change_nothing() {
    let (rig, index) = Rig::msix(4);
    let producer = index.bind(0..1).unwrap().remove(0);
    rig.sim
        .fail_next(Request::SetIrqs, Fault::Errno(Errno::EBUSY));
    assert!(matches!(index.unbind(0), Err(UnbindError::Refused { .. })));
    rig.sim
        .fail_next(Request::SetIrqs, Fault::Errno(Errno::EBUSY));
    assert!(matches!(index.disable(), Err(DisableError::Refused { .. })));
    assert!(rig.reaches(&producer) && !producer.is_retired());
    let intx = rig.device.index(IrqIndex::INTX).unwrap();
    assert!(matches!(
        intx.bind(0..1),
        Err(BindError::OtherActive { .. })
    ));
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

#[test]
fn registered_producer_is_unregistered_before_its_eventfd_is_replaced() {
    let (rig, index) = Rig::msix(2);
    let registry = irqbroker_core::Registry::new().unwrap();
    let old = index.bind(0..1).unwrap().remove(0);
    let sink = Arc::new(Sink::default());
    let consumer = registry.register_consumer(old.token().clone(), sink.clone());
    let handle = registry
        .register_producer(old.token().clone(), old.clone())
        .unwrap();
    rig.sim.raise(IrqIndex::MSIX, 0);
    registry.service(irqbroker_core::Wait::No).unwrap();
    assert_eq!(sink.taken(), 1);
    assert!(matches!(index.rebind(0), Err(RebindError::Linked { .. })));

    drop((handle, consumer));
    let new = index.rebind(0).unwrap();
    let _consumer = registry.register_consumer(new.token().clone(), sink.clone());
    let _handle = registry
        .register_producer(new.token().clone(), new.clone())
        .unwrap();

    rig.sim.raise(IrqIndex::MSIX, 0);
    registry.service(irqbroker_core::Wait::No).unwrap();
    assert_eq!(sink.taken(), 2);
}

/// A consumer that counts.
#[derive(Debug, Default)]
struct Sink(std::sync::atomic::AtomicU64);

impl Sink {
    fn taken(&self) -> u64 {
        // Relaxed: everything is on one thread.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Consumer for Sink {
    fn name(&self) -> String {
        "sink".into()
    }
    fn answer(&self, _producer: &irqbroker_core::ProducerInfo) -> ConsumerInfo {
        consumer()
    }
    fn add_producer(
        &self,
        _producer: &irqbroker_core::ProducerInfo,
        _token: &Token,
    ) -> Result<(), irqbroker_core::PeerError> {
        Ok(())
    }
    fn del_producer(&self) {}
    fn inject(&self) -> Result<(), irqbroker_core::PeerError> {
        // Relaxed: everything is on one thread.
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
    fn route(&self) -> Option<irqbroker_core::RouteInfo> {
        None
    }
}

mod agreement;
