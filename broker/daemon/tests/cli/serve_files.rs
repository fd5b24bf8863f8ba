//! Files of peers whose close waits, and the others that must not notice.

use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use irqbroker_protocol::Batch;
use irqbroker_protocol::ClientFrame;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::bystander::Bystander;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::refused;

/// Longer than any story takes: a daemon that waited for a close would fail it.
const LINGERS: Duration = Duration::from_secs(3600);

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "serve_waits_for_no_close_of_a_file_it_refuses",
        Need::Nothing,
        lingering,
    )]
}

/// A socket whose last close waits until all it has sent was read, and the end that does not read.
fn unread() -> anyhow::Result<(OwnedFd, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (end, _) = listener.accept()?;
    rustix::net::sockopt::set_socket_linger(&socket, Some(LINGERS))?;
    socket.set_nonblocking(true)?;
    // Twice: what was on its way may leave some room.
    for _ in 0..2 {
        while socket.write(&[0; 65536]).is_ok() {}
        std::thread::yield_now();
    }
    Ok((socket.into(), end))
}

fn lingering() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("linger.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut ends = Vec::new();
    let mut file = || -> anyhow::Result<OwnedFd> {
        let (file, end) = unread()?;
        ends.push(end);
        Ok(file)
    };
    let mut hostile = daemon.client_as(&[Scope::Producer])?;

    // In place of an eventfd: alone, and behind some in a batch.
    let register = Request::RegisterProducer(producer("alone")?);
    let code = refused(&mut hostile, &register, &[&file()?])?;
    ensure!(code == ErrorCode::NotEventfd, "{code}");
    bystander.works()?;
    let requests: anyhow::Result<_> = ["a", "b", "c"]
        .map(|link| Ok(Request::RegisterProducer(producer(link)?)))
        .into_iter()
        .collect();
    let batch = Request::Batch(Batch {
        requests: requests?,
    });
    let code = refused(&mut hostile, &batch, &[&eventfd()?, &file()?, &file()?])?;
    ensure!(code == ErrorCode::NotEventfd, "{code}");
    bystander.works()?;
    // Where none belongs.
    let code = refused(&mut hostile, &Request::Status, &[&file()?])?;
    ensure!(code != ErrorCode::Internal, "{code}");
    bystander.works()?;

    // In place of a claim record, with what is no message, and with an empty packet.
    let hello = Hello {
        claim_record: true,
        ..Hello::new("story", &[Scope::Consumer])
    };
    let hello = ClientFrame::encode(1, &Request::Hello(hello))?;
    for bytes in [&hello[..], b"{", b""] {
        let connection = Connection::connect(Path::new(&daemon.socket))?;
        connection.send(bytes, &[file()?.as_fd()])?;
        bystander.works()?;
    }

    // In packets that come behind one that ends the connection, which nobody takes out of the
    // socket.
    daemon.signal(Signal::STOP)?;
    let connection = Connection::connect(Path::new(&daemon.socket))?;
    for _ in 0..3 {
        connection.send(b"{", &[file()?.as_fd()])?;
    }
    daemon.signal(Signal::CONT)?;
    bystander.works()?;
    ensure!(daemon.end(Signal::TERM)? == Some(0));
    Ok(())
}
