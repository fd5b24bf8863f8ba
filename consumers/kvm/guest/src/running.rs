//! The handle of a running guest: waits, probes, stops.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use kvm_ioctls::VmFd;

use crate::Counters;
use crate::GuestVector;
use crate::GuestVm;
use crate::HaltPoll;
use crate::Notifier;
use crate::ProbeError;
use crate::RunError;
use crate::RunOptions;
use crate::StartError;
use crate::WaitError;
use crate::affinity;
use crate::kick_fd::Kick;
use crate::memory_fd::GuestMemory;
use crate::vcpu_thread::Shared;
use crate::vcpu_thread::VcpuThread;

/// Polls between two looks at the time: about a microsecond.
const SPINS_PER_LOOK: u32 = 64;
/// How long a busy wait is busy: far beyond any latency. Then whoever is to deliver lacks the core, or
/// the share of it, that the wait takes.
const BUSY: Duration = Duration::from_millis(20);
/// Between two looks of a busy wait that has been so for that long.
const IDLE: Duration = Duration::from_micros(200);
/// How long counters must stand still: an irqfd on an IOAPIC pin goes through a kernel work queue.
const SETTLE: Duration = Duration::from_millis(1);

/// How to wait for a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Busy, with a pause instruction: sees the count within a fraction of a microsecond, takes a core.
    /// After 20 ms it sleeps between looks, so that it keeps nobody from delivering.
    Spin,
    /// Sleeps this long between two looks: leaves the core to the vCPU or the relay.
    Sleep(Duration),
}

/// What a probe of the vCPU found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Host TSC just before the vCPU thread looked.
    pub tsc: u64,
    /// The vCPU was halted, and no interrupt was requested, in service or being injected: whatever had
    /// reached its local APIC by [`tsc`](Self::tsc) has been handled.
    pub quiet: bool,
}

/// A guest whose vCPU runs on a thread of its own; dropping it stops the vCPU and joins the thread.
///
/// No wait is unbounded, and none outlives a vCPU that failed.
#[derive(Debug)]
pub struct RunningGuest {
    vm: Arc<VmFd>,
    kick: Arc<Kick>,
    shared: Arc<Shared>,
    counters: Counters,
    halt_poll: HaltPoll,
    thread: Option<JoinHandle<()>>,
    /// After the thread: KVM reaches it as long as the vCPU runs.
    _memory: Arc<GuestMemory>,
}

impl RunningGuest {
    pub(crate) fn start(guest: GuestVm, options: RunOptions) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new());
        let vcpu_thread = VcpuThread {
            vcpu: guest.vcpu,
            kick: Arc::clone(&guest.kick),
            shared: Arc::clone(&shared),
            irqchip: guest.irqchip,
            source: options.source,
            ioapic_eoi: options.ioapic_eoi,
            served: options.served,
            halted: false,
        };
        let (started, start) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("guest-vcpu0".to_owned())
            .spawn(move || {
                let ready = options
                    .core
                    .map_or(Ok(()), affinity::pin_current_thread)
                    .map_err(StartError::Affinity)
                    .and_then(|()| {
                        let attached = vcpu_thread.kick.attach_current_thread();
                        attached.map_err(StartError::Signal)
                    });
                let is_ready = ready.is_ok();
                // The other end waits, and the channel has a place.
                let _waiting = started.send(ready);
                if is_ready {
                    vcpu_thread.run();
                }
            })
            .map_err(StartError::Thread)?;
        // Lives from here on, so that an error below joins the thread.
        let running = Self {
            vm: guest.vm,
            kick: guest.kick,
            shared,
            counters: guest.counters,
            halt_poll: guest.halt_poll,
            thread: Some(thread),
            _memory: guest.memory,
        };
        // A sender that was dropped unused is a panic before the guest's first instruction.
        start.recv().unwrap_or_else(|_| {
            let interrupted = std::io::ErrorKind::Interrupted;
            Err(StartError::Thread(interrupted.into()))
        })?;
        Ok(running)
    }

    /// The VM, for whoever owns its routes and irqfds.
    #[must_use]
    pub fn vm(&self) -> Arc<VmFd> {
        Arc::clone(&self.vm)
    }

    /// What the handlers count and stamp.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The halt polling in effect.
    #[must_use]
    pub fn halt_poll(&self) -> HaltPoll {
        self.halt_poll
    }

    /// Wakes the vCPU thread for an [`InterruptSource`](crate::InterruptSource).
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier::new(Arc::clone(&self.kick))
    }

    /// Why the vCPU thread ended by itself, `None` while it runs.
    #[must_use]
    pub fn failure(&self) -> Option<RunError> {
        self.shared.failure()
    }

    /// Waits until the vector's handler has run `at_least` times since the guest was built; returns
    /// the count seen, which may be higher.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] at the deadline, [`WaitError::Ended`] as soon as the vCPU has failed.
    pub fn wait_delivered(
        &self,
        vector: GuestVector,
        at_least: u64,
        deadline: Instant,
        how: Wait,
    ) -> Result<u64, WaitError> {
        let begun = Instant::now();
        loop {
            let polls = match how {
                Wait::Spin => SPINS_PER_LOOK,
                Wait::Sleep(_) => 1,
            };
            // Before the count: what the guest did before it failed is not missed.
            let failure = self.failure();
            for _ in 0..polls {
                let delivered = self.counters.delivered(vector);
                if delivered >= at_least {
                    return Ok(delivered);
                }
                std::hint::spin_loop();
            }
            if let Some(error) = failure {
                return Err(WaitError::Ended(error));
            }
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(WaitError::TimedOut {
                    vector: vector.get(),
                    delivered: self.counters.delivered(vector),
                    wanted: at_least,
                });
            }
            match how {
                Wait::Sleep(pause) => std::thread::sleep(pause.min(left)),
                Wait::Spin if now.saturating_duration_since(begun) > BUSY => {
                    std::thread::sleep(IDLE.min(left));
                }
                Wait::Spin => {}
            }
        }
    }

    /// Takes the vCPU out of the guest for a moment and looks whether anything is left to do.
    ///
    /// Costs the guest some 10 us and ends a halt poll; not for use between measured interrupts.
    ///
    /// # Errors
    ///
    /// [`ProbeError::TimedOut`] at the deadline, [`ProbeError::Ended`] if the vCPU has failed,
    /// [`ProbeError::State`] if its state could not be read.
    pub fn probe(&self, deadline: Instant) -> Result<Probe, ProbeError> {
        let (answer, answered) = sync_channel(1);
        self.shared.probe(answer);
        self.kick.kick();
        let left = deadline.saturating_duration_since(Instant::now());
        match answered.recv_timeout(left) {
            Ok(Ok(look)) => Ok(Probe {
                tsc: look.tsc,
                quiet: look.quiet,
            }),
            Ok(Err(source)) => Err(ProbeError::State(source)),
            Err(RecvTimeoutError::Timeout) => Err(self.timed_out()),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Waits until nothing is in flight in the guest: no handler has run for a millisecond, and at its
    /// end the vCPU is halted with nothing pending.
    ///
    /// What has not reached the guest yet, such as an event in a relay, is not known here: quiesce the
    /// sources first. Returns the probe that found it quiet.
    ///
    /// # Errors
    ///
    /// As for [`probe`](Self::probe).
    pub fn quiesce(&self, deadline: Instant) -> Result<Probe, ProbeError> {
        loop {
            let before = self.counters.delivered_total();
            std::thread::sleep(SETTLE);
            let probe = self.probe(deadline)?;
            if probe.quiet && self.counters.delivered_total() == before {
                return Ok(probe);
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out());
            }
        }
    }

    /// Stops the vCPU and joins its thread.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it had failed before.
    pub fn stop(mut self) -> Result<(), RunError> {
        self.join();
        self.failure().map_or(Ok(()), Err)
    }

    fn timed_out(&self) -> ProbeError {
        ProbeError::TimedOut {
            delivered: self.counters.delivered_total(),
        }
    }

    fn ended(&self) -> ProbeError {
        // Only `join` ends the thread without a failure, and it needs the handle for itself.
        ProbeError::Ended(self.failure().unwrap_or(RunError::Panicked))
    }

    fn join(&mut self) {
        self.shared.stop();
        self.kick.kick();
        if let Some(thread) = self.thread.take() {
            // A panic has been recorded by the thread itself.
            let _recorded = thread.join();
        }
    }
}

impl Drop for RunningGuest {
    fn drop(&mut self) {
        self.join();
    }
}
