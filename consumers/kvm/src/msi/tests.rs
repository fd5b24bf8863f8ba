use std::error::Error;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use irqbroker_core::Committed;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use super::*;
use crate::conformance::VmShape;
use crate::counting::CountingVm;
use crate::counting::IoctlCounts;
use crate::embedder::EmbedderRoutes;
use crate::message::DestinationIds;
use crate::sim::SimHost;
use crate::sim::SimVm;
use crate::vm_irq::VmIrq;

type Vm = CountingVm<Arc<SimVm>>;

fn host(irqchip: IrqchipMode) -> (Arc<Vm>, Arc<VmDomain>) {
    let shape = VmShape {
        irqchip,
        ..VmShape::PC
    };
    let vm = Arc::new(CountingVm::new(SimHost::default().vm(shape)));
    let seam: Arc<Vm> = Arc::clone(&vm);
    let domain = VmDomain::new(seam, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
    (vm, domain)
}

fn message(n: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: 0x40 + n,
    }
}

fn event() -> (OwnedFd, Token) {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let event = eventfd(0, flags).unwrap();
    let token = Token::of(&event).unwrap();
    (event, token)
}

fn misuse(error: impl Into<Box<dyn Error>>) -> Misuse {
    let error: Box<dyn Error> = error.into();
    let typed = error.downcast_ref::<Misuse>().copied();
    // `PeerError` is transparent, `BypassRefused` has it as its source.
    typed
        .or_else(|| error.source()?.downcast_ref().copied())
        .or_else(|| {
            let text = error.to_string();
            let all = [
                Misuse::NoProducer,
                Misuse::NotPrepared,
                Misuse::NotAttached,
                Misuse::NotArmed,
            ];
            all.into_iter().find(|misuse| misuse.to_string() == text)
        })
        .unwrap()
}

#[test]
fn consumers_prepared_together_take_one_write_and_deliver() {
    let (vm, domain) = host(IrqchipMode::Full);
    let links: Vec<_> = (0..8)
        .map(|n| {
            let consumer = domain.msi(format!("msi{n}"), message(n), None).unwrap();
            let (event, token) = event();
            consumer
                .add_producer(&ProducerInfo::edge(), &token)
                .unwrap();
            assert_eq!(consumer.prepare().unwrap(), Prepared::Staged);
            (consumer, event)
        })
        .collect();
    let before = vm.counts();
    assert_eq!(domain.commit().unwrap(), Committed::Written(8));
    for (consumer, event) in &links {
        assert_eq!(consumer.prepare().unwrap(), Prepared::Live);
        consumer.attach().unwrap();
        rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
    }
    vm.inner().pump();
    for n in 0..8 {
        assert_eq!(vm.inner().delivered_message(message(n)), 1);
    }
    let expected = IoctlCounts {
        commits: 1,
        assigns: 8,
        ..IoctlCounts::default()
    };
    assert_eq!(vm.counts() - before, expected);
}

#[test]
fn inject_needs_no_gsi() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    consumer.inject().unwrap();
    assert_eq!(vm.inner().delivered_message(message(1)), 1);
    assert_eq!(consumer.gsi(), None);
}

#[test]
fn answer_tells_what_stands_in_the_way() {
    for (irqchip, delivers) in [
        (IrqchipMode::Full, Delivers::Bypass),
        (IrqchipMode::Split, Delivers::Bypass),
        (
            IrqchipMode::None,
            Delivers::Relay(Reason::NoInKernelIrqchip),
        ),
    ] {
        let (_, domain) = host(irqchip);
        let consumer = domain.msi("msi", message(1), None).unwrap();
        let answer = consumer.answer(&ProducerInfo::edge());
        assert_eq!(answer.delivers, delivers);
        assert!(answer.resample.is_none());
    }
}

#[test]
fn answer_without_irqfd_or_device_id_is_relay_for_that_reason() {
    let plain = SimHost::default().vm(VmShape::PC).capabilities();
    let without_irqfd = crate::KernelCapabilities {
        irqfd: false,
        ..plain
    };
    let with_devices = crate::KernelCapabilities {
        msi_devid: true,
        ..plain
    };
    for (kernel, reason) in [
        (without_irqfd, Reason::NoIrqfd),
        (with_devices, Reason::NoDeviceId),
    ] {
        let vm = SimHost::default().vm_with(VmShape::PC, kernel);
        let routes = EmbedderRoutes::none();
        let domain = VmDomain::new(vm, routes, DestinationIds::Bits8).unwrap();
        let consumer = domain.msi("msi", message(1), None).unwrap();
        let answer = consumer.answer(&ProducerInfo::edge());
        assert_eq!(answer.delivers, Delivers::Relay(reason));
        assert_eq!(consumer.prepare().unwrap_err().reason, reason);
    }
}

#[test]
fn add_producer_refuses_levels_and_vms_that_take_no_message() {
    let (_, full) = host(IrqchipMode::Full);
    let (_, none) = host(IrqchipMode::None);
    let (_event, token) = event();
    let level = ProducerInfo::automasked_level();
    let consumer = full.msi("msi", message(1), None).unwrap();
    assert!(consumer.add_producer(&level, &token).is_err());
    let consumer = none.msi("msi", message(1), None).unwrap();
    let refused = consumer.add_producer(&ProducerInfo::edge(), &token);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "msi cannot deliver: the vm has no in-kernel irqchip"
    );
}

#[test]
fn calls_in_the_wrong_order_are_refused_and_change_nothing() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    let (_event, token) = event();
    assert_eq!(misuse(consumer.attach().unwrap_err()), Misuse::NoProducer);
    consumer
        .add_producer(&ProducerInfo::edge(), &token)
        .unwrap();
    assert_eq!(misuse(consumer.attach().unwrap_err()), Misuse::NotPrepared);
    assert_eq!(misuse(consumer.detach().unwrap_err()), Misuse::NotAttached);
    consumer.prepare().unwrap();
    let not_live = consumer.attach().unwrap_err();
    assert_eq!(not_live.reason, Reason::PromotionPending);
    assert_eq!(vm.inner().irqfds(), []);
    domain.commit().unwrap();
    consumer.attach().unwrap();
    let gsi = consumer.gsi().unwrap();
    let twice = consumer.attach().unwrap_err();
    assert_eq!(twice.reason, Reason::AttachRefused { gsi, errno: 16 });
    assert!(Retarget::set_message(&*consumer, message(2)).is_err());
    consumer.release();
    assert_eq!(consumer.gsi(), Some(gsi));
    assert_eq!(vm.inner().irqfds(), [(token.id(), gsi)]);
}

#[test]
fn attach_of_a_bound_eventfd_is_refused_with_busy_and_can_be_tried_again() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    let (event, token) = event();
    consumer
        .add_producer(&ProducerInfo::edge(), &token)
        .unwrap();
    consumer.prepare().unwrap();
    domain.commit().unwrap();
    // Somebody else's irqfd on the same eventfd.
    vm.assign_irqfd(event.as_fd(), Gsi(99)).unwrap();
    let gsi = consumer.gsi().unwrap();
    let busy = consumer.attach().unwrap_err();
    assert_eq!(busy.reason, Reason::AttachRefused { gsi, errno: 16 });
    vm.deassign_irqfd(event.as_fd(), Gsi(99)).unwrap();
    consumer.attach().unwrap();
}

#[test]
fn retarget_moves_the_next_injection_and_the_next_route() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    consumer.prepare().unwrap();
    domain.commit().unwrap();
    Retarget::set_message(&*consumer, message(2)).unwrap();
    assert_eq!(domain.leased(), 0);
    consumer.inject().unwrap();
    assert_eq!(vm.inner().delivered_message(message(2)), 1);
    assert_eq!(consumer.prepare().unwrap(), Prepared::Staged);
    // Back to a route that is still in the kernel's table: nothing to write.
    Retarget::set_message(&*consumer, message(1)).unwrap();
    assert_eq!(consumer.prepare().unwrap(), Prepared::Live);
}

#[test]
fn retarget_to_a_message_the_kernel_would_refuse_keeps_the_old_one() {
    let wide = VmShape {
        destination_ids: DestinationIds::Bits32,
        ..VmShape::PC
    };
    let vm = SimHost::default().vm(wide);
    let routes = EmbedderRoutes::none();
    let domain = VmDomain::new(vm, routes, DestinationIds::Bits32).unwrap();
    let consumer = domain.msi("msi", message(1), None).unwrap();
    let reserved = MsiMessage {
        address: 0x1_fee0_0000,
        data: 0x41,
    };
    assert!(Retarget::set_message(&*consumer, reserved).is_err());
    consumer.prepare().unwrap();
    domain.commit().unwrap();
    let route = consumer.route();
    assert!(matches!(route, Some(RouteInfo::Msi { message: m, .. }) if m == message(1)));
}

#[test]
fn message_of_a_wide_guest_is_translated_for_route_and_injection() {
    let wide = VmShape {
        destination_ids: DestinationIds::Bits32,
        ..VmShape::PC
    };
    let vm = SimHost::default().vm(wide);
    let seam: Arc<SimVm> = Arc::clone(&vm);
    let routes = EmbedderRoutes::none();
    let domain = VmDomain::new(seam, routes, DestinationIds::Bits32).unwrap();
    // Destination 0x100 as a guest with KVM_FEATURE_MSI_EXT_DEST_ID writes it.
    let guest = MsiMessage {
        address: 0xfee0_0020,
        data: 0x41,
    };
    let kernel = MsiMessage {
        address: 0x100_fee0_0000,
        data: 0x41,
    };
    let consumer = domain.msi("msi", guest, None).unwrap();
    consumer.inject().unwrap();
    assert_eq!(vm.delivered_message(kernel), 1);
}

#[test]
fn dropped_consumer_leaves_neither_irqfd_nor_gsi() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    let (_event, token) = event();
    consumer
        .add_producer(&ProducerInfo::edge(), &token)
        .unwrap();
    consumer.prepare().unwrap();
    domain.commit().unwrap();
    consumer.attach().unwrap();
    drop(consumer);
    assert_eq!(vm.inner().irqfds(), []);
    assert_eq!(domain.leased(), 0);
}

#[test]
fn detach_that_fails_leaves_the_consumer_attached() {
    let (vm, domain) = host(IrqchipMode::Full);
    let consumer = domain.msi("msi", message(1), None).unwrap();
    let (_event, token) = event();
    consumer
        .add_producer(&ProducerInfo::edge(), &token)
        .unwrap();
    consumer.prepare().unwrap();
    domain.commit().unwrap();
    consumer.attach().unwrap();
    let dead = KvmErrno::IO;
    vm.inner()
        .fail_next(crate::SimCallKind::DeassignIrqfd, dead);
    assert!(consumer.detach().is_err());
    assert_eq!(vm.inner().irqfds().len(), 1);
    // One that took itself for detached would leave the irqfd where it is.
    consumer.detach().unwrap();
    assert_eq!(vm.inner().irqfds(), []);
}
