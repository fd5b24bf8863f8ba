//! Places that somebody holds without looking: they are there for others.

use std::io::Write;
use std::net::TcpStream;

use rustix::net::sockopt;

use super::rude::first_look;
use super::rude::read_to_end;
use super::rude::viewer;
use super::*;
use crate::rect::Rect;
use crate::vnc::limits::VncLimits;

/// So many may look at once.
const PLACES: usize = 3;
/// Any part of the picture.
const PART: Rect = Rect::of_size(8, 8);

fn start() -> Served {
    let without = without_password();
    let options = VncOptions {
        limits: VncLimits {
            clients: PLACES,
            ..without.limits
        },
        ..without
    };
    Served::start(shown(), options)
}

/// One that has asked for what is shown, and got it.
fn looking(served: &Served) -> TcpStream {
    let mut socket = viewer(served);
    first_look(&mut socket, PART);
    socket
}

/// What one more is told.
fn turned_away(served: &Served) -> Vec<u8> {
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket.write_all(b"RFB 003.008\n\x01\x01").unwrap();
    read_to_end(&mut socket)
}

#[test]
fn viewers_that_ask_for_nothing_make_room_from_the_first_on_and_those_that_look_stay() {
    let served = start();
    let mut idle = viewer(&served);
    let mut watching = looking(&served);
    let mut later = viewer(&served);

    let mut third = looking(&served);
    // The one that has been in for longest.
    assert_eq!(read_to_end(&mut idle), []);
    let mut fourth = looking(&served);
    assert_eq!(read_to_end(&mut later), []);

    // All places are those of viewers that look now: of these none is taken.
    assert!(turned_away(&served).ends_with(b"as many viewers look as may"));
    for kept in [&mut watching, &mut third, &mut fourth] {
        first_look(kept, PART);
    }
    assert_eq!(served.stop().turned_away, 3);
}

#[test]
fn viewers_that_ask_for_nothing_are_never_more_than_there_are_places() {
    let mut served = start();
    let crowd: Vec<TcpStream> = (0..4 * PLACES).map(|_| viewer(&served)).collect();

    let server = served.join().unwrap();

    assert_eq!(server.clients(), PLACES);
    assert_eq!(server.counters().turned_away, 3 * PLACES as u64);
    drop(crowd);
}

#[test]
fn place_of_one_that_took_its_time_to_come_in_is_not_the_first_to_go() {
    let served = start();
    // Connected before all others, and let in after them.
    let mut slow = TcpStream::connect(served.address).unwrap();
    slow.write_all(b"RFB 003.008\n").unwrap();
    let mut said = [0; 12 + 2];
    std::io::Read::read_exact(&mut slow, &mut said).unwrap();
    let mut crowd: Vec<TcpStream> = (1..PLACES).map(|_| viewer(&served)).collect();
    slow.write_all(&[1, 1]).unwrap();
    // Its result and the ServerInit with a name of 9 bytes.
    let mut said = [0; 4 + 24 + 9];
    std::io::Read::read_exact(&mut slow, &mut said).unwrap();

    let _newcomer = viewer(&served);

    assert_eq!(read_to_end(&mut crowd[0]), []);
    first_look(&mut slow, PART);
}

#[test]
fn host_that_is_gone_is_noticed_within_minutes() {
    let mut served = start();
    let _viewer = viewer(&served);
    let server = served.join().unwrap();
    for client in server.clients.values() {
        assert!(sockopt::socket_keepalive(client).unwrap());
        let idle = sockopt::tcp_keepidle(client).unwrap();
        let asked = sockopt::tcp_keepintvl(client).unwrap() * sockopt::tcp_keepcnt(client).unwrap();
        assert_eq!(idle, Duration::from_secs(60));
        assert!(idle + asked <= Duration::from_secs(120));
    }
    assert_eq!(server.clients(), 1);
}
