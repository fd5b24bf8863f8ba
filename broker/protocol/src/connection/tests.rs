use super::*;

use std::path::PathBuf;

fn pair() -> (Connection, Connection) {
    let flags = SocketFlags::CLOEXEC;
    let family = AddressFamily::UNIX;
    let (a, b) = rustix::net::socketpair(family, SocketType::SEQPACKET, flags, None).unwrap();
    (Connection::new(a), Connection::new(b))
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

#[test]
fn packet_arrives_with_its_bytes_and_all_its_fds() {
    let (here, mut there) = pair();
    let fd = null();
    here.send(b"hello", &[fd.as_fd(); MAX_FDS]).unwrap();
    here.send(b"again", &[]).unwrap();
    let packet = there.receive().unwrap();
    assert_eq!((packet.bytes, packet.fds.len()), (&b"hello"[..], MAX_FDS));
    let packet = there.receive().unwrap();
    assert_eq!((packet.bytes, packet.fds.len()), (&b"again"[..], 0));
}

#[test]
fn packet_that_is_too_long_is_not_sent_and_is_refused_if_it_comes() {
    let (here, mut there) = pair();
    let long = vec![b'x'; MAX_MESSAGE + 1];
    assert!(matches!(
        here.send(&long, &[]),
        Err(SendError::TooLong { .. })
    ));
    rustix::net::send(&here, &long, SendFlags::NOSIGNAL).unwrap();
    assert!(matches!(there.receive(), Err(ReceiveError::Oversized)));
    here.send(&long[1..], &[]).unwrap();
    assert_eq!(there.receive().unwrap().bytes.len(), MAX_MESSAGE);
}

#[test]
fn receive_of_a_peer_that_is_gone_is_closed_and_of_one_that_rests_would_block() {
    let (here, mut there) = pair();
    there.set_nonblocking(true).unwrap();
    assert!(matches!(there.receive(), Err(ReceiveError::WouldBlock)));
    drop(here);
    assert!(matches!(there.receive(), Err(ReceiveError::Closed)));
}

#[test]
fn send_to_a_peer_that_does_not_read_would_block() {
    let (here, _there) = pair();
    here.set_nonblocking(true).unwrap();
    let full = (0..100_000).find_map(|_| here.send(&[b'x'; 1024], &[]).err());
    assert!(matches!(full, Some(SendError::WouldBlock)));
}

/// A socket's file of this test's own that listens, with nobody who accepts.
fn deaf(name: &str) -> (OwnedFd, PathBuf) {
    let name = format!("irqbroker-protocol-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    // What a process of the same number left is removed.
    let _gone = std::fs::remove_file(&path);
    let listener = socket(SocketFlags::empty()).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    (listener, path)
}

#[test]
fn connect_nonblocking_where_too_many_wait_is_refused_at_once() {
    let (_listener, path) = deaf("full");
    // The kernel queues one beyond a backlog of none.
    let _queued = Connection::connect_nonblocking(&path).unwrap();
    let beyond = Connection::connect_nonblocking(&path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(beyond.err(), Some(Errno::AGAIN));
}

#[test]
fn connect_nonblocking_connects_a_socket_that_does_not_block() {
    let (_listener, path) = deaf("silent");
    let mut connection = Connection::connect_nonblocking(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        connection.receive(),
        Err(ReceiveError::WouldBlock)
    ));
}

#[test]
fn connect_within_gives_up_once_the_limit_has_passed() {
    let (_listener, path) = deaf("limit");
    // Nobody answers: the shorter, the sooner the test ends.
    let limit = Duration::from_millis(1);
    let mut waiting = Connection::connect_within(&path, limit).unwrap();
    let beyond = Connection::connect_within(&path, limit);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(waiting.receive(), Err(ReceiveError::WouldBlock)));
    assert_eq!(beyond.err(), Some(Errno::AGAIN));
}
