//! The counting rules, by example and against a model of an edge-triggered local APIC.

use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

use super::*;
use Event::Delivered;
use Event::Produced;
use Event::Quiesced;

fn ledger(events: &[Event]) -> Ledger {
    let mut ledger = Ledger::new();
    for event in events {
        ledger.record(*event).unwrap();
    }
    ledger
}

fn tally(produced: u64, delivered: u64, coalesced: u64, lost: u64, invented: u64) -> Tally {
    Tally {
        produced,
        delivered,
        coalesced,
        lost,
        invented,
    }
}

#[test]
fn paced_events_all_answered_count_nothing_else() {
    let ledger = ledger(&[
        Produced(10),
        Delivered(15),
        Quiesced(16),
        Produced(20),
        Delivered(27),
        Quiesced(28),
    ]);
    assert_eq!(ledger.tally(), tally(2, 2, 0, 0, 0));
    assert_eq!(ledger.latencies(), [5, 7]);
}

#[test]
fn paced_event_unanswered_at_its_mark_is_lost_not_coalesced() {
    let ledger = ledger(&[
        Produced(10),
        Quiesced(20),
        Produced(30),
        Delivered(31),
        Quiesced(40),
    ]);
    assert_eq!(ledger.tally(), tally(2, 1, 0, 1, 0));
    assert_eq!(ledger.latencies(), [1]);
}

#[test]
fn burst_answered_once_is_coalesced_and_sampled_from_its_first_event() {
    let ledger = ledger(&[
        Produced(10),
        Produced(11),
        Produced(12),
        Delivered(20),
        Quiesced(30),
    ]);
    assert_eq!(ledger.tally(), tally(3, 1, 2, 0, 0));
    assert_eq!(ledger.latencies(), [10]);
}

#[test]
fn event_between_handler_entry_and_its_own_run_is_not_invented() {
    // The second production is stamped before the first one's handler runs and signalled after it.
    let ledger = ledger(&[
        Produced(10),
        Produced(14),
        Delivered(15),
        Delivered(20),
        Quiesced(30),
    ]);
    assert_eq!(ledger.tally(), tally(2, 2, 0, 0, 0));
}

#[test]
fn handler_run_without_an_event_is_invented() {
    let ledger = ledger(&[
        Produced(10),
        Delivered(15),
        Quiesced(20),
        Delivered(25),
        Quiesced(30),
    ]);
    assert_eq!(ledger.tally(), tally(1, 2, 0, 0, 1));
    assert_eq!(ledger.latencies(), [5]);
}

#[test]
fn extra_run_in_an_answered_round_is_not_set_off_against_a_later_loss() {
    let ledger = ledger(&[
        Produced(10),
        Delivered(15),
        Delivered(16),
        Produced(17),
        Quiesced(500),
    ]);
    assert_eq!(ledger.tally(), tally(2, 2, 0, 1, 1));
}

#[test]
fn answers_that_are_late_are_none_invented_however_late() {
    // A relay that is kept from running claims the second event, and injects it after the third.
    let ledger = ledger(&[
        Produced(10),
        Produced(1000),
        Delivered(2000),
        Produced(1_000_000),
        Delivered(2_000_000),
        Delivered(3_000_000),
        Produced(3_000_001),
        Quiesced(4_000_000),
    ]);
    assert_eq!(ledger.tally(), tally(4, 3, 0, 1, 0));
}

#[test]
fn unanswered_round_is_not_closed_by_time_alone() {
    let ledger = ledger(&[
        Produced(10),
        Produced(10_000),
        Delivered(10_001),
        Quiesced(10_010),
    ]);
    assert_eq!(ledger.tally(), tally(2, 1, 1, 0, 0));
}

#[test]
fn record_of_an_older_event_is_refused_and_changes_nothing() {
    let mut ledger = ledger(&[Produced(10), Delivered(15)]);
    let before = ledger.tally();
    let refused = ledger.record(Produced(14));
    assert_eq!(
        refused,
        Err(StampOrder {
            stamp: 14,
            newest: 15
        })
    );
    assert_eq!(ledger.tally(), before);
    assert_eq!(ledger.latencies(), [5]);
}

#[test]
fn record_all_with_one_event_too_old_records_none() {
    let mut ledger = ledger(&[Produced(10)]);
    let refused = ledger.record_all(&mut [Delivered(20), Quiesced(9)]);
    assert_eq!(refused.map_err(|error| error.stamp), Err(9));
    assert_eq!(ledger.tally(), tally(1, 0, 0, 0, 0));
}

#[test]
fn record_all_puts_equal_stamps_in_the_order_they_can_happen() {
    let mut ledger = Ledger::new();
    let events = &mut [Quiesced(10), Delivered(10), Produced(10)];
    ledger.record_all(events).unwrap();
    assert_eq!(ledger.tally(), tally(1, 1, 0, 0, 0));
}

#[test]
fn tallies_add_up_field_by_field() {
    let sum: Tally = [tally(1, 2, 3, 4, 5), tally(10, 20, 30, 40, 50)]
        .into_iter()
        .sum();
    assert_eq!(sum, tally(11, 22, 33, 44, 55));
}

/// What the device and the processor do next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Signal,
    Handle,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let step = prop_oneof![
        3 => proptest::strategy::Just(Step::Signal),
        3 => proptest::strategy::Just(Step::Handle),
        1 => proptest::strategy::Just(Step::Drain),
    ];
    // No gap means anything.
    vec((step, 0..200u64), 0..200)
}

/// Plays the steps to a pending bit: signals set it, a handler run takes it, as in an IRR.
fn play(steps: &[(Step, u64)]) -> (Vec<Event>, u64) {
    let (mut events, mut now, mut pending, mut merged) = (Vec::new(), 0, false, 0);
    for (step, gap) in steps {
        now += gap;
        match step {
            Step::Signal => {
                merged += u64::from(pending);
                pending = true;
                events.push(Produced(now));
            }
            Step::Handle if pending => {
                pending = false;
                events.push(Delivered(now));
            }
            Step::Handle => {}
            Step::Drain => {
                if std::mem::take(&mut pending) {
                    events.push(Delivered(now));
                }
                events.push(Quiesced(now));
            }
        }
    }
    if pending {
        events.push(Delivered(now));
    }
    events.push(Quiesced(now));
    (events, merged)
}

proptest! {
    #[test]
    fn hardware_that_only_merges_has_nothing_lost_or_invented(steps in steps()) {
        let (events, merged) = play(&steps);
        let ledger = ledger(&events);
        let tally = ledger.tally();
        prop_assert_eq!((tally.lost, tally.invented, tally.coalesced), (0, 0, merged));
        prop_assert_eq!(ledger.latencies().len() as u64, tally.delivered);
    }

    #[test]
    fn any_events_add_up_once_all_rounds_are_closed(raw in vec((0u8..3, any::<u8>()), 0..200)) {
        let mut now = 0;
        let mut ledger = Ledger::new();
        for (kind, gap) in raw {
            now += u64::from(gap);
            let event = [Produced(now), Delivered(now), Quiesced(now)][usize::from(kind)];
            ledger.record(event).unwrap();
        }
        ledger.record(Quiesced(now)).unwrap();
        let tally = ledger.tally();
        prop_assert_eq!(
            tally.produced + tally.invented,
            tally.delivered + tally.coalesced + tally.lost
        );
    }

    #[test]
    fn paced_run_counts_exactly_what_went_missing(answered in vec(any::<bool>(), 1..100)) {
        let mut ledger = Ledger::new();
        for (event, answered) in answered.iter().enumerate() {
            let start = event as u64 * 10;
            ledger.record(Produced(start)).unwrap();
            if *answered {
                ledger.record(Delivered(start + 1)).unwrap();
            }
            ledger.record(Quiesced(start + 2)).unwrap();
        }
        let missing = answered.iter().filter(|answered| !**answered).count() as u64;
        prop_assert_eq!(ledger.tally().lost, missing);
        prop_assert_eq!((ledger.tally().coalesced, ledger.tally().invented), (0, 0));
    }

    #[test]
    fn runs_added_in_closed_rounds_are_all_invented(steps in steps(), extra in 1u64..5) {
        let (mut events, _) = play(&steps);
        let end = events.last().map_or(0, |event| event.stamp());
        events.extend((0..extra).map(|_| Delivered(end)));
        events.push(Quiesced(end));
        prop_assert_eq!(ledger(&events).tally().invented, extra);
    }
}
