//! Runs the measurement: blocks of paced events, the paths in a new random order each round.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker_guest::Event;
use irqbroker_guest::Ledger;
use irqbroker_guest::StampReader;
use irqbroker_guest::TscClock;
use irqbroker_guest::Wait;
use irqbroker_guest::WaitError;
use irqbroker_guest::pin_current_thread;
use irqbroker_guest::tsc_now;

use super::LatencyArgs;
use super::bare_relay;
use super::path::LatencyPath;
use super::plot;
use super::report::LatencyReport;
use super::report::Measured;
use super::rig::Rig;
use super::rig::vector;
use super::userspace;
use crate::halt_poll::HaltPoll;
use crate::kvm_node;
use crate::machine::Machine;
use crate::output::Output;
use crate::percentiles::Latencies;
use crate::progress::Progress;

/// Events of one path in a row: enough to outweigh the change of paths, few enough that the
/// machine's drift meets all paths alike.
const BLOCK: u64 = 50;

/// Events at the start of each block that are not counted: they pay for what the path before left
/// behind (a relay's core asleep, another halt-poll window).
const WARM_UP: u64 = 4;

/// An interrupt that takes longer is lost. A thread can be kept from running for seconds on a machine
/// that has far more to do than cores, or that is itself a guest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time the vCPU gets to halt again before the next event.
const PAUSE: Duration = Duration::from_micros(30);

/// Runs the measurement, draws the plot if one is asked for, and prints the report.
///
/// # Errors
///
/// There is no KVM, the guest could not be booted, or the plot or the report not written.
pub(crate) fn run(args: &LatencyArgs, output: &Output) -> anyhow::Result<()> {
    kvm_node::open(&args.kvm)?;
    let (measured, halt_poll) = {
        let paths = u64::try_from(args.paths().len())?;
        let progress = output.progress(paths.saturating_mul(args.samples));
        measure(args, &progress)?
    };
    let machine = Machine::read();
    if let Some(file) = &args.plot {
        plot::save(file, &measured, halt_poll, &machine)?;
    }
    let report = LatencyReport::new(&measured, halt_poll, machine);
    output.print(&report)?;
    ensure!(
        report.faults() == 0,
        "interrupts were lost or invented: see the report"
    );
    Ok(())
}

fn measure(args: &LatencyArgs, progress: &Progress) -> anyhow::Result<(Vec<Measured>, HaltPoll)> {
    progress.set(0, "booting the guest");
    let clock = TscClock::calibrate()?;
    let rig = Rig::new(&args.kvm, args.halt_poll_ns, &args.paths())?;
    if let Some(core) = crate::guest::first_core() {
        pin_current_thread(core)?;
    }
    let mut gauges = Vec::new();
    for path in args.paths() {
        gauges.push(Gauge::new(path, &rig)?);
    }
    let mut order: Vec<usize> = (0..gauges.len()).collect();
    // A fixed order would favour whoever follows a path that leaves the cores warm.
    let mut random = fastrand::Rng::new();
    let mut done = 0;
    while done < args.samples {
        let block = BLOCK.min(args.samples - done);
        random.shuffle(&mut order);
        for &at in &order {
            if let Some(gauge) = gauges.get_mut(at) {
                gauge.block(&rig, clock, block)?;
            }
        }
        done += block;
        progress.set(done * gauges.len() as u64, "measuring");
    }
    let halt_poll = rig.halt_poll();
    Ok((gauges.into_iter().map(Gauge::finish).collect(), halt_poll))
}

/// What is measured on one path.
#[derive(Debug)]
struct Gauge {
    path: LatencyPath,
    reader: StampReader,
    ledger: Ledger,
    latencies: Latencies,
    events: u64,
    syscalls: u64,
    wakeups: u64,
    stamps: Vec<u64>,
}

impl Gauge {
    fn new(path: LatencyPath, rig: &Rig) -> anyhow::Result<Self> {
        Ok(Self {
            path,
            reader: rig.guest(path).counters().stamps(vector(path)?),
            // Every event waits for the one before, and each round is closed by a mark.
            ledger: Ledger::new(),
            latencies: Latencies::new()?,
            events: 0,
            syscalls: 0,
            wakeups: 0,
            stamps: Vec::new(),
        })
    }

    fn block(&mut self, rig: &Rig, clock: TscClock, events: u64) -> anyhow::Result<()> {
        let before = rig.relay_counters();
        for at in 0..WARM_UP + events {
            self.event(rig)?;
            let latencies = self.ledger.take_latencies();
            if at >= WARM_UP {
                latencies
                    .into_iter()
                    .for_each(|ticks| self.latencies.record(clock.nanos(ticks)));
            }
            let next = tsc_now() + clock.ticks(PAUSE);
            while tsc_now() < next {
                std::hint::spin_loop();
            }
        }
        let after = rig.relay_counters();
        self.events += WARM_UP + events;
        self.wakeups += after.waits - before.waits;
        self.syscalls += (after.waits + after.claims + after.injections)
            - (before.waits + before.claims + before.injections);
        Ok(())
    }

    /// Raises one interrupt and waits for its handler.
    fn event(&mut self, rig: &Rig) -> anyhow::Result<()> {
        let vector = self.reader.vector();
        let guest = rig.guest(self.path);
        let wanted = guest.counters().delivered(vector) + 1;
        let deadline = Instant::now() + PATIENCE;
        let raised = tsc_now();
        rig.raise(self.path)?;
        match guest.wait_delivered(vector, wanted, deadline, Wait::Spin) {
            Ok(_) | Err(WaitError::TimedOut { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.reader.drain(&mut self.stamps);
        // What had come before the event was raised belongs to none: the ledger calls it invented.
        let mut events: Vec<Event> = self.stamps.drain(..).map(Event::Delivered).collect();
        events.push(Event::Produced(raised));
        events.push(Event::Quiesced(tsc_now()));
        self.ledger.record_all(&mut events)?;
        Ok(())
    }

    fn finish(self) -> Measured {
        let tally = self.ledger.tally();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 events")]
        let per_event = |syscalls: u64| syscalls as f64 / self.events as f64;
        let (syscalls_per_event, broker_wakeups) = match self.path {
            LatencyPath::Relay | LatencyPath::Bypass | LatencyPath::Posted => {
                (Some(per_event(self.syscalls)), Some(self.wakeups))
            }
            LatencyPath::BareRelay => (Some(bare_relay::SYSCALLS_PER_EVENT), None),
            LatencyPath::Userspace => (Some(userspace::SYSCALLS_PER_EVENT), None),
            LatencyPath::RawIrqfd | LatencyPath::SignalMsi => (None, None),
        };
        Measured {
            path: self.path,
            latencies: self.latencies,
            lost: tally.lost,
            invented: tally.invented,
            syscalls_per_event,
            broker_wakeups,
        }
    }
}
