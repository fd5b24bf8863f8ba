//! What a vblank costs, beside the barest loop that can make one.
//!
//! Benchmarking cases, 1000 heads (`--heads N`) at 60 Hz with the same phases in each:
//!
//! * `bare`: `BinaryHeap`, `clock_nanosleep(TIMER_ABSTIME)`, one eventfd write a tick
//! * `exact`: the scheduler's own thread, `Granularity::Exact`; `coalesced`: on a grid of 250 µs
//!
//! CPU is `CLOCK_THREAD_CPUTIME_ID` of the ticking thread. The cases take turns in random order,
//! ratios are taken within a round, and their median is reported. Lateness is measured in rounds
//! of its own. A round in which the ticking thread waited for a core (`/proc` tells) for more than a
//! fiftieth of the time is measured again: late vblanks share wake-ups, which flatters `exact`. Where
//! none is quiet that is said (`quiet`) and all count.
//!
//! Then one head's mean rate on `CLOCK_MONOTONIC` against the nominal one; and the thread's wake-ups for
//! one head and for all, bound and masked and without a consumer: must be none, or it exits with 1.
//!
//! Where `bare` comes near 100 % of a core it falls behind and the ratio says little (heads that are
//! late together share a wake-up of the scheduler's): take fewer heads there.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.

#[path = "vblank/idle.rs"]
mod idle;
mod median;
#[path = "vblank/rounds.rs"]
mod rounds;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::Producer;
use irqbroker_core::Reason;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::InstanceConfig;
use irqbroker_vgpu::MonotonicTime;
use irqbroker_vgpu::Refresh;
use irqbroker_vgpu::Vblank;
use irqbroker_vgpu::VblankObserver;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuInstance;
use irqbroker_vgpu::VgpuParent;
use rustix::event::EventfdFlags;
use rustix::process::Resource;
use rustix::time::ClockId;
use rustix::time::Timespec;
use serde_json::Value;
use serde_json::json;

use rounds::Quiet;
use rounds::Round;
use rounds::percentile;

type Failure = Box<dyn Error + Send + Sync>;

/// 60 Hz in whole nanoseconds, as the bare loop has it.
const PERIOD: u64 = 16_666_667;
const GRID: Duration = Duration::from_micros(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Bare,
    Scheduler(&'static str, Granularity),
}

const CASES: [Case; 3] = [
    Case::Bare,
    Case::Scheduler("exact", Granularity::Exact),
    Case::Scheduler("coalesced", Granularity::Coalesced { grid: GRID }),
];

/// What the ticking thread is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Cpu,
    Lateness,
}

/// Sits in both loops at the same place: before the eventfd write.
struct Probe {
    measure: Measure,
    ticks: AtomicU64,
    lateness: Mutex<Vec<u64>>,
    asked: AtomicBool,
    answer: mpsc::Sender<Sample>,
}

/// The ticking thread so far.
#[derive(Debug, Clone, Copy)]
struct Sample {
    cpu_nanos: u64,
    /// Of waiting for a core.
    waited_nanos: u64,
    ticks: u64,
}

impl Probe {
    fn new(measure: Measure) -> (Arc<Self>, mpsc::Receiver<Sample>) {
        let (answer, answers) = mpsc::channel();
        let probe = Self {
            measure,
            ticks: AtomicU64::new(0),
            lateness: Mutex::default(),
            asked: AtomicBool::new(false),
            answer,
        };
        (Arc::new(probe), answers)
    }

    /// On the ticking thread. Relaxed throughout: the channel orders what is read elsewhere.
    fn tick(&self, deadline: MonotonicTime) {
        let ticks = self.ticks.load(Ordering::Relaxed) + 1;
        self.ticks.store(ticks, Ordering::Relaxed);
        if self.measure == Measure::Lateness {
            let late = MonotonicTime::now().saturating_since(deadline);
            let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            let mut all = self.lateness.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(late);
        }
        if self.asked.load(Ordering::Relaxed) {
            self.asked.store(false, Ordering::Relaxed);
            // The receiver is gone only when nobody asks any more.
            let _ = self.answer.send(Sample {
                cpu_nanos: thread_cpu(),
                waited_nanos: thread_waited(),
                ticks,
            });
        }
    }

    /// The ticking thread at its next tick.
    fn ask(&self, answers: &mpsc::Receiver<Sample>) -> Result<Sample, Failure> {
        self.asked.store(true, Ordering::Relaxed);
        Ok(answers.recv_timeout(Duration::from_secs(10))?)
    }
}

impl VblankObserver for Probe {
    fn vblank(&self, vblank: &Vblank) {
        self.tick(vblank.deadline);
    }
}

fn thread_cpu() -> u64 {
    let cpu = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(cpu.tv_sec) * 1_000_000_000 + part(cpu.tv_nsec)
}

/// How long the calling thread was ready to run and did not: the second number of its schedstat
/// (`Documentation/scheduler/sched-stats.rst`). 0 where the kernel does not count it.
fn thread_waited() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1);
    waited
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn run(case: Case, heads: usize, measure: Measure, length: Duration) -> Result<Round, Failure> {
    let (probe, answers) = Probe::new(measure);
    let sample = || -> Result<(f64, Quiet), Failure> {
        let before = probe.ask(&answers)?;
        std::thread::sleep(length);
        let after = probe.ask(&answers)?;
        let cpu = float(after.cpu_nanos - before.cpu_nanos) / 1e3;
        let waited = Duration::from_nanos(after.waited_nanos - before.waited_nanos);
        let quiet = match waited > length / 50 {
            true => Quiet::No,
            false => Quiet::Yes,
        };
        Ok((cpu / float(after.ticks - before.ticks), quiet))
    };
    let mut missed = 0;
    let (micros_per_tick, quiet) = match case {
        Case::Bare => {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| bare(heads, &probe, &stop));
                let sampled = sample();
                stop.store(true, Ordering::Relaxed);
                thread.join().map_err(|_| "the bare loop panicked")??;
                sampled
            })?
        }
        Case::Scheduler(_, granularity) => {
            let scheduler = VblankScheduler::new(granularity);
            scheduler.observe(probe.clone())?;
            let parent = VgpuParent::new(scheduler);
            let _instances = spread_instances(&parent, heads)?;
            let _thread = parent.scheduler().spawn()?;
            let sampled = sample()?;
            missed = parent.scheduler().counters().missed;
            sampled
        }
    };
    let mut lateness = probe
        .lateness
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    lateness.sort_unstable();
    Ok(Round {
        micros_per_tick,
        p99_micros: percentile(&lateness, 99),
        p50_micros: percentile(&lateness, 50),
        missed,
        quiet,
    })
}

/// When head number `head` begins, so that all are spread evenly over a period.
fn phase(start: MonotonicTime, head: usize, heads: usize) -> MonotonicTime {
    let share = PERIOD * head as u64 / heads as u64;
    MonotonicTime::from_nanos(start.as_nanos() + share)
}

fn spread_instances(parent: &VgpuParent, heads: usize) -> Result<Vec<Arc<VgpuInstance>>, Failure> {
    let start = MonotonicTime::now();
    let mut instances = Vec::with_capacity(heads);
    for head in 0..heads {
        // A head begins when it is created.
        while MonotonicTime::now() < phase(start, head, heads) {
            std::hint::spin_loop();
        }
        instances.push(listened_instance(parent)?);
    }
    Ok(instances)
}

fn listened_instance(parent: &VgpuParent) -> Result<Arc<VgpuInstance>, Failure> {
    let instance = parent.create(InstanceConfig {
        name: None,
        heads: vec![Refresh::HZ_60],
    })?;
    for head in instance.heads() {
        head.producer().add_consumer(&ConsumerInfo {
            delivers: Delivers::Relay(Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        })?;
    }
    Ok(instance)
}

/// The floor: what no implementation of exact vblanks on one thread can do without.
fn bare(heads: usize, probe: &Probe, stop: &AtomicBool) -> Result<(), Failure> {
    let events = (0..heads)
        .map(|_| rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))
        .collect::<Result<Vec<OwnedFd>, _>>()?;
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
    let start = MonotonicTime::now();
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = (0..heads)
        .map(|head| Reverse((phase(start, head, heads).as_nanos() + PERIOD, head)))
        .collect();
    let mut frames = vec![1; heads];
    while let Some(mut first) = queue.peek_mut() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Reverse((deadline, head)) = *first;
        rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &timespec(deadline))?;
        probe.tick(MonotonicTime::from_nanos(deadline));
        rustix::io::write(&events[head], &1u64.to_ne_bytes())?;
        frames[head] += 1;
        let next = phase(start, head, heads).as_nanos() + frames[head] * PERIOD;
        *first = Reverse((next, head));
    }
    Ok(())
}

fn timespec(nanos: u64) -> Timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: part(nanos / 1_000_000_000),
        tv_nsec: part(nanos % 1_000_000_000),
    }
}

/// Keeps each vblank with the time it was signalled at.
#[derive(Default)]
struct Log(Mutex<Vec<(Vblank, MonotonicTime)>>);

impl VblankObserver for Log {
    fn vblank(&self, vblank: &Vblank) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push((*vblank, MonotonicTime::now()));
    }
}

/// One head alone: how far its rate and its last deadline are from nominal.
fn alone(length: Duration) -> Result<Value, Failure> {
    let scheduler = VblankScheduler::new(Granularity::Exact);
    let log = Arc::new(Log::default());
    scheduler.observe(log.clone())?;
    let parent = VgpuParent::new(scheduler);
    let instance = listened_instance(&parent)?;
    let thread = parent.scheduler().spawn()?;
    std::thread::sleep(length);
    drop(thread);
    let log = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some((first, first_at)), Some((last, last_at))) = (log.first(), log.last()) else {
        return Err("no vblank in the time given".into());
    };
    let nominal = float(last.frame - first.frame) * 1e9 / 60.0;
    let took = float(last_at.as_nanos() - first_at.as_nanos());
    let start = instance.heads()[0].cadence().start();
    let exact = u128::from(last.frame) * 1_000_000_000 / 60;
    let elapsed = last.deadline.as_nanos() - start.as_nanos();
    Ok(json!({
        "ticks": log.len(),
        "missed": parent.scheduler().counters().missed,
        "rate_error_ppm": (nominal / took - 1.0) * 1e6,
        "deadline_drift_ns": i128::from(elapsed) - i128::try_from(exact)?,
    }))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a few seconds in nanoseconds, far below 2^52"
)]
fn float(value: u64) -> f64 {
    value as f64
}

/// To all that the host allows: a head takes two fds.
fn raise_fd_limit() -> Result<(), Failure> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let find = |flag: &str| arguments.iter().position(|argument| argument == flag);
    let heads = match find("--heads").and_then(|place| arguments.get(place + 1)) {
        Some(heads) => heads.parse()?,
        None => 1000,
    };
    let (rounds, length, length_alone) = if find("--bench").is_some() {
        (7, Duration::from_secs(2), Duration::from_secs(10))
    } else {
        (1, Duration::from_millis(50), Duration::from_millis(200))
    };
    raise_fd_limit()?;
    let idle = idle::measure(&[1, heads], length)?;
    let report = json!({
        "bench": "vblank",
        "heads": heads,
        "rounds": rounds,
        "round_seconds": length.as_secs_f64(),
        "cases": rounds::measure(heads, rounds, length)?,
        "alone": alone(length_alone)?,
        "idle": idle.iter().map(idle::Idle::json).collect::<Vec<_>>(),
    });
    if find("--json").is_some() {
        println!("{report}");
    } else {
        print(&report);
    }
    match idle.iter().find(|idle| idle.wakeups() > 0) {
        Some(idle) => Err(format!("nobody listens, and the thread wakes up: {idle:?}").into()),
        None => Ok(()),
    }
}

fn print(report: &Value) {
    println!(
        "{} heads at 60 Hz, {} rounds",
        report["heads"], report["rounds"]
    );
    let columns = "cpu_us_per_tick cpu_percent ratio_to_bare ratio_to_exact missed late_p50_us \
                   late_p99_us p99_ratio_to_bare quiet";
    print!("{:<10}", "case");
    let columns: Vec<&str> = columns.split_whitespace().collect();
    columns.iter().for_each(|column| print!("{column:>18}"));
    println!();
    for case in report["cases"].as_array().into_iter().flatten() {
        print!("{:<10}", case["name"].as_str().unwrap_or_default());
        for column in &columns {
            print!("{:>18.3}", case[*column].as_f64().unwrap_or(f64::NAN));
        }
        println!();
    }
    println!("one head alone: {}", report["alone"]);
    for idle in report["idle"].as_array().into_iter().flatten() {
        println!("nobody listens: {idle}");
    }
}
