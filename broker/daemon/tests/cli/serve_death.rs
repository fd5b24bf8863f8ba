//! The daemon's death under load.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::Consumer;
use irqbroker::ConsumerInfo;
use irqbroker::Delivers;
use irqbroker::PeerError;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::RouteInfo;
use irqbroker::Token;
use irqbroker::Wait;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ConsumerSpec;
use irqbroker::client::ControlClient;
use irqbroker::client::ProducerSpec;
use irqbroker_protocol::State;
use libtest_mimic::Trial;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::eventfd;
use crate::serve_rig::from_environment;
use crate::serve_rig::name;
use crate::vmm::Seen;
use crate::vmm::Takes;
use crate::vmm::Vmm;

/// Links and events of the story under load, unless `IRQBROKER_DEATH_LINKS` and
/// `IRQBROKER_DEATH_ROUNDS` say otherwise; each round is one event of each link.
const LINKS: u64 = 100;
const ROUNDS: u64 = 40;

/// Rounds between two deaths.
const ROUNDS_A_LIFE: u64 = 8;

pub(crate) fn stories() -> Vec<Trial> {
    let nothing = Need::Nothing;
    vec![
        story(
            "serve_killed_while_the_kernel_delivers_stops_nothing",
            Need::Kvm,
            bypassed,
        ),
        story(
            "invariant_7_serve_killed_under_load_loses_nothing",
            nothing,
            under_load,
        ),
    ]
}

/// Links of the story in which the kernel delivers, and events of each before the death, without a
/// daemon and after it.
const MATCHED: usize = 4;
const EVENTS: u64 = 25;

/// A device in this process, a VMM in another, and the kernel between them.
struct Matched {
    device: ControlClient,
    sources: Vec<Token>,
    vmm: Vmm,
    /// Daemons that have answered the device.
    connects: u64,
    /// Events of each link so far.
    produced: u64,
}

impl Matched {
    fn new(socket: &str) -> anyhow::Result<Self> {
        let takes = Takes::Messages(MATCHED);
        let vmm = Vmm::start(socket, takes)?;
        let options = ClientOptions::new(socket, "device");
        let mut device = ControlClient::new(options, Registry::new()?)?;
        let mut sources = Vec::new();
        for link in takes.links() {
            let event = Token::of(eventfd()?)?;
            device.produce(ProducerSpec {
                name: name(&format!("{link}.p"))?,
                link: Some(name(&link)?),
                event: event.clone(),
                info: ProducerInfo::edge(),
                redirect: None,
            })?;
            sources.push(event);
        }
        Ok(Self {
            device,
            sources,
            vmm,
            connects: 0,
            produced: 0,
        })
    }

    /// Serves the device until the VMM has come to this.
    fn until(&mut self, enough: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.vmm.look()?;
            if enough(&seen) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{seen:?} of {}", self.produced);
            self.serve();
        }
    }

    fn serve(&mut self) {
        self.device.service();
        for event in self.device.take_events() {
            self.connects += u64::from(matches!(event, ClientEvent::Connected { .. }));
        }
    }

    fn produce(&mut self) -> anyhow::Result<()> {
        for _ in 0..EVENTS {
            for source in &self.sources {
                rustix::io::write(source, &1u64.to_ne_bytes())?;
            }
            self.produced += 1;
            let produced = self.produced;
            // With an invented one this is never so again.
            self.until(|seen| seen.all_delivered(produced))?;
        }
        Ok(())
    }
}

fn bypassed() -> anyhow::Result<()> {
    let mut daemon = Daemon::start("killed.sock")?;
    let mut matched = Matched::new(&daemon.socket)?;
    matched.until(Seen::all_bound)?;
    matched.produce()?;
    daemon.kill()?;
    matched.produce()?;
    daemon.restart()?;
    matched.until(|seen| seen.connects == 2)?;
    let until = Instant::now() + PATIENCE;
    while matched.connects < 2 {
        ensure!(Instant::now() < until, "the device does not come back");
        matched.serve();
    }
    // The same links, matched again, and nobody was told to attach anew.
    daemon.links_once(|rows| {
        rows.len() == MATCHED && rows.iter().all(|row| row.state == State::Bypass)
    })?;
    matched.produce()?;
    ensure!(daemon.status()?.relayed == 0, "the new daemon relayed");
    Ok(())
}

/// Counts in user space, so that every event is relayed.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Consumer for Counting {
    fn name(&self) -> String {
        "counting".to_owned()
    }

    fn answer(&self, _producer: &ProducerInfo) -> ConsumerInfo {
        ConsumerInfo {
            delivers: Delivers::Relay(irqbroker::Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        }
    }

    fn add_producer(&self, _producer: &ProducerInfo, _token: &Token) -> Result<(), PeerError> {
        Ok(())
    }

    fn del_producer(&self) {}

    fn inject(&self) -> Result<(), PeerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn route(&self) -> Option<RouteInfo> {
        None
    }
}

/// A producer's and a consumer's client, served by one loop.
struct Peers {
    producing: ControlClient,
    consuming: ControlClient,
    registry: Registry,
    sources: Vec<Token>,
    counts: Vec<Arc<Counting>>,
    /// Clients all of whose objects are registered.
    registered: [bool; 2],
}

impl Peers {
    fn new(socket: &str, links: u64) -> anyhow::Result<Self> {
        let registry = Registry::new()?;
        let client = |name: &str, registry: &Registry| {
            ControlClient::new(ClientOptions::new(socket, name), registry.clone())
        };
        let mut producing = client("producing", &registry)?;
        let mut consuming = client("consuming", &registry)?;
        let (mut sources, mut counts) = (Vec::new(), Vec::new());
        for index in 0..links {
            let (link, event) = (name(&format!("load.{index}"))?, Token::of(eventfd()?)?);
            producing.produce(ProducerSpec {
                name: name(&format!("load.{index}.p"))?,
                link: Some(link.clone()),
                event: event.clone(),
                info: ProducerInfo::edge(),
                redirect: None,
            })?;
            let counting = Arc::new(Counting::default());
            let spec = ConsumerSpec {
                name: name(&format!("load.{index}.c"))?,
                link: Some(link),
                event: None,
            };
            consuming.consume(spec, Arc::clone(&counting) as _)?;
            sources.push(event);
            counts.push(counting);
        }
        Ok(Self {
            producing,
            consuming,
            registry,
            sources,
            counts,
            registered: [false; 2],
        })
    }

    /// Serves whoever has something to do, for at most `limit`. Returns whether somebody had.
    fn serve(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let limit = Timespec::try_from(limit)?;
        let mut fds = [
            PollFd::from_borrowed_fd(self.producing.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.consuming.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.registry.poll_fd(), PollFlags::IN),
        ];
        if rustix::event::poll(&mut fds, Some(&limit))? == 0 {
            return Ok(false);
        }
        let clients = [&mut self.producing, &mut self.consuming];
        for (client, registered) in clients.into_iter().zip(&mut self.registered) {
            client.service();
            for event in client.take_events() {
                match event {
                    ClientEvent::Registered => *registered = true,
                    ClientEvent::Disconnected => *registered = false,
                    ClientEvent::Refused { name, error, .. } => anyhow::bail!("{name}: {error}"),
                    _ => {}
                }
            }
        }
        self.registry.service(Wait::No)?;
        Ok(true)
    }

    fn counts(&self) -> Vec<u64> {
        let counts = self.counts.iter();
        counts.map(|one| one.0.load(Ordering::Relaxed)).collect()
    }

    /// Serves until each link has had an event more than in `before`, everybody is registered and
    /// nothing is under way.
    fn settle(&mut self, before: &[u64]) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let busy = self.serve(Duration::from_millis(10))?;
            let counts = self.counts();
            let all = counts.iter().zip(before).all(|(now, before)| now > before);
            if all && self.registered == [true; 2] && !busy {
                return Ok(());
            }
            let short = || {
                counts
                    .iter()
                    .zip(before)
                    .filter(|(now, before)| now <= before)
                    .count()
            };
            ensure!(Instant::now() < until, "{} events are lost", short());
        }
    }
}

fn under_load() -> anyhow::Result<()> {
    let links = from_environment("IRQBROKER_DEATH_LINKS", LINKS)?;
    let rounds = from_environment("IRQBROKER_DEATH_ROUNDS", ROUNDS)?;
    let mut daemon = Daemon::start("load.sock")?;
    let mut peers = Peers::new(&daemon.socket, links)?;
    let (mut deaths, mut recovered, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..rounds {
        let before = peers.counts();
        let dies = round % ROUNDS_A_LIFE == ROUNDS_A_LIFE - 1;
        let died = Instant::now();
        for (index, source) in (0..).zip(&peers.sources) {
            // In the middle of it, so that it is at work.
            if dies && index == links / 2 {
                daemon.kill()?;
                deaths += 1;
            }
            rustix::io::write(source, &1u64.to_ne_bytes())?;
        }
        if dies {
            daemon.restart()?;
            peers.registered = [false; 2];
        }
        peers.settle(&before)?;
        if dies {
            longest = longest.max(died.elapsed());
            recovered += daemon.status()?.recovered;
        }
    }
    let spurious: u64 = peers.counts().iter().map(|count| count - rounds).sum();
    eprintln!(
        "{links} links, {rounds} rounds, {deaths} deaths: recovered {recovered}, spurious \
         {spurious}, longest outage {longest:?}"
    );
    ensure!(deaths > 0, "nobody died");
    ensure!(
        spurious <= recovered,
        "{spurious} invented, {recovered} recovered"
    );
    let most = peers.counts().into_iter().max().unwrap_or(0);
    ensure!(most <= rounds + deaths, "more than one a death");
    Ok(())
}
