use std::sync::atomic::Ordering::SeqCst;

use super::fakes::Bench;
use super::fakes::FakeConsumer;
use super::fakes::FakeProducer;
use super::fakes::event;
use super::fakes::signal;
use super::*;
use crate::info::Delivers;
use crate::local::LocalProducer;
use crate::shared::Promotion;

const RELAY: Delivers = Delivers::Relay(Reason::UserSpaceConsumer);

#[test]
fn bypass_refused_at_any_step_leaves_a_working_relay_with_the_reason() {
    let cases = [
        ("c.prepare", Reason::GsiExhausted { limit: 1 }),
        ("commit", Reason::NoIrqfd),
        ("c.attach", Reason::NoIrqfd),
    ];
    for (step, reason) in cases {
        let bench = Bench::new();
        bench.log.refuse(step);
        let _producer = bench.producer().unwrap();
        let consumer = bench.consumer(Delivers::Bypass).unwrap();
        assert_eq!(
            bench.state(consumer.link()),
            (DeliveryState::Relay, reason),
            "{step}"
        );
        signal(&bench.token);
        assert_eq!(bench.service(), 1, "{step}");
        bench.log.refuse("nothing");
        bench.registry.promote(consumer.link()).unwrap();
        assert_eq!(
            bench.state(consumer.link()).0,
            DeliveryState::Bypass,
            "{step}"
        );
    }
}

#[test]
fn invariant_6_masked_link_in_relay_keeps_its_event_in_the_eventfd() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    let consumer = bench.consumer(RELAY).unwrap();
    consumer.mask().unwrap();
    signal(&bench.token);
    assert_eq!(bench.service(), 0);
    assert_eq!(bench.token.pending().unwrap(), 1);
    consumer.unmask().unwrap();
    assert_eq!(bench.service(), 1);
    assert_eq!(bench.token.pending().unwrap(), 0);
}

#[test]
fn invariant_6_deferred_toggles_of_a_bypassed_link_cost_one_detach_a_burst() {
    let bench = Bench::with(Options {
        promotion: Promotion::Deferred,
        ..Options::default()
    });
    let _producer = bench.producer().unwrap();
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    bench.service();
    assert_eq!(bench.state(consumer.link()).0, DeliveryState::Bypass);
    bench.log.take();
    for _ in 0..100 {
        consumer.mask().unwrap();
        consumer.unmask().unwrap();
    }
    assert_eq!(bench.log.take(), ["c.detach"]);
    assert_eq!(
        bench.state(consumer.link()),
        (DeliveryState::Relay, Reason::PromotionPending)
    );
    bench.service();
    assert_eq!(bench.log.take(), ["c.prepare", "c.prepare", "c.attach"]);
    assert_eq!(bench.state(consumer.link()).0, DeliveryState::Bypass);
}

#[test]
fn invariant_6_in_process_producer_is_masked_at_the_source_with_no_call_to_the_consumer() {
    let bench = Bench::new();
    let producer = LocalProducer::new("local").unwrap();
    let token = producer.token().clone();
    let _producer = bench
        .registry
        .register_producer(token.clone(), producer.clone())
        .unwrap();
    let consumer = bench
        .registry
        .register_consumer(
            token.clone(),
            FakeConsumer::new(&bench.log, Delivers::Bypass),
        )
        .unwrap();
    bench.log.take();
    consumer.mask().unwrap();
    producer.signal();
    assert_eq!(token.pending().unwrap(), 0);
    assert_eq!(bench.state(consumer.link()).0, DeliveryState::Masked);
    consumer.unmask().unwrap();
    assert_eq!(token.pending().unwrap(), 1);
    assert_eq!(bench.log.take(), Vec::<&str>::new());
}

#[test]
fn invariant_5_links_brought_up_under_a_hold_cost_one_commit() {
    // Enough links to tell one commit from one a link.
    const LINKS: usize = 32;
    let bench = Bench::new();
    let first = FakeConsumer::new(&bench.log, Delivers::Bypass);
    let mut handles = Vec::new();
    let hold = bench.registry.hold_promotions();
    for _ in 0..LINKS {
        let token = Token::of(event()).unwrap();
        let consumer = FakeConsumer::in_domain(&bench.log, Delivers::Bypass, &first.domain);
        handles.push((
            bench
                .registry
                .register_producer(token.clone(), FakeProducer::edge(&bench.log))
                .unwrap(),
            bench.registry.register_consumer(token, consumer).unwrap(),
        ));
    }
    let (_, last) = handles.last().unwrap();
    let held = (DeliveryState::Relay, Reason::Held);
    assert_eq!(bench.state(last.link()), held);
    let promoted = hold.release();
    assert_eq!(
        promoted,
        Promoted {
            bypassed: LINKS,
            relayed: 0,
            commits: 1
        }
    );
    assert_eq!(first.domain.commits.load(SeqCst), 1);
}

#[test]
fn refused_retarget_puts_the_irqfd_back_and_keeps_the_old_message() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    let before = bench.registry.link(consumer.link()).unwrap();
    bench.log.take();
    bench.log.refuse("c.retarget");
    let message = MsiMessage {
        address: 0xfee0_1000,
        data: 0x41,
    };
    assert!(matches!(
        consumer.update_route(message).unwrap_err(),
        LinkError::Message { .. }
    ));
    assert_eq!(
        bench.log.take(),
        ["c.detach", "c.retarget", "c.prepare", "c.attach"]
    );
    let after = bench.registry.link(consumer.link()).unwrap();
    assert_eq!(
        (after.delivery, after.route),
        (before.delivery, before.route)
    );
}

#[test]
fn level_link_in_relay_unmasks_its_source_when_the_guest_has_served_it() {
    let bench = Bench::new();
    let consumer = FakeConsumer::new(&bench.log, RELAY);
    let resample = consumer.resample.clone().unwrap();
    let _consumer = bench
        .registry
        .register_consumer(bench.token.clone(), consumer)
        .unwrap();
    let _producer = bench
        .registry
        .register_producer(bench.token.clone(), FakeProducer::level(&bench.log))
        .unwrap();
    signal(&bench.token);
    assert_eq!(bench.service(), 1);
    bench.log.take();
    rustix::io::write(&resample, &1u64.to_ne_bytes()).unwrap();
    bench.service();
    assert_eq!(bench.log.take(), ["p.unmask"]);
}

#[test]
fn promotion_discards_what_the_kernel_has_injected_and_left_standing() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    consumer.mask().unwrap();
    // The pretended kernel takes nothing, so this is what a real one leaves in the counter.
    signal(&bench.token);
    consumer.unmask().unwrap();
    assert_eq!(bench.state(consumer.link()).0, DeliveryState::Bypass);
    assert_eq!(bench.token.pending().unwrap(), 0);
}
