use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::fakes::Bench;
use super::fakes::FakeConsumer;
use super::fakes::FakeDomain;
use super::fakes::FakeProducer;
use super::fakes::event;
use super::fakes::signal;
use super::*;
use crate::info::Delivers;
use crate::shared::Promotion;

const PROMOTIONS: [Promotion; 2] = [Promotion::Immediate, Promotion::Deferred];
/// Any that the registry does not give by itself.
const REASON: Reason = Reason::Untranslated;

fn bench(promotion: Promotion) -> Bench {
    Bench::with(Options {
        promotion,
        ..Options::default()
    })
}

/// A bypassed link.
fn bypassed(bench: &Bench) -> (Arc<FakeConsumer>, ProducerHandle, ConsumerHandle) {
    let consumer = FakeConsumer::new(&bench.log, Delivers::Bypass);
    let producer = bench.producer().unwrap();
    let handle = bench
        .registry
        .register_consumer(bench.token.clone(), consumer.clone())
        .unwrap();
    bench.service();
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
    bench.log.take();
    (consumer, producer, handle)
}

#[test]
fn demoted_link_is_detached_once_and_stays_in_relay_until_its_consumer_has_recovered() {
    for promotion in PROMOTIONS {
        let bench = bench(promotion);
        let (consumer, _producer, handle) = bypassed(&bench);
        let link = handle.link();
        for _ in 0..2 {
            bench.registry.demote(link, REASON).unwrap();
        }
        assert_eq!(bench.log.take(), ["c.detach"]);
        for _ in 0..2 {
            signal(&bench.token);
            assert_eq!(bench.service(), 1);
            assert_eq!(bench.state(link), (DeliveryState::Relay, REASON));
        }
        assert_eq!(bench.log.take(), ["c.inject", "c.inject"]);
        consumer.recovered.store(true, SeqCst);
        signal(&bench.token);
        assert_eq!(bench.service(), 1);
        assert_eq!(bench.state(link), (DeliveryState::Bypass, Reason::Best));
        // Once for the batch, and once for the link by itself.
        let calls = ["c.inject", "c.prepare", "c.prepare", "c.attach"];
        assert_eq!(bench.log.take(), calls);
    }
}

#[test]
fn links_that_recover_in_one_round_are_promoted_with_one_commit() {
    /// Few enough for one round of the relay.
    const LINKS: usize = 10;
    let bench = bench(Promotion::Immediate);
    let table: Arc<FakeDomain> = Arc::clone(&FakeConsumer::new(&bench.log, RELAY).domain);
    let hold = bench.registry.hold_promotions();
    let links: Vec<_> = (0..LINKS)
        .map(|_| {
            let token = Token::of(event()).unwrap();
            let consumer = FakeConsumer::in_domain(&bench.log, Delivers::Bypass, &table);
            consumer.recovered.store(true, SeqCst);
            let producer = FakeProducer::edge(&bench.log);
            let producer = bench.registry.register_producer(token.clone(), producer);
            let handle = bench
                .registry
                .register_consumer(token.clone(), consumer.clone());
            (token, consumer, producer.unwrap(), handle.unwrap())
        })
        .collect();
    hold.release();
    for (token, consumer, _, handle) in &links {
        bench.registry.demote(handle.link(), REASON).unwrap();
        // Another route, as after another message.
        crate::peer::Bypass::release(&**consumer);
        signal(token);
    }
    let before = table.commits.load(SeqCst);
    assert_eq!(bench.service(), LINKS);
    assert_eq!(table.commits.load(SeqCst) - before, 1);
    for (.., handle) in &links {
        assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
    }
}

const RELAY: Delivers = Delivers::Relay(Reason::UserSpaceConsumer);

#[test]
fn demoted_link_that_was_masked_enters_relay_when_it_is_unmasked() {
    let bench = bench(Promotion::Immediate);
    let (consumer, _producer, handle) = bypassed(&bench);
    handle.mask().unwrap();
    bench.registry.demote(handle.link(), REASON).unwrap();
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Masked);
    assert_eq!(bench.log.take(), ["c.detach"]);
    signal(&bench.token);
    handle.unmask().unwrap();
    assert_eq!(bench.state(handle.link()), (DeliveryState::Relay, REASON));
    consumer.recovered.store(true, SeqCst);
    assert_eq!(bench.service(), 1);
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
}

#[test]
fn demotion_that_the_kernel_refuses_leaves_the_link_as_it_was() {
    let bench = bench(Promotion::Immediate);
    let (_consumer, _producer, handle) = bypassed(&bench);
    bench.log.refuse("c.detach");
    let refused = bench.registry.demote(handle.link(), REASON);
    assert!(matches!(refused, Err(LinkError::Detach { .. })));
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
    bench.log.refuse("nothing");
    handle.mask().unwrap();
    handle.unmask().unwrap();
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
}

#[test]
fn recovered_link_whose_relay_is_asked_for_stays_there() {
    let bench = bench(Promotion::Immediate);
    let (consumer, _producer, handle) = bypassed(&bench);
    let link = handle.link();
    bench.registry.demote(link, REASON).unwrap();
    bench.registry.set_path(link, PathPolicy::Relay).unwrap();
    consumer.recovered.store(true, SeqCst);
    signal(&bench.token);
    assert_eq!(bench.service(), 1);
    let asked_for = (DeliveryState::Relay, Reason::RelayRequested);
    assert_eq!(bench.state(link), asked_for);
    bench.registry.set_path(link, PathPolicy::Auto).unwrap();
    assert_eq!(bench.state(link).0, DeliveryState::Bypass);
}

#[test]
fn demotion_of_a_link_without_a_partner_is_nothing() {
    let bench = bench(Promotion::Immediate);
    let handle = bench.consumer(Delivers::Bypass).unwrap();
    bench.registry.demote(handle.link(), REASON).unwrap();
    let unmatched = (DeliveryState::Unmatched, Reason::NoProducer);
    assert_eq!(bench.state(handle.link()), unmatched);
    let _producer = bench.producer().unwrap();
    assert_eq!(bench.state(handle.link()).0, DeliveryState::Bypass);
}
