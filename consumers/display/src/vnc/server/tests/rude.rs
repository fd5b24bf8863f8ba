//! Viewers that stall, lie, leave in the middle, or are too many.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;

use super::*;
use crate::fake;
use crate::rect::Rect;
use crate::vnc::testing::encodings;
use crate::vnc::testing::request;
use crate::vnc::testing::response;

const FULL: u8 = 0;
const INCREMENTAL: u8 = 1;
/// All there can be.
const EVERYTHING: Rect = Rect::of_size(u16::MAX, u16::MAX);

/// A viewer behind its handshake.
pub(super) fn viewer(served: &Served) -> TcpStream {
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Version, no authentication, shared.
    socket.write_all(b"RFB 003.008\n\x01\x01").unwrap();
    // Version, one security type, that all is well, and the ServerInit with a name of 9 bytes.
    let mut handshake = [0; 12 + 2 + 4 + 24 + 9];
    socket.read_exact(&mut handshake).unwrap();
    socket
}

/// Asks for a part of the picture, and returns the pixels that come.
pub(super) fn first_look(socket: &mut TcpStream, part: Rect) -> Vec<u8> {
    socket.write_all(&request(FULL, part)).unwrap();
    raw_pixels(socket)
}

/// Reads a whole update of the picture in raw pixels, and returns its first pixel.
fn raw_update(socket: &mut TcpStream) -> [u8; 4] {
    *raw_pixels(socket).first_chunk().unwrap()
}

fn raw_pixels(socket: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    socket.read_exact(&mut header).unwrap();
    let mut all = Vec::new();
    for _ in 0..header[3] {
        let mut rect = [0; 12];
        socket.read_exact(&mut rect).unwrap();
        let side = |at: usize| usize::from(u16::from_be_bytes([rect[at], rect[at + 1]]));
        let mut pixels = vec![0; side(4) * side(6) * 4];
        socket.read_exact(&mut pixels).unwrap();
        all.extend(pixels);
    }
    all
}

/// Reads until the server closes.
pub(super) fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = socket.read_to_end(&mut rest);
    // It may end with a reset: there was something unread. It does not end by itself.
    let is_open = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(!is_open, "the server does not close");
    rest
}

/// That another viewer gets its picture.
pub(super) fn assert_serves(served: &Served) {
    let mut other = viewer(served);
    other.write_all(&request(FULL, EVERYTHING)).unwrap();
    assert_eq!(raw_update(&mut other), [0; 4]);
}

#[test]
fn viewer_that_lies_or_leaves_in_the_middle_ends_alone() {
    let served = Served::start(shown(), without_password());
    let mut bystander = viewer(&served);
    let lies = [
        // A text of 4 GiB, encodings without end, an unknown message.
        vec![6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        vec![2, 0, 0xff, 0xff],
        vec![200],
    ];
    for lie in &lies {
        let mut liar = viewer(&served);
        liar.write_all(lie).unwrap();
        assert_eq!(read_to_end(&mut liar), []);
    }
    for _ in 0..3 {
        let mut leaver = viewer(&served);
        leaver.write_all(&request(FULL, EVERYTHING)).unwrap();
        let mut some = [0; 100];
        leaver.read_exact(&mut some).unwrap();
        // In the middle of an update, of a message, or of both.
        leaver.write_all(&[3, 0]).unwrap();
        leaver.shutdown(Shutdown::Both).unwrap();
    }
    bystander.write_all(&request(FULL, EVERYTHING)).unwrap();
    assert_eq!(raw_update(&mut bystander), [0; 4]);
    assert_serves(&served);
    assert_eq!(served.stop().broken, 3);
}

#[test]
fn viewer_that_takes_nothing_is_left_after_a_while_and_the_others_are_served_meanwhile() {
    let device = FakeDisplay::new();
    // Far more than a socket holds in a few requests.
    device.show(512, 500, |_, _| 0);
    let mut served = Served::start(device, without_password());
    let mut staller = viewer(&served);
    // Each is a megabyte, and more than both sockets hold together; it reads none of it.
    for _ in 0..60 {
        staller.write_all(&request(FULL, EVERYTHING)).unwrap();
        assert_serves(&served);
    }
    let mut server = served.join().unwrap();
    // Those that were served beside it leave, each with an event.
    while server.clients() > 1 {
        server.service(Wait::Forever).unwrap();
    }
    assert_eq!(server.counters().stalled, 0);

    server.options.limits.stall = Duration::from_millis(300);
    // Far longer than it may take on any machine.
    let patience = Instant::now() + Duration::from_secs(300);
    while server.clients() > 0 {
        assert!(Instant::now() < patience, "it is still there");
        // Not for ever, since the timer knows nothing of the new limit before the first.
        server
            .service(Wait::For(Duration::from_millis(100)))
            .unwrap();
    }
    assert_eq!(server.counters().stalled, 1);
}

#[test]
fn viewer_that_does_not_finish_its_handshake_is_left() {
    let options = VncOptions {
        limits: VncLimits {
            handshake: Duration::from_millis(50),
            ..without_password().limits
        },
        ..without_password()
    };
    let served = Served::start(shown(), options);
    let mut silent = TcpStream::connect(served.address).unwrap();
    assert_eq!(read_to_end(&mut silent), b"RFB 003.008\n");
    assert_eq!(served.device.bound(), 0);
    assert_eq!(served.stop().stalled, 1);
}

#[test]
fn viewers_beyond_the_limit_are_turned_away_until_one_leaves() {
    let options = VncOptions {
        limits: VncLimits {
            clients: 2,
            ..without_password().limits
        },
        ..without_password()
    };
    let served = Served::start(shown(), options);
    let mut first = viewer(&served);
    let mut second = viewer(&served);
    for viewer in [&mut first, &mut second] {
        first_look(viewer, EVERYTHING);
    }
    let mut third = TcpStream::connect(served.address).unwrap();
    third.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(
        read_to_end(&mut third),
        b"RFB 003.008\n\0\0\0\0\x1bas many viewers look as may"
    );
    first.shutdown(Shutdown::Write).unwrap();
    // The server closes its side when it has left it.
    assert_eq!(read_to_end(&mut first), []);
    assert_serves(&served);
    assert_eq!(served.stop().turned_away, 1);
}

#[test]
fn passwords_are_not_looked_at_after_too_many_wrong_ones() {
    let password = password::Password::new("secret").unwrap();
    let served = Served::start(shown(), options(Security::Password(password)));
    let attempt = |password: &str| {
        let mut socket = TcpStream::connect(served.address).unwrap();
        let mut version = [0; 12];
        socket.read_exact(&mut version).unwrap();
        socket.write_all(b"RFB 003.008\n").unwrap();
        let mut types = [0; 1];
        socket.read_exact(&mut types).unwrap();
        if types == [0] {
            return None;
        }
        socket.write_all(&[2]).unwrap();
        // The type, then the challenge.
        let mut challenge = [0; 17];
        socket.read_exact(&mut challenge).unwrap();
        let challenge = challenge[1..].try_into().unwrap();
        socket.write_all(&response(password, challenge)).unwrap();
        let mut result = [0; 4];
        socket.read_exact(&mut result).unwrap();
        // The server has counted it when it closes.
        socket.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut socket);
        Some(u32::from_be_bytes(result))
    };
    for _ in 0..5 {
        assert_eq!(attempt("guess"), Some(1));
    }
    assert_eq!(attempt("secret"), None);
    assert_eq!(served.stop().wrong_passwords, 5);
}

#[test]
fn events_are_bound_while_somebody_looks_and_at_no_other_time() {
    let mut served = Served::start(shown(), without_password());
    assert_eq!(served.device.bound(), 0);
    let mut first = viewer(&served);
    assert_eq!(served.device.bound(), 3);
    drop(viewer(&served));
    first.write_all(&request(FULL, EVERYTHING)).unwrap();
    raw_update(&mut first);
    assert_eq!(served.device.bound(), 3);
    first.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut first);
    // The service call that left the viewer has ended by then.
    let _server = served.join().unwrap();
    assert_eq!(served.device.bound(), 0);
}

/// Waits for an event, and does what there is to do. A service call is interrupted if its process is stopped.
fn service_event(server: &mut VncServer) {
    let before = server.counters().wakeups;
    while server.counters().wakeups == before {
        server.service(Wait::Forever).unwrap();
    }
}

#[test]
fn nothing_wakes_the_server_while_nothing_changes() {
    let mut served = Served::start(shown(), without_password());
    let mut watcher = viewer(&served);
    watcher.write_all(&request(FULL, EVERYTHING)).unwrap();
    raw_update(&mut watcher);
    // All that it had to do is done: it has answered all it was told, and the loop ends between two services.
    let mut server = served.join().unwrap();
    for message in [encodings(&[0]), request(INCREMENTAL, EVERYTHING)] {
        watcher.write_all(&message).unwrap();
        service_event(&mut server);
    }
    let before = server.counters();

    // A poller would have looked thirty times.
    server.service(Wait::For(Duration::from_secs(1))).unwrap();
    assert_eq!(server.counters(), before);

    served.device.draw(0, 0, 0x00ff_ffff);
    served.device.signal(fake::REFRESH);
    service_event(&mut server);
    assert_eq!(raw_update(&mut watcher), [0xff, 0xff, 0xff, 0]);
    let after = server.counters();
    assert_eq!(after.wakeups, before.wakeups + 1);
    assert_eq!(after.display.fetches, before.display.fetches + 1);
}

#[test]
fn flips_cost_nothing_while_no_viewer_asks_for_what_is_new() {
    let mut served = Served::start(shown(), without_password());
    let mut watcher = viewer(&served);
    watcher.write_all(&encodings(&[0])).unwrap();
    watcher.write_all(&request(FULL, EVERYTHING)).unwrap();
    raw_update(&mut watcher);
    let mut server = served.join().unwrap();
    let before = server.counters();

    for color in 1..=10 {
        served.device.draw(0, 0, color);
        served.device.signal(fake::REFRESH);
        server.service(Wait::No).unwrap();
        assert_eq!(server.counters(), before);
    }

    watcher
        .write_all(&request(INCREMENTAL, EVERYTHING))
        .unwrap();
    service_event(&mut server);
    // Of all ten the last.
    assert_eq!(raw_update(&mut watcher), [10, 0, 0, 0]);
    assert_eq!(
        server.counters().display.fetches,
        before.display.fetches + 1
    );
}
