use super::*;

use std::os::fd::OwnedFd;

use irqbroker_core::Registry;
use irqbroker_protocol::Closing;
use irqbroker_protocol::ErrorCode;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

use crate::client::ClientOptions;

/// A client that has connected to a daemon of the test's own and asked, and that daemon's end.
pub(in crate::client) fn asked() -> (ControlClient, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let listener: OwnedFd =
        rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let options = ClientOptions::new(path, "test");
    let mut client = ControlClient::new(options, Registry::new().unwrap()).unwrap();
    wait(&client);
    client.service();
    let daemon = rustix::net::accept(&listener).unwrap();
    (client, Connection::new(daemon))
}

/// Waits until the client has something to do.
pub(in crate::client) fn wait(client: &ControlClient) {
    let mut fds = [PollFd::from_borrowed_fd(client.poll_fd(), PollFlags::IN)];
    rustix::event::poll(&mut fds, None).unwrap();
}

/// The codes of what the client was rejected with.
fn rejections(client: &mut ControlClient) -> Vec<ErrorCode> {
    let events = client.take_events();
    let rejected = events.filter_map(|event| match event {
        ClientEvent::Rejected { error } => Some(error.code),
        _ => None,
    });
    rejected.collect()
}

#[test]
fn client_that_is_turned_away_unread_hears_why() {
    let (mut client, daemon) = asked();
    let closing = Notice::Closing(Closing {
        code: ErrorCode::NotAllowed,
        text: "no".into(),
    });
    let bytes = ServerFrame::encode_notice(&closing).unwrap();
    daemon.send(&bytes, &[]).unwrap();
    // What the client has asked was not read: the socket reports that first.
    drop(daemon);
    wait(&client);
    client.service();
    assert_eq!(rejections(&mut client), [ErrorCode::NotAllowed]);
    assert!(!client.is_connected());
}

#[test]
fn client_whose_handshake_is_refused_hears_why() {
    let (mut client, mut daemon) = asked();
    daemon.receive().unwrap();
    let error = irqbroker_protocol::WireError::new(ErrorCode::ScopeRequired, "no");
    // The number of the first request.
    let bytes = ServerFrame::encode_error(1, &error).unwrap();
    daemon.send(&bytes, &[]).unwrap();
    wait(&client);
    client.service();
    assert_eq!(rejections(&mut client), [ErrorCode::ScopeRequired]);
}
