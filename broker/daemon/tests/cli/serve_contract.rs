//! The contract to the letter: what is refused that would pass, and what is counted.

use std::os::fd::OwnedFd;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::Batch;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Explain;
use irqbroker_protocol::Explanation;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::Masking;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::State;
use libtest_mimic::Trial;

use crate::bystander::raw;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::producer;
use crate::serve_rig::refused;
use crate::serve_rig::signal;
use crate::serve_rig::taken;
use crate::serve_rig::wait_taken;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story("serve_counts_each_fd_it_holds_once", nothing, fds),
        story(
            "serve_takes_a_message_of_as_many_fds_as_there_may_be",
            nothing,
            most_fds,
        ),
        story(
            "serve_counts_what_was_done_apart_from_what_was_refused",
            nothing,
            counts,
        ),
        story(
            "serve_refuses_a_state_that_no_process_delivers_by",
            nothing,
            states,
        ),
        story(
            "serve_refuses_a_registration_that_differs_from_what_is_there",
            nothing,
            otherwise,
        ),
        story(
            "serve_takes_no_list_for_an_object_and_nothing_before_hello",
            nothing,
            lists,
        ),
        story("serve_says_held_while_nobody_takes_events", nothing, held),
    ]
}

/// The link of these stories.
const LINK: &str = "x";

fn attaching() -> anyhow::Result<RegisterConsumer> {
    consumer(LINK, ConsumerTakes::Attach)
}

/// A producer of one eventfd and a consumer of another, which attaches.
fn register_pair(client: &mut Client, source: &OwnedFd, sink: &OwnedFd) -> anyhow::Result<()> {
    let produce = Request::RegisterProducer(producer(LINK)?);
    ask(client, &produce, &[source])?;
    ask(client, &Request::RegisterConsumer(attaching()?), &[sink])?;
    Ok(())
}

fn done(state: State) -> Outcome {
    let reason = Reason::new(ReasonCode::Best, "bound");
    Outcome::Done { state, reason }
}

fn answer(client: &mut Client, outcome: Outcome) -> anyhow::Result<()> {
    let instruction = attach_notice(client)?;
    let answer = Answer {
        instruction,
        outcome,
    };
    ask(client, &Request::Answer(answer), &[])
}

fn fds() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("held.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let mut client = daemon.client()?;
    let empty = daemon.open_fds()?;
    // Asked on the same connection: another would have an fd of its own.
    let counted = |daemon: &Daemon, client: &mut Client| -> anyhow::Result<(usize, usize)> {
        let status: irqbroker_protocol::Status = client.ask(&Request::Status)?;
        Ok((status.fds, daemon.open_fds()? - empty))
    };
    register_pair(&mut client, &source, &sink)?;
    answer(&mut client, done(State::Bypass))?;
    let both = counted(&daemon, &mut client)?;
    ensure!(both == (2, 2), "{both:?}");
    // The consumer comes back first, with the producer's eventfd, and then the producer.
    daemon.kill()?;
    daemon.restart()?;
    let mut client = daemon.client()?;
    let attached = RegisterConsumer {
        attached: true,
        ..attaching()?
    };
    ask(
        &mut client,
        &Request::RegisterConsumer(attached),
        &[&sink, &source],
    )?;
    ask(
        &mut client,
        &Request::RegisterProducer(producer(LINK)?),
        &[&source],
    )?;
    let both = counted(&daemon, &mut client)?;
    ensure!(both == (2, 2), "{both:?} after the death of the daemon");
    Ok(())
}

fn most_fds() -> anyhow::Result<()> {
    let daemon = Daemon::start("most.sock")?;
    let mut client = daemon.client()?;
    let events: Vec<OwnedFd> = (0..MAX_FDS).map(|_| eventfd()).collect::<Result<_, _>>()?;
    let requests = (0..MAX_FDS)
        .map(|index| Ok(Request::RegisterProducer(producer(&format!("m{index}"))?)))
        .collect::<anyhow::Result<Vec<Request>>>()?;
    let fds: Vec<&OwnedFd> = events.iter().collect();
    ask(&mut client, &Request::Batch(Batch { requests }), &fds)?;
    ensure!(client.links()?.len() == MAX_FDS);
    Ok(())
}

fn counts() -> anyhow::Result<()> {
    let daemon = Daemon::start("counts.sock")?;
    let before = daemon.status()?;
    let mut client = daemon.client()?;
    let unknown = Request::Explain(Explain {
        link: "none".to_owned(),
    });
    for _ in 0..3 {
        refused(&mut client, &unknown, &[])?;
    }
    let after = daemon.status()?;
    // Two handshakes, and the first question of how the daemon stands.
    let answered = after.requests - before.requests;
    ensure!(answered == 3, "{answered}");
    ensure!(after.refused - before.refused == 3, "{after:?}");
    Ok(())
}

fn states() -> anyhow::Result<()> {
    let daemon = Daemon::start("states.sock")?;
    let mut client = daemon.client()?;
    let produce = Request::RegisterProducer(producer(LINK)?);
    ask(&mut client, &produce, &[&eventfd()?])?;
    let consume = Request::RegisterConsumer(attaching()?);
    ask(&mut client, &consume, &[&eventfd()?])?;
    let instruction = attach_notice(&mut client)?;
    for state in [State::Unmatched, State::Masked] {
        let outcome = done(state);
        let answer = Request::Answer(Answer {
            instruction,
            outcome,
        });
        let code = refused(&mut client, &answer, &[])?;
        ensure!(code == ErrorCode::InvalidField, "{state}: {code}");
    }
    // It waits for an answer all the same.
    let outcome = done(State::Bypass);
    let answer = Answer {
        instruction,
        outcome,
    };
    ask(&mut client, &Request::Answer(answer), &[])?;
    let before = client.links()?;
    for state in [State::Unmatched, State::Masked] {
        let report = ConsumerReport {
            name: name(&format!("{LINK}.consumer"))?,
            masked: Some(true),
            state: Some(state),
            reason: Some(Reason::new(ReasonCode::NoProducer, "so it says")),
            route: None,
            affinity: None,
        };
        let code = refused(&mut client, &Request::Report(report), &[])?;
        ensure!(code == ErrorCode::InvalidField, "{state}: {code}");
    }
    ensure!(client.links()? == before, "a refused report changed a row");
    Ok(())
}

fn otherwise() -> anyhow::Result<()> {
    let daemon = Daemon::start("otherwise.sock")?;
    let mut client = daemon.client()?;
    let (source, sink, other) = (eventfd()?, eventfd()?, eventfd()?);
    let produce = producer(LINK)?;
    let consume = consumer(LINK, ConsumerTakes::OwnRead)?;
    let first = Request::RegisterProducer(produce.clone());
    ask(&mut client, &first, &[&source])?;
    ask(
        &mut client,
        &Request::RegisterConsumer(consume.clone()),
        &[&sink],
    )?;
    let maskable = RegisterProducer {
        masking: Masking::Device,
        ..produce.clone()
    };
    let attaching = RegisterConsumer {
        takes: ConsumerTakes::Attach,
        ..consume.clone()
    };
    let elsewhere = RegisterProducer {
        link: Some(name("elsewhere")?),
        ..produce
    };
    for (request, event) in [
        (Request::RegisterProducer(maskable), &source),
        (Request::RegisterConsumer(attaching), &sink),
        (Request::RegisterProducer(elsewhere), &source),
        (first.clone(), &other),
    ] {
        let code = refused(&mut client, &request, &[event])?;
        ensure!(code == ErrorCode::DuplicateName, "{request:?}: {code}");
    }
    // As it is, it is there already.
    ask(&mut client, &first, &[&source])?;
    ask(&mut client, &Request::RegisterConsumer(consume), &[&sink])?;
    signal(&source)?;
    ensure!(wait_taken(&sink)? == 1);
    Ok(())
}

/// What the daemon says to the only packet of a connection, and whether it closes then.
fn told(daemon: &Daemon, greet: bool, packet: &str) -> anyhow::Result<(ErrorCode, bool)> {
    let mut connection = raw(daemon)?;
    if greet {
        let hello = br#"{"id":1,"type":"hello","body":{"versions":[1],"client":"x","scopes":["producer"]}}"#;
        connection.send(hello, &[])?;
        connection.receive()?;
    }
    connection.send(packet.as_bytes(), &[])?;
    let code = match ServerFrame::decode(connection.receive()?.bytes)? {
        ServerFrame::Response {
            result: Err(error), ..
        } => error.code,
        ServerFrame::Notice(Notice::Closing(closing)) => closing.code,
        other => bail!("not refused: {other:?}"),
    };
    // Refused or not, an open connection answers this.
    let asked = connection.send(br#"{"id":3,"type":"batch","body":{"requests":[]}}"#, &[]);
    Ok((code, asked.is_err() || connection.receive().is_err()))
}

fn lists() -> anyhow::Result<()> {
    let daemon = Daemon::start("lists.sock")?;
    let malformed = (ErrorCode::MalformedMessage, true);
    let invalid = (ErrorCode::InvalidField, false);
    let early = (ErrorCode::HandshakeExpected, true);
    for (greet, packet, expected) in [
        (true, r#"[2,"batch",{"requests":[]}]"#, malformed),
        (true, r#"{"id":2,"type":"batch","body":[[]]}"#, malformed),
        (true, r#"{"id":2,"type":"watch","body":null}"#, malformed),
        (
            true,
            r#"{"id":2,"type":"batch","body":{"requests":[["unregister",{}]]}}"#,
            invalid,
        ),
        (
            true,
            r#"{"id":2,"type":"register-producer","body":{"name":"a","message":[1,2]}}"#,
            invalid,
        ),
        (false, r#"{"id":2,"type":"nothing"}"#, early),
        (false, r#"{"id":2,"type":"status","body":{"x":1}}"#, early),
        (false, r#"{"id":2,"type":"status"}"#, early),
    ] {
        let said = told(&daemon, greet, packet)?;
        ensure!(said == expected, "{packet}: {said:?}");
    }
    Ok(())
}

fn held() -> anyhow::Result<()> {
    let daemon = Daemon::start("waits.sock")?;
    let mut client = daemon.client()?;
    let (source, sink) = (eventfd()?, eventfd()?);
    register_pair(&mut client, &source, &sink)?;
    signal(&source)?;
    let link = LINK.to_owned();
    let path = PathPolicy::Relay;
    ask(&mut client, &Request::SetPath(SetPath { link, path }), &[])?;
    let link = LINK.to_owned();
    let explain = Request::Explain(Explain { link });
    let explained: Explanation = client.ask(&explain)?;
    ensure!(
        explained.row.reason_code == ReasonCode::Held,
        "{explained:?}"
    );
    let helps = explained
        .causes
        .iter()
        .find_map(|cause| cause.remedy.as_ref());
    let helps = helps.context("no remedy")?;
    ensure!(helps.contains(&format!("{LINK}.consumer")), "{helps}");
    ensure!(taken(&sink) == 0, "somebody took it");
    // The wish of the operator is met with the answer.
    answer(&mut client, done(State::Bypass))?;
    let instruction = loop {
        let (notice, _) = client
            .notice(Some(crate::serve_hostile::HUNG))?
            .context("no notice")?;
        if let Notice::Detach(detach) = notice {
            break detach.instruction;
        }
    };
    let outcome = done(State::Relay);
    let answer = Answer {
        instruction,
        outcome,
    };
    ask(&mut client, &Request::Answer(answer), &[])?;
    ensure!(wait_taken(&sink)? == 1);
    let explained: Explanation = client.ask(&explain)?;
    ensure!(
        explained.row.reason_code == ReasonCode::RelayRequested,
        "{explained:?}"
    );
    Ok(())
}
