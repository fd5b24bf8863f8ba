//! What it costs to show a head: a display that is told, beside one that looks every 30 ms.
//!
//! A vGPU of type medium (1280x800, 60 Hz) has a guest that flips between three finished pictures that
//! have no pixel in common, by a register write as soon as it is told of the flip before. Ways to look
//! at it, one after another in rounds and each time in another order, so that none takes a core from
//! another:
//!
//! * `told`: a `Display`, bound to the refresh event: it has a picture of its own
//! * `plane`: no `Display`: bound to the flip event, it asks for the plane and where its picture is in
//!   the file, as a VMM does that shows the memory in place
//! * `poller`: looks every 30 ms and compares, as VMMs do today
//! * `viewer`: a VNC viewer of raw pixels, on a server with a thread of its own
//! * `floor`: no display at all: a thread that sleeps to the same cadence writes an eventfd, another
//!   one that waits for it copies as many bytes as the picture has
//!
//! First while the guest flips, then a `Display` while the test card moves, then all while nothing
//! does. Latency is from the vblank from which on a flip is shown, by the head's cadence, to the picture
//! fetched (`plane`: asked for; `poller`: looked at), or to its last byte read by the viewer. `woken` is the part of
//! it until the display, the poller or the copier was running: the lateness of timers, threads and
//! cores. `fetch` is the rest.
//!
//! A flip is shown from the first vblank after its commit on, so what the guest has to wait for that is
//! no matter of the display: anything between 0 and a period, nearly all of one for this guest, which
//! commits as soon as it may. `wait` is from the commit's register write to the vblank, `commit` from
//! there to the picture fetched or read: the age of the newest picture that somebody has.
//!
//! `scheduler_wakeups_per_flip` is how often the vGPU's own thread woke up in the time of a way, for
//! each flip in that time: 1 is that of the vblank. `taken` and `flips` are the pictures that differed
//! from the one before and the flips of the same time, from the first one taken on.
//!
//! Percentiles are of all rounds, and `best` those of the round with the least p99: on a shared
//! machine that is the one in which others did least. `ratio` is that of the medians of a round to the
//! poller's or the floor's in the same round, the median of all.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.

mod guest;
mod plane;
mod seen;
mod viewer;

use std::error::Error;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Wait;
use irqbroker_display::Display;
use irqbroker_display::PictureChange;
use irqbroker_display::Security;
use irqbroker_display::VncOptions;
use irqbroker_display::VncServer;
use irqbroker_display::screenshot;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::Head;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::MonotonicTime;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::time::ClockId;
use serde_json::Value;
use serde_json::json;

use crate::guest::Commits;
use crate::guest::guest;
use crate::plane::plane;
use crate::seen::Seen;
use crate::seen::report;
use crate::viewer::viewer;

type Failure = Box<dyn Error + Send + Sync>;

const HEAD: HeadId = HeadId(0);
/// Of the timer that display code refreshes by.
const POLL: Duration = Duration::from_millis(30);
/// How often a thread looks whether the measurement is over.
const CHECK: Duration = Duration::from_millis(200);
/// A picture that stands still is found to do so within this time.
const SETTLE: Duration = Duration::from_secs(2);

/// The ways of looking, by their places.
const WAYS: [&str; 5] = ["told", "plane", "poller", "viewer", "floor"];
const TOLD: usize = 0;
const PLANE: usize = 1;
const POLLER: usize = 2;
const VIEWER: usize = 3;
const FLOOR: usize = 4;

/// The mode of the type.
const WIDTH: u16 = 1280;
const HEIGHT: u16 = 800;
/// Bytes of a picture.
const PICTURE: usize = 1280 * 800 * 4;
/// Three, so that no two looks of a poller in a row find the same one by their rhythm. A byte each.
const PICTURES: [u8; 3] = [0x3c, 0x5a, 0xa5];

/// What there is to look at.
struct Stage<'a> {
    scheduler: &'a VblankScheduler,
    device: &'a Arc<VgpuDevice>,
    commits: &'a Commits,
    /// Of the VNC server.
    address: SocketAddr,
}

impl Stage<'_> {
    /// The scheduler's wake-ups and the head's flips so far.
    fn wakeups_and_flips(&self) -> (u64, u64) {
        let flips = self.device.counters(HEAD).map_or(0, |head| head.flips);
        (self.scheduler.counters().wakeups, flips)
    }
}

/// The vblank that the head had last.
fn last_vblank(head: &Head) -> MonotonicTime {
    let cadence = head.cadence();
    cadence.deadline(cadence.frame_at(MonotonicTime::now()))
}

/// Waits until there is something to read or to do, and says when that was; none if there is not.
fn wait(event: impl AsFd, limit: Duration) -> Result<Option<MonotonicTime>, Failure> {
    let mut fds = [PollFd::new(&event, PollFlags::IN)];
    let ready = rustix::event::poll(&mut fds, Some(&Timespec::try_from(limit)?))?;
    Ok((ready > 0).then(MonotonicTime::now))
}

/// A display that is told.
fn told(stage: &Stage<'_>, length: Duration) -> Result<Seen, Failure> {
    let device = stage.device;
    let head = device.instance().head(HEAD).ok_or("no head")?;
    let mut display = Display::open(Arc::new(device.head_view(HEAD)?), 0)?;
    // The first picture is not one of a flip, and the one behind it may have waited for it.
    for _ in 0..2 {
        display.service(Wait::For(CHECK))?;
    }
    let mut seen = Seen::default();
    let end = Instant::now() + length;
    let before = display.counters().wakeups;
    let flips = || device.counters(HEAD).map_or(0, |counters| counters.flips);
    let mut first = None;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Some(woken) = wait(display.poll_fd(), left)? else {
            break;
        };
        let (vblank, flips) = (last_vblank(head), flips());
        if display.service(Wait::No)?.picture != PictureChange::None {
            seen.flipped(stage.commits.shown_at(vblank), vblank, Some(woken));
            seen.taken = seen.changes - 1;
            seen.flips = flips - *first.get_or_insert(flips);
        }
    }
    seen.wakeups = display.counters().wakeups - before;
    Ok(seen)
}

/// A display that looks every 30 ms.
fn poller(stage: &Stage<'_>, length: Duration) -> Result<Seen, Failure> {
    let device = stage.device;
    let view = device.head_view(HEAD)?;
    let head = device.instance().head(HEAD).ok_or("no head")?;
    let mut seen = Seen::default();
    let mut before = screenshot(&view)?;
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::sleep(POLL);
        let (woken, vblank) = (MonotonicTime::now(), last_vblank(head));
        let picture = screenshot(&view)?;
        seen.wakeups += 1;
        if picture != before {
            seen.flipped(stage.commits.shown_at(vblank), vblank, Some(woken));
            before = picture;
        }
    }
    Ok(seen)
}

/// Writes an eventfd at each of the times, as exactly as a thread can be woken.
fn tick(times: impl Iterator<Item = MonotonicTime>, event: &OwnedFd) -> Result<(), Failure> {
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
    for time in times {
        let time = Duration::from_nanos(time.as_nanos());
        rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &time.try_into()?)?;
        rustix::io::write(event, &1u64.to_ne_bytes())?;
    }
    Ok(())
}

/// What any display has to do, without one: half a period after the head's vblanks, so that neither
/// is in the other's way.
fn floor(device: &Arc<VgpuDevice>, length: Duration) -> Result<Seen, Failure> {
    let cadence = device.instance().head(HEAD).ok_or("no head")?.cadence();
    let first = cadence.frame_at(MonotonicTime::now()) + 2;
    let frames = length.as_nanos()
        / cadence
            .deadline(first)
            .saturating_since(cadence.deadline(first - 1))
            .as_nanos();
    let half = |frame: u64| {
        let ends = [frame, frame + 1].map(|frame| cadence.deadline(frame).as_nanos());
        MonotonicTime::from_nanos(ends[0] / 2 + ends[1] / 2)
    };
    let last = first + u64::try_from(frames)?;
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    let pictures = PICTURES.map(|colour| vec![colour; PICTURE]);
    let mut copy = vec![0; PICTURE];
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let ticking = scope.spawn(|| tick((first..last).map(half), &event));
        let mut frame = first;
        while frame < last {
            let Some(woken) = wait(&event, SETTLE)? else {
                break;
            };
            let mut ticks = [0; 8];
            rustix::io::read(&event, &mut ticks)?;
            frame += u64::from_ne_bytes(ticks);
            let picture = &pictures[usize::try_from(frame)? % PICTURES.len()];
            std::hint::black_box(&mut copy).copy_from_slice(picture);
            seen.wakeups += 1;
            seen.changed(half(frame - 1), Some(woken));
        }
        ticking
            .join()
            .map_err(|_| "the ticking thread has panicked")??;
        Ok(seen)
    })
}

/// Some ways in turn, in another order in each round.
fn phase(
    stage: &Stage<'_>,
    ways: &[usize],
    rounds: usize,
    length: Duration,
) -> Result<Value, Failure> {
    let mut all: [Vec<Seen>; WAYS.len()] = Default::default();
    for _ in 0..rounds {
        let mut places = ways.to_vec();
        places.sort_by_key(|place| RandomState::new().hash_one(place));
        for place in places {
            let before = stage.wakeups_and_flips();
            let mut seen = match place {
                TOLD => told(stage, length)?,
                PLANE => plane(stage, length)?,
                POLLER => poller(stage, length)?,
                VIEWER => viewer(stage, length)?,
                _ => floor(stage.device, length)?,
            };
            let after = stage.wakeups_and_flips();
            seen.scheduler_wakeups = after.0 - before.0;
            seen.all_flips = after.1 - before.1;
            all[place].push(seen);
        }
    }
    let way = |&place: &usize| (WAYS[place].to_owned(), report(&all[place], &all, length));
    Ok(Value::Object(ways.iter().map(way).collect()))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (rounds, length, settle) = if has("--bench") {
        (7, Duration::from_secs(2), SETTLE)
    } else {
        (1, Duration::from_millis(300), CHECK)
    };
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("medium").ok_or("no such type")?;
    let device = parent.create_device(&vgpu, None)?;
    let _vblanks = parent.scheduler().spawn()?;
    let (guest_over, commits) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Commits::default()),
    );
    let (of_guest, by_guest, stop) = (
        Arc::clone(&device),
        Arc::clone(&commits),
        Arc::clone(&guest_over),
    );
    let guest = std::thread::spawn(move || guest(&of_guest, &by_guest, &stop));
    let mut first = Display::open(Arc::new(device.head_view(HEAD)?), 0)?;
    while first.frame().is_none() {
        first.service(Wait::For(CHECK))?;
    }
    drop(first);
    let mut server = VncServer::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Arc::new(device.head_view(HEAD)?),
        VncOptions::new(Security::None),
    )?;
    let stage = Stage {
        scheduler: parent.scheduler(),
        device: &device,
        commits: &commits,
        address: server.address(),
    };
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let serving = std::thread::spawn(move || -> Result<(), Failure> {
        // Relaxed: nothing else is passed on by it.
        while !stop.load(Ordering::Relaxed) {
            server.service(Wait::For(CHECK))?;
        }
        Ok(())
    });
    let everyone = [TOLD, PLANE, POLLER, VIEWER, FLOOR];
    let moving = phase(&stage, &everyone, rounds, length)?;
    // Relaxed: nothing else is passed on by it.
    guest_over.store(true, Ordering::Relaxed);
    guest.join().map_err(|_| "the guest has panicked")??;
    let card = device.show_test_card(HEAD)?;
    let carded = phase(&stage, &[TOLD, FLOOR], rounds, length)?;
    drop(card);
    std::thread::sleep(settle);
    let still = phase(&stage, &everyone, 1, length)?;
    over.store(true, Ordering::Relaxed);
    serving.join().map_err(|_| "the server has panicked")??;

    let report = json!({
        "bench": "display",
        "rounds": rounds,
        "round_seconds": length.as_secs_f64(),
        "moving": moving,
        "card": carded,
        "still": still,
    });
    if has("--json") {
        println!("{report}");
        return Ok(());
    }
    println!("1280x800 at 60 Hz, {rounds} rounds of {length:?}");
    let columns = "wakeups_per_second changes_per_second latency_p50_us latency_p99_us woken_p50_us \
                   woken_p99_us fetch_p50_us fetch_p99_us wait_p50_us commit_p50_us commit_p99_us \
                   best_p50_us best_p99_us best_fetch_p99_us taken flips \
                   scheduler_wakeups_per_flip ratio_to_poller ratio_to_floor";
    for phase in ["moving", "card", "still"] {
        print!("{phase:<27}");
        WAYS.iter().for_each(|way| print!("{way:>10}"));
        println!();
        for column in columns.split_whitespace() {
            print!("{column:<27}");
            for way in WAYS {
                match report[phase][way][column].as_f64() {
                    Some(number) => print!("{number:>10.1}"),
                    None => print!("{:>10}", "-"),
                }
            }
            println!();
        }
    }
    Ok(())
}
