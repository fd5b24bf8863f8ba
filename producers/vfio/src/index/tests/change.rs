//! Binding another eventfd to a sub-index, or none.

use irqbroker_core::Consumer;

use super::*;

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
