//! A thread of the scheduler's own, on the host's clock.

use super::*;
use std::fs;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use irqbroker_core::LocalProducer;
use irqbroker_core::Mask;
use rustix::thread::Pid;

use crate::alarm::FrameAlarm;
use crate::fakes::FakeClock;
use crate::fakes::bind;
use crate::fakes::create;
use crate::fakes::wait;
use crate::granularity::Granularity;
use crate::observer::Vblank;
use crate::observer::VblankObserver;
use crate::parent::VgpuParent;
use crate::refresh::Refresh;

/// Long enough for any machine; only an alarm that is lost takes it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The fastest rate, to wait as little as possible.
fn fast() -> Refresh {
    Refresh::new(Refresh::MAX_HZ, 1).unwrap()
}

fn parent() -> VgpuParent {
    VgpuParent::new(VblankScheduler::new(Granularity::Exact))
}

fn head(parent: &VgpuParent) -> Arc<LocalProducer> {
    create(parent, &[fast()]).heads()[0].producer()
}

#[test]
fn thread_asleep_for_good_signals_a_head_bound_later() {
    let parent = parent();
    let _thread = parent.scheduler().spawn().unwrap();
    let producer = head(&parent);
    bind(&producer);
    // Enough to have slept to a time of its own choice too, not only to the one set by `bind`.
    let ticks: u64 = (0..3).map(|_| wait(&producer)).sum();
    assert!(ticks >= 3);
}

#[test]
fn thread_with_a_masked_head_is_not_woken_while_another_scheduler_ticks() {
    let (idle, ticking) = (parent(), parent());
    let masked = head(&idle);
    masked.mask().unwrap();
    bind(&masked);
    let _idle_thread = idle.scheduler().spawn().unwrap();
    let _ticking_thread = ticking.scheduler().spawn().unwrap();
    let producer = head(&ticking);
    bind(&producer);
    for _ in 0..20 {
        wait(&producer);
    }
    assert_eq!(idle.scheduler().counters().wakeups, 0);
    assert!(idle.instances()[0].heads()[0].frame() >= 19);
}

/// Tells whose alarm has gone off, and on which thread.
struct Bell(&'static str, mpsc::Sender<(&'static str, Pid)>);

impl FrameAlarm for Bell {
    fn due(&self, _frame: u64) {
        // The receiver is gone only when the test is over.
        let _ = self.1.send((self.0, rustix::thread::gettid()));
    }
}

/// Waits until a thread sleeps, and tells how often it has given up its core by itself.
fn switches_of_sleeper(thread: Pid) -> u64 {
    let path = format!("/proc/self/task/{thread}/status");
    loop {
        let status = fs::read_to_string(&path).unwrap();
        let line = |name| status.lines().find_map(|line| line.strip_prefix(name));
        if line("State:\t").unwrap().starts_with('S') {
            let switches = line("voluntary_ctxt_switches:\t").unwrap();
            return switches.parse().unwrap();
        }
        std::thread::yield_now();
    }
}

#[test]
fn alarm_set_while_the_thread_sleeps_is_one_wakeup() {
    // Two seconds of frames at most.
    const ALARMS: u64 = 60;
    let parent = parent();
    // Slow enough to be over with setting an alarm before it is due.
    let instance = create(&parent, &[Refresh::HZ_60]);
    let head = &instance.heads()[0];
    let (rung, alarms) = mpsc::channel();
    let bell: Arc<dyn FrameAlarm> = Arc::new(Bell("head", rung));
    head.on_alarm(Arc::downgrade(&bell));
    let _thread = parent.scheduler().spawn().unwrap();
    let ring = || {
        head.set_alarm(Some(head.frame() + 1));
        let (_, thread) = alarms.recv_timeout(PATIENCE).unwrap();
        switches_of_sleeper(thread)
    };
    let before = ring();
    let wakeups = parent.scheduler().counters().wakeups;
    let mut after = before;
    for _ in 0..ALARMS {
        after = ring();
    }
    assert_eq!(parent.scheduler().counters().wakeups - wakeups, ALARMS);
    // The kernel's count: one each, but for locks that were held by whoever was interrupted. Two
    // each if the thread was told of the alarm before it was due.
    let switches = after - before;
    assert!(switches < ALARMS * 3 / 2, "{switches}");
}

#[test]
fn alarms_come_in_the_order_they_are_due_in_whichever_was_set_last() {
    let parent = parent();
    let instances = [create(&parent, &[fast()]), create(&parent, &[fast()])];
    let [near, far] = instances
        .each_ref()
        .map(|instance| instance.heads().first().unwrap());
    let (rung, alarms) = mpsc::channel();
    let bells: [Arc<dyn FrameAlarm>; 2] = [
        Arc::new(Bell("near", rung.clone())),
        Arc::new(Bell("far", rung)),
    ];
    near.on_alarm(Arc::downgrade(&bells[0]));
    far.on_alarm(Arc::downgrade(&bells[1]));
    let _thread = parent.scheduler().spawn().unwrap();
    for near_is_first in [true, false, true, false] {
        let near_frame = near.frame() + 5;
        // Not due before somebody asks for it sooner, however late this thread is.
        let never = far.frame() + (1 << 32);
        if near_is_first {
            near.set_alarm(Some(near_frame));
            far.set_alarm(Some(never));
        } else {
            far.set_alarm(Some(never));
            near.set_alarm(Some(near_frame));
        }
        assert_eq!(alarms.recv_timeout(PATIENCE).unwrap().0, "near");
        assert!(near.frame() >= near_frame);
        let far_frame = far.frame() + 5;
        far.set_alarm(Some(far_frame));
        assert_eq!(alarms.recv_timeout(PATIENCE).unwrap().0, "far");
        assert!(far.frame() >= far_frame);
    }
}

#[test]
fn stop_ends_a_thread_whose_timer_others_set_meanwhile() {
    let parent = parent();
    let instances = [create(&parent, &[fast()]), create(&parent, &[fast()])];
    let [near, far] = instances
        .each_ref()
        .map(|instance| instance.heads().first().unwrap());
    let (rung, alarms) = mpsc::channel();
    let bell: Arc<dyn FrameAlarm> = Arc::new(Bell("near", rung));
    near.on_alarm(Arc::downgrade(&bell));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Weeks of frames, each alarm earlier than the one before, so that the timer is set for
            // it: a stop that is lost is not made up for.
            let frames = (0..far.frame() + (1 << 31)).rev();
            for frame in frames.take_while(|_| !done.load(Ordering::Relaxed)) {
                far.set_alarm(Some(frame));
            }
        });
        // Enough for a stop that does not keep others from setting the timer to hang.
        for _ in 0..1000 {
            let thread = parent.scheduler().spawn().unwrap();
            // Stopped when it is about to sleep.
            near.set_alarm(Some(near.frame()));
            alarms.recv_timeout(PATIENCE).unwrap();
            drop(thread);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn thread_is_refused_twice_and_starts_again_after_drop() {
    let parent = parent();
    let thread = parent.scheduler().spawn().unwrap();
    let refused = parent.scheduler().spawn();
    assert!(matches!(
        refused,
        Err(SpawnError::Drive(DriveError::AlreadyDriven))
    ));
    drop(thread);
    drop(parent.scheduler().spawn().unwrap());
}

#[test]
fn thread_on_a_clock_of_the_embedder_is_refused() {
    let scheduler = VblankScheduler::with_clock(Granularity::Exact, FakeClock::new());
    assert!(matches!(scheduler.spawn(), Err(SpawnError::OwnClock)));
}

/// Tells that a vblank is under way and holds it up until it is let go.
struct Gatekeeper {
    entered: mpsc::Sender<()>,
    leave: Mutex<mpsc::Receiver<()>>,
}

impl VblankObserver for Gatekeeper {
    fn vblank(&self, _vblank: &Vblank) {
        // Both ends are gone once the test has seen what it came for.
        let _ = self.entered.send(());
        let _ = self.leave.lock().unwrap().recv();
    }
}

#[test]
fn destroy_returns_after_the_vblank_under_way_is_signalled() {
    let parent = parent();
    let (entered, vblank_entered) = mpsc::channel();
    let (let_go, leave) = mpsc::channel();
    let leave = Mutex::new(leave);
    let gatekeeper = Arc::new(Gatekeeper { entered, leave });
    parent.scheduler().observe(gatekeeper).unwrap();
    let instance = create(&parent, &[fast()]);
    let head = &instance.heads()[0];
    bind(&head.producer());
    let thread = parent.scheduler().spawn().unwrap();
    vblank_entered.recv().unwrap();
    let at_return = std::thread::scope(|scope| {
        let destroyer = scope.spawn(|| {
            parent.destroy(instance.id()).unwrap();
            head.signalled()
        });
        while parent.get(instance.id()).is_some() {
            std::thread::yield_now();
        }
        // Enough for a destroy that does not wait to return too early.
        (0..1000).for_each(|_| std::thread::yield_now());
        drop(let_go);
        destroyer.join().unwrap()
    });
    // More than the one if the destroyer came so late that the next was under way.
    assert!(at_return >= 1);
    drop(thread);
    assert_eq!(head.signalled(), at_return);
}

#[test]
fn masking_from_two_threads_while_ticking_neither_blocks_nor_loses_the_next_vblank() {
    let parent = parent();
    let thread = parent.scheduler().spawn().unwrap();
    let producer = head(&parent);
    bind(&producer);
    let done = AtomicBool::new(false);
    let mut received = 0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    producer.mask().unwrap();
                    producer.unmask().unwrap();
                }
            });
        }
        // A fifth of a second of ticks.
        while received < 200 {
            received += wait(&producer);
        }
        done.store(true, Ordering::Relaxed);
    });
    producer.unmask().unwrap();
    for _ in 0..3 {
        received += wait(&producer);
    }
    drop(thread);
    received += producer.token().pending().unwrap();
    assert_eq!(received, producer.signalled());
    assert!(received <= parent.instances()[0].heads()[0].frame());
}
