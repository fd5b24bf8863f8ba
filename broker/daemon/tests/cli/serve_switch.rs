//! A producer that the daemon has signal its consumer's eventfd, by the library's client.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use irqbroker::Mask;
use irqbroker::Masking;
use irqbroker::PeerError;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::Token;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ControlClient;
use irqbroker::client::ProducerSpec;
use irqbroker::client::Redirect;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::SetPath;
use irqbroker_protocol::State;
use libtest_mimic::Trial;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;
use crate::serve_rig::taken;
use crate::serve_rig::wait_taken;

const LINK: &str = "switched";

/// Moves to the consumer's eventfd and back.
const MOVES: u64 = 5;

/// Between two looks at what comes by no event of ours.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "client_that_is_switched_signals_its_consumer_past_the_daemon_and_loses_nothing",
            nothing,
            moves,
        ),
        story(
            "client_whose_source_refuses_a_switch_is_relayed",
            nothing,
            refusal,
        ),
    ]
}

/// What a source does when it is to signal another eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// As told; and fires meanwhile, while it is masked.
    FiresAndTurns,
    Refuses,
}

#[derive(Debug)]
struct Source {
    does: Does,
    gate: Mutex<Gate>,
}

#[derive(Debug)]
struct Gate {
    event: OwnedFd,
    masked: bool,
    /// Came while it was masked.
    pending: bool,
    /// Events that are to arrive as one each.
    fired: u64,
}

impl Gate {
    fn fire(&mut self) -> Result<(), PeerError> {
        match self.masked {
            // Remembered as one.
            true => self.fired += u64::from(!std::mem::replace(&mut self.pending, true)),
            false => {
                self.fired += 1;
                rustix::io::write(&self.event, &1u64.to_ne_bytes()).map_err(PeerError::new)?;
            }
        }
        Ok(())
    }
}

impl Source {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fire(&self) -> anyhow::Result<()> {
        Ok(self.gate().fire()?)
    }

    /// Whether it signals this eventfd.
    fn signals(&self, event: &Token) -> anyhow::Result<bool> {
        Ok(Token::of(&self.gate().event)? == *event)
    }
}

impl Mask for Source {
    fn mask(&self) -> Result<(), PeerError> {
        self.gate().masked = true;
        Ok(())
    }

    fn unmask(&self) -> Result<(), PeerError> {
        let mut gate = self.gate();
        gate.masked = false;
        if std::mem::take(&mut gate.pending) {
            rustix::io::write(&gate.event, &1u64.to_ne_bytes()).map_err(PeerError::new)?;
        }
        Ok(())
    }
}

impl Redirect for Source {
    fn redirect(&self, event: BorrowedFd<'_>) -> Result<(), PeerError> {
        let mut gate = self.gate();
        match self.does {
            Does::Refuses => Err(PeerError::new(rustix::io::Errno::NOTSUP)),
            Does::FiresAndTurns => {
                gate.fire()?;
                gate.event = event.try_clone_to_owned().map_err(PeerError::new)?;
                gate.fire()
            }
        }
    }
}

/// A device model with one producer, which can be switched.
struct Device {
    client: ControlClient,
    source: Arc<Source>,
    own: Token,
}

impl Device {
    fn new(daemon: &Daemon, does: Does) -> anyhow::Result<Self> {
        let own = Token::of(eventfd()?)?;
        let source = Arc::new(Source {
            does,
            gate: Mutex::new(Gate {
                event: std::os::fd::AsFd::as_fd(&own).try_clone_to_owned()?,
                masked: false,
                pending: false,
                fired: 0,
            }),
        });
        let options = ClientOptions::new(&*daemon.socket, "device");
        let mut client = ControlClient::new(options, Registry::new()?)?;
        client.produce(ProducerSpec {
            name: name("switched.producer")?,
            link: Some(name(LINK)?),
            event: own.clone(),
            info: ProducerInfo {
                masking: Masking::InProcess,
                ..ProducerInfo::edge()
            },
            redirect: Some(source.clone()),
        })?;
        Ok(Self {
            client,
            source,
            own,
        })
    }

    /// Serves the client until `done`.
    fn until(&mut self, mut done: impl FnMut(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !done(self)? {
            ensure!(Instant::now() < end, "{:?}", self.source);
            let mut fds = [PollFd::from_borrowed_fd(
                self.client.poll_fd(),
                PollFlags::IN,
            )];
            rustix::event::poll(&mut fds, Some(&Timespec::try_from(LOOK)?))?;
            self.client.service();
            for event in self.client.take_events() {
                if let ClientEvent::Refused { error, .. } = event {
                    bail!("{error}");
                }
            }
        }
        Ok(())
    }

    /// Fires, and waits until all that has been fired is in the sink; `had` has been before.
    fn fire(&self, sink: &OwnedFd, had: &mut u64) -> anyhow::Result<()> {
        self.source.fire()?;
        let fired = self.source.gate().fired;
        while *had < fired {
            *had += wait_taken(sink)?;
        }
        ensure!(*had == fired, "{had} of {fired}");
        Ok(())
    }
}

fn set_path(daemon: &Daemon, path: PathPolicy) -> anyhow::Result<()> {
    let link = LINK.to_owned();
    ask(
        &mut daemon.client()?,
        &Request::SetPath(SetPath { link, path }),
        &[],
    )
}

fn state_is(daemon: &Daemon, state: State) -> anyhow::Result<bool> {
    let rows = daemon.client()?.links()?;
    Ok(rows.len() == 1 && rows[0].state == state)
}

fn moves() -> anyhow::Result<()> {
    let daemon = Daemon::start("client-switch.sock")?;
    let mut device = Device::new(&daemon, Does::FiresAndTurns)?;
    let mut consuming = daemon.client()?;
    let (sink, mut had) = (eventfd()?, 0);
    let request = Request::RegisterConsumer(consumer(LINK, ConsumerTakes::OwnIrqfd)?);
    ask(&mut consuming, &request, &[&sink])?;
    let to = Token::of(&sink)?;
    for _ in 0..MOVES {
        device.until(|_| state_is(&daemon, State::Bypass))?;
        ensure!(device.source.signals(&to)?, "not the consumer's eventfd");
        let relayed = daemon.status()?.relayed;
        device.fire(&sink, &mut had)?;
        device.fire(&sink, &mut had)?;
        ensure!(
            daemon.status()?.relayed == relayed,
            "the daemon is in the path"
        );
        set_path(&daemon, PathPolicy::Relay)?;
        device.until(|device| {
            Ok(device.source.signals(&device.own)? && state_is(&daemon, State::Relay)?)
        })?;
        device.fire(&sink, &mut had)?;
        ensure!(daemon.status()?.relayed > relayed, "not by the relay");
        set_path(&daemon, PathPolicy::Auto)?;
    }
    device.until(|_| state_is(&daemon, State::Bypass))?;
    device.fire(&sink, &mut had)?;
    // The consumer leaves: what is fired from then on waits for the next one.
    drop(consuming);
    device.until(|device| device.source.signals(&device.own))?;
    had += taken(&sink);
    device.source.fire()?;
    let (sink, mut consuming) = (eventfd()?, daemon.client()?);
    let request = Request::RegisterConsumer(consumer(LINK, ConsumerTakes::OwnRead)?);
    ask(&mut consuming, &request, &[&sink])?;
    had += wait_taken(&sink)?;
    // One of the last turn and one after it stood in the producer's eventfd, and are one interrupt.
    let fired = device.source.gate().fired;
    ensure!(had == fired - 1, "{had} of {fired}");
    Ok(())
}

fn refusal() -> anyhow::Result<()> {
    let daemon = Daemon::start("client-no-switch.sock")?;
    let mut device = Device::new(&daemon, Does::Refuses)?;
    let mut consuming = daemon.client()?;
    let (sink, mut had) = (eventfd()?, 0);
    let request = Request::RegisterConsumer(consumer(LINK, ConsumerTakes::OwnIrqfd)?);
    ask(&mut consuming, &request, &[&sink])?;
    device.until(|device| {
        ensure!(device.source.signals(&device.own)?, "it has turned");
        let rows = daemon.client()?.links()?;
        Ok(rows.len() == 1 && rows[0].reason_code == ReasonCode::Declined)
    })?;
    ensure!(state_is(&daemon, State::Relay)?);
    ensure!(!device.source.gate().masked, "left masked");
    device.fire(&sink, &mut had)?;
    device.fire(&sink, &mut had)?;
    Ok(())
}
