//! Masks, messages and hints between sides that come, leave and come back.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::Consumer;
use irqbroker::ConsumerInfo;
use irqbroker::Delivers;
use irqbroker::PeerError;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::RouteInfo;
use irqbroker::Token;
use irqbroker::client::ClientOptions;
use irqbroker::client::ConsumerSpec;
use irqbroker::client::ControlClient;
use irqbroker_protocol::Client;
use irqbroker_protocol::ConsumerReport;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Masking;
use irqbroker_protocol::Message;
use irqbroker_protocol::Notice;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Request;
use irqbroker_protocol::Route;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;
use crate::serve_hostile::HUNG;
use crate::serve_hostile::until;
use crate::serve_rig::Daemon;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::producer;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_unmasks_a_source_whose_consumer_is_another_or_gone",
            nothing,
            masks,
        ),
        story(
            "serve_tells_a_producer_that_comes_late_of_its_message_and_processors",
            nothing,
            late,
        ),
        story(
            "serve_passes_a_hint_given_while_no_daemon_answered",
            nothing,
            hint_in_an_outage,
        ),
    ]
}

/// The link of these stories.
const LINK: &str = "m";

/// The next notice that `wanted` takes.
fn next<T>(client: &mut Client, wanted: impl Fn(Notice) -> Option<T>) -> anyhow::Result<T> {
    loop {
        let (notice, _) = client.notice(Some(HUNG))?.context("no notice")?;
        if let Some(found) = wanted(notice) {
            return Ok(found);
        }
    }
}

/// What a producer is told of its mask next.
fn told_mask(client: &mut Client) -> anyhow::Result<bool> {
    next(client, |notice| match notice {
        Notice::MaskSource(mask) => Some(mask.masked),
        _ => None,
    })
}

fn maskable(client: &mut Client, source: &OwnedFd) -> anyhow::Result<()> {
    let register = RegisterProducer {
        masking: Masking::Device,
        ..producer(LINK)?
    };
    ask(client, &Request::RegisterProducer(register), &[source])
}

/// A connection whose consumer is masked, or not.
fn consuming(daemon: &Daemon, masked: bool) -> anyhow::Result<Client> {
    let mut client = daemon.client()?;
    let register = RegisterConsumer {
        masked,
        ..consumer(LINK, ConsumerTakes::OwnRead)?
    };
    let register = Request::RegisterConsumer(register);
    ask(&mut client, &register, &[&eventfd()?])?;
    Ok(client)
}

fn masks() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("masks.sock")?;
    let source = eventfd()?;
    let mut device = daemon.client()?;
    maskable(&mut device, &source)?;
    ensure!(!told_mask(&mut device)?, "masked by nobody");
    let vmm = consuming(&daemon, true)?;
    ensure!(told_mask(&mut device)?, "not masked");
    drop(vmm);
    ensure!(!told_mask(&mut device)?, "masked by one that is gone");
    let vmm = consuming(&daemon, true)?;
    ensure!(told_mask(&mut device)?, "not masked");
    // The consumer is unmasked while no daemon is there to pass it on.
    daemon.kill()?;
    drop(vmm);
    daemon.restart()?;
    let _vmm = consuming(&daemon, false)?;
    let mut device = daemon.client()?;
    maskable(&mut device, &source)?;
    ensure!(!told_mask(&mut device)?, "masked by what was");
    Ok(())
}

fn message(data: u32) -> Message {
    Message {
        address: 0xfee0_0000,
        data,
    }
}

fn late() -> anyhow::Result<()> {
    let daemon = Daemon::start("late.sock")?;
    let mut vmm = consuming(&daemon, false)?;
    // The vector the device was given, and the one the guest chose later.
    let (old, new) = (message(0x30), message(0x41));
    let report = ConsumerReport {
        name: name(&format!("{LINK}.consumer"))?,
        masked: None,
        state: None,
        reason: None,
        route: Some(Route::Msi {
            gsi: None,
            address: new.address,
            data: new.data,
        }),
        affinity: Some(vec![1]),
    };
    ask(&mut vmm, &Request::Report(report), &[])?;
    let mut device = daemon.client()?;
    let register = RegisterProducer {
        message: Some(old),
        ..producer(LINK)?
    };
    ask(
        &mut device,
        &Request::RegisterProducer(register),
        &[&eventfd()?],
    )?;
    let changed = next(&mut device, |notice| match notice {
        Notice::MessageChanged(changed) => Some(changed.message),
        _ => None,
    })?;
    ensure!(changed == new, "{changed:?}");
    told_processors(&mut device)
}

fn told_processors(device: &mut Client) -> anyhow::Result<()> {
    let affinity = next(device, |notice| match notice {
        Notice::Hint(hint) => Some(hint.affinity),
        _ => None,
    })?;
    ensure!(affinity == [1], "{affinity:?}");
    Ok(())
}

/// A VMM's interrupt that goes nowhere.
#[derive(Debug)]
struct Nowhere;

impl Consumer for Nowhere {
    fn name(&self) -> String {
        "nowhere".to_owned()
    }

    fn answer(&self, _: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Relay(irqbroker::Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, _: &ProducerInfo, _: &Token) -> Result<(), PeerError> {
        Ok(())
    }

    fn del_producer(&self) {}

    fn inject(&self) -> Result<(), PeerError> {
        Ok(())
    }

    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

fn hint_in_an_outage() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("outage.sock")?;
    daemon.kill()?;
    let options = ClientOptions::new(&daemon.socket, "vmm");
    let mut vmm = ControlClient::new(options, Registry::new()?)?;
    let called = name("outage.consumer")?;
    let spec = ConsumerSpec {
        name: called.clone(),
        link: Some(name(LINK)?),
        event: None,
    };
    vmm.consume(spec, Arc::new(Nowhere))?;
    vmm.hint(&called, &[1])?;
    daemon.restart()?;
    let mut device = daemon.client()?;
    let register = Request::RegisterProducer(producer(LINK)?);
    let source = eventfd()?;
    device.request::<serde_json::Value>(&register, &[source.as_fd()])?;
    until("the client does not connect", || {
        vmm.service();
        let came = daemon.status()?;
        Ok(came.consumers == 1)
    })?;
    // What was asked when the registration was answered goes out with the next turns.
    until("the hint is not passed on", || {
        vmm.service();
        let notice = device.notice(Some(std::time::Duration::from_millis(10)))?;
        Ok(matches!(notice, Some((Notice::Hint(hint), _)) if hint.affinity == [1]))
    })
}
