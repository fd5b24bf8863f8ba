//! Viewers that ask for another size, and a monitor that says so to a guest.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::LinkState;
use irqbroker_vfio_abi::Mode;
use irqbroker_vfio_abi::MonitorDescription;
use irqbroker_vfio_abi::Refresh;

use super::rude::viewer;
use super::*;
use crate::fake;
use crate::fake_edid::FakeEdid;
use crate::rect::Rect;
use crate::vnc::testing::encodings;
use crate::vnc::testing::request;

const EXTENDED_DESKTOP_SIZE: i32 = -308;
/// What the device shows, and the most it can.
const SIZE: (u16, u16) = (300, 200);
const MAX: (u32, u32) = (1920, 1080);

fn edid() -> Edid {
    let mode = Mode {
        width: SIZE.0,
        height: SIZE.1,
        refresh: Refresh::HZ_60,
    };
    let monitor = MonitorDescription {
        name: "fake",
        serial: 1,
        modes: &[mode],
    };
    monitor.to_edid().unwrap()
}

/// A head of this size with a monitor that can be changed, once in a while.
fn resizable(pause: Duration) -> Served {
    let device = shown();
    device.plug(FakeEdid::new(&edid(), MAX));
    let without = without_password();
    let options = VncOptions {
        resize: Resize::Monitor,
        limits: VncLimits {
            resize: pause,
            ..without.limits
        },
        ..without
    };
    Served::start(device, options)
}

fn preferred(device: &FakeDisplay) -> Option<(u16, u16)> {
    device.edid(|edid| edid.seen())?.preferred()
}

/// A viewer that knows of sizes, and has been told the first.
struct Resizer {
    socket: TcpStream,
}

/// Reason, status and size.
type Told = (u16, u16, (u16, u16));

impl Resizer {
    fn connect(served: &Served) -> Self {
        let mut socket = viewer(served);
        socket
            .write_all(&encodings(&[EXTENDED_DESKTOP_SIZE]))
            .unwrap();
        let mut resizer = Self { socket };
        // Nothing of the picture, ever.
        let nowhere = Rect::of_size(0, 0);
        resizer.socket.write_all(&request(1, nowhere)).unwrap();
        assert_eq!(resizer.told(), [(0, 0, SIZE)]);
        resizer
    }

    fn ask(&mut self, width: u16, height: u16) {
        let mut bytes = vec![251, 0];
        let words = [width, height];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        // One screen of id 0.
        bytes.extend([1, 0, 0, 0, 0, 0]);
        let words = [0, 0, width, height];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend([0; 4]);
        self.socket.write_all(&bytes).unwrap();
    }

    /// Waits for an update, which is to be of sizes alone.
    fn told(&mut self) -> Vec<Told> {
        let mut header = [0; 4];
        self.socket.read_exact(&mut header).unwrap();
        let read = |_| {
            let mut rect = [0; 12 + 4 + 16];
            self.socket.read_exact(&mut rect).unwrap();
            let word = |at: usize| u16::from_be_bytes([rect[at], rect[at + 1]]);
            assert_eq!(rect[8..12], EXTENDED_DESKTOP_SIZE.to_be_bytes());
            (word(0), word(2), (word(4), word(6)))
        };
        (0..header[3]).map(read).collect()
    }
}

#[test]
fn viewer_that_asks_for_another_size_has_the_monitor_prefer_it_and_gets_it_from_the_guest() {
    let served = resizable(Duration::ZERO);
    let (mut asking, mut other) = (Resizer::connect(&served), Resizer::connect(&served));

    asking.ask(400, 300);

    assert_eq!(asking.told(), [(1, 4, SIZE)]);
    assert_eq!(preferred(&served.device), Some((400, 300)));
    let links = served.device.edid(|edid| edid.links.clone());
    assert_eq!(links, [LinkState::DOWN, LinkState::UP]);
    // The guest sets the mode.
    served.device.show(400, 300, |_, _| 0);
    served.device.signal(fake::REFRESH);
    assert_eq!(asking.told(), [(0, 0, (400, 300))]);
    assert_eq!(other.told(), [(0, 0, (400, 300))]);
    // What it has already is no change.
    asking.ask(400, 300);
    assert_eq!(asking.told(), [(1, 0, (400, 300))]);
    assert_eq!(served.stop().resizes, 1);
}

#[test]
fn sizes_that_cannot_be_are_refused_and_leave_the_monitor_as_it_is() {
    let served = resizable(Duration::ZERO);
    let mut asking = Resizer::connect(&served);
    for (width, height) in [(63, 600), (1921, 600), (800, 1081), (u16::MAX, u16::MAX)] {
        asking.ask(width, height);
        assert_eq!(asking.told(), [(1, 3, SIZE)]);
    }
    served
        .device
        .change_edid(|edid| edid.head.link_state = LinkState::DOWN);
    asking.ask(800, 600);
    assert_eq!(asking.told(), [(1, 1, SIZE)]);
    served
        .device
        .change_edid(|edid| edid.head.link_state = LinkState::UP);
    // The device refuses the EDID itself.
    served
        .device
        .change_edid(|edid| edid.refuses_after = Some(2));
    asking.ask(800, 600);
    assert_eq!(asking.told(), [(1, 2, SIZE)]);
    assert_eq!(preferred(&served.device), Some(SIZE));
    assert_eq!(served.stop().resizes, 0);
}

#[test]
fn of_a_window_that_is_dragged_the_first_size_and_the_last_are_carried_out() {
    // Longer than it takes to send them, on any machine.
    let mut served = resizable(FOREVER);
    let mut dragging = Resizer::connect(&served);
    dragging.ask(400, 300);
    assert_eq!(dragging.told(), [(1, 4, SIZE)]);
    for width in 401..=500 {
        dragging.ask(width, 300);
    }
    let mut other = Resizer::connect(&served);
    other.ask(2000, 300);
    let mut server = served.join().unwrap();
    while server.wishes.waiting() < 2 || !server.wishes.has((500, 300)) {
        server.service(Wait::Forever).unwrap();
    }
    assert_eq!(preferred(&served.device), Some((400, 300)));

    server.wishes.end_pause();
    server.service(Wait::No).unwrap();

    assert_eq!(preferred(&served.device), Some((500, 300)));
    assert_eq!(server.counters().resizes, 2);
    // Of the answers, as many as are kept.
    assert_eq!(dragging.told(), [(1, 4, SIZE); 16]);
    assert_eq!(other.told(), [(1, 3, SIZE)]);
}

#[test]
fn pause_ends_by_itself() {
    let pause = Duration::from_millis(200);
    let served = resizable(pause);
    let mut asking = Resizer::connect(&served);
    let start = Instant::now();
    asking.ask(400, 300);
    asking.told();
    asking.ask(401, 300);
    // Whoever asked is told once it is carried out.
    assert_eq!(asking.told(), [(1, 4, SIZE)]);
    assert!(start.elapsed() >= pause);
    assert_eq!(preferred(&served.device), Some((401, 300)));
}

#[test]
fn viewer_that_may_not_is_refused_whatever_the_monitor() {
    let device = shown();
    device.plug(FakeEdid::new(&edid(), MAX));
    let served = Served::start(device, without_password());
    let mut asking = Resizer::connect(&served);
    asking.ask(800, 600);
    assert_eq!(asking.told(), [(1, 1, SIZE)]);
    assert_eq!(preferred(&served.device), Some(SIZE));
}

#[test]
fn head_whose_monitor_cannot_be_changed_is_refused_if_viewers_are_to_change_it() {
    let options = VncOptions {
        resize: Resize::Monitor,
        ..without_password()
    };
    let refused = VncServer::bind(ANY_PORT, Arc::new(shown()), options.clone()).unwrap_err();
    assert!(matches!(refused, BindError::Monitor { head: 0, .. }));
    let fixed = shown();
    fixed.plug(FakeEdid::new(&edid(), MAX));
    fixed.fix_monitor();
    let refused = VncServer::bind(ANY_PORT, Arc::new(fixed), options).unwrap_err();
    assert!(matches!(refused, BindError::Monitor { head: 0, .. }));
}
