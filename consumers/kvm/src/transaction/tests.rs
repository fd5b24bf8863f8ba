use irqbroker_core::Token;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use super::*;
use crate::conformance::VmShape;
use crate::embedder::EmbedderRoutes;
use crate::errno::KvmErrno;
use crate::message::DestinationIds;
use crate::sim::SimCall;
use crate::sim::SimCallKind;
use crate::sim::SimHost;
use crate::sim::SimVm;

/// Three irqfds bound, of which the transactions below unbind two.
struct Bench {
    vm: Arc<SimVm>,
    domain: Arc<VmDomain>,
    events: Vec<Arc<OwnedFd>>,
    irqfds: Vec<Irqfd>,
}

fn event() -> Arc<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Arc::new(eventfd(0, flags).unwrap())
}

fn signal(event: &OwnedFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

fn message(n: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: 0x40 + n,
    }
}

impl Bench {
    fn new() -> Self {
        let vm = SimHost::default().vm(VmShape::PC);
        let seam: Arc<SimVm> = Arc::clone(&vm);
        let domain = VmDomain::new(seam, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
        let events: Vec<Arc<OwnedFd>> = (0..3).map(|_| event()).collect();
        let mut first = domain.transaction();
        for (n, event) in (0..).zip(&events) {
            first.arm(Arc::clone(event), message(n), None).unwrap();
        }
        let irqfds = first.commit().unwrap();
        Self {
            vm,
            domain,
            events,
            irqfds,
        }
    }

    /// Moves eventfds 0 and 1 to other messages, and binds a new one.
    fn move_two(&mut self) -> Transaction {
        let mut transaction = self.domain.transaction();
        for irqfd in self.irqfds.drain(..2) {
            transaction.disarm(irqfd);
        }
        for n in 0..2u32 {
            let event = Arc::clone(&self.events[usize::try_from(n).unwrap()]);
            transaction.arm(event, message(10 + n), None).unwrap();
        }
        transaction.arm(event(), message(12), None).unwrap();
        transaction
    }

    fn bound(&self) -> Vec<(irqbroker_core::EventId, Gsi)> {
        let mut bound = self.vm.irqfds();
        bound.sort_unstable();
        bound
    }

    fn assert_each_delivers_to(&self, messages: [u32; 3]) {
        for (event, n) in self.events.iter().zip(messages) {
            let before = self.vm.delivered_message(message(n));
            signal(event);
            self.vm.pump();
            assert_eq!(self.vm.delivered_message(message(n)), before + 1);
        }
    }
}

fn kinds(calls: &[SimCall]) -> Vec<SimCallKind> {
    calls.iter().map(SimCall::kind).collect()
}

#[test]
fn commit_unbinds_then_writes_once_then_binds() {
    use SimCallKind::AssignIrqfd;
    use SimCallKind::CommitRoutes;
    use SimCallKind::DeassignIrqfd;
    let mut bench = Bench::new();
    let transaction = bench.move_two();
    let before = bench.vm.calls().len();
    let irqfds = transaction.commit().unwrap();
    assert_eq!(
        kinds(&bench.vm.calls()[before..]),
        [
            DeassignIrqfd,
            DeassignIrqfd,
            CommitRoutes,
            AssignIrqfd,
            AssignIrqfd,
            AssignIrqfd
        ]
    );
    assert_eq!(irqfds.len(), 3);
    bench.assert_each_delivers_to([10, 11, 2]);
}

#[test]
fn commit_of_routes_that_are_live_writes_no_table() {
    let mut bench = Bench::new();
    drop(bench.irqfds.pop());
    let mut transaction = bench.domain.transaction();
    transaction.arm(event(), message(0), None).unwrap();
    transaction.arm(event(), message(2), None).unwrap();
    let before = bench.vm.calls().len();
    let _irqfds = transaction.commit().unwrap();
    let calls = kinds(&bench.vm.calls()[before..]);
    assert_eq!(calls, [SimCallKind::AssignIrqfd, SimCallKind::AssignIrqfd]);
}

#[test]
fn commit_loses_no_event_written_on_the_way() {
    let mut bench = Bench::new();
    let transaction = bench.move_two();
    // Not pumped: it stands in the counter when the commit starts.
    signal(&bench.events[0]);
    let _irqfds = transaction.commit().unwrap();
    let old = bench.vm.delivered_message(message(0));
    let new = bench.vm.delivered_message(message(10));
    assert_eq!(old + new, 1);
}

#[test]
fn commit_that_fails_at_any_step_restores_what_was_bound() {
    let steps = [
        (SimCallKind::DeassignIrqfd, 0),
        (SimCallKind::DeassignIrqfd, 1),
        (SimCallKind::CommitRoutes, 0),
        (SimCallKind::AssignIrqfd, 0),
        (SimCallKind::AssignIrqfd, 1),
        (SimCallKind::AssignIrqfd, 2),
    ];
    for (kind, nth) in steps {
        let mut bench = Bench::new();
        let (bound, leased) = (bench.bound(), bench.domain.leased());
        let transaction = bench.move_two();
        // Any error that is not about the arguments.
        bench.vm.fail_nth(kind, nth, KvmErrno::IO);
        let undone = transaction.commit().unwrap_err();
        assert_eq!(undone.irqfds.len(), 2, "{kind:?} {nth}");
        assert!(undone.unrestored.is_empty());
        assert_eq!(bench.bound(), bound, "{kind:?} {nth}");
        assert_eq!(bench.domain.leased(), leased, "{kind:?} {nth}");
        bench.assert_each_delivers_to([0, 1, 2]);
    }
}

#[test]
fn commit_whose_rollback_fails_too_hands_the_eventfd_back() {
    let mut bench = Bench::new();
    let transaction = bench.move_two();
    bench.vm.fail_next(SimCallKind::CommitRoutes, KvmErrno::IO);
    bench.vm.fail_next(SimCallKind::AssignIrqfd, KvmErrno::IO);
    let undone = transaction.commit().unwrap_err();
    assert_eq!((undone.irqfds.len(), undone.unrestored.len()), (1, 1));
    let lost = &undone.unrestored[0];
    let first = Token::of(&*bench.events[0]).unwrap();
    assert_eq!(Token::of(&*lost.event).unwrap(), first);
}

#[test]
fn dropped_transaction_lets_go_of_what_it_staged() {
    let bench = Bench::new();
    let mut transaction = bench.domain.transaction();
    transaction.arm(event(), message(9), None).unwrap();
    drop(transaction);
    assert_eq!(bench.domain.leased(), 3);
}

#[test]
fn irqfd_drop_unbinds_before_the_route_is_let_go() {
    let mut bench = Bench::new();
    bench.irqfds.clear();
    assert_eq!(bench.vm.irqfds(), []);
    assert_eq!(bench.domain.leased(), 0);
}

#[test]
fn irqfd_that_cannot_be_unbound_keeps_its_gsi() {
    let mut bench = Bench::new();
    bench.vm.fail_next(SimCallKind::DeassignIrqfd, KvmErrno::IO);
    bench.irqfds.clear();
    assert_eq!(bench.vm.irqfds().len(), 1);
    assert_eq!(bench.domain.leased(), 1);
}

#[test]
fn irqfd_close_that_fails_hands_it_back() {
    let mut bench = Bench::new();
    let irqfd = bench.irqfds.remove(0);
    bench.vm.fail_next(SimCallKind::DeassignIrqfd, KvmErrno::IO);
    let (irqfd, error) = irqfd.close().unwrap_err();
    assert_eq!((irqfd.gsi(), error.source), (error.gsi, KvmErrno::IO));
    irqfd.close().unwrap();
    assert_eq!(bench.vm.irqfds().len(), 2);
}
