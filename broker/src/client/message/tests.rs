use super::*;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Done;
use irqbroker_protocol::Limits;
use irqbroker_protocol::RequestFrame;
use rustix::net::sockopt::Timeout;

use crate::client::connect::tests::asked;
use crate::client::connect::tests::wait;
use crate::client::event_fd::fresh;
use crate::client::options::ConsumerSpec;

/// Longer than anything takes on a busy machine: only an answer that does not come takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_0000,
    data: 0x41,
};

/// A client with the consumer `c`, registered with a daemon of the test's own.
struct Rig {
    _vm: Arc<SimVm>,
    client: ControlClient,
    daemon: Connection,
    producer: Token,
}

impl Rig {
    fn new() -> Self {
        let vm = SimHost::default().vm(VmShape::PC);
        let seam: Arc<SimVm> = Arc::clone(&vm);
        let domain = VmDomain::new(seam, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
        let (mut client, daemon) = asked();
        rustix::net::sockopt::set_socket_timeout(&daemon, Timeout::Recv, Some(PATIENCE)).unwrap();
        let spec = ConsumerSpec {
            name: name(),
            link: Some(Name::new("l").unwrap()),
            event: None,
        };
        let consumer = domain.msi("msi", MESSAGE, None).unwrap();
        client.consume(spec, consumer).unwrap();
        let mut new = Self {
            _vm: vm,
            client,
            daemon,
            producer: fresh().unwrap().unwrap(),
        };
        let hello = new.request().0;
        let limits = Limits {
            message_bytes: 65_536,
            message_fds: 253,
            batch_requests: 253,
            objects: 100,
            requests_per_second: 1000,
            backlog_bytes: 65_536,
            linger_ms: 0,
            link_rows: 10,
        };
        let welcome = Welcome {
            version: 1,
            daemon: "test".into(),
            run: 1,
            session: 1,
            features: Vec::new(),
            limits,
            claim_record: false,
        };
        new.answer(ServerFrame::encode_ok(hello, &welcome).unwrap());
        let registration = new.request().0;
        let registered = BatchDone {
            registered: vec![Registered {
                link: 1,
                event_id: 2,
                slot: None,
            }],
        };
        new.answer(ServerFrame::encode_ok(registration, &registered).unwrap());
        new
    }

    fn request(&mut self) -> (u64, Request) {
        let frame = RequestFrame::decode(self.daemon.receive().unwrap().bytes).unwrap();
        (frame.id, frame.request.unwrap())
    }

    fn answer(&mut self, bytes: Vec<u8>) {
        self.daemon.send(&bytes, &[]).unwrap();
        wait(&self.client);
        self.client.service();
    }

    /// Sends a notice with the producer's eventfd.
    fn tell(&mut self, notice: &str) {
        let event = self.producer.as_fd();
        self.daemon.send(notice.as_bytes(), &[event]).unwrap();
        wait(&self.client);
        self.client.service();
    }

    /// What is answered next to an instruction.
    fn answered(&mut self) -> (InstructionId, Outcome) {
        loop {
            let (id, request) = self.request();
            if let Request::Answer(answer) = request {
                let (instruction, outcome) = (answer.instruction, answer.outcome);
                self.answer(ServerFrame::encode_ok(id, &Done {}).unwrap());
                return (instruction, outcome);
            }
        }
    }

    fn is_bound(&self) -> bool {
        self.client.delivery(&name()).unwrap().1
    }
}

fn name() -> Name {
    Name::new("c").unwrap()
}

/// An instruction to attach, of this version or of a later one.
fn attach(instruction: u64, trigger: &str) -> String {
    format!(
        r#"{{"notice":"attach","body":{{"instruction":{instruction},"consumer":"c","producer":"p",
            "trigger":"{trigger}","automasked":false,"later":{{"x":1}}}}}}"#
    )
}

#[test]
fn attach_with_a_field_more_is_followed() {
    let mut rig = Rig::new();
    rig.tell(&attach(1, "edge"));
    let (instruction, outcome) = rig.answered();
    assert_eq!(instruction, InstructionId(1));
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    assert!(rig.is_bound());
}

#[test]
fn attach_that_cannot_be_read_is_declined_and_leaves_the_consumer_its_own_eventfd() {
    let mut rig = Rig::new();
    rig.tell(&attach(1, "edge"));
    rig.answered();
    // Also one that is bound: what the declined one is about is relayed into its own eventfd.
    rig.tell(&attach(2, "later"));
    let (instruction, outcome) = rig.answered();
    assert_eq!(instruction, InstructionId(2));
    let Outcome::Declined { reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(reason.code, ReasonCode::Declined);
    assert!(!rig.is_bound());
    assert!(rig.client.is_connected());
}

#[test]
fn instruction_of_an_unknown_kind_is_declined_and_leaves_its_consumer_bound() {
    let mut rig = Rig::new();
    rig.tell(&attach(1, "edge"));
    rig.answered();
    rig.tell(r#"{"notice":"later","body":{"instruction":2,"consumer":"c"}}"#);
    let (instruction, outcome) = rig.answered();
    assert_eq!(instruction, InstructionId(2));
    assert!(matches!(outcome, Outcome::Declined { .. }), "{outcome:?}");
    assert!(rig.is_bound() && rig.client.is_connected());
}

#[test]
fn instruction_of_an_unknown_kind_is_declined() {
    let mut rig = Rig::new();
    rig.tell(r#"{"notice":"later","body":{"instruction":3}}"#);
    let (instruction, outcome) = rig.answered();
    assert_eq!(instruction, InstructionId(3));
    assert!(matches!(outcome, Outcome::Declined { .. }), "{outcome:?}");
}

#[test]
fn detach_that_cannot_be_read_unbinds_and_closes() {
    let mut rig = Rig::new();
    rig.tell(&attach(1, "edge"));
    rig.answered();
    rig.tell(r#"{"notice":"detach","body":{"instruction":4}}"#);
    assert!(!rig.is_bound());
    assert!(!rig.client.is_connected());
}
