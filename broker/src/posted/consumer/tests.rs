use std::error::Error;

use irqbroker_core::DeliveryState;
use irqbroker_core::LocalProducer;
use irqbroker_core::Options;
use irqbroker_core::PathPolicy;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Wait;
use posted_irq::RemappedReason;

use super::*;
use crate::posted::vm::tests::Bench;
use crate::posted::vm::tests::bind;
use crate::posted::vm::tests::message;

/// The device of these tests.
const DEVICE: Rid = Rid(8);

#[test]
fn retarget_moves_posts_to_the_new_vcpu_and_vector() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(0, 0x41));
    consumer.set_message(message(1, 0x52)).unwrap();
    consumer.post().unwrap();
    bench.vcpus[0].load(0);
    bench.vcpus[1].load(0);
    assert_eq!(bench.vcpus[0].accept(), None);
    assert_eq!(bench.vcpus[1].accept(), Some(0x52));
}

#[test]
fn entry_without_a_producer_posts_to_nobody() {
    let bench = Bench::new();
    let consumer = bench.vm.msi("test", DEVICE, message(0, 0x41)).unwrap();
    let source_id = SourceId(DEVICE.0);
    let nobody = Err(MessageFault::HostEntry { source_id });
    assert_eq!(consumer.post(), nobody);
    bind(&consumer).unwrap();
    consumer.post().unwrap();
    consumer.del_producer();
    assert_eq!(
        consumer.mode(),
        IrteMode::Remapped(RemappedReason::NoProducer)
    );
    assert_eq!(consumer.post(), nobody);
}

#[test]
fn message_changed_without_a_producer_counts_once_there_is_one() {
    let mut bench = Bench::new();
    let consumer = bench.vm.msi("test", DEVICE, message(0, 0x41)).unwrap();
    consumer.set_message(message(1, 0x42)).unwrap();
    bind(&consumer).unwrap();
    consumer.post().unwrap();
    bench.vcpus[1].load(0);
    assert_eq!(bench.vcpus[1].accept(), Some(0x42));
}

#[test]
fn entries_come_back_with_their_consumers() {
    let bench = Bench::new();
    let four: Vec<_> = (0..4).map(|_| bench.bound(message(0, 0x41))).collect();
    let fifth = bench.vm.msi("test", DEVICE, message(0, 0x41));
    assert!(matches!(fifth, Err(TableError::Full { .. })));
    drop(four);
    bench.vm.msi("test", DEVICE, message(0, 0x41)).unwrap();
}

#[test]
fn producer_of_another_device_or_of_a_level_line_is_refused() {
    let bench = Bench::new();
    let consumer = bench.vm.msi("test", DEVICE, message(0, 0x41)).unwrap();
    let local = LocalProducer::new("device").unwrap();
    let foreign = ProducerInfo {
        source_id: Some(Rid(9)),
        ..ProducerInfo::edge()
    };
    for producer in [foreign, ProducerInfo::automasked_level()] {
        let refused = consumer.add_producer(&producer, local.token()).unwrap_err();
        assert!(refused.source().is_none(), "{refused}");
    }
    assert_ne!(consumer.mode(), IrteMode::Posted);
}

/// A link of an in-process producer and a posting consumer.
fn link(
    options: Options,
) -> (
    Bench,
    Registry,
    Arc<LocalProducer>,
    irqbroker_core::ProducerHandle,
    irqbroker_core::ConsumerHandle,
) {
    let bench = Bench::new();
    let registry = Registry::with_options(options).unwrap();
    let producer = LocalProducer::new("device").unwrap();
    let consumer = bench.vm.msi("test", DEVICE, message(0, 0x41)).unwrap();
    // Before there is a link: it waits in the eventfd.
    producer.signal();
    let token = producer.token().clone();
    let held = registry
        .register_producer(token.clone(), producer.clone())
        .unwrap();
    let handle = registry.register_consumer(token, consumer).unwrap();
    (bench, registry, producer, held, handle)
}

#[test]
fn link_of_a_producer_in_this_process_posts_without_eventfd_or_relay() {
    let (mut bench, registry, producer, _held, link) = link(Options::default());
    let delivery = link.delivery().unwrap();
    assert_eq!(delivery.state, DeliveryState::Posted);
    assert_eq!(delivery.reason, Reason::Best);
    let mut taken = || {
        bench.vcpus[0].load(0);
        let taken = bench.vcpus[0].accept();
        bench.vcpus[0].eoi();
        taken
    };
    assert_eq!(taken(), Some(0x41), "what waited in the eventfd");
    assert_eq!(taken(), None);
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 0);
    assert_eq!(taken(), Some(0x41));
    link.mask().unwrap();
    producer.signal();
    assert_eq!(taken(), None);
    link.update_route(message(0, 0x42)).unwrap();
    link.unmask().unwrap();
    assert_eq!(taken(), Some(0x42));
    assert_eq!(registry.relay_counters().claims, 0);
}

#[test]
fn link_whose_relay_was_asked_for_gives_the_eventfd_back_and_takes_it_again() {
    let (mut bench, registry, producer, _held, link) = link(Options {
        path: PathPolicy::Relay,
        ..Options::default()
    });
    assert_eq!(link.delivery().unwrap().state, DeliveryState::Relay);
    registry.service(Wait::No).unwrap();
    bench.vcpus[0].load(0);
    assert_eq!(bench.vcpus[0].accept(), Some(0x41));
    bench.vcpus[0].eoi();
    registry.set_path(link.link(), PathPolicy::Auto).unwrap();
    assert_eq!(link.delivery().unwrap().state, DeliveryState::Posted);
    registry.set_path(link.link(), PathPolicy::Relay).unwrap();
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 1);
    registry.service(Wait::No).unwrap();
    bench.vcpus[0].load(0);
    assert_eq!(bench.vcpus[0].accept(), Some(0x41));
}

#[test]
fn link_that_ends_leaves_the_producer_with_its_eventfd() {
    let (mut bench, _registry, producer, _held, link) = link(Options::default());
    bench.vcpus[0].load(0);
    drop(link);
    producer.signal();
    assert_eq!(producer.token().pending().unwrap(), 1);
}
