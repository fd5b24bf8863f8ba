use super::*;
use crate::capabilities::IrqchipMode;
use crate::conformance::VmShape;
use crate::embedder::EmbedderRoutes;
use crate::message::DestinationIds;
use crate::sim::SimCallKind;
use crate::sim::SimHost;
use crate::sim::SimVm;

/// ENOMEM.
const NO_MEMORY: KvmErrno = KvmErrno(12);

/// A PCI pin, level-triggered in the simulator.
const LEVEL: Gsi = Gsi(20);

/// An ISA pin, edge-triggered.
const EDGE: Gsi = Gsi(5);

fn host() -> (Arc<SimVm>, Arc<VmDomain>) {
    let vm = SimHost::default().vm(VmShape::PC);
    let seam: Arc<SimVm> = Arc::clone(&vm);
    let pins = EmbedderRoutes::pc_pins();
    let domain = VmDomain::new(seam, pins, DestinationIds::Bits8).unwrap();
    (vm, domain)
}

fn split() -> Arc<VmDomain> {
    let vm = SimHost::default().vm(VmShape {
        irqchip: IrqchipMode::Split,
        ..VmShape::PC
    });
    VmDomain::new(vm, EmbedderRoutes::reserved(24), DestinationIds::Bits8).unwrap()
}

fn event() -> (OwnedFd, Token) {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let event = eventfd(0, flags).unwrap();
    let token = Token::of(&event).unwrap();
    (event, token)
}

fn signal(event: &OwnedFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

fn pending(event: &ResampleEvent) -> u64 {
    Token::of(event).unwrap().pending().unwrap()
}

fn drain(event: &ResampleEvent) {
    rustix::io::read(event, &mut [0; 8]).unwrap();
}

/// A level consumer with a producer, and the resample event it answered with.
fn level(domain: &Arc<VmDomain>) -> (Arc<PinConsumer>, OwnedFd, ResampleEvent) {
    let pin = domain.pin("intx", LEVEL).unwrap();
    let info = ProducerInfo::automasked_level();
    let (event, token) = event();
    let resample = pin.answer(&info).resample.unwrap();
    pin.add_producer(&info, &token).unwrap();
    (pin, event, resample)
}

#[test]
fn level_bypass_interrupts_and_reports_each_eoi() {
    let (vm, domain) = host();
    let (pin, event, resample) = level(&domain);
    assert_eq!(pin.prepare().unwrap(), Prepared::Staged);
    domain.commit().unwrap();
    assert_eq!(pin.prepare().unwrap(), Prepared::Live);
    pin.attach().unwrap();
    for n in 1..=2 {
        signal(&event);
        vm.pump();
        assert_eq!(vm.delivered_pin(20), n);
        assert!(vm.is_asserted(20));
        vm.eoi(LEVEL);
        assert!(!vm.is_asserted(20));
        assert_eq!(pending(&resample), 1);
        drain(&resample);
    }
}

#[test]
fn level_relay_interrupts_and_reports_each_eoi() {
    let (vm, domain) = host();
    let (pin, _event, resample) = level(&domain);
    pin.arm().unwrap();
    for n in 1..=2 {
        pin.inject().unwrap();
        vm.pump();
        assert_eq!(vm.delivered_pin(20), n);
        vm.eoi(LEVEL);
        assert_eq!(pending(&resample), 1);
        drain(&resample);
    }
}

#[test]
fn level_eoi_is_reported_across_promotion_if_the_two_overlap() {
    let (vm, domain) = host();
    let (pin, _event, resample) = level(&domain);
    pin.arm().unwrap();
    pin.inject().unwrap();
    vm.pump();
    pin.attach().unwrap();
    pin.disarm().unwrap();
    vm.eoi(LEVEL);
    assert_eq!(pending(&resample), 1);
}

#[test]
fn level_inject_before_arm_is_refused() {
    let (_, domain) = host();
    let (pin, ..) = level(&domain);
    let refused = pin.inject().unwrap_err();
    assert_eq!(refused.to_string(), Misuse::NotArmed.to_string());
}

#[test]
fn arm_makes_the_pins_route_live() {
    let (vm, domain) = host();
    let (pin, ..) = level(&domain);
    pin.arm().unwrap();
    assert_eq!(vm.table().len(), 40);
}

#[test]
fn edge_pin_is_bypassed_and_relayed_without_resample() {
    let (vm, domain) = host();
    let pin = domain.pin("com1", EDGE).unwrap();
    let info = ProducerInfo::edge();
    let (event, token) = event();
    assert!(pin.answer(&info).resample.is_none());
    pin.add_producer(&info, &token).unwrap();
    pin.inject().unwrap();
    assert_eq!(vm.delivered_pin(5), 1);
    pin.prepare().unwrap();
    domain.commit().unwrap();
    pin.attach().unwrap();
    signal(&event);
    vm.pump();
    assert_eq!(vm.delivered_pin(5), 2);
}

#[test]
fn level_with_split_irqchip_is_refused_for_want_of_resample() {
    let domain = split();
    let pin = domain.pin("intx", LEVEL).unwrap();
    let info = ProducerInfo::automasked_level();
    let answer = pin.answer(&info);
    assert_eq!(answer.delivers, Delivers::Relay(Reason::NoResample));
    assert!(answer.resample.is_none());
    let (_event, token) = event();
    assert!(pin.add_producer(&info, &token).is_err());
    assert_eq!(pin.arm().unwrap_err().reason, Reason::NoResample);
}

#[test]
fn edge_with_split_irqchip_follows_the_message_of_the_reserved_gsi() {
    let domain = split();
    let pin = domain.pin("com1", EDGE).unwrap();
    let (_event, token) = event();
    pin.add_producer(&ProducerInfo::edge(), &token).unwrap();
    let answer = pin.answer(&ProducerInfo::edge());
    assert_eq!(answer.delivers, Delivers::Bypass);
}

#[test]
fn pin_of_a_gsi_that_is_not_the_embedders_is_refused() {
    let (_, domain) = host();
    let gsi = Gsi(24);
    assert_eq!(
        domain.pin("x", gsi).unwrap_err(),
        PinError::NotEmbedders { gsi }
    );
}

#[test]
fn calls_in_the_wrong_order_are_refused() {
    let (vm, domain) = host();
    let pin = domain.pin("intx", LEVEL).unwrap();
    assert_eq!(pin.prepare().unwrap_err().reason, Reason::NoProducer);
    assert_eq!(pin.attach().unwrap_err().reason, Reason::NoProducer);
    assert!(pin.detach().is_err());
    assert!(pin.disarm().is_err());
    let (pin, ..) = level(&domain);
    let before_commit = pin.attach().unwrap_err();
    assert_eq!(before_commit.reason, Reason::PromotionPending);
    pin.arm().unwrap();
    pin.attach().unwrap();
    let busy = Reason::AttachRefused {
        gsi: LEVEL,
        errno: 16,
    };
    assert_eq!(pin.arm().unwrap_err().reason, busy);
    assert_eq!(pin.attach().unwrap_err().reason, busy);
    assert_eq!(vm.irqfds().len(), 2);
    pin.del_producer();
    assert_eq!(vm.irqfds(), []);
}

#[test]
fn attach_the_kernel_refuses_leaves_nothing_bound() {
    let (vm, domain) = host();
    let (pin, event, resample) = level(&domain);
    domain.commit().unwrap();
    // The own irqfd's, and the bypass's after it.
    for bound_before in [0, 1] {
        vm.fail_nth(SimCallKind::AssignResampleIrqfd, bound_before, NO_MEMORY);
        pin.attach().unwrap_err();
        assert_eq!(vm.irqfds(), []);
    }
    pin.attach().unwrap();
    signal(&event);
    vm.pump();
    vm.eoi(LEVEL);
    assert_eq!(pending(&resample), 1);
}

#[test]
fn disarm_the_kernel_refuses_leaves_the_pin_armed() {
    let (vm, domain) = host();
    let (pin, _event, resample) = level(&domain);
    pin.arm().unwrap();
    vm.fail_next(SimCallKind::DeassignIrqfd, NO_MEMORY);
    pin.disarm().unwrap_err();
    pin.inject().unwrap();
    vm.pump();
    vm.eoi(LEVEL);
    assert_eq!(pending(&resample), 1);
    pin.disarm().unwrap();
    assert_eq!(vm.irqfds(), []);
}

#[test]
fn detach_whose_own_irqfd_stays_bound_is_no_obstacle_to_what_comes() {
    let (vm, domain) = host();
    let (pin, event, resample) = level(&domain);
    domain.commit().unwrap();
    pin.attach().unwrap();
    vm.fail_nth(SimCallKind::DeassignIrqfd, 1, NO_MEMORY);
    pin.detach().unwrap();
    assert_eq!(vm.irqfds().len(), 1);
    assert!(pin.inject().is_err());
    pin.attach().unwrap();
    signal(&event);
    vm.pump();
    vm.eoi(LEVEL);
    assert_eq!(pending(&resample), 1);
    pin.detach().unwrap();
    assert_eq!(vm.irqfds(), []);
}
