//! The events of a head against a model that walks every frame.

use super::*;
use proptest::prelude::*;

/// Frames in half a second of 60 Hz.
const IDLE: u64 = 30;

const EVENT: HeadEvent = HeadEvent::Flip;
const LISTENER: Listener = Listener::Display;

fn events() -> HeadEvents {
    let mut events = HeadEvents::new();
    events.advance(100, IDLE);
    events
}

/// The same with a picture and a listener to its refreshes.
fn watched() -> HeadEvents {
    let mut events = events();
    events.set_picture(Picture::Visible);
    events.open(HeadEvent::Refresh, LISTENER, Opened::Anew);
    events
}

/// Goes on to the next alarm, if it is not after `until`.
fn run_to_alarm(events: &mut HeadEvents, until: u64) -> bool {
    let Some(alarm) = events.next_alarm().filter(|&alarm| alarm <= until) else {
        return false;
    };
    events.advance(alarm, IDLE);
    true
}

#[derive(Debug, Clone)]
enum Step {
    Frames(u64),
    Commit,
    Cursor,
    Open(usize),
    Close(usize),
    Reopen(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = 0..3usize;
    let step = prop_oneof![
        4 => (0..4u64).prop_map(Step::Frames),
        4 => Just(Step::Commit),
        2 => Just(Step::Cursor),
        1 => event.clone().prop_map(Step::Open),
        1 => event.clone().prop_map(Step::Close),
        1 => event.prop_map(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What one listener has been told, as a walk over all frames has it.
#[derive(Debug, Clone, Copy, Default)]
struct ModelGate {
    open: bool,
    happened: bool,
    told: u64,
}

proptest! {
    /// One flip, cursor change or vblank a vblank, none lost behind a mask, none invented, and an
    /// alarm exactly when somebody is to be told.
    #[test]
    fn listeners_are_told_what_a_walk_over_all_frames_tells(steps in steps()) {
        const WATCHED: [HeadEvent; 3] = [HeadEvent::Flip, HeadEvent::Cursor, HeadEvent::Vblank];
        let mut events = events();
        let mut told = [0; 3];
        let mut model = [ModelGate::default(); 3];
        // The vblanks before the beginning.
        model[2].happened = true;
        let mut waiting = [false, false, true];
        let mut frame = 100;
        for step in steps {
            match step {
                Step::Frames(frames) => {
                    for _ in 0..frames {
                        frame += 1;
                        for (gate, waits) in model.iter_mut().zip(waiting) {
                            gate.happened |= waits;
                        }
                        waiting = [false, false, true];
                        for gate in model.iter_mut().filter(|gate| gate.open) {
                            gate.told += u64::from(std::mem::take(&mut gate.happened));
                        }
                        // Late or not, only an alarm makes anybody look.
                        if events.next_alarm().is_some_and(|alarm| alarm <= frame) {
                            events.advance(frame, IDLE);
                            for (event, listener) in events.take_signals() {
                                prop_assert_eq!(listener, LISTENER);
                                let place = WATCHED.iter().position(|&seen| seen == event);
                                told[place.unwrap()] += 1;
                            }
                        }
                    }
                }
                Step::Commit => {
                    events.advance(frame, IDLE);
                    events.commit();
                    waiting[0] = true;
                }
                Step::Cursor => {
                    events.advance(frame, IDLE);
                    events.cursor();
                    waiting[1] = true;
                }
                Step::Open(place) => {
                    events.advance(frame, IDLE);
                    prop_assert!(!events.open(WATCHED[place], LISTENER, Opened::Anew));
                    model[place] = ModelGate { open: true, happened: false, ..model[place] };
                }
                Step::Close(place) => {
                    events.close(WATCHED[place], LISTENER);
                    model[place].open = false;
                }
                Step::Reopen(place) => {
                    events.advance(frame, IDLE);
                    let owed = events.open(WATCHED[place], LISTENER, Opened::Again);
                    let gate = &mut model[place];
                    prop_assert_eq!(owed, gate.happened);
                    gate.told += u64::from(std::mem::take(&mut gate.happened));
                    gate.open = true;
                    told[place] += u64::from(owed);
                }
            }
            prop_assert_eq!(told, model.map(|gate| gate.told));
            let due = model.iter().zip(waiting).any(|(gate, waits)| gate.open && waits);
            events.advance(frame, IDLE);
            prop_assert_eq!(events.next_alarm(), due.then_some(frame + 1));
        }
    }
}

#[test]
fn commits_between_two_vblanks_are_one_flip() {
    let mut events = events();
    events.open(EVENT, LISTENER, Opened::Anew);
    events.commit();
    events.commit();
    assert_eq!(events.take_signals(), []);
    events.advance(101, IDLE);
    assert_eq!(events.take_signals(), [(EVENT, LISTENER)]);
    assert_eq!(events.take_signals(), []);
    let counters = events.counters();
    assert_eq!(
        (counters.commits, counters.coalesced, counters.flips),
        (2, 1, 1)
    );
}

#[test]
fn commit_after_a_vblank_that_nobody_looked_at_is_another_flip() {
    let mut events = events();
    events.open(EVENT, LISTENER, Opened::Anew);
    events.commit();
    events.advance(101, IDLE);
    events.commit();
    // The first is owed since frame 101, the second comes with 102.
    assert_eq!(events.next_alarm(), Some(101));
    assert_eq!(events.take_signals(), [(EVENT, LISTENER)]);
    assert_eq!(events.next_alarm(), Some(102));
    events.advance(102, IDLE);
    assert_eq!(events.take_signals(), [(EVENT, LISTENER)]);
}

#[test]
fn nothing_is_due_without_a_listener_or_without_an_event() {
    let mut events = events();
    events.set_picture(Picture::Visible);
    events.commit();
    events.cursor();
    assert_eq!(events.next_alarm(), None);
    assert_eq!(events.watch(), Watch::Idle);
    events.advance(200, IDLE);
    events.open(HeadEvent::Flip, LISTENER, Opened::Anew);
    events.open(HeadEvent::Cursor, LISTENER, Opened::Anew);
    assert_eq!(
        events.next_alarm(),
        None,
        "a flip listener alone does not tick"
    );
}

#[test]
fn listeners_of_one_event_are_told_each() {
    let mut events = events();
    for listener in Listener::FIXED {
        events.open(EVENT, listener, Opened::Anew);
    }
    events.commit();
    events.close(EVENT, Listener::Producer);
    events.advance(101, IDLE);
    let told = events.take_signals();
    assert_eq!(
        told,
        [(EVENT, Listener::Display), (EVENT, Listener::Vector)]
    );
    assert!(events.open(EVENT, Listener::Producer, Opened::Again));
}

#[test]
fn hotplug_is_told_at_once() {
    let mut events = events();
    events.open(HeadEvent::Hotplug, LISTENER, Opened::Anew);
    events.hotplug();
    assert_eq!(events.take_signals(), [(HeadEvent::Hotplug, LISTENER)]);
    assert_eq!(events.next_alarm(), None);
}

#[test]
fn status_has_what_happened_since_it_was_acknowledged() {
    let mut events = events();
    assert_eq!(
        events.status(),
        Interrupts::VBLANK,
        "frames since the beginning"
    );
    events.acknowledge(Interrupts::all());
    assert_eq!(events.status(), Interrupts::empty());
    events.commit();
    events.hotplug();
    assert_eq!(events.status(), Interrupts::HOTPLUG);
    events.advance(101, IDLE);
    assert_eq!(events.status(), Interrupts::all());
    events.acknowledge(Interrupts::FLIP);
    assert_eq!(events.status(), Interrupts::VBLANK | Interrupts::HOTPLUG);
}

#[test]
fn looks_at_a_still_picture_become_two_a_second() {
    let mut events = watched();
    let mut looks = Vec::new();
    // Ten seconds of 60 Hz.
    while run_to_alarm(&mut events, 700) {
        assert!(events.take_look());
        looks.push(events.frame());
        let first = looks.len() == 1;
        events.looked(Some(if first { Look::Complete } else { Look::Same }));
        let expected = if first {
            vec![(HeadEvent::Refresh, LISTENER)]
        } else {
            vec![]
        };
        assert_eq!(events.take_signals(), expected);
    }
    let gaps: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..7], [1, 2, 4, 8, 16, 30, 30]);
    assert!(gaps[6..].iter().all(|&gap| gap == IDLE));
    assert_eq!(events.watch(), Watch::Every(IDLE));
}

#[test]
fn change_found_is_a_refresh_and_no_flip_and_the_next_look_is_a_frame_away() {
    let mut events = watched();
    events.open(EVENT, LISTENER, Opened::Anew);
    for look in [Look::Complete, Look::Same, Look::Same, Look::Changed] {
        events.take_signals();
        assert!(run_to_alarm(&mut events, 200));
        assert!(events.take_look());
        assert!(events.looked(Some(look)));
    }
    assert_eq!(events.take_signals(), [(HeadEvent::Refresh, LISTENER)]);
    assert_eq!(events.next_alarm(), Some(events.frame() + 1));
    assert_eq!(events.counters().changes, 1);
}

#[test]
fn guest_that_commits_is_not_looked_at() {
    let mut events = watched();
    // A commit every 20 frames, less than half a second.
    for _ in 0..10 {
        events.commit();
        let until = events.frame() + 20;
        while run_to_alarm(&mut events, until) {
            assert!(!events.take_look());
            assert_eq!(events.take_signals(), [(HeadEvent::Refresh, LISTENER)]);
        }
        events.advance(until, IDLE);
    }
    assert_eq!(events.counters().looks, 0);
    // And once it has not for half a second.
    assert!(run_to_alarm(&mut events, 400));
    assert!(events.take_look());
}

#[test]
fn look_under_way_while_a_flip_comes_does_not_count() {
    let mut events = watched();
    run_to_alarm(&mut events, 200);
    assert!(events.take_look());
    events.commit();
    assert!(!events.looked(Some(Look::Changed)));
    assert_eq!(events.counters().looks, 0);
    // The flip comes first.
    run_to_alarm(&mut events, 200);
    assert_eq!(events.take_signals(), [(HeadEvent::Refresh, LISTENER)]);
    run_to_alarm(&mut events, 200);
    assert!(events.take_look());
    events.close(HeadEvent::Refresh, LISTENER);
    assert!(!events.looked(Some(Look::Changed)));
    assert_eq!(events.next_alarm(), None);
}

#[test]
fn picture_that_cannot_be_read_is_looked_at_as_rarely_as_a_still_one() {
    let mut events = watched();
    for _ in 0..20 {
        run_to_alarm(&mut events, 10_000);
        assert!(events.take_look());
        events.looked(None);
        assert_eq!(events.take_signals(), []);
    }
    assert_eq!(events.watch(), Watch::Every(IDLE));
}

#[test]
fn hidden_picture_is_not_looked_at() {
    let mut events = watched();
    events.set_picture(Picture::Hidden);
    assert_eq!(events.next_alarm(), None);
    events.set_picture(Picture::Visible);
    assert!(events.next_alarm().is_some());
}

#[test]
fn guest_is_told_of_a_flip_after_whoever_looks() {
    let mut events = events();
    let listeners = [
        Listener::Vector,
        Listener::View(1),
        Listener::Producer,
        Listener::Display,
    ];
    for listener in listeners {
        for event in [HeadEvent::Vblank, HeadEvent::Flip, HeadEvent::Refresh] {
            events.open(event, listener, Opened::Anew);
        }
    }
    events.commit();
    events.advance(101, IDLE);

    let told = events.take_signals();

    assert_eq!(told.len(), 12);
    let guest = |(_, listener): &(HeadEvent, Listener)| *listener == Listener::Vector;
    assert_eq!(told.iter().position(guest), Some(9));
}
