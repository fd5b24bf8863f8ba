//! `irqbroker set-path`, and that `explain` names it.

use anyhow::Context;
use anyhow::ensure;
use irqbroker_protocol::Answer;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::InstructionId;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Outcome;
use irqbroker_protocol::Reason;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::State;
use libtest_mimic::Trial;

use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::attach_notice;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::signal;
use crate::serve_rig::wait_taken;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "set_path_moves_a_link_to_the_relay_and_back_as_explain_says",
            Need::Nothing,
            there_and_back,
        ),
        story(
            "set_path_of_an_unknown_link_or_path_is_refused",
            Need::Nothing,
            unknown,
        ),
    ]
}

/// Says that the consumer's process has done what it was told.
fn done(client: &mut Client, instruction: InstructionId, state: State) -> anyhow::Result<()> {
    let outcome = Outcome::Done {
        state,
        reason: Reason::new(ReasonCode::Best, "best path"),
    };
    let answer = Answer {
        instruction,
        outcome,
    };
    ask(client, &Request::Answer(answer), &[])
}

fn detach_notice(client: &mut Client) -> anyhow::Result<InstructionId> {
    loop {
        let (notice, _) = client.notice(Some(PATIENCE))?.context("no notice")?;
        if let Notice::Detach(detach) = notice {
            return Ok(detach.instruction);
        }
    }
}

fn there_and_back() -> anyhow::Result<()> {
    let daemon = Daemon::start("set-path.sock")?;
    let (mut client, source, sink) = (daemon.client()?, eventfd()?, eventfd()?);
    let request = Request::RegisterProducer(producer("head")?);
    ask(&mut client, &request, &[&source])?;
    let request = Request::RegisterConsumer(consumer("head", ConsumerTakes::Attach)?);
    ask(&mut client, &request, &[&sink])?;
    let attach = attach_notice(&mut client)?;
    done(&mut client, attach, State::Bypass)?;
    let at = ["--json", "--socket", &daemon.socket];

    let row = run(&[&["set-path", "head", "relay"], &at[..]].concat())?.report()?;
    ensure!(row["path"] == "relay", "{row}");
    let detach = detach_notice(&mut client)?;
    done(&mut client, detach, State::Relay)?;
    daemon.links_once(|rows| rows[0].reason_code == ReasonCode::RelayRequested)?;
    signal(&source)?;
    ensure!(wait_taken(&sink)? == 1);

    let explained = run(&[&["explain", "head"], &at[..]].concat())?.report()?;
    let causes = explained["causes"].as_array().context("no causes")?;
    let remedies = causes.iter().filter_map(|cause| cause["remedy"].as_str());
    let commands =
        remedies.filter_map(|remedy| remedy.split('`').nth(1)?.strip_prefix("irqbroker "));
    let [command] = commands.collect::<Vec<_>>()[..] else {
        anyhow::bail!("not one command: {explained}");
    };
    let words: Vec<&str> = command.split(' ').collect();
    let row = run(&[&words[..], &at[..]].concat())?.report()?;
    ensure!(row["path"] == "auto", "{row}");
    let attach = attach_notice(&mut client)?;
    done(&mut client, attach, State::Bypass)?;
    daemon.links_once(|rows| rows[0].state == State::Bypass)?;
    Ok(())
}

fn unknown() -> anyhow::Result<()> {
    let daemon = Daemon::start("set-path-unknown.sock")?;
    let at = ["--socket", &daemon.socket];
    let link = run(&[&["set-path", "nothing", "auto"], &at[..]].concat())?;
    ensure!(link.refusal()?.starts_with("unknown-link: "), "{link:?}");
    let path = run(&[&["set-path", "nothing", "bypass"], &at[..]].concat())?;
    ensure!(path.code == Some(2), "{path:?}");
    ensure!(path.stderr.contains("auto, relay"), "{path:?}");
    Ok(())
}
