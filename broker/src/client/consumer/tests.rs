use super::*;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Vector;
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

/// A pin the guest has programmed for a level.
const PIN: Gsi = Gsi(20);
const PIN_VECTOR: Vector = Vector(0x61);

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

    /// With a level line in place of a message.
    fn level() -> Self {
        let vm = SimHost::default().vm(VmShape::PC);
        vm.program_pin(PIN.0, PIN_VECTOR, Trigger::Level);
        let seam: Arc<SimVm> = Arc::clone(&vm);
        let domain = VmDomain::new(seam, EmbedderRoutes::pc_pins(), DestinationIds::Bits8).unwrap();
        let registry = Registry::new().unwrap();
        let names = (Name::new("c").unwrap(), Some(Name::new("l").unwrap()));
        let own = fresh().unwrap().unwrap();
        let pin = domain.pin("pin", PIN).unwrap();
        let consumer = OwnConsumer::new(&registry, names, own, pin).unwrap();
        Self {
            vm,
            registry,
            consumer,
        }
    }

    /// Interrupts the pin has delivered.
    fn pin_delivered(&self) -> u64 {
        self.vm.pump();
        self.vm.delivered(PIN_VECTOR)
    }

    /// The guest ends the pin's interrupt; how often the resample event is signalled.
    fn unmasks_after_eoi(&self) -> u64 {
        self.vm.eoi(PIN);
        self.unmasks()
    }

    fn unmasks(&self) -> u64 {
        take(self.consumer.resample.as_ref().unwrap())
    }

    fn attach(&mut self, event: &Token) -> Result<wire::Delivery, wire::Reason> {
        let level = self.consumer.resample.is_some();
        let attach = Attach {
            instruction: InstructionId(1),
            consumer: Name::new("c").unwrap(),
            producer: Name::new("p").unwrap(),
            trigger: match level {
                true => wire::Trigger::Level,
                false => wire::Trigger::Edge,
            },
            automasked: level,
            source_id: None,
            host_irq: None,
        };
        let event = event.as_fd().try_clone_to_owned().unwrap();
        self.consumer.attach(&self.registry, &attach, event)
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
    signal(&rig.consumer.own);
    assert_eq!(rig.delivered(), 1);
}

#[test]
fn mask_holds_across_attach_and_detach_and_keeps_every_event() {
    let (mut rig, source) = (Rig::new(), fresh().unwrap().unwrap());
    rig.mask();
    // Relayed while masked: it waits in the consumer's own eventfd.
    signal(&rig.consumer.own);
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
    signal(&rig.consumer.own);
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

#[test]
fn attached_line_unmasks_its_source_after_each_eoi() {
    let (mut rig, source) = (Rig::level(), fresh().unwrap().unwrap());
    let delivery = rig.attach(&source).unwrap();
    assert_eq!(delivery.state, wire::State::Bypass);
    assert_eq!(rig.unmasks(), 0, "nothing has been in service");
    for round in 1..4 {
        signal(&source);
        assert_eq!((rig.pin_delivered(), rig.unmasks()), (round, 0));
        assert_eq!(rig.unmasks_after_eoi(), 1);
    }
}

#[test]
fn line_that_moves_while_it_is_served_unmasks_its_source_all_the_same() {
    let (mut rig, source) = (Rig::level(), fresh().unwrap().unwrap());
    rig.attach(&source).unwrap();
    signal(&source);
    assert_eq!(rig.pin_delivered(), 1);
    // The EOI comes while nothing is bound for all anybody knows: it is not waited for.
    rig.consumer.detach(&rig.registry);
    assert_eq!(rig.unmasks(), 1);
    rig.unmasks_after_eoi();
    // Relayed, as the daemon does, and back.
    signal(&rig.consumer.own);
    assert_eq!(rig.pin_delivered(), 2);
    rig.attach(&source).unwrap();
    assert_eq!(rig.unmasks(), 1);
    rig.unmasks_after_eoi();
    signal(&source);
    assert_eq!(rig.pin_delivered(), 3);
    assert_eq!(rig.unmasks_after_eoi(), 1);
}
