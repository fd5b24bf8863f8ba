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
use irqbroker_protocol::ServerFrame;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::bystander::Bystander;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;

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

/// Sends files and lets go of them before the daemon does: it is its close that would wait.
fn give(
    daemon: &Daemon,
    connection: &Connection,
    bytes: &[u8],
    files: Vec<OwnedFd>,
) -> anyhow::Result<()> {
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    daemon.signal(Signal::STOP)?;
    connection.send(bytes, &fds)?;
    drop(files);
    daemon.signal(Signal::CONT)
}

/// The code of the refusal, if it is one, of a request with such files.
fn answer(
    daemon: &Daemon,
    connection: &mut Connection,
    request: &Request,
    files: Vec<OwnedFd>,
) -> anyhow::Result<Option<ErrorCode>> {
    give(daemon, connection, &ClientFrame::encode(1, request)?, files)?;
    match ServerFrame::decode(connection.receive()?.bytes)? {
        ServerFrame::Response { result, .. } => Ok(result.err().map(|error| error.code)),
        other => anyhow::bail!("{other:?}"),
    }
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
    let mut hostile = Connection::connect(Path::new(&daemon.socket))?;
    let hello = Request::Hello(Hello::new("story", &[Scope::Producer]));
    let welcomed = answer(&daemon, &mut hostile, &hello, Vec::new())?;
    ensure!(welcomed.is_none(), "{welcomed:?}");

    // In place of an eventfd: alone, and behind some in a batch.
    let register = Request::RegisterProducer(producer("alone")?);
    let code = answer(&daemon, &mut hostile, &register, vec![file()?])?;
    ensure!(code == Some(ErrorCode::NotEventfd), "{code:?}");
    bystander.works()?;
    let requests: anyhow::Result<_> = ["a", "b", "c"]
        .map(|link| Ok(Request::RegisterProducer(producer(link)?)))
        .into_iter()
        .collect();
    let batch = Request::Batch(Batch {
        requests: requests?,
    });
    let files = vec![eventfd()?, file()?, file()?];
    let code = answer(&daemon, &mut hostile, &batch, files)?;
    ensure!(code == Some(ErrorCode::NotEventfd), "{code:?}");
    bystander.works()?;
    // Where none belongs.
    let code = answer(&daemon, &mut hostile, &Request::Status, vec![file()?])?;
    ensure!(
        code.is_some_and(|code| code != ErrorCode::Internal),
        "{code:?}"
    );
    bystander.works()?;

    // In place of a claim record, with what is no message, and with an empty packet.
    let hello = Hello {
        claim_record: true,
        ..Hello::new("story", &[Scope::Consumer])
    };
    let hello = ClientFrame::encode(1, &Request::Hello(hello))?;
    for bytes in [&hello[..], b"{", b""] {
        let connection = Connection::connect(Path::new(&daemon.socket))?;
        give(&daemon, &connection, bytes, vec![file()?])?;
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
