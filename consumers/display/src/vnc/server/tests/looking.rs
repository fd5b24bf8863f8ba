//! The first viewer that looks, and the last.

use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;

use super::rude::assert_serves;
use super::rude::first_look;
use super::rude::read_to_end;
use super::rude::viewer;
use super::*;
use crate::rect::Rect;

#[test]
fn picture_of_the_viewers_before_is_not_shown_to_one_that_comes_when_the_head_is_dark() {
    let served = Served::start(shown(), without_password());
    let mut before = viewer(&served);
    let seen = first_look(&mut before, Rect::of_size(300, 200));
    assert!(seen.iter().any(|&byte| byte != 0));
    before.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut before), []);
    served.device.hide();

    let mut after = viewer(&served);
    let seen = first_look(&mut after, Rect::of_size(300, 200));
    assert!(seen.iter().all(|&byte| byte == 0));
}

#[test]
fn viewers_of_a_display_that_does_not_open_are_left_and_later_ones_are_served() {
    let device = Arc::new(shown());
    // One of its events.
    device.refuse(0);
    let options = without_password();
    let mut server = VncServer::bind(ANY_PORT, Arc::clone(&device) as _, options).unwrap();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(b"RFB 003.008\n\x01\x01").unwrap();

    let error = loop {
        if let Err(error) = server.service(Wait::Forever) {
            break error;
        }
    };

    assert!(matches!(error, ServiceError::Open { .. }), "{error}");
    assert_eq!(server.clients(), 0);
    // It is closed, whatever it was told before.
    read_to_end(&mut socket);
    // A sub-index that there is not.
    device.refuse(u32::MAX);
    let served = Served::with(server, device);
    assert_serves(&served);
}
