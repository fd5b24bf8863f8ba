//! What is sent at once, and when a viewer is too slow, with a socket that takes what it is told to.

use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::sync::Arc;

use super::*;
use crate::frame::Frame;
use crate::rect::Rect;
use crate::vnc::options::Resize;
use crate::vnc::password::CHALLENGE;
use crate::vnc::security::Security;
use crate::vnc::testing::request;

/// A picture of 16 MiB in raw pixels: sixteen times as much as is sent at once.
const SIDE: u16 = 2048;
const FULL: u8 = 0;
/// A piece of an update, the last of which may begin when all but a byte is sent.
const PIECE_MAX: usize = 1 << 20;

/// A viewer that has asked for all of the picture; its socket is connected, and nothing goes through it.
fn asking() -> (Client, Screen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let terms = Terms {
        security: Security::None,
        challenge: [0; CHALLENGE],
        name: Arc::from("head 0"),
        cut_text_max: 0,
        resize: Resize::Refused,
    };
    let mut client = Client::new(socket, terms);
    let mut bytes = b"RFB 003.008\n\x01\x01".to_vec();
    bytes.extend(request(FULL, Rect::of_size(SIDE, SIDE)));
    client.session.receive(&bytes, &mut client.out).unwrap();
    let screen = Screen {
        frame: Arc::new(Frame::black(SIDE, SIDE)),
        cursor: None,
    };
    (client, screen)
}

#[test]
fn viewer_that_takes_all_at_once_is_sent_no_more_than_is_its_turn() {
    let (mut client, screen) = asking();
    let mut all = 0;
    loop {
        let mut at_once = 0;
        client
            .send_through(&screen, |_, bytes| {
                at_once += bytes.len();
                Ok(bytes.len())
            })
            .unwrap();
        assert!(at_once < SEND_MAX + PIECE_MAX, "{at_once} bytes at once");
        all += at_once;
        if client.interest == EventFlags::IN {
            break;
        }
        // It has its turn again when others had theirs.
        assert_eq!(client.interest, EventFlags::IN | EventFlags::OUT);
    }
    let picture = usize::from(SIDE) * usize::from(SIDE) * 4;
    assert!((picture..picture + PIECE_MAX).contains(&all));
}

#[test]
fn viewer_is_too_slow_so_long_after_the_last_byte_it_took_and_not_after_the_first_it_did_not() {
    let (mut client, screen) = asking();
    let limits = VncLimits::default();
    // Each time it takes some bytes, and no more.
    let mut send = |takes: usize| {
        let mut left = takes;
        client
            .send_through(&screen, |_, _| {
                left = left.checked_sub(1).ok_or(Errno::AGAIN)?;
                Ok(1)
            })
            .unwrap();
        client.deadline(&limits).unwrap()
    };
    let mut last = send(0);
    for _ in 0..10 {
        // It has taken nothing since.
        assert_eq!(send(0), last);
        let next = send(1);
        assert!(next > last);
        last = next;
    }
}
