//! What is asked behind a destroy that is not decided yet.

use anyhow::ensure;
use irqbroker_protocol::ClientFrame;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::ServerFrame;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::hosting::spawner;
use crate::hosting_destroy::attach;
use crate::hosting_destroy::create;
use crate::hosting_destroy::destroy;
use crate::hosting_destroy::has_it;
use crate::hosting_destroy::signal_host;
use crate::need::Need;
use crate::need::story;
use crate::report::count;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "destroy_that_nobody_can_decide_any_more_is_refused",
            Need::Nothing,
            undecided,
        ),
        story(
            "requests_behind_a_destroy_wait_for_it_and_other_peers_do_not",
            Need::Nothing,
            in_order,
        ),
    ]
}

fn undecided() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    signal_host(&created, Signal::STOP)?;
    let mut peer = pipelining(&daemon)?;
    // Served after the peer's: by then the helper has the order.
    let list = daemon.report(&["vgpu", "list"])?;

    rustix::process::kill_process(spawner(&daemon)?, Signal::KILL)?;

    let answers = [response(&mut peer)?, response(&mut peer)?];
    let expected = [(2, Some(ErrorCode::Internal)), (3, None)];
    ensure!(answers == expected, "{answers:?}");
    ensure!(daemon.report(&["vgpu", "list"])? == list, "{list}");
    Ok(())
}

/// A peer that does not wait for answers.
fn pipelining(daemon: &Daemon) -> anyhow::Result<Connection> {
    let mut peer = Connection::connect(&daemon.path("control.sock"))?;
    let hello = Hello::new("story", &[Scope::Operator]);
    let requests = [Request::Hello(hello), destroy(false), Request::Status];
    for (id, request) in (1..).zip(&requests) {
        peer.send(&ClientFrame::encode(id, request)?, &[])?;
    }
    let (id, welcomed) = response(&mut peer)?;
    ensure!(id == 1 && welcomed.is_none(), "{id}: {welcomed:?}");
    Ok(peer)
}

/// The next response's number, and the code of a refusal.
fn response(peer: &mut Connection) -> anyhow::Result<(u64, Option<ErrorCode>)> {
    match ServerFrame::decode(peer.receive()?.bytes)? {
        ServerFrame::Response { id, result } => Ok((id, result.err().map(|error| error.code))),
        other => anyhow::bail!("{other:?}"),
    }
}

fn in_order() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let created = create(&daemon)?;
    let client = attach(&created)?;
    signal_host(&created, Signal::STOP)?;
    let mut peer = pipelining(&daemon)?;
    // Another is served meanwhile, and one that hangs up is forgotten.
    let connections = count(&daemon.report(&["status"])?, "connections")?;
    drop(pipelining(&daemon)?);
    daemon.until(&["status"], |status| {
        status["connections"].as_u64() == Some(connections)
    })?;
    signal_host(&created, Signal::CONT)?;

    let answers = [response(&mut peer)?, response(&mut peer)?];

    // Which refusal depends on how long the others took; the order does not.
    ensure!(
        matches!(
            answers,
            [(2, Some(ErrorCode::Busy | ErrorCode::Internal)), (3, None)]
        ),
        "{answers:?}"
    );
    ensure!(has_it(&client), "the device is gone");
    Ok(())
}
