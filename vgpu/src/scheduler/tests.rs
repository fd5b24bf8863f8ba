//! Heads, producers and scheduler together, on a stepped clock.

use super::*;
use std::time::Duration;

use irqbroker_core::Mask;
use irqbroker_core::Producer;
use proptest::prelude::*;

use crate::fakes::CountingWaker;
use crate::fakes::FakeClock;
use crate::fakes::bind;
use crate::fakes::create;
use crate::instance::VgpuInstance;
use crate::parent::VgpuParent;

/// Just over a period of 60 Hz: 16.666_667 ms.
const FRAME: Duration = Duration::from_nanos(16_666_667);

struct Bed {
    clock: Arc<FakeClock>,
    parent: VgpuParent,
    driver: VblankDriver,
    waker: Arc<CountingWaker>,
}

impl Bed {
    fn new(granularity: Granularity) -> Self {
        let clock = FakeClock::new();
        let scheduler = VblankScheduler::with_clock(granularity, clock.clone());
        let waker = Arc::new(CountingWaker::default());
        let driver = scheduler.drive(waker.clone().into()).unwrap();
        Self {
            clock,
            parent: VgpuParent::new(scheduler),
            driver,
            waker,
        }
    }

    fn exact() -> Self {
        Self::new(Granularity::Exact)
    }

    /// An instance of one head at 60 Hz.
    fn head(&self) -> (Arc<VgpuInstance>, Arc<LocalProducer>) {
        let instance = create(&self.parent, &[Refresh::HZ_60]);
        let producer = instance.heads()[0].producer();
        (instance, producer)
    }

    fn step(&mut self, by: Duration) -> usize {
        let now = self.clock.step(by);
        self.driver.run_due(now)
    }
}

#[test]
fn head_nobody_listens_to_counts_frames_and_wakes_nobody() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    assert_eq!(bed.driver.next_wakeup(), None);
    assert_eq!(bed.step(10 * FRAME), 0);
    assert_eq!(instance.heads()[0].frame(), 10);
    assert_eq!(producer.signalled(), 0);
    assert_eq!(bed.waker.wakes(), 0);
}

#[test]
fn bound_head_is_signalled_once_a_frame() {
    let mut bed = Bed::exact();
    let (_instance, producer) = bed.head();
    bind(&producer);
    for frame in 1..=100 {
        assert_eq!(bed.step(FRAME), 1);
        assert_eq!(producer.token().pending().unwrap(), frame);
    }
    assert_eq!(bed.parent.scheduler().counters().missed, 0);
}

#[test]
fn next_wakeup_is_none_while_masked_stopped_or_unbound() {
    let bed = Bed::exact();
    let (_instance, producer) = bed.head();
    bind(&producer);
    assert!(bed.driver.next_wakeup().is_some());
    producer.mask().unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
    producer.stop();
    producer.unmask().unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
    producer.start();
    assert!(bed.driver.next_wakeup().is_some());
    producer.del_consumer();
    assert_eq!(bed.driver.next_wakeup(), None);
}

#[test]
fn vblanks_behind_a_mask_are_one_pending_event_at_unmask() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    bind(&producer);
    producer.mask().unwrap();
    bed.step(5 * FRAME);
    assert_eq!(producer.signalled(), 0);
    producer.unmask().unwrap();
    assert_eq!(producer.signalled(), 1);
    assert_eq!(instance.heads()[0].missed(), 0);
}

#[test]
fn unmask_within_the_frame_of_the_mask_signals_nothing() {
    let mut bed = Bed::exact();
    let (_instance, producer) = bed.head();
    bind(&producer);
    bed.step(FRAME);
    producer.mask().unwrap();
    bed.clock.step(FRAME / 2);
    producer.unmask().unwrap();
    assert_eq!(producer.signalled(), 1);
}

#[test]
fn vblank_due_at_the_mask_but_not_served_is_pending_at_unmask() {
    let bed = Bed::exact();
    let (_instance, producer) = bed.head();
    bind(&producer);
    bed.clock.step(FRAME);
    producer.mask().unwrap();
    producer.unmask().unwrap();
    assert_eq!(producer.signalled(), 1);
}

#[test]
fn new_consumer_does_not_get_the_vblanks_before_it() {
    let bed = Bed::exact();
    let (_instance, producer) = bed.head();
    bind(&producer);
    producer.del_consumer();
    bed.clock.step(5 * FRAME);
    bind(&producer);
    assert_eq!(producer.signalled(), 0);
}

#[test]
fn late_driver_signals_once_counts_the_missed_and_stays_on_the_beat() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    let head = &instance.heads()[0];
    bind(&producer);
    assert_eq!(bed.step(4 * FRAME), 1);
    assert_eq!((producer.signalled(), head.missed()), (1, 3));
    assert_eq!(
        bed.driver.next_wakeup(),
        Some(head.cadence().deadline(5)),
        "the fifth frame of the same cadence"
    );
    let counters = bed.parent.scheduler().counters();
    let first = head.cadence().deadline(1);
    assert_eq!(
        counters.max_lateness,
        bed.clock.now().saturating_since(first)
    );
    assert_eq!(
        (counters.wakeups, counters.ticks, counters.missed),
        (1, 1, 3)
    );
}

#[test]
fn heads_within_the_grid_share_a_wakeup() {
    let grid = Duration::from_micros(250);
    let mut bed = Bed::new(Granularity::Coalesced { grid });
    let (_a, first) = bed.head();
    // Vblanks at 17.90 and 17.91 ms of the fake clock: no multiple of the grid between them.
    bed.clock.step(Duration::from_micros(10));
    let (_b, second) = bed.head();
    bind(&first);
    bind(&second);
    let wakeup = bed.driver.next_wakeup().unwrap();
    assert_eq!(wakeup.as_nanos() % 250_000, 0);
    assert_eq!(bed.driver.run_due(wakeup), 2);
    assert!(bed.parent.scheduler().counters().max_lateness <= grid);
}

#[test]
fn waker_is_woken_only_when_the_next_wakeup_becomes_earlier() {
    let bed = Bed::exact();
    let (slow, first) = bed.head();
    let (_later, second) = bed.head();
    assert_eq!(bed.driver.next_wakeup(), None);
    bind(&first);
    assert_eq!(bed.waker.wakes(), 1);
    assert!(bed.driver.next_wakeup().is_some());
    bed.clock.step(FRAME / 2);
    bind(&second);
    assert_eq!(bed.waker.wakes(), 1, "same beat as the first");
    slow.heads()[0].set_refresh(Refresh::new(1000, 1).unwrap());
    assert_eq!(bed.waker.wakes(), 2);
    slow.heads()[0].set_refresh(Refresh::new(1, 1).unwrap());
    assert_eq!(bed.waker.wakes(), 2);
}

#[test]
fn set_refresh_goes_on_counting_frames_at_the_new_rate() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    bind(&producer);
    bed.step(FRAME);
    instance.heads()[0].set_refresh(Refresh::new(100, 1).unwrap());
    for _ in 0..3 {
        assert_eq!(bed.step(Duration::from_millis(10)), 1);
    }
    assert_eq!(instance.heads()[0].frame(), 4);
    assert_eq!(instance.heads()[0].missed(), 0);
}

#[test]
fn destroyed_instance_ticks_no_more_whoever_holds_it() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    bind(&producer);
    bed.parent.destroy(instance.id()).unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
    assert_eq!(bed.step(FRAME), 0);
    producer.mask().unwrap();
    producer.unmask().unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
    assert_eq!(producer.signalled(), 0);
    assert_eq!(instance.heads()[0].frame(), 1);
}

#[test]
fn dropped_instance_leaves_its_producer_silent() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    bind(&producer);
    bed.parent.destroy(instance.id()).unwrap();
    drop(instance);
    bed.step(FRAME);
    producer.mask().unwrap();
    producer.unmask().unwrap();
    assert_eq!(producer.signalled(), 0);
    assert_eq!(Arc::strong_count(&producer), 1);
}

#[test]
fn second_driver_is_refused_until_the_first_is_dropped() {
    let bed = Bed::exact();
    let scheduler = bed.parent.scheduler().clone();
    let refused = scheduler.drive(Waker::noop().clone());
    assert_eq!(refused.unwrap_err(), DriveError::AlreadyDriven);
    drop(bed.driver);
    drop(scheduler.drive(Waker::noop().clone()).unwrap());
}

#[derive(Default)]
struct Recorder {
    producer: OnceLock<Arc<LocalProducer>>,
    seen: Mutex<Vec<(Vblank, u64)>>,
}

impl VblankObserver for Recorder {
    fn vblank(&self, vblank: &Vblank) {
        let signalled = self.producer.get().unwrap().signalled();
        self.seen.lock().unwrap().push((*vblank, signalled));
    }
}

#[test]
fn observer_is_told_each_vblank_before_it_is_signalled() {
    let mut bed = Bed::exact();
    let (instance, producer) = bed.head();
    let recorder = Arc::new(Recorder::default());
    recorder.producer.set(producer.clone()).unwrap();
    bed.parent.scheduler().observe(recorder.clone()).unwrap();
    bind(&producer);
    bed.step(FRAME);
    bed.step(2 * FRAME);
    let cadence = instance.heads()[0].cadence();
    let expected = [(1, 0), (3, 1)].map(|(frame, signalled_before)| {
        let vblank = Vblank {
            instance: instance.id(),
            head: HeadId(0),
            frame,
            deadline: cadence.deadline(frame),
        };
        (vblank, signalled_before)
    });
    assert_eq!(*recorder.seen.lock().unwrap(), expected);
    assert_eq!(
        bed.parent.scheduler().observe(recorder.clone()),
        Err(ObserveError::AlreadyObserved)
    );
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Run,
    Bind,
    Unbind,
    Mask,
    Unmask,
    Stop,
    Start,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // Up to three frames.
        3 => (0..50_000_000u64).prop_map(Step::Advance),
        3 => Just(Step::Run),
        1 => Just(Step::Bind),
        1 => Just(Step::Unbind),
        2 => Just(Step::Mask),
        2 => Just(Step::Unmask),
        1 => Just(Step::Stop),
        1 => Just(Step::Start),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// None lost, none invented: an event reaches the eventfd exactly when a listener is there
    /// and a vblank has happened since the last event, or since the listener was bound.
    #[test]
    fn events_in_the_eventfd_are_the_vblanks_since_the_last_one_merged(steps in steps()) {
        let mut bed = Bed::exact();
        let (instance, producer) = bed.head();
        let cadence = instance.heads()[0].cadence();
        let (mut bound, mut fresh, mut masked, mut stopped) = (false, false, false, false);
        let (mut told, mut events) = (cadence.start(), 0);
        for step in steps {
            let was_wanted = bound && !masked && !stopped;
            let mut runs = false;
            match step {
                Step::Advance(nanos) => {
                    bed.clock.step(Duration::from_nanos(nanos));
                }
                Step::Run => {
                    bed.driver.run_due(bed.clock.now());
                    runs = true;
                }
                Step::Bind => {
                    bind(&producer);
                    (bound, fresh) = (true, true);
                }
                Step::Unbind => {
                    producer.del_consumer();
                    (bound, masked) = (false, false);
                }
                Step::Mask => {
                    producer.mask().unwrap();
                    masked = true;
                }
                Step::Unmask => {
                    producer.unmask().unwrap();
                    masked = false;
                }
                Step::Stop => {
                    producer.stop();
                    stopped = true;
                }
                Step::Start => {
                    producer.start();
                    stopped = false;
                }
            }
            let now = bed.clock.now();
            let wanted = bound && !masked && !stopped;
            let opened = wanted && !was_wanted;
            if opened && std::mem::take(&mut fresh) {
                told = now;
            }
            if (opened || (wanted && runs)) && cadence.frame_at(now) > cadence.frame_at(told) {
                told = now;
                events += 1;
            }
            prop_assert_eq!(producer.token().pending().unwrap(), events);
            prop_assert_eq!(bed.driver.next_wakeup().is_some(), wanted);
        }
    }
}
