use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use super::*;
use crate::route::Irqchip;
use crate::route::MsiRoute;

const GSI: Gsi = Gsi(40);

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_0000,
    data: 0x51,
};

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn routed() -> Arc<SimVm> {
    let vm = SimHost::default().vm(VmShape::PC);
    let route = MsiRoute {
        message: MESSAGE,
        device: None,
    };
    let entry = RouteEntry {
        gsi: GSI,
        target: Route::Msi(route),
    };
    vm.commit_routes(&[entry]).unwrap();
    vm
}

fn signal(event: &OwnedFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

#[test]
fn closed_vm_answers_every_call_with_eio() {
    let vm = routed();
    vm.close();
    let (event, resample) = (event(), event());
    let (event, resample) = (event.as_fd(), resample.as_fd());
    let dead = Err(KvmErrno::IO);
    assert_eq!(vm.commit_routes(&[]), dead);
    assert_eq!(vm.assign_irqfd(event, GSI), dead);
    assert_eq!(vm.assign_resample_irqfd(event, resample, GSI), dead);
    assert_eq!(vm.deassign_irqfd(event, GSI), dead);
    assert_eq!(vm.set_line(GSI, LineLevel::High), dead);
    assert_eq!(vm.signal_msi(MESSAGE, None), Err(KvmErrno::IO));
}

#[test]
fn assign_deassign_and_commit_deliver_what_was_written_before() {
    let vm = routed();
    let (first, second) = (event(), event());
    vm.assign_irqfd(first.as_fd(), GSI).unwrap();
    signal(&first);
    vm.assign_irqfd(second.as_fd(), GSI).unwrap();
    assert_eq!(vm.delivered_message(MESSAGE), 1);
    signal(&first);
    vm.deassign_irqfd(first.as_fd(), GSI).unwrap();
    assert_eq!(vm.delivered_message(MESSAGE), 2);
    signal(&second);
    vm.commit_routes(&[]).unwrap();
    assert_eq!(vm.delivered_message(MESSAGE), 3);
}

#[test]
fn dropped_vm_lets_go_of_its_eventfds() {
    let host = SimHost::default();
    let event = event();
    let first = host.vm(VmShape::PC);
    first.assign_irqfd(event.as_fd(), GSI).unwrap();
    drop(first);
    let second = host.vm(VmShape::PC);
    second.assign_irqfd(event.as_fd(), GSI).unwrap();
}

#[test]
fn hosts_are_apart() {
    let event = event();
    let [here, there] = [(); 2].map(|()| SimHost::default().vm(VmShape::PC));
    here.assign_irqfd(event.as_fd(), GSI).unwrap();
    there.assign_irqfd(event.as_fd(), GSI).unwrap();
}

#[test]
fn scripted_failure_comes_once_at_its_place_and_does_nothing() {
    let vm = routed();
    let busy = KvmErrno::BUSY;
    vm.fail_nth(SimCallKind::AssignIrqfd, 1, busy);
    let events = [event(), event()];
    vm.assign_irqfd(events[0].as_fd(), GSI).unwrap();
    assert_eq!(vm.assign_irqfd(events[1].as_fd(), GSI), Err(busy));
    assert_eq!(vm.irqfds().len(), 1);
    vm.assign_irqfd(events[1].as_fd(), GSI).unwrap();
    let calls = vm.calls();
    assert_eq!(calls[0], SimCall::CommitRoutes { entries: 1 });
    assert_eq!(calls[1..], [SimCall::AssignIrqfd { gsi: GSI }; 3]);
}

#[test]
fn semaphore_eventfd_is_refused_where_the_kernel_shows_it() {
    let semaphore = eventfd(0, EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC).unwrap();
    let shown = Token::of(&semaphore).is_err();
    let refused = routed().assign_irqfd(semaphore.as_fd(), GSI).is_err();
    assert_eq!(refused, shown);
}

#[test]
fn level_line_held_by_user_interrupts_again_after_each_eoi() {
    let vm = SimHost::default().vm(VmShape::PC);
    let entry = RouteEntry {
        gsi: Gsi(20),
        target: Route::Pin {
            chip: Irqchip::IOAPIC,
            pin: 20,
        },
    };
    vm.commit_routes(&[entry]).unwrap();
    vm.set_line(Gsi(20), LineLevel::High).unwrap();
    vm.eoi(Gsi(20));
    assert_eq!(vm.delivered_pin(20), 2);
    vm.set_line(Gsi(20), LineLevel::Low).unwrap();
    vm.eoi(Gsi(20));
    assert_eq!(vm.delivered_pin(20), 2);
}

#[test]
fn programmed_pin_delivers_with_its_vector_and_trigger() {
    let vm = SimHost::default().vm(VmShape::PC);
    let entry = RouteEntry {
        gsi: Gsi(7),
        target: Route::Pin {
            chip: Irqchip::IOAPIC,
            pin: 7,
        },
    };
    vm.commit_routes(&[entry]).unwrap();
    vm.program_pin(7, Vector(0x99), Trigger::Level);
    vm.set_line(Gsi(7), LineLevel::High).unwrap();
    vm.eoi(Gsi(7));
    assert_eq!(vm.delivered(Vector(0x99)), 2);
}
