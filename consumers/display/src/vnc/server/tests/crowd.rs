//! Many viewers in their handshake at once: they keep nobody out, and guess no more than one does.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use super::rude::assert_serves;
use super::rude::read_to_end;
use super::*;
use crate::vnc::limits::VncLimits;
use crate::vnc::testing::response;

/// So many may look at once.
const PLACES: usize = 3;

fn with_places(security: Security) -> VncOptions {
    VncOptions {
        limits: VncLimits {
            clients: PLACES,
            ..VncLimits::default()
        },
        ..VncOptions::new(security)
    }
}

/// A viewer that has read the server's first word, so that it is accepted, and said nothing.
fn silent(served: &Served) -> TcpStream {
    let mut socket = TcpStream::connect(served.address).unwrap();
    let mut version = [0; 12];
    socket.read_exact(&mut version).unwrap();
    socket
}

/// A viewer that is about to answer this challenge.
fn asked(served: &Served) -> (TcpStream, [u8; 16]) {
    let mut socket = silent(served);
    socket.write_all(b"RFB 003.008\n\x02").unwrap();
    // One security type, then the challenge.
    let mut asked = [0; 2 + 16];
    socket.read_exact(&mut asked).unwrap();
    (socket, asked[2..].try_into().unwrap())
}

#[test]
fn viewers_that_keep_silent_make_room_for_those_who_come_later() {
    let served = Served::start(shown(), with_places(Security::None));
    let mut crowd: Vec<TcpStream> = (0..2 * PLACES).map(|_| silent(&served)).collect();

    assert_serves(&served);

    // The first to come are the first to go: one for each silent one that there was no place for,
    // and one for the viewer.
    let later = crowd.split_off(PLACES + 1);
    for mut left in crowd {
        assert_eq!(read_to_end(&mut left), []);
    }
    // The others are still heard.
    for mut kept in later {
        kept.write_all(b"RFB 003.008\n").unwrap();
        let mut types = [0; 2];
        kept.read_exact(&mut types).unwrap();
        assert_eq!(types, [1, 1]);
    }
    assert_eq!(served.stop().turned_away, 4);
}

#[test]
fn passwords_of_handshakes_that_were_open_before_are_not_looked_at_either() {
    let password = password::Password::new("secret").unwrap();
    let served = Served::start(shown(), VncOptions::new(Security::Password(password)));
    // More than may fail, and one who knows the password: all are asked before any answers.
    let guessers: Vec<_> = (0..10).map(|_| asked(&served)).collect();
    let (mut knower, challenge) = asked(&served);
    let right = response("secret", challenge);

    let answers: Vec<Vec<u8>> = guessers
        .into_iter()
        .map(|(mut guesser, challenge)| {
            let wrong = response("guess", challenge);
            guesser.write_all(&wrong).unwrap();
            read_to_end(&mut guesser)
        })
        .collect();
    knower.write_all(&right).unwrap();
    let answer = read_to_end(&mut knower);

    let says = |answer: &Vec<u8>, why: ProtocolError| {
        answer.starts_with(&[0, 0, 0, 1]) && answer.ends_with(why.to_string().as_bytes())
    };
    for answer in &answers[..5] {
        assert!(says(answer, ProtocolError::Password), "{answer:?}");
    }
    for answer in answers[5..].iter().chain([&answer]) {
        assert!(says(answer, ProtocolError::LockedOut), "{answer:?}");
    }
    assert_eq!(served.stop().wrong_passwords, 5);
}
