use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker_core::Consumer;
use irqbroker_core::Delivers;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_core::RouteInfo;
use irqbroker_core::Wait;
use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::MsiDescriptor;
use irqbroker_vfio_abi::PlaneMask;

use super::*;
use crate::bus_master::enable_bus_master;
use crate::index::IndexProducers;
use crate::raw::Request;
use crate::sim::Fault;
use crate::sim::Raised;
use crate::sim::SimDevice;
use crate::sim::SimDeviceBuilder;

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

#[test]
fn producers_of_pci_tell_edge_or_automasked_level_and_the_source_id() {
    let builder = SimDevice::pci().intx().msi(4).msix(4).express();
    let (_sim, device) = device(builder);
    let edge = ProducerInfo {
        source_id: Some(Rid(0x28)),
        ..ProducerInfo::edge()
    };
    for (index, name) in [
        (IrqIndex::MSIX, "dev.msix0"),
        (IrqIndex::MSI, "dev.msi0"),
        (IrqIndex::ERR, "dev.err"),
        (IrqIndex::REQ, "dev.req"),
    ] {
        let (_index, producer) = bound(&device, index);
        assert_eq!((producer.info(), producer.name()), (edge, name.into()));
        assert!(producer.mask_control().is_none(), "{name}");
    }
    let (_index, intx) = bound(&device, INTX);
    let level = ProducerInfo {
        source_id: Some(Rid(0x28)),
        ..ProducerInfo::automasked_level()
    };
    assert_eq!((intx.info(), intx.name()), (level, "dev.intx".into()));
    assert!(intx.mask_control().is_some());
}

#[test]
fn producers_of_platform_tell_an_edge_from_an_automasked_level() {
    let (sim, device) = device(SimDevice::platform(&[Trigger::Edge, Trigger::Level]));
    let [(_edges, edge), (_levels, level)] = [0, 1].map(|at| bound(&device, IrqIndex(at)));
    assert_eq!(
        (edge.info().trigger, edge.info().masking),
        (Trigger::Edge, Masking::None)
    );
    assert_eq!(level.info().masking, Masking::Device);
    assert!(level.info().automasked && !edge.info().automasked);
    assert_eq!(level.name(), "dev.irq1");

    sim.raise(IrqIndex(0), 0);
    sim.raise(IrqIndex(0), 0);
    sim.assert_line(IrqIndex(1));

    assert_eq!((take(edge.token()), take(level.token())), (2, 1));
}

#[test]
fn producer_of_a_platform_msi_tells_the_message_of_its_sub_index() {
    let message = |sub_index, data| MsiDescriptor {
        sub_index,
        address: 0x0808_0000,
        data,
    };
    let capabilities = vec![
        IrqCapability::Type(IrqType::PLATFORM_MSI),
        // Sub-index 1 is not set up.
        IrqCapability::MsiDescriptors(vec![message(0, 32), message(2, 34)]),
    ];
    let builder = SimDevice::platform(&[Trigger::Level]);
    let (_sim, device) = device(builder.own_index(3, IrqFlags::EVENTFD, capabilities));
    let found = device.find(IrqType::PLATFORM_MSI).unwrap().unwrap();
    let index = device.index(found.index).unwrap();

    let producers = index.bind(0..3).unwrap();

    let data = producers.iter().map(|producer| producer.info().message);
    let data: Vec<_> = data
        .map(|message| message.map(|message| message.data))
        .collect();
    assert_eq!(data, [Some(32), None, Some(34)]);
}

fn display() -> SimDeviceBuilder {
    let event = |sub_index, kind| DisplayEvent {
        sub_index,
        kind,
        head: 0,
        planes: PlaneMask::empty(),
    };
    let events = vec![
        event(0, DisplayEventKind::VBLANK),
        event(1, DisplayEventKind::FLIP),
    ];
    let flags = IrqFlags::EVENTFD | IrqFlags::MASKABLE;
    SimDevice::pci().own_index(
        2,
        flags,
        vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::Display(events),
        ],
    )
}

#[test]
fn index_of_the_devices_own_is_found_by_type_and_has_an_eventfd_each() {
    let (sim, device) = device(display());
    assert_eq!(device.find(IrqType::PLATFORM_MSI), Ok(None));
    let found = device.find(IrqType::GFX_DISPLAY).unwrap().unwrap();
    assert_eq!((found.index, found.count), (IrqIndex(5), 2));
    let index = device.index(found.index).unwrap();

    let producers = index.bind(0..2).unwrap();
    sim.raise(found.index, 1);

    let taken: Vec<_> = producers
        .iter()
        .map(|producer| take(producer.token()))
        .collect();
    assert_eq!(taken, [0, 1]);
    assert_eq!(producers[1].name(), "dev.irq5.1");
    assert_eq!(producers[1].info().trigger, Trigger::Edge);
}

#[test]
fn masked_event_of_the_devices_own_is_held_and_comes_with_the_unmask() {
    let (sim, device) = device(display());
    let (_index, vblank) = bound(&device, IrqIndex(5));
    let mask = vblank.mask_control().unwrap();
    mask.mask().unwrap();
    for _ in 0..3 {
        assert_eq!(sim.raise(IrqIndex(5), 0), Raised::Held);
    }
    assert_eq!(take(vblank.token()), 0);
    mask.unmask().unwrap();
    assert_eq!(take(vblank.token()), 1);
}

#[test]
fn level_line_binds_the_resample_event_and_fires_again_after_each_eoi() {
    for rig in LineRig::each() {
        let binding = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(binding, ResampleBinding::Producer);
        assert!(rig.sim.has_unmask_event(rig.line));

        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
        // Not served: the line is still there after the EOI.
        rig.eoi();
        assert_eq!(rig.taken(), 1);
        rig.sim.deassert_line(rig.line);
        rig.eoi();
        assert_eq!(rig.taken(), 0);
        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
    }
}

#[test]
fn level_line_lets_go_of_the_resample_event_with_its_consumer() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.producer.del_consumer();
        assert!(!rig.sim.has_unmask_event(rig.line));
        let again = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(again, ResampleBinding::Producer);
    }
}

#[test]
fn level_line_of_a_device_that_cannot_listen_leaves_the_eoi_to_the_relay() {
    for errno in [Errno::ENOTTY, Errno::EINVAL] {
        let rig = LineRig::intx();
        // The first is the unmask that a new consumer begins with.
        rig.sim.fail_nth(Request::SetIrqs, 1, Fault::Errno(errno));
        let binding = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(binding, ResampleBinding::Relay);

        rig.sim.assert_line(INTX);
        assert_eq!(rig.taken(), 1);
        rig.producer.unmask().unwrap();
        assert_eq!(rig.taken(), 1);
    }
}

#[test]
fn consumer_without_resample_event_leaves_the_eoi_to_the_relay() {
    let rig = LineRig::intx();
    let binding = rig.producer.add_consumer(&without_resample()).unwrap();
    assert_eq!(binding, ResampleBinding::Relay);
    assert!(!rig.sim.has_unmask_event(INTX));
}

#[test]
fn consumer_is_refused_where_another_unmask_event_is_bound() {
    let rig = LineRig::intx();
    let other = eventfd();
    rig.producer.set_resample(Some(other.as_fd())).unwrap();

    let refused = rig.producer.add_consumer(&rig.consumer());

    assert!(refused.unwrap_err().to_string().contains("resample"));
    assert!(!rig.producer.gate().linked);
    rig.producer.set_resample(None).unwrap();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
}

#[test]
fn consumer_that_comes_after_one_that_left_unserved_finds_the_line_open() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
        rig.producer.del_consumer();
        assert!(rig.sim.is_masked(rig.line));

        rig.producer.add_consumer(&rig.consumer()).unwrap();

        assert_eq!(rig.taken(), 1, "still asserted");
    }
}

#[test]
fn consumer_is_refused_if_the_line_it_finds_cannot_be_unmasked() {
    let rig = LineRig::intx();
    rig.sim
        .fail_next(Request::SetIrqs, Fault::Errno(Errno::ENODEV));
    rig.producer.add_consumer(&rig.consumer()).unwrap_err();
    assert!(!rig.sim.has_unmask_event(INTX));
    rig.producer.add_consumer(&rig.consumer()).unwrap();
}

#[test]
fn mask_keeps_events_back_whatever_eoi_is_on_its_way() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.producer.mask().unwrap();
        rig.sim.assert_line(rig.line);
        rig.eoi();
        assert_eq!(rig.taken(), 0);
        assert!(rig.sim.is_masked(rig.line));

        rig.producer.unmask().unwrap();

        assert_eq!(rig.taken(), 1);
        assert!(rig.sim.has_unmask_event(rig.line));
    }
}

#[test]
fn mask_and_unmask_that_are_refused_change_nothing() {
    let rig = LineRig::intx();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
    // Each of the two requests that a mask is made of.
    for skip in [0, 1] {
        rig.sim
            .fail_nth(Request::SetIrqs, skip, Fault::Errno(Errno::EIO));
        rig.producer.mask().unwrap_err();
        assert!(
            !rig.sim.is_masked(INTX) && rig.sim.has_unmask_event(INTX),
            "{skip}"
        );
    }
    rig.producer.mask().unwrap();
    for skip in [0, 1] {
        rig.sim
            .fail_nth(Request::SetIrqs, skip, Fault::Errno(Errno::EIO));
        rig.producer.unmask().unwrap_err();
        assert!(
            rig.sim.is_masked(INTX) && !rig.sim.has_unmask_event(INTX),
            "{skip}"
        );
    }
    rig.producer.unmask().unwrap();
}

#[test]
fn retired_producer_refuses_and_touches_the_device_no_more() {
    let LineRig {
        sim,
        _index: index,
        producer,
        resample,
        ..
    } = LineRig::intx();
    let consumer = ConsumerInfo {
        resample: Some(ResampleEvent::new(resample)),
        ..without_resample()
    };
    producer.add_consumer(&consumer).unwrap();

    drop(index);

    assert!(!sim.has_unmask_event(INTX));
    assert!(producer.mask().is_err() && producer.unmask().is_err());
    producer.del_consumer();
    producer.add_consumer(&consumer).unwrap_err();
}

#[test]
fn dropped_index_frees_a_platform_line_of_its_unmask_event() {
    let [
        _,
        LineRig {
            sim,
            line,
            _index: index,
            producer,
            resample,
        },
    ] = LineRig::each();
    let consumer = ConsumerInfo {
        resample: Some(ResampleEvent::new(resample)),
        ..without_resample()
    };
    producer.add_consumer(&consumer).unwrap();
    drop(index);
    assert!(!sim.has_unmask_event(line));
}

#[test]
fn device_that_is_gone_lets_its_consumer_go() {
    let rig = LineRig::intx();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
    rig.sim.unplug();
    assert!(rig.producer.mask().is_err() && rig.producer.unmask().is_err());
    rig.producer.del_consumer();
    rig.producer.add_consumer(&rig.consumer()).unwrap_err();
}

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
