//! The timeline against a model that walks each head frame by frame.

use super::*;
use proptest::prelude::*;

/// A start that is no multiple of any period or grid.
const START: MonotonicTime = MonotonicTime::from_nanos(1_234_567);
const MS: Duration = Duration::from_millis(1);

fn after(time: MonotonicTime, by: Duration) -> MonotonicTime {
    MonotonicTime::from_nanos(time.as_nanos() + u64::try_from(by.as_nanos()).unwrap())
}

/// A head of the model: the same inputs, no queue, and no division to skip frames.
#[derive(Debug, Clone)]
struct ModelHead {
    cadence: Cadence,
    next: u64,
    armed: bool,
    alarm: Option<u64>,
    retired: bool,
    missed: u64,
}

impl ModelHead {
    fn walk(&mut self, now: MonotonicTime) -> u64 {
        let mut passed = 0;
        while self.cadence.deadline(self.next) <= now {
            self.next += 1;
            passed += 1;
        }
        passed
    }
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    TakeDue,
    Arm(usize, Since),
    Disarm(usize),
    /// To a frame so many after the newest, or to none.
    SetAlarm(usize, Option<u64>),
    SetRefresh(usize, u32),
    Retire(usize),
}

const HEADS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let head = 0..HEADS;
    let since = prop_oneof![Just(Since::Bound), Just(Since::Held)];
    let step = prop_oneof![
        // Up to 30 ms: from a fraction of a period to some thirty periods.
        4 => (0..30_000_000u64).prop_map(Step::Advance),
        4 => Just(Step::TakeDue),
        4 => (head.clone(), since).prop_map(|(head, since)| Step::Arm(head, since)),
        2 => head.clone().prop_map(Step::Disarm),
        3 => (head.clone(), proptest::option::of(0..5u64))
            .prop_map(|(head, ahead)| Step::SetAlarm(head, ahead)),
        2 => (head.clone(), 20..=1000u32).prop_map(|(head, hz)| Step::SetRefresh(head, hz)),
        1 => head.prop_map(Step::Retire),
    ];
    proptest::collection::vec(step, 1..80)
}

fn granularities() -> impl Strategy<Value = Granularity> {
    prop_oneof![
        Just(Granularity::Exact),
        (1..20_000_000u64).prop_map(|nanos| Granularity::Coalesced {
            grid: Duration::from_nanos(nanos)
        }),
    ]
}

proptest! {
    #[test]
    fn timeline_tells_what_a_walk_over_all_frames_tells(
        granularity in granularities(),
        steps in steps(),
    ) {
        let mut timeline = Timeline::new(granularity);
        let mut model = Vec::new();
        for head in 0..HEADS {
            let cadence = Cadence::new(Refresh::HZ_60, START);
            timeline.insert(TrackId(head as u64), cadence, head);
            model.push(ModelHead { cadence, next: 1, armed: false, alarm: None, retired: false, missed: 0 });
        }
        let mut now = START;
        for step in steps {
            match step {
                Step::Advance(nanos) => now = after(now, Duration::from_nanos(nanos)),
                Step::TakeDue => {
                    let mut due = Vec::new();
                    timeline.take_due(now, &mut due);
                    due.sort_by_key(|due| (due.target, due.slot));
                    let mut expected = Vec::new();
                    for (target, head) in model.iter_mut().enumerate() {
                        let oldest = head.cadence.deadline(head.next);
                        let passed = if head.armed { head.walk(now) } else { 0 };
                        if passed > 0 {
                            head.missed += passed - 1;
                            expected.push(Due {
                                target,
                                slot: Slot::Vblank,
                                frame: head.next - 1,
                                deadline: head.cadence.deadline(head.next - 1),
                                missed: passed - 1,
                                lateness: now.saturating_since(oldest),
                            });
                        }
                        let alarm = head.alarm.filter(|&at| head.cadence.deadline(at) <= now);
                        if let Some(alarm) = alarm {
                            head.alarm = None;
                            let frame = head.cadence.frame_at(now);
                            expected.push(Due {
                                target,
                                slot: Slot::Alarm,
                                frame,
                                deadline: head.cadence.deadline(frame),
                                missed: 0,
                                lateness: now.saturating_since(head.cadence.deadline(alarm)),
                            });
                        }
                    }
                    prop_assert_eq!(due, expected);
                }
                Step::Arm(target, since) => {
                    let head = &mut model[target];
                    let mut expected = false;
                    if !head.armed && !head.retired {
                        head.armed = true;
                        expected = head.walk(now) > 0 && since == Since::Held;
                    }
                    let pending = timeline.arm(TrackId(target as u64), since, now);
                    prop_assert_eq!(pending, expected);
                }
                Step::Disarm(target) => {
                    timeline.disarm(TrackId(target as u64));
                    model[target].armed = false;
                }
                Step::SetAlarm(target, ahead) => {
                    let head = &mut model[target];
                    let frame = ahead.map(|ahead| head.cadence.frame_at(now) + ahead);
                    timeline.set_alarm(TrackId(target as u64), frame);
                    head.alarm = frame.filter(|_| !head.retired);
                }
                Step::SetRefresh(target, hz) => {
                    let refresh = Refresh::new(hz, 1).unwrap();
                    timeline.set_refresh(TrackId(target as u64), refresh, now);
                    let head = &mut model[target];
                    if head.cadence.refresh() != refresh {
                        head.cadence = head.cadence.changed_to(refresh, now);
                    }
                }
                Step::Retire(target) => {
                    timeline.retire(TrackId(target as u64));
                    model[target].armed = false;
                    model[target].alarm = None;
                    model[target].retired = true;
                }
            }
            let vblanks = model.iter().filter(|h| h.armed).map(|h| h.cadence.deadline(h.next));
            let alarms = model.iter().filter_map(|h| Some(h.cadence.deadline(h.alarm?)));
            let queued: Vec<_> = vblanks.chain(alarms).collect();
            let first = queued.iter().min().map(|&first| granularity.wakeup(first));
            prop_assert_eq!(timeline.next_wakeup(), first);
            prop_assert_eq!(timeline.queue.len(), queued.len());
            for (target, head) in model.iter().enumerate() {
                let id = TrackId(target as u64);
                prop_assert_eq!(timeline.cadence(id), Some(head.cadence));
                prop_assert_eq!(timeline.missed(id), Some(head.missed));
            }
        }
    }
}

fn one_armed_head() -> (Timeline<()>, TrackId) {
    let mut timeline = Timeline::new(Granularity::Exact);
    let id = TrackId(7);
    timeline.insert(id, Cadence::new(Refresh::HZ_60, START), ());
    timeline.arm(id, Since::Bound, START);
    (timeline, id)
}

#[test]
fn set_refresh_with_a_vblank_owed_keeps_it_due() {
    let (mut timeline, id) = one_armed_head();
    // Past the first vblank, which nobody was told of.
    let now = after(START, 20 * MS);
    timeline.set_refresh(id, Refresh::new(1, 1).unwrap(), now);
    assert_eq!(timeline.next_wakeup(), Some(now));
    let mut due = Vec::new();
    timeline.take_due(now, &mut due);
    assert_eq!((due.len(), due[0].frame, due[0].missed), (1, 1, 0));
    assert_eq!(timeline.next_wakeup(), Some(after(now, 1000 * MS)));
}

#[test]
fn set_refresh_to_the_same_rate_does_not_put_the_vblank_off() {
    let (mut timeline, id) = one_armed_head();
    let before = timeline.next_wakeup();
    timeline.set_refresh(id, Refresh::HZ_60, after(START, 10 * MS));
    assert_eq!(timeline.next_wakeup(), before);
}

#[test]
fn take_due_at_the_end_of_the_clock_ends() {
    let (mut timeline, _) = one_armed_head();
    let mut due = Vec::new();
    timeline.take_due(MonotonicTime::MAX, &mut due);
    timeline.take_due(MonotonicTime::MAX, &mut due);
    assert_eq!(due.len(), 1);
}

#[test]
fn track_that_was_removed_is_ignored() {
    let (mut timeline, id) = one_armed_head();
    assert_eq!(timeline.remove(id), Some(()));
    assert!(!timeline.arm(id, Since::Held, after(START, 20 * MS)));
    timeline.set_refresh(id, Refresh::new(1, 1).unwrap(), START);
    assert_eq!(timeline.next_wakeup(), None);
    assert_eq!(timeline.remove(id), None);
}
