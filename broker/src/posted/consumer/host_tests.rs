//! Messages that cannot be posted: the entry is the host's, and the relay makes the interrupt.

use irqbroker_core::ConsumerHandle;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::LocalProducer;
use irqbroker_core::PathPolicy;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Registry;
use irqbroker_core::Wait;
use posted_irq::RemappedReason;

use super::*;
use crate::posted::EntryCounts;
use crate::posted::PostedVcpu;
use crate::posted::vm::tests::Bench;
use crate::posted::vm::tests::message;

/// The device of these tests.
const DEVICE: Rid = Rid(8);
const VECTOR: u8 = 0x41;
const POSTED: (DeliveryState, Reason) = (DeliveryState::Posted, Reason::Best);

/// A logical destination: both vCPUs of the bench.
fn to_both(vector: u8) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000 | 3 << 12 | 1 << 2,
        data: vector.into(),
    }
}

fn of_mode(mode: u32) -> MsiMessage {
    MsiMessage {
        data: mode << 8 | u32::from(VECTOR),
        ..message(0, VECTOR)
    }
}

/// Every kind of message that is not posted.
fn unpostable() -> Vec<(MsiMessage, Unpostable)> {
    let everybody = MsiMessage {
        address: 0xffff_ff00_fee0_0000 | 0xff << 12,
        data: VECTOR.into(),
    };
    let mut cases = vec![
        (to_both(VECTOR), Unpostable::SeveralVcpus),
        (everybody, Unpostable::SeveralVcpus),
        (message(7, VECTOR), Unpostable::NoVcpu),
        (message(0, 15), Unpostable::IllegalVector(15)),
    ];
    // SMI, NMI, INIT, ExtINT, and the reserved two.
    cases.extend([2, 4, 5, 7, 3, 6].map(|mode| {
        let told = u8::try_from(mode).unwrap();
        (of_mode(mode), Unpostable::DeliveryMode(told))
    }));
    cases
}

struct Linked {
    bench: Bench,
    registry: Registry,
    producer: Arc<LocalProducer>,
    consumer: Arc<PostedConsumer>,
    link: ConsumerHandle,
    _producer: ProducerHandle,
}

impl Linked {
    fn new(first: MsiMessage) -> Self {
        let bench = Bench::new();
        let registry = Registry::new().unwrap();
        let producer = LocalProducer::new("device").unwrap();
        let consumer = bench.vm.msi("test", DEVICE, first).unwrap();
        let token = producer.token().clone();
        let held = registry.register_producer(token.clone(), producer.clone());
        let link = registry.register_consumer(token, consumer.clone());
        Self {
            bench,
            producer,
            consumer,
            link: link.unwrap(),
            _producer: held.unwrap(),
            registry,
        }
    }

    fn state(&self) -> (DeliveryState, Reason) {
        let delivery = self.link.delivery().unwrap();
        (delivery.state, delivery.reason)
    }

    fn service(&self) {
        while self.registry.service(Wait::No).unwrap().events > 0 {}
    }
}

/// What the vCPU takes, each ended before the next.
fn taken(vcpu: &mut PostedVcpu) -> Vec<u8> {
    vcpu.load(0);
    let mut vectors = Vec::new();
    while let Some(vector) = vcpu.accept() {
        vectors.push(vector);
        vcpu.eoi();
    }
    vectors
}

#[test]
fn p5_message_that_cannot_be_posted_gives_the_entry_back_and_the_stream_tells_why() {
    for (unpostable, why) in unpostable() {
        let mut linked = Linked::new(message(0, VECTOR));
        let events = linked.registry.subscribe(16);
        assert_eq!(linked.state(), POSTED);
        linked.link.update_route(unpostable).unwrap();
        let remapped = (DeliveryState::Relay, Reason::HostEntry(why));
        assert_eq!(linked.state(), remapped);
        let mode = linked.consumer.mode();
        assert!(matches!(mode, IrteMode::Remapped(RemappedReason::Route(_))));
        let host = MessageFault::HostEntry {
            source_id: SourceId(DEVICE.0),
        };
        assert_eq!(linked.consumer.post(), Err(host), "a stale entry");
        assert!(taken(&mut linked.bench.vcpus[0]).is_empty());
        linked.link.update_route(message(1, 0x52)).unwrap();
        assert_eq!(linked.state(), POSTED);
        linked.producer.signal();
        assert_eq!(taken(&mut linked.bench.vcpus[1]), [0x52]);
        let told: Vec<_> = events
            .try_iter()
            .filter_map(|event| match event {
                Event::Delivery { from, to, .. } => {
                    Some(((from.state, from.reason), (to.state, to.reason)))
                }
                _ => None,
            })
            .collect();
        assert_eq!(told, [(POSTED, remapped), (remapped, POSTED)]);
    }
}

#[test]
fn link_goes_between_posted_remapped_and_a_relay_that_was_asked_for_each_with_its_reason() {
    let linked = Linked::new(message(0, VECTOR));
    let id = linked.link.link();
    let asked = (DeliveryState::Relay, Reason::RelayRequested);
    let several = Reason::HostEntry(Unpostable::SeveralVcpus);
    let events = linked.registry.subscribe(16);
    let path = |policy| linked.registry.set_path(id, policy).unwrap();
    let update = |message| linked.link.update_route(message).unwrap();
    path(PathPolicy::Relay);
    assert_eq!(
        (linked.state(), linked.consumer.mode()),
        (asked, IrteMode::Posted)
    );
    update(to_both(VECTOR));
    assert_eq!(linked.state(), asked);
    assert_ne!(linked.consumer.mode(), IrteMode::Posted);
    path(PathPolicy::Auto);
    update(message(0, VECTOR));
    let told: Vec<_> = events
        .try_iter()
        .filter_map(|event| match event {
            Event::Delivery { to, .. } => Some((to.state, to.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [asked, (DeliveryState::Relay, several), POSTED]);
}

#[test]
fn link_whose_first_message_cannot_be_posted_begins_in_relay() {
    let mut linked = Linked::new(to_both(VECTOR));
    let why = Reason::HostEntry(Unpostable::SeveralVcpus);
    assert_eq!(linked.state(), (DeliveryState::Relay, why));
    linked.producer.signal();
    linked.service();
    for vcpu in &mut linked.bench.vcpus {
        assert_eq!(taken(vcpu), [VECTOR]);
    }
    linked.link.update_route(message(0, VECTOR)).unwrap();
    assert_eq!(linked.state(), POSTED);
}

#[test]
fn interrupt_through_the_host_reaches_each_vcpu_or_is_counted_as_failed() {
    for (unpostable, why) in unpostable() {
        let mut linked = Linked::new(unpostable);
        linked.producer.signal();
        linked.service();
        let several = why == Unpostable::SeveralVcpus;
        let expected: &[u8] = if several { &[VECTOR] } else { &[] };
        for vcpu in &mut linked.bench.vcpus {
            assert_eq!(taken(vcpu), expected, "{why}");
        }
        let counters = linked.registry.link(linked.link.link()).unwrap().counters;
        assert_eq!(counters.relayed, u64::from(several));
        assert_eq!(counters.inject_failures, u64::from(!several));
    }
}

#[test]
fn interrupt_to_everybody_of_whom_one_is_chosen_reaches_one() {
    let everybody_rh = MsiMessage {
        address: 0xffff_ff00_fee0_0000 | 0xff << 12 | 1 << 3,
        data: VECTOR.into(),
    };
    let mut linked = Linked::new(everybody_rh);
    assert_eq!(linked.state().0, DeliveryState::Relay);
    linked.producer.signal();
    linked.service();
    // 0x41 of two is the second.
    assert!(taken(&mut linked.bench.vcpus[0]).is_empty());
    assert_eq!(taken(&mut linked.bench.vcpus[1]), [VECTOR]);
}

#[test]
fn event_before_and_after_a_transition_arrives_once_each() {
    let mut linked = Linked::new(message(0, VECTOR));
    linked.producer.signal();
    linked.link.update_route(to_both(0x52)).unwrap();
    linked.producer.signal();
    // Claimed from the eventfd as the entry posts again.
    linked.link.update_route(message(0, 0x63)).unwrap();
    linked.producer.signal();
    linked.service();
    // The last two are one vector by now: the one waited, the other came.
    assert_eq!(taken(&mut linked.bench.vcpus[0]), [0x63, VECTOR]);
    assert!(taken(&mut linked.bench.vcpus[1]).is_empty());
    assert_eq!(linked.producer.token().pending().unwrap(), 0);
}

#[test]
fn masked_link_changes_its_entry_and_delivers_by_it_when_unmasked() {
    let mut linked = Linked::new(message(0, VECTOR));
    linked.link.mask().unwrap();
    linked.link.update_route(to_both(0x52)).unwrap();
    assert!(matches!(linked.consumer.mode(), IrteMode::Remapped(_)));
    linked.producer.signal();
    linked.link.unmask().unwrap();
    linked.service();
    for vcpu in &mut linked.bench.vcpus {
        assert_eq!(taken(vcpu), [0x52]);
    }
}

#[test]
fn update_that_changes_no_entry_writes_and_invalidates_none() {
    const TIMES: u64 = 100;
    let linked = Linked::new(message(0, VECTOR));
    let counts = || linked.bench.vm.entry_counts();
    // Made present, which hardware has not cached; then posting.
    let begun = EntryCounts {
        written: 2,
        invalidated: 1,
    };
    assert_eq!(counts(), begun);
    for _ in 0..TIMES {
        linked.link.update_route(message(0, VECTOR)).unwrap();
        linked.link.mask().unwrap();
        linked.link.unmask().unwrap();
    }
    assert_eq!(counts(), begun);
    // To the host once, however often the message changes there.
    for (unpostable, _) in unpostable() {
        linked.link.update_route(unpostable).unwrap();
    }
    linked.link.update_route(message(0, VECTOR)).unwrap();
    let there_and_back = EntryCounts {
        written: 4,
        invalidated: 3,
    };
    assert_eq!(counts(), there_and_back);
    for vector in 0..TIMES {
        let vector = u8::try_from(0x60 + vector % 2).unwrap();
        linked.link.update_route(message(1, vector)).unwrap();
    }
    let each = EntryCounts {
        written: 4 + TIMES,
        invalidated: 3 + TIMES,
    };
    assert_eq!(counts(), each);
}

#[test]
fn batch_of_posts_without_a_drain_notifies_once() {
    let mut bench = Bench::new();
    let consumers: Vec<_> = (0..4)
        .map(|at| bench.bound(message(0, 0x40 + at)))
        .collect();
    for _batch in 0..100 {
        bench.vcpus[0].load(0);
        let before = bench.kicks[0].load(std::sync::atomic::Ordering::SeqCst);
        for _ in 0..50 {
            for consumer in &consumers {
                consumer.post().unwrap();
            }
        }
        let after = bench.kicks[0].load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(after - before, 1);
        assert_eq!(taken(&mut bench.vcpus[0]), [0x43, 0x42, 0x41, 0x40]);
    }
}
