use super::*;

use irqbroker_core::MsiMessage;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::KvmErrno;
use irqbroker_kvm::SimCallKind;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::ReasonCode;

use crate::client::event_fd::fresh;

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_0000,
    data: 0x41,
};

/// EBUSY: another irqfd holds the eventfd.
const BUSY: KvmErrno = KvmErrno(16);

struct Rig {
    vm: Arc<SimVm>,
    registry: Registry,
    consumer: OwnConsumer,
}

impl Rig {
    fn new() -> Self {
        let vm = SimHost::default().vm(VmShape::PC);
        let seam: Arc<SimVm> = Arc::clone(&vm);
        let domain = VmDomain::new(seam, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
        let registry = Registry::new().unwrap();
        let names = (Name::new("c").unwrap(), Some(Name::new("l").unwrap()));
        let own = fresh().unwrap().unwrap();
        let msi = domain.msi("msi", MESSAGE, None).unwrap();
        let consumer = OwnConsumer::new(&registry, names, own, msi).unwrap();
        Self {
            vm,
            registry,
            consumer,
        }
    }

    fn attach(&mut self, event: &Token) -> Result<wire::Delivery, wire::Reason> {
        let attach = Attach {
            instruction: InstructionId(1),
            consumer: Name::new("c").unwrap(),
            producer: Name::new("p").unwrap(),
            trigger: wire::Trigger::Edge,
            automasked: false,
            source_id: None,
            host_irq: None,
        };
        self.consumer.attach(&self.registry, &attach, event.clone())
    }

    fn mask(&mut self) {
        self.consumer.handle().unwrap().mask().unwrap();
        self.consumer.masked = true;
    }

    fn unmask(&mut self) {
        self.consumer.handle().unwrap().unmask().unwrap();
        self.consumer.masked = false;
    }

    /// Interrupts the guest has had.
    fn delivered(&self) -> u64 {
        while self
            .registry
            .service(irqbroker_core::Wait::No)
            .unwrap()
            .events
            > 0
        {}
        self.vm.pump();
        self.vm.delivered_message(MESSAGE)
    }
}

fn signal(event: &Token) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

#[test]
fn attach_delivers_what_stood_in_the_producers_eventfd_once() {
    let (mut rig, source) = (Rig::new(), fresh().unwrap().unwrap());
    signal(&source);
    let delivery = rig.attach(&source).unwrap();
    assert_eq!(delivery.state, wire::State::Bypass);
    assert_eq!(rig.delivered(), 1);
    signal(&source);
    assert_eq!(rig.delivered(), 2);
    // Nothing is left over for whoever claims it next.
    rig.consumer.detach(&rig.registry);
    assert_eq!(source.pending().unwrap(), 0);
    assert_eq!(rig.delivered(), 2);
}

#[test]
fn detach_leaves_later_events_to_the_relay_and_takes_its_own_eventfd() {
    let (mut rig, source) = (Rig::new(), fresh().unwrap().unwrap());
    rig.attach(&source).unwrap();
    rig.consumer.detach(&rig.registry);
    signal(&source);
    assert_eq!(rig.delivered(), 0);
    signal(&rig.consumer.own.clone());
    assert_eq!(rig.delivered(), 1);
}

#[test]
fn mask_holds_across_attach_and_detach_and_keeps_every_event() {
    let (mut rig, source) = (Rig::new(), fresh().unwrap().unwrap());
    rig.mask();
    // Relayed while masked: it waits in the consumer's own eventfd.
    signal(&rig.consumer.own.clone());
    rig.attach(&source).unwrap();
    assert_eq!(rig.delivered(), 0);
    rig.unmask();
    assert_eq!(rig.delivered(), 1);
    rig.mask();
    signal(&source);
    rig.consumer.detach(&rig.registry);
    rig.unmask();
    assert_eq!(source.pending().unwrap(), 1, "left for the relay");
    assert_eq!(rig.delivered(), 1);
}

#[test]
fn attach_that_the_kernel_refuses_is_declined_and_changes_nothing() {
    let (mut rig, source) = (Rig::new(), fresh().unwrap().unwrap());
    rig.vm.fail_next(SimCallKind::AssignIrqfd, BUSY);
    let reason = rig.attach(&source).unwrap_err();
    assert_eq!(reason.code, ReasonCode::AttachRefused);
    assert!(rig.consumer.attached.is_none());
    signal(&rig.consumer.own.clone());
    assert_eq!(rig.delivered(), 1);
    signal(&source);
    assert_eq!(rig.delivered(), 1);
}

#[test]
fn attach_to_another_producer_lets_go_of_the_first() {
    let mut rig = Rig::new();
    let (first, second) = (fresh().unwrap().unwrap(), fresh().unwrap().unwrap());
    rig.attach(&first).unwrap();
    rig.attach(&second).unwrap();
    signal(&first);
    signal(&second);
    assert_eq!(rig.delivered(), 1);
    assert_eq!(first.pending().unwrap(), 1);
}
