use super::fakes::Bench;
use super::fakes::signal;
use super::*;
use crate::info::Delivers;

const RELAY: Delivers = Delivers::Relay(Reason::UserSpaceConsumer);

/// What a connect calls, up to where the eventfd is bound, and after.
const CONNECT: [&str; 4] = ["p.stop", "c.stop", "p.add_consumer", "c.add_producer"];
const START: [&str; 2] = ["c.start", "p.start"];
const BIND: [&str; 3] = ["c.prepare", "commit", "c.attach"];

fn calls(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

#[test]
fn invariant_2_duplicate_producer_is_refused_by_name_and_changes_nothing() {
    let bench = Bench::new();
    let first = bench.producer().unwrap();
    let error = bench.producer().unwrap_err();
    assert!(matches!(
        &error,
        RegisterError::Duplicate { side: Side::Producer, holder, .. } if holder == "fake.producer"
    ));
    assert_eq!(
        bench.state(first.link()),
        (DeliveryState::Unmatched, Reason::NoConsumer)
    );
    assert_eq!(bench.log.take(), Vec::<&str>::new());
}

#[test]
fn invariant_2_duplicate_consumer_of_a_connected_link_leaves_the_link_alone() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    bench.log.take();
    assert!(matches!(
        bench.consumer(Delivers::Bypass).unwrap_err(),
        RegisterError::Duplicate {
            side: Side::Consumer,
            ..
        }
    ));
    assert_eq!(bench.state(consumer.link()).0, DeliveryState::Bypass);
    assert_eq!(bench.log.take(), Vec::<&str>::new());
}

#[test]
fn invariant_3_connect_and_disconnect_keep_the_kernels_order_whoever_comes_first() {
    for consumer_first in [true, false] {
        let bench = Bench::new();
        let (producer, consumer);
        if consumer_first {
            consumer = bench.consumer(Delivers::Bypass).unwrap();
            producer = bench.producer().unwrap();
        } else {
            producer = bench.producer().unwrap();
            consumer = bench.consumer(Delivers::Bypass).unwrap();
        }
        assert_eq!(bench.log.take(), calls(&[&CONNECT, &BIND, &START]));
        drop(producer);
        assert_eq!(
            bench.log.take(),
            calls(&[
                &[
                    "p.stop",
                    "c.stop",
                    "c.detach",
                    "c.release",
                    "c.del_producer",
                    "p.del_consumer"
                ],
                &START
            ])
        );
        assert_eq!(
            bench.state(consumer.link()),
            (DeliveryState::Unmatched, Reason::NoProducer)
        );
        drop(consumer);
        assert_eq!(bench.log.take(), Vec::<&str>::new());
    }
}

#[test]
fn invariant_3_refusing_producer_is_not_asked_for_more_and_both_sides_start() {
    let bench = Bench::new();
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    bench.log.refuse("p.add_consumer");
    assert!(matches!(
        bench.producer().unwrap_err(),
        RegisterError::Refused { .. }
    ));
    assert_eq!(
        bench.log.take(),
        calls(&[&["p.stop", "c.stop", "p.add_consumer"], &START])
    );
    assert_eq!(
        bench.state(consumer.link()),
        (DeliveryState::Unmatched, Reason::ConnectRefused)
    );
}

#[test]
fn invariant_3_refusing_consumer_is_rolled_back_and_a_later_producer_connects() {
    let bench = Bench::new();
    let producer = bench.producer().unwrap();
    bench.log.refuse("c.add_producer");
    assert!(matches!(
        bench.consumer(Delivers::Bypass).unwrap_err(),
        RegisterError::Refused { .. }
    ));
    assert_eq!(
        bench.log.take(),
        calls(&[&CONNECT, &["p.del_consumer"], &START])
    );
    bench.log.refuse("nothing");
    let consumer = bench.consumer(Delivers::Bypass).unwrap();
    assert_eq!(consumer.link(), producer.link());
    assert_eq!(
        bench.state(consumer.link()),
        (DeliveryState::Bypass, Reason::Best)
    );
}

#[test]
fn late_binding_delivers_what_came_before_the_consumer_once() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    signal(&bench.token);
    signal(&bench.token);
    let _consumer = bench.consumer(RELAY).unwrap();
    assert_eq!((bench.service(), bench.service()), (1, 0));
}

#[test]
fn consumer_that_comes_after_another_left_gets_what_came_between() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    drop(bench.consumer(RELAY).unwrap());
    signal(&bench.token);
    assert_eq!(bench.service(), 0);
    let _consumer = bench.consumer(RELAY).unwrap();
    assert_eq!(bench.service(), 1);
}

#[test]
fn stale_link_id_is_refused_after_its_slot_has_new_owners() {
    let bench = Bench::new();
    let old = bench.producer().unwrap();
    let stale = old.link();
    drop(old);
    let _new = bench.producer().unwrap();
    assert!(matches!(bench.registry.mask(stale), Err(LinkError::Stale { link }) if link == stale));
}

#[test]
fn subscriber_hears_of_each_change_in_order() {
    let bench = Bench::new();
    let events = bench.registry.subscribe(16);
    let producer = bench.producer().unwrap();
    let consumer = bench.consumer(RELAY).unwrap();
    let (link, event) = (producer.link(), bench.token.id());
    drop(producer);
    drop(consumer);
    let unmatched = |reason| Delivery {
        state: DeliveryState::Unmatched,
        reason,
    };
    let relay = Delivery {
        state: DeliveryState::Relay,
        reason: Reason::UserSpaceConsumer,
    };
    assert_eq!(
        events.try_iter().collect::<Vec<_>>(),
        [
            Event::Registered {
                link,
                event,
                side: Side::Producer
            },
            Event::Registered {
                link,
                event,
                side: Side::Consumer
            },
            Event::Delivery {
                link,
                from: unmatched(Reason::NoConsumer),
                to: relay
            },
            Event::Delivery {
                link,
                from: relay,
                to: unmatched(Reason::NoProducer)
            },
            Event::Unregistered {
                link,
                side: Side::Producer
            },
            Event::Unregistered {
                link,
                side: Side::Consumer
            },
        ]
    );
}

#[test]
fn snapshot_shows_both_names_and_the_delivery() {
    let bench = Bench::new();
    let _producer = bench.producer().unwrap();
    let _consumer = bench.consumer(Delivers::Bypass).unwrap();
    let [link] = &bench.registry.snapshot()[..] else {
        panic!("one link")
    };
    assert_eq!(link.producer.as_deref(), Some("fake.producer"));
    assert_eq!(link.consumer.as_deref(), Some("fake.consumer"));
    assert_eq!(link.delivery.state, DeliveryState::Bypass);
    assert_eq!(link.counters.promotions, 1);
}
