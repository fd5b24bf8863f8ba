//! What it costs to show a head: a display that is told, beside one that looks every 30 ms.
//!
//! A vGPU of type medium (1280x800, 60 Hz) shows the test card. In one run, at the same time:
//!
//! * `told`: a `Display`, bound to the refresh event
//! * `poller`: looks every 30 ms and compares, as VMMs do today
//! * `viewer`: a VNC viewer of raw pixels, on a server with a thread of its own
//!
//! First while the card moves, then while it stands still. Latency is from the vblank from which on
//! a flip is shown, by the head's cadence, to the picture fetched (`told`, `poller`: looked at), or
//! to its last byte read by the viewer; so it has the scheduler's own lateness in it.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.

use std::error::Error;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
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
use serde_json::Value;
use serde_json::json;

type Failure = Box<dyn Error + Send + Sync>;

const HEAD: HeadId = HeadId(0);
/// Of the timer that display code refreshes by.
const POLL: Duration = Duration::from_millis(30);
/// How often a thread looks whether the measurement is over.
const CHECK: Duration = Duration::from_millis(200);
/// A picture that stands still is found to do so within this time.
const SETTLE: Duration = Duration::from_secs(2);

/// What one way of looking did in a phase.
#[derive(Default)]
struct Seen {
    wakeups: u64,
    changes: u64,
    latencies: Vec<u64>,
}

impl Seen {
    fn report(mut self, length: Duration) -> Value {
        self.latencies.sort_unstable();
        let percentile = |percent: usize| {
            let at = (self.latencies.len() * percent / 100).min(self.latencies.len().max(1) - 1);
            self.latencies.get(at).map(|&nanos| float(nanos) / 1e3)
        };
        json!({
            "wakeups_per_second": float(self.wakeups) / length.as_secs_f64(),
            "changes_per_second": float(self.changes) / length.as_secs_f64(),
            "latency_p50_us": percentile(50),
            "latency_p99_us": percentile(99),
        })
    }
}

/// Since the vblank that the head had last.
fn since_vblank(head: &Head) -> u64 {
    let now = MonotonicTime::now();
    let cadence = head.cadence();
    let vblank = cadence.deadline(cadence.frame_at(now));
    u64::try_from(now.saturating_since(vblank).as_nanos()).unwrap_or(u64::MAX)
}

/// A display that is told.
fn told(display: &mut Display, head: &Head, length: Duration) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let end = Instant::now() + length;
    let before = display.counters().wakeups;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let change = display.service(Wait::For(left))?;
        if change.picture != PictureChange::None {
            seen.changes += 1;
            seen.latencies.push(since_vblank(head));
        }
    }
    seen.wakeups = display.counters().wakeups - before;
    Ok(seen)
}

/// A display that looks every 30 ms.
fn poller(device: &Arc<VgpuDevice>, length: Duration) -> Result<Seen, Failure> {
    let view = device.head_view(HEAD)?;
    let head = device.instance().head(HEAD).ok_or("no head")?;
    let mut seen = Seen::default();
    let mut before = screenshot(&view)?;
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::sleep(POLL);
        let picture = screenshot(&view)?;
        seen.wakeups += 1;
        if picture != before {
            seen.changes += 1;
            seen.latencies.push(since_vblank(head));
            before = picture;
        }
    }
    Ok(seen)
}

/// A viewer of raw pixels, which asks for more when it has read what came.
struct Viewer {
    socket: TcpStream,
    size: [u8; 4],
    bytes: Vec<u8>,
}

impl Viewer {
    fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"RFB 003.008\n\x01\x01")?;
        // Version, one security type, that all is well; then size, format and a name of 9 bytes.
        let mut handshake = [0; 12 + 2 + 4 + 24 + 9];
        socket.read_exact(&mut handshake)?;
        let mut size = [0; 4];
        size.copy_from_slice(&handshake[18..22]);
        Ok(Self {
            socket,
            size,
            bytes: Vec::new(),
        })
    }

    fn ask(&mut self, incremental: u8) -> Result<(), Failure> {
        let mut request = vec![3, incremental, 0, 0, 0, 0];
        request.extend(self.size);
        Ok(self.socket.write_all(&request)?)
    }

    /// Reads an update; none if there is none for a while.
    fn read(&mut self) -> Result<Option<()>, Failure> {
        self.socket.set_read_timeout(Some(CHECK))?;
        let mut header = [0; 4];
        match self.socket.read(&mut header[..1]) {
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Ok(_) => return Err("the server has closed".into()),
            Err(error) => return Err(error.into()),
        }
        self.socket.set_read_timeout(None)?;
        self.socket.read_exact(&mut header[1..])?;
        for _ in 0..u16::from_be_bytes([header[2], header[3]]) {
            let mut rect = [0; 12];
            self.socket.read_exact(&mut rect)?;
            let side = |at: usize| usize::from(u16::from_be_bytes([rect[at], rect[at + 1]]));
            self.bytes.resize(side(4) * side(6) * 4, 0);
            self.socket.read_exact(&mut self.bytes)?;
        }
        Ok(Some(()))
    }

    fn watch(&mut self, head: &Head, length: Duration) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        let end = Instant::now() + length;
        while Instant::now() < end {
            if self.read()?.is_some() {
                seen.wakeups += 1;
                seen.changes += 1;
                seen.latencies.push(since_vblank(head));
                self.ask(1)?;
            }
        }
        Ok(seen)
    }
}

/// All three at the same time.
fn phase(
    device: &Arc<VgpuDevice>,
    display: &mut Display,
    viewer: &mut Viewer,
    length: Duration,
) -> Result<Value, Failure> {
    let head = device.instance().head(HEAD).ok_or("no head")?;
    let ended = |_| -> Failure { "a thread has panicked".into() };
    let (told, poller, viewer) = std::thread::scope(|scope| -> Result<_, Failure> {
        let poller = scope.spawn(|| poller(device, length));
        let viewer = scope.spawn(|| viewer.watch(head, length));
        let told = told(display, head, length)?;
        Ok((
            told,
            poller.join().map_err(ended)??,
            viewer.join().map_err(ended)??,
        ))
    })?;
    Ok(json!({
        "told": told.report(length),
        "poller": poller.report(length),
        "viewer": viewer.report(length),
    }))
}

fn float(number: u64) -> f64 {
    // Counts and times of a run are far below 2^32 units of what is lost.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let float = number as f64;
    float
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (length, settle) = if has("--bench") {
        (Duration::from_secs(10), SETTLE)
    } else {
        (Duration::from_millis(300), CHECK)
    };
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("medium").ok_or("no such type")?;
    let device = parent.create_device(&vgpu, None)?;
    let card = device.show_test_card(HEAD)?;
    let _vblanks = parent.scheduler().spawn()?;
    let mut display = Display::open(Arc::new(device.head_view(HEAD)?), 0)?;
    while display.frame().is_none() {
        display.service(Wait::For(CHECK))?;
    }
    let mut server = VncServer::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Arc::new(device.head_view(HEAD)?),
        VncOptions::new(Security::None),
    )?;
    let address = server.address();
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let serving = std::thread::spawn(move || -> Result<(), Failure> {
        // Relaxed: nothing else is passed on by it.
        while !stop.load(Ordering::Relaxed) {
            server.service(Wait::For(CHECK))?;
        }
        Ok(())
    });
    let mut viewer = Viewer::connect(address)?;
    viewer.ask(0)?;
    let moving = phase(&device, &mut display, &mut viewer, length)?;
    drop(card);
    std::thread::sleep(settle);
    display.service(Wait::No)?;
    let still = phase(&device, &mut display, &mut viewer, length)?;
    over.store(true, Ordering::Relaxed);
    serving.join().map_err(|_| "the server has panicked")??;

    let report = json!({
        "bench": "display",
        "phase_seconds": length.as_secs_f64(),
        "moving": moving,
        "still": still,
    });
    if has("--json") {
        println!("{report}");
        return Ok(());
    }
    println!("1280x800 at 60 Hz, phases of {length:?}");
    let columns = "wakeups_per_second changes_per_second latency_p50_us latency_p99_us";
    print!("{:<18}", "");
    columns.split(' ').for_each(|column| print!("{column:>20}"));
    println!();
    for phase in ["moving", "still"] {
        for way in ["told", "poller", "viewer"] {
            print!("{:<18}", format!("{phase} {way}"));
            for column in columns.split(' ') {
                match report[phase][way][column].as_f64() {
                    Some(number) => print!("{number:>20.1}"),
                    None => print!("{:>20}", "-"),
                }
            }
            println!();
        }
    }
    Ok(())
}
