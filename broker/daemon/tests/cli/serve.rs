//! The daemon between real processes: who pairs with whom, and which way interrupts take.

use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Explain;
use irqbroker_protocol::Explanation;
use irqbroker_protocol::Masking;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::State;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::command::irqbroker;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::signal;
use crate::serve_rig::taken;
use crate::serve_rig::wait_taken;

/// Events of each link, and how many a second at most; each waits for the one before.
const EVENTS: &str = "500";
const RATE: &str = "1000";

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_pairs_two_processes_and_the_kernel_delivers",
            Need::Kvm,
            bypass,
        ),
        story("serve_relays_to_a_process_in_user_space", nothing, relay),
        story(
            "serve_pairs_equal_eventfds_without_a_link_name",
            nothing,
            by_token,
        ),
        story(
            "serve_switches_a_producer_that_masks_and_moves_what_stands",
            nothing,
            switch,
        ),
        story(
            "serve_relays_where_the_consumer_declines_and_says_why",
            nothing,
            decline,
        ),
        story("serve_explains_every_delivery_state", nothing, explain),
        story(
            "serve_passes_masks_messages_and_hints_to_the_producer",
            nothing,
            pass_on,
        ),
    ]
}

/// One producer's and one consumer's process, to their ends.
pub(crate) fn two_processes(
    daemon: &Daemon,
    links: &str,
    extra: &[&str],
) -> anyhow::Result<(Value, Value)> {
    let common = [
        "--json",
        "--socket",
        &daemon.socket,
        "--links",
        links,
        "--events",
        EVENTS,
    ];
    let consume = irqbroker()
        .args(["client", "consume"])
        .args(common)
        .args(extra)
        .stdout(Stdio::piped())
        .spawn()?;
    let produced =
        run(&[&["client", "produce", "--rate", RATE], &common[..]].concat())?.report()?;
    let output = consume.wait_with_output()?;
    Ok((produced, serde_json::from_slice(&output.stdout)?))
}

fn is_complete(produced: &Value, consumed: &Value) -> anyhow::Result<()> {
    ensure!(count(consumed, "lost")? == 0, "{consumed}");
    ensure!(count(consumed, "invented")? == 0, "{consumed}");
    ensure!(
        count(produced, "produced")? == count(consumed, "delivered")?,
        "{produced} {consumed}"
    );
    Ok(())
}

fn bypass() -> anyhow::Result<()> {
    let daemon = Daemon::start("bypass.sock")?;
    let (produced, consumed) = two_processes(&daemon, "4", &[])?;
    is_complete(&produced, &consumed)?;
    ensure!(count(&consumed, "bound")? == 4, "{consumed}");
    ensure!(consumed["path"] == "bypass", "{consumed}");
    ensure!(
        daemon.status()?.relayed <= 4,
        "more than what came before the match"
    );
    Ok(())
}

fn relay() -> anyhow::Result<()> {
    let daemon = Daemon::start("relay.sock")?;
    let (produced, consumed) = two_processes(&daemon, "4", &["--user-space"])?;
    is_complete(&produced, &consumed)?;
    ensure!(count(&consumed, "bound")? == 0, "{consumed}");
    ensure!(
        daemon.status()?.relayed == count(&produced, "produced")?,
        "{produced}"
    );
    Ok(())
}

fn by_token() -> anyhow::Result<()> {
    let daemon = Daemon::start("token.sock")?;
    let (event, mut here, mut there) = (eventfd()?, daemon.client()?, daemon.client()?);
    let by_event = RegisterProducer::edge(irqbroker_protocol::Name::new("p")?);
    ask(&mut here, &Request::RegisterProducer(by_event), &[&event])?;
    let mut reading = consumer("unused", ConsumerTakes::OwnRead)?;
    reading.link = None;
    ask(&mut there, &Request::RegisterConsumer(reading), &[&event])?;
    let rows = daemon.links_once(|rows| rows.len() == 1)?;
    ensure!(rows[0].state == State::Relay, "{rows:?}");
    ensure!(
        rows[0].reason_code == ReasonCode::UserSpaceConsumer,
        "{rows:?}"
    );
    // It is the consumer's to read: the daemon claims nothing.
    signal(&event)?;
    daemon.status()?;
    ensure!(taken(&event) == 1, "the daemon took it");
    Ok(())
}

fn switch() -> anyhow::Result<()> {
    let daemon = Daemon::start("switch.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let (mut producing, mut consuming) = (daemon.client()?, daemon.client()?);
    let request = RegisterProducer {
        masking: Masking::InProcess,
        switch: ProducerSwitch::Masked,
        ..producer("switched")?
    };
    ask(
        &mut producing,
        &Request::RegisterProducer(request),
        &[&source],
    )?;
    let request = consumer("switched", ConsumerTakes::OwnIrqfd)?;
    ask(
        &mut consuming,
        &Request::RegisterConsumer(request),
        &[&sink],
    )?;
    let (instruction, given) = loop {
        let (notice, fds) = producing.notice(Some(PATIENCE))?.context("no notice")?;
        if let Notice::Switch(switch) = notice {
            break (
                switch.instruction,
                fds.into_iter().next().context("no eventfd")?,
            );
        }
    };
    // The relay goes on until the answer.
    signal(&source)?;
    ensure!(wait_taken(&sink)? == 1);
    // One that comes after the source was masked and before the answer is the daemon's to move.
    daemon.links_once(|rows| rows[0].state == State::Relay)?;
    signal(&source)?;
    let outcome = Outcome::Done {
        state: State::Bypass,
        reason: Reason::new(ReasonCode::Best, "switched"),
    };
    let answer = Request::Answer(Answer {
        instruction,
        outcome,
    });
    ask(&mut producing, &answer, &[])?;
    ensure!(wait_taken(&sink)? == 1);
    daemon.links_once(|rows| rows[0].state == State::Bypass)?;
    let relayed = daemon.status()?.relayed;
    signal(&given)?;
    ensure!(wait_taken(&sink)? == 1);
    ensure!(
        daemon.status()?.relayed == relayed,
        "the daemon is in the path"
    );
    // The consumer leaves: the producer is told to signal its own again.
    drop(consuming);
    loop {
        let (notice, _) = producing.notice(Some(PATIENCE))?.context("no notice")?;
        if matches!(notice, Notice::Switch(switch) if switch.back) {
            return Ok(());
        }
    }
}

fn decline() -> anyhow::Result<()> {
    let daemon = Daemon::start("decline.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let (mut producing, mut consuming) = (daemon.client()?, daemon.client()?);
    let registered = Request::RegisterProducer(producer("declined")?);
    ask(&mut producing, &registered, &[&source])?;
    let request = Request::RegisterConsumer(consumer("declined", ConsumerTakes::Attach)?);
    ask(&mut consuming, &request, &[&sink])?;
    let instruction = attach_notice(&mut consuming)?;
    // Between the instruction and the answer the event waits.
    signal(&source)?;
    daemon.links_once(|rows| rows[0].reason_code == ReasonCode::Held)?;
    ensure!(taken(&sink) == 0, "claimed while attaching");
    let reason = Reason::new(
        ReasonCode::NoInKernelIrqchip,
        "the vm has no in-kernel irqchip",
    );
    let outcome = Outcome::Declined { reason };
    ask(
        &mut consuming,
        &Request::Answer(Answer {
            instruction,
            outcome,
        }),
        &[],
    )?;
    ensure!(wait_taken(&sink)? == 1);
    let rows = daemon.links_once(|rows| rows[0].state == State::Relay)?;
    ensure!(
        rows[0].reason_code == ReasonCode::NoInKernelIrqchip,
        "{rows:?}"
    );
    Ok(())
}

fn explain() -> anyhow::Result<()> {
    let daemon = Daemon::start("explain.sock")?;
    let mut client = daemon.client()?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let mut states = Vec::new();
    let mut look = |client: &mut irqbroker_protocol::Client, code| -> anyhow::Result<()> {
        let link = "told".to_owned();
        let explanation: Explanation = client.ask(&Request::Explain(Explain { link }))?;
        ensure!(explanation.row.reason_code == code, "{explanation:?}");
        ensure!(!explanation.causes.is_empty(), "{explanation:?}");
        let mut causes = explanation.causes.iter();
        let helps = causes.any(|cause| cause.remedy.is_some());
        ensure!(helps == (code != ReasonCode::Best), "{explanation:?}");
        states.push(explanation.row.state);
        Ok(())
    };
    ask(
        &mut client,
        &Request::RegisterProducer(producer("told")?),
        &[&source],
    )?;
    look(&mut client, ReasonCode::NoConsumer)?;
    let request = Request::RegisterConsumer(consumer("told", ConsumerTakes::Attach)?);
    ask(&mut client, &request, &[&sink])?;
    look(&mut client, ReasonCode::Held)?;
    let instruction = attach_notice(&mut client)?;
    for (state, code) in [
        (State::Bypass, ReasonCode::Best),
        (State::Posted, ReasonCode::Best),
    ] {
        let reason = Reason::new(code, "so it is");
        if state == State::Bypass {
            let outcome = Outcome::Done { state, reason };
            let answer = Answer {
                instruction,
                outcome,
            };
            ask(&mut client, &Request::Answer(answer), &[])?;
        } else {
            let report = ConsumerReport {
                state: Some(state),
                reason: Some(reason),
                ..report()?
            };
            ask(&mut client, &Request::Report(report), &[])?;
        }
        look(&mut client, code)?;
    }
    let masked = ConsumerReport {
        masked: Some(true),
        ..report()?
    };
    ask(&mut client, &Request::Report(masked), &[])?;
    look(&mut client, ReasonCode::Masked)?;
    let unmasked = ConsumerReport {
        masked: Some(false),
        ..report()?
    };
    ask(&mut client, &Request::Report(unmasked), &[])?;
    let path = PathPolicy::Relay;
    let link = "told".to_owned();
    ask(&mut client, &Request::SetPath(SetPath { link, path }), &[])?;
    look(&mut client, ReasonCode::Held)?;
    for state in [
        State::Unmatched,
        State::Masked,
        State::Relay,
        State::Bypass,
        State::Posted,
    ] {
        ensure!(states.contains(&state), "{state} was not explained");
    }
    Ok(())
}

/// A report of the consumer of link `told` that says nothing.
fn report() -> anyhow::Result<ConsumerReport> {
    Ok(ConsumerReport {
        name: irqbroker_protocol::Name::new("told.consumer")?,
        masked: None,
        state: None,
        reason: None,
        route: None,
        affinity: None,
    })
}

fn pass_on() -> anyhow::Result<()> {
    let daemon = Daemon::start("pass.sock")?;
    let (source, sink) = (eventfd()?, eventfd()?);
    let (mut producing, mut consuming) = (daemon.client()?, daemon.client()?);
    let request = RegisterProducer {
        masking: Masking::Device,
        ..producer("told")?
    };
    ask(
        &mut producing,
        &Request::RegisterProducer(request),
        &[&source],
    )?;
    let request = Request::RegisterConsumer(consumer("told", ConsumerTakes::OwnRead)?);
    ask(&mut consuming, &request, &[&sink])?;
    let report = ConsumerReport {
        masked: Some(true),
        route: Some(irqbroker_protocol::Route::Msi {
            gsi: None,
            address: 0xfee0_0000,
            data: 0x41,
        }),
        affinity: Some(vec![1]),
        ..report()?
    };
    ask(&mut consuming, &Request::Report(report), &[])?;
    let mut seen = [false; 3];
    while seen != [true; 3] {
        match producing.notice(Some(PATIENCE))?.context("no notice")?.0 {
            Notice::MaskSource(mask) => seen[0] = mask.masked,
            Notice::MessageChanged(changed) => seen[1] = changed.message.data == 0x41,
            Notice::Hint(hint) => seen[2] = hint.affinity == [1],
            _ => {}
        }
    }
    Ok(())
}
