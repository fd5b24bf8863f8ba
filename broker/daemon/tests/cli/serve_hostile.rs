//! Peers that mean harm, and the others that must not notice.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::Batch;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::MAX_ERROR_TEXT;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::Name;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::Side;
use irqbroker_protocol::Unregister;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::process::Signal;

use crate::bystander::Bystander;
use crate::bystander::raw;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::refused;
use crate::serve_rig::signal;
use crate::serve_rig::taken;

/// Ends a story that hangs; nothing here is judged by how long it takes.
pub(crate) const HUNG: Duration = Duration::from_secs(120);

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_is_not_held_up_by_a_full_eventfd_that_blocks",
            nothing,
            full_sink,
        ),
        story(
            "serve_lists_links_whose_rows_are_as_long_as_they_can_be",
            nothing,
            long_rows,
        ),
        story(
            "serve_answers_each_request_however_long_what_it_repeats",
            nothing,
            long_errors,
        ),
        story(
            "serve_told_to_reload_and_to_end_at_once_ends",
            nothing,
            both_signals,
        ),
        story(
            "serve_short_of_fds_refuses_who_takes_them_and_nobody_else",
            nothing,
            short_of_fds,
        ),
        story(
            "serve_without_fds_for_a_packet_refuses_it_and_keeps_the_connection",
            nothing,
            cut_off,
        ),
        story("serve_listens_again_once_fds_are_given_back", nothing, deaf),
    ]
}

/// The highest an eventfd's counter goes by writes.
const FULL: u64 = u64::MAX - 1;

/// Waits until `done`, or fails.
pub(crate) fn until(
    what: &str,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let end = Instant::now() + HUNG;
    while !done()? {
        ensure!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
    Ok(())
}

fn full_sink() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("full.sock")?;
    let bystander = Bystander::new(&daemon)?;
    let mut hostile = daemon.client_as(&[Scope::Producer, Scope::Consumer])?;
    let source = eventfd()?;
    // Blocking, and full.
    let sink = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    rustix::io::write(&sink, &FULL.to_ne_bytes())?;
    let register = Request::RegisterProducer(producer("full")?);
    ask(&mut hostile, &register, &[&source])?;
    let register = Request::RegisterConsumer(consumer("full", ConsumerTakes::OwnRead)?);
    ask(&mut hostile, &register, &[&sink])?;
    signal(&source)?;
    // It has been claimed: the daemon is past the write, or in it.
    until("the event is not claimed", || {
        Ok(rustix::event::poll(
            &mut [rustix::event::PollFd::new(
                &source,
                rustix::event::PollFlags::IN,
            )],
            Some(&rustix::event::Timespec::default()),
        )? == 0)
    })?;
    bystander.works()?;
    // The kernel may have added to it what no write could.
    ensure!(taken(&sink) >= FULL, "not what was there");
    // With room again it is relayed as ever.
    signal(&source)?;
    ensure!(crate::serve_rig::wait_taken(&sink)? == 1);
    rustix::io::write(&sink, &FULL.to_ne_bytes())?;
    signal(&source)?;
    ensure!(daemon.end(Signal::TERM)? == Some(0));
    Ok(())
}

/// A name of the longest kind.
fn longest(prefix: &str, index: usize) -> anyhow::Result<Name> {
    Ok(Name::new(&format!("{prefix}{}{index:03}", "n".repeat(60)))?)
}

/// More than fit into one answer, with what is escaped in each.
const LONG_ROWS: usize = 110;

fn long_rows() -> anyhow::Result<()> {
    let daemon = Daemon::start("rows.sock")?;
    let mut hostile = daemon.client_as(&[Scope::Producer, Scope::Consumer])?;
    for index in 0..LONG_ROWS {
        let link = Some(longest("l", index)?);
        let register = RegisterProducer {
            link: link.clone(),
            ..RegisterProducer::edge(longest("p", index)?)
        };
        ask(
            &mut hostile,
            &Request::RegisterProducer(register),
            &[&eventfd()?],
        )?;
        let register = RegisterConsumer {
            link,
            takes: ConsumerTakes::Attach,
            route: Some(irqbroker_protocol::Route::Msi {
                gsi: Some(u32::MAX),
                address: u64::MAX,
                data: u32::MAX,
            }),
            ..RegisterConsumer::reading(longest("c", index)?)
        };
        ask(
            &mut hostile,
            &Request::RegisterConsumer(register),
            &[&eventfd()?],
        )?;
        let instruction = attach_notice(&mut hostile)?;
        // Each of them two bytes as JSON.
        let text = "\"".repeat(160);
        let reason = Reason::new(ReasonCode::SourceCannotSwitch, text);
        let outcome = Outcome::Declined { reason };
        let answer = Request::Answer(Answer {
            instruction,
            outcome,
        });
        ask(&mut hostile, &answer, &[])?;
    }
    let mut operator = daemon.client_as(&[Scope::ReadOnly])?;
    ensure!(operator.links()?.len() == LONG_ROWS);
    for command in ["links", "metrics"] {
        let answer = run(&[command, "--socket", &daemon.socket])?;
        ensure!(answer.code == Some(0), "{}", answer.stderr);
    }
    Ok(())
}

fn long_errors() -> anyhow::Result<()> {
    let daemon = Daemon::start("long.sock")?;
    let mut connection = raw(&daemon)?;
    let hello =
        br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":["operator"]}}"#;
    connection.send(hello, &[])?;
    connection.receive()?;
    // As many as a message has room for.
    let quotes = r#"\""#.repeat(32_000);
    for packet in [
        format!(r#"{{"id":2,"type":"{quotes}"}}"#),
        format!(r#"{{"id":2,"type":"status","body":{{"{quotes}":1}}}}"#),
        format!(r#"{{"id":2,"type":"set-path","body":{{"link":"x","path":"{quotes}"}}}}"#),
        format!(r#"{{"id":2,"type":"explain","body":{{"link":"{quotes}"}}}}"#),
        format!(r#"{{"id":2,"type":"vgpu-create","body":{{"type":"{quotes}"}}}}"#),
    ] {
        connection.send(packet.as_bytes(), &[])?;
        match ServerFrame::decode(connection.receive()?.bytes)? {
            ServerFrame::Response {
                id: 2,
                result: Err(error),
            } => ensure!(error.text.len() <= MAX_ERROR_TEXT, "{}", error.text.len()),
            other => bail!("not refused: {other:?}"),
        }
    }
    Ok(())
}

fn both_signals() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("signals.sock")?;
    // Both wait for the daemon when it goes on, and are found at once.
    for signal in [Signal::STOP, Signal::HUP, Signal::TERM] {
        daemon.signal(signal)?;
    }
    ensure!(daemon.end(Signal::CONT)? == Some(0));
    Ok(())
}

/// Registers producers until one is refused; how many were not, and the refusal.
fn fill(client: &mut Client) -> anyhow::Result<(usize, ErrorCode)> {
    for index in 0..SOME_FDS {
        let request = Request::RegisterProducer(producer(&format!("filled.{index}"))?);
        let event = eventfd()?;
        if let Err(error) = client.request::<serde_json::Value>(&request, &[event.as_fd()]) {
            let refusal = error.refusal().with_context(|| format!("{error:?}"))?;
            return Ok((index, refusal.code));
        }
    }
    bail!("there is no limit")
}

/// So many open files a daemon may have in these stories: more than it needs itself.
const SOME_FDS: usize = 128;

fn short_of_fds() -> anyhow::Result<()> {
    let daemon = Daemon::start_with_files("files.sock", SOME_FDS)?;
    let bystander = Bystander::new(&daemon)?;
    let mut before = daemon.client()?;
    let mut hostile = daemon.client()?;
    let (filled, code) = fill(&mut hostile)?;
    ensure!(
        code == ErrorCode::QuotaExceeded && filled > 0,
        "{filled}, {code}"
    );
    // Nobody else is out of fds: not who looks, and not who has sent a packet with as many as
    // there may be.
    daemon.status()?;
    let unknown = Request::Unregister(Unregister {
        side: Side::Producer,
        name: Name::new("nothing")?,
    });
    ensure!(refused(&mut before, &unknown, &[])? == ErrorCode::UnknownName);
    bystander.works()?;
    // Connections until there is no room: told so, each of them.
    let mut more = Vec::new();
    let code = loop {
        ensure!(more.len() < SOME_FDS, "connections without end");
        match daemon.client() {
            Ok(client) => more.push(client),
            Err(error) => {
                let refusal = error.downcast_ref::<irqbroker_protocol::ClientError>();
                break refusal.and_then(|error| Some(error.refusal()?.code));
            }
        }
    };
    ensure!(code == Some(ErrorCode::QuotaExceeded), "{code:?}");
    drop(more);
    for index in 0..filled {
        let name = Name::new(&format!("filled.{index}.producer"))?;
        let side = Side::Producer;
        ask(
            &mut hostile,
            &Request::Unregister(Unregister { side, name }),
            &[],
        )?;
    }
    until("nobody is let in after fds were given back", || {
        Ok(daemon.status().is_ok_and(|status| status.fds == 2))
    })?;
    bystander.works()
}

fn cut_off() -> anyhow::Result<()> {
    let daemon = Daemon::start_with_files("cut.sock", SOME_FDS)?;
    let bystander = Bystander::new(&daemon)?;
    let mut client = daemon.client()?;
    let events: Vec<OwnedFd> = (0..MAX_FDS).map(|_| eventfd()).collect::<Result<_, _>>()?;
    let requests = (0..MAX_FDS)
        .map(|index| Ok(Request::RegisterProducer(producer(&format!("c{index}"))?)))
        .collect::<anyhow::Result<Vec<Request>>>()?;
    let open = daemon.open_fds()?;
    let fds: Vec<&OwnedFd> = events.iter().collect();
    let batch = Request::Batch(Batch { requests });
    let code = refused(&mut client, &batch, &fds)?;
    ensure!(code == ErrorCode::Internal, "{code}");
    // Those that came were closed, and the connection goes on.
    ask(&mut client, &Request::Status, &[])?;
    until("fds are left open", || Ok(daemon.open_fds()? == open))?;
    bystander.works()
}

fn deaf() -> anyhow::Result<()> {
    let daemon = Daemon::start("deaf.sock")?;
    let mut client = daemon.client()?;
    // Enough to fill whatever gaps there are among the daemon's fds.
    let held = 20;
    for index in 0..held {
        let register = Request::RegisterProducer(producer(&format!("d{index}"))?);
        ask(&mut client, &register, &[&eventfd()?])?;
    }
    daemon.limit_fds()?;
    // It is connected by the kernel, and waits for the daemon.
    let late = raw(&daemon)?;
    late.send(
        br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":[]}}"#,
        &[],
    )?;
    // With the second answer the turn is over in which it was found waiting.
    for _ in 0..2 {
        ask(&mut client, &Request::Status, &[])?;
    }
    let polled = |limit| -> anyhow::Result<usize> {
        let mut fds = [rustix::event::PollFd::new(
            &late,
            rustix::event::PollFlags::IN,
        )];
        Ok(rustix::event::poll(&mut fds, Some(&limit))?)
    };
    ensure!(polled(rustix::event::Timespec::default())? == 0, "let in");
    for index in 0..held {
        let name = Name::new(&format!("d{index}.producer"))?;
        let side = Side::Producer;
        ask(
            &mut client,
            &Request::Unregister(Unregister { side, name }),
            &[],
        )?;
    }
    ensure!(
        polled(rustix::event::Timespec::try_from(HUNG)?)? == 1,
        "never let in"
    );
    Ok(())
}
