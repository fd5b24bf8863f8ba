//! A thread that drives a vblank scheduler, for embedders without a loop of their own.

use std::io;
use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::task::Waker;
use std::thread::JoinHandle;

use rustix::thread::futex;
use rustix::time::Timespec;

use crate::clock::MonotonicTime;
use crate::scheduler::DriveError;
use crate::scheduler::VblankDriver;
use crate::scheduler::VblankScheduler;

/// Any waker may wake any sleeper (`FUTEX_BITSET_MATCH_ANY`).
const MATCH_ANY: NonZeroU32 = NonZeroU32::MAX;

/// A running scheduler thread. Dropping it stops and joins the thread.
#[derive(Debug)]
pub struct VblankThread {
    doorbell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
}

/// Why no scheduler thread was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Somebody drives the scheduler already.
    #[error("cannot drive the vblank scheduler from a thread")]
    Drive(#[source] DriveError),
    /// The thread sleeps on `CLOCK_MONOTONIC` and cannot follow another clock.
    #[error("the vblank scheduler has a clock of its own and must be driven by its owner")]
    OwnClock,
    /// The host has no thread to give.
    #[error("cannot start the vblank thread")]
    Thread(#[source] io::Error),
}

impl VblankScheduler {
    /// Starts a thread that drives the scheduler until the handle is dropped.
    ///
    /// It sleeps to absolute deadlines with a timer slack of 1 ns: one system call per wake-up
    /// and one eventfd write per vblank; without a wanted head it sleeps for good.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn spawn(&self) -> Result<VblankThread, SpawnError> {
        if self.shared().has_own_clock() {
            return Err(SpawnError::OwnClock);
        }
        let doorbell = Arc::new(Doorbell::default());
        let waker = Waker::from(doorbell.clone());
        let driver = self.drive(waker).map_err(SpawnError::Drive)?;
        let bell = doorbell.clone();
        let thread = std::thread::Builder::new()
            .name("vblank".into())
            .spawn(move || drive(driver, &bell))
            .map_err(SpawnError::Thread)?;
        Ok(VblankThread {
            doorbell,
            thread: Some(thread),
        })
    }
}

impl Drop for VblankThread {
    fn drop(&mut self) {
        self.doorbell.stop();
        if let Some(thread) = self.thread.take() {
            // Fails only if an observer panicked there, which was reported then.
            let _ = thread.join();
        }
    }
}

fn drive(mut driver: VblankDriver, doorbell: &Doorbell) {
    if let Err(error) = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)) {
        tracing::warn!(%error, "cannot set the timer slack; vblanks are up to 50 us late");
    }
    loop {
        // Before the question, so that whatever changes the answer afterwards ends the sleep.
        let rings = doorbell.rings();
        if doorbell.is_stopped() {
            return;
        }
        doorbell.sleep(rings, driver.next_wakeup());
        driver.run_due(MonotonicTime::now());
    }
}

/// What the thread sleeps on: a futex that counts rings.
#[derive(Debug, Default)]
struct Doorbell {
    rings: AtomicU32,
    stopped: AtomicBool,
}

impl Doorbell {
    fn rings(&self) -> u32 {
        // Acquire: sees what was stored before the ring that is counted here (`stopped`).
        self.rings.load(Ordering::Acquire)
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: ordered by `rings`, which is read before.
        self.stopped.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        // Relaxed: published by the ring that follows.
        self.stopped.store(true, Ordering::Relaxed);
        self.ring();
    }

    fn ring(&self) {
        // Release: pairs with the load in `rings`.
        self.rings.fetch_add(1, Ordering::Release);
        // Fails for an invalid address only, which a reference is not.
        let _ = futex::wake(&self.rings, futex::Flags::PRIVATE, 1);
    }

    /// Sleeps until `wakeup`, or a ring beyond `rings`, or a signal.
    fn sleep(&self, rings: u32, wakeup: Option<MonotonicTime>) {
        let timeout = wakeup.map(timespec);
        // Each way to return (woken, timed out, rung before, interrupted) means the same: look
        // what is due. Without CLOCK_REALTIME the timeout is absolute on CLOCK_MONOTONIC.
        let _ = futex::wait_bitset(
            &self.rings,
            futex::Flags::PRIVATE,
            rings,
            timeout.as_ref(),
            MATCH_ANY,
        );
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

fn timespec(time: MonotonicTime) -> Timespec {
    const NANOS_PER_SEC: u64 = 1_000_000_000;
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: part(time.as_nanos() / NANOS_PER_SEC),
        tv_nsec: part(time.as_nanos() % NANOS_PER_SEC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc;

    use irqbroker_core::LocalProducer;
    use irqbroker_core::Mask;

    use crate::fakes::FakeClock;
    use crate::fakes::bind;
    use crate::fakes::create;
    use crate::fakes::wait;
    use crate::granularity::Granularity;
    use crate::observer::Vblank;
    use crate::observer::VblankObserver;
    use crate::parent::VgpuParent;
    use crate::refresh::Refresh;

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
        // Enough to have slept to a deadline at least once, not only to the ring.
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
}
