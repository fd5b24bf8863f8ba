//! A level line: its resample event, its mask, its end.

use super::*;
use crate::raw::Request;
use crate::sim::Fault;

#[test]
fn level_line_binds_the_resample_event_and_fires_again_after_each_eoi() {
    for rig in LineRig::each() {
        let binding = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(binding, ResampleBinding::Producer);
        assert!(rig.sim.has_unmask_event(rig.line));

        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
        // Not served: the line is still there after the EOI.
        rig.eoi();
        assert_eq!(rig.taken(), 1);
        rig.sim.deassert_line(rig.line);
        rig.eoi();
        assert_eq!(rig.taken(), 0);
        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
    }
}

#[test]
fn level_line_lets_go_of_the_resample_event_with_its_consumer() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.producer.del_consumer();
        assert!(!rig.sim.has_unmask_event(rig.line));
        let again = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(again, ResampleBinding::Producer);
    }
}

#[test]
fn level_line_of_a_device_that_cannot_listen_leaves_the_eoi_to_the_relay() {
    for errno in [Errno::ENOTTY, Errno::EINVAL] {
        let rig = LineRig::intx();
        // The first is the unmask that a new consumer begins with.
        rig.sim.fail_nth(Request::SetIrqs, 1, Fault::Errno(errno));
        let binding = rig.producer.add_consumer(&rig.consumer()).unwrap();
        assert_eq!(binding, ResampleBinding::Relay);

        rig.sim.assert_line(INTX);
        assert_eq!(rig.taken(), 1);
        rig.producer.unmask().unwrap();
        assert_eq!(rig.taken(), 1);
    }
}

#[test]
fn consumer_without_resample_event_leaves_the_eoi_to_the_relay() {
    let rig = LineRig::intx();
    let binding = rig.producer.add_consumer(&without_resample()).unwrap();
    assert_eq!(binding, ResampleBinding::Relay);
    assert!(!rig.sim.has_unmask_event(INTX));
}

#[test]
fn consumer_is_refused_where_another_unmask_event_is_bound() {
    let rig = LineRig::intx();
    let other = eventfd();
    rig.producer.set_resample(Some(other.as_fd())).unwrap();

    let refused = rig.producer.add_consumer(&rig.consumer());

    assert!(refused.unwrap_err().to_string().contains("resample"));
    assert!(!rig.producer.gate().linked);
    rig.producer.set_resample(None).unwrap();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
}

#[test]
fn consumer_that_comes_after_one_that_left_unserved_finds_the_line_open() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.sim.assert_line(rig.line);
        assert_eq!(rig.taken(), 1);
        rig.producer.del_consumer();
        assert!(rig.sim.is_masked(rig.line));

        rig.producer.add_consumer(&rig.consumer()).unwrap();

        assert_eq!(rig.taken(), 1, "still asserted");
    }
}

#[test]
fn consumer_is_refused_if_the_line_it_finds_cannot_be_unmasked() {
    let rig = LineRig::intx();
    rig.sim
        .fail_next(Request::SetIrqs, Fault::Errno(Errno::ENODEV));
    rig.producer.add_consumer(&rig.consumer()).unwrap_err();
    assert!(!rig.sim.has_unmask_event(INTX));
    rig.producer.add_consumer(&rig.consumer()).unwrap();
}

#[test]
fn mask_keeps_events_back_whatever_eoi_is_on_its_way() {
    for rig in LineRig::each() {
        rig.producer.add_consumer(&rig.consumer()).unwrap();
        rig.producer.mask().unwrap();
        rig.sim.assert_line(rig.line);
        rig.eoi();
        assert_eq!(rig.taken(), 0);
        assert!(rig.sim.is_masked(rig.line));

        rig.producer.unmask().unwrap();

        assert_eq!(rig.taken(), 1);
        assert!(rig.sim.has_unmask_event(rig.line));
    }
}

#[test]
fn mask_and_unmask_that_are_refused_change_nothing() {
    let rig = LineRig::intx();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
    // Each of the two requests that a mask is made of.
    for skip in [0, 1] {
        rig.sim
            .fail_nth(Request::SetIrqs, skip, Fault::Errno(Errno::EIO));
        rig.producer.mask().unwrap_err();
        assert!(
            !rig.sim.is_masked(INTX) && rig.sim.has_unmask_event(INTX),
            "{skip}"
        );
    }
    rig.producer.mask().unwrap();
    for skip in [0, 1] {
        rig.sim
            .fail_nth(Request::SetIrqs, skip, Fault::Errno(Errno::EIO));
        rig.producer.unmask().unwrap_err();
        assert!(
            rig.sim.is_masked(INTX) && !rig.sim.has_unmask_event(INTX),
            "{skip}"
        );
    }
    rig.producer.unmask().unwrap();
}

#[test]
fn retired_producer_refuses_and_touches_the_device_no_more() {
    let LineRig {
        sim,
        _index: index,
        producer,
        resample,
        ..
    } = LineRig::intx();
    let consumer = ConsumerInfo {
        resample: Some(ResampleEvent::new(resample)),
        ..without_resample()
    };
    producer.add_consumer(&consumer).unwrap();

    drop(index);

    assert!(!sim.has_unmask_event(INTX));
    assert!(producer.mask().is_err() && producer.unmask().is_err());
    producer.del_consumer();
    producer.add_consumer(&consumer).unwrap_err();
}

#[test]
fn dropped_index_frees_a_platform_line_of_its_unmask_event() {
    let [
        _,
        LineRig {
            sim,
            line,
            _index: index,
            producer,
            resample,
        },
    ] = LineRig::each();
    let consumer = ConsumerInfo {
        resample: Some(ResampleEvent::new(resample)),
        ..without_resample()
    };
    producer.add_consumer(&consumer).unwrap();
    drop(index);
    assert!(!sim.has_unmask_event(line));
}

#[test]
fn device_that_is_gone_lets_its_consumer_go() {
    let rig = LineRig::intx();
    rig.producer.add_consumer(&rig.consumer()).unwrap();
    rig.sim.unplug();
    assert!(rig.producer.mask().is_err() && rig.producer.unmask().is_err());
    rig.producer.del_consumer();
    rig.producer.add_consumer(&rig.consumer()).unwrap_err();
}
