//! Links of a real guest that an operator moves between the paths while events come.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::MsiMessage;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::Token;
use irqbroker::client::ClientOptions;
use irqbroker::client::ConsumerSpec;
use irqbroker::client::ControlClient;
use irqbroker::client::ProducerSpec;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Wait;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::SetPath;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;
use crate::serve_rig::PATIENCE;
use crate::serve_rig::ask;
use crate::serve_rig::eventfd;
use crate::serve_rig::name;

/// Links, and events of each, every one of which waits for the one before; more, up to as many, until
/// the operator has got round to enough moves.
const LINKS: usize = 4;
const EVENTS: u64 = 3_000;
const MOST_EVENTS: u64 = 100 * EVENTS;
const MOVES: u64 = 100;

/// Between two looks at the guest, which needs the core.
const LOOK: Duration = Duration::from_micros(100);

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "serve_moves_links_between_relay_and_bypass_and_loses_nothing",
        Need::Kvm,
        moves,
    )]
}

/// A VMM on a thread of its own.
struct Vmm {
    guest: RunningGuest,
    vectors: Vec<GuestVector>,
    stop: std::os::fd::OwnedFd,
    thread: Option<JoinHandle<Result<(), irqbroker::client::ControlError>>>,
}

impl Vmm {
    fn start(socket: &str) -> anyhow::Result<Self> {
        let guest = GuestVm::builder()
            .irqchip(Irqchip::Full)
            .halt_poll_ns(0)
            .build()?;
        let guest = guest.run(RunOptions::default())?;
        let irqs = Arc::new(VmIrqFd::new(guest.vm()));
        let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        let options = ClientOptions::new(socket, "vmm");
        let mut client = ControlClient::new(options, Registry::new()?)?;
        let vectors: Vec<GuestVector> = GuestVector::all().take(LINKS).collect();
        for (index, vector) in vectors.iter().enumerate() {
            let message = MsiMessage {
                address: vector.msi_address(),
                data: vector.msi_data(),
            };
            let spec = ConsumerSpec {
                name: name(&format!("moved.{index}.c"))?,
                link: Some(name(&format!("moved.{index}"))?),
                event: None,
            };
            client.consume(spec, domain.msi(format!("msi{index}"), message, None)?)?;
        }
        let stop = eventfd()?;
        let told = stop.try_clone()?;
        let thread = std::thread::spawn(move || {
            use std::os::fd::AsFd;
            client.run(told.as_fd())
        });
        Ok(Self {
            guest,
            vectors,
            stop,
            thread: Some(thread),
        })
    }

    fn stop(mut self) -> anyhow::Result<()> {
        rustix::io::write(&self.stop, &1u64.to_ne_bytes())?;
        let thread = self.thread.take().context("stopped twice")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the vmm panicked"))??;
        Ok(self.guest.stop()?)
    }
}

/// Moves every link to and fro until told to stop; counts how often.
fn operate(
    daemon: &Daemon,
    stop: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let mut operator = daemon.client_as(&[Scope::Operator])?;
    Ok(std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for path in [PathPolicy::Relay, PathPolicy::Auto] {
                for index in 0..LINKS {
                    let link = format!("moved.{index}");
                    ask(
                        &mut operator,
                        &Request::SetPath(SetPath { link, path }),
                        &[],
                    )?;
                    moved.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }))
}

fn moves() -> anyhow::Result<()> {
    // A fast machine would use its second up.
    let settings = &["quotas.requests_per_second=100000000"];
    let daemon = Daemon::start_with("moves.sock", settings)?;
    let mut producing = ControlClient::new(
        ClientOptions::new(&daemon.socket, "device"),
        Registry::new()?,
    )?;
    let mut sources = Vec::new();
    for index in 0..LINKS {
        let event = Token::of(eventfd()?)?;
        producing.produce(ProducerSpec {
            name: name(&format!("moved.{index}.p"))?,
            link: Some(name(&format!("moved.{index}"))?),
            event: event.clone(),
            info: ProducerInfo::edge(),
            redirect: None,
        })?;
        sources.push(event);
    }
    let vmm = Vmm::start(&daemon.socket)?;
    let until = Instant::now() + PATIENCE;
    while !producing.is_connected() {
        producing.service();
        ensure!(Instant::now() < until, "no connection");
    }
    daemon.links_once(|rows| {
        let whole =
            |row: &irqbroker_protocol::LinkRow| row.producer.is_some() && row.consumer.is_some();
        rows.len() == LINKS && rows.iter().all(whole)
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicU64::new(0));
    let operator = operate(&daemon, Arc::clone(&stop), Arc::clone(&moved))?;
    let enough = || {
        let relayed = daemon.status()?.relayed;
        anyhow::Ok(moved.load(Ordering::Relaxed) > MOVES && relayed > 0)
    };
    let mut event = 0;
    while event % EVENTS != 0 || event == 0 || !enough()? {
        event += 1;
        ensure!(event <= MOST_EVENTS, "the operator moves nothing");
        for source in &sources {
            rustix::io::write(source, &1u64.to_ne_bytes())?;
        }
        producing.service();
        for &vector in &vmm.vectors {
            let deadline = Instant::now() + PATIENCE;
            let waited = vmm
                .guest
                .wait_delivered(vector, event, deadline, Wait::Sleep(LOOK));
            waited.with_context(|| format!("event {event} is lost"))?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    operator
        .join()
        .map_err(|_| anyhow::anyhow!("the operator panicked"))??;
    let moved = moved.load(Ordering::Relaxed);
    vmm.guest.quiesce(Instant::now() + PATIENCE)?;
    for &vector in &vmm.vectors {
        let delivered = vmm.guest.counters().delivered(vector);
        ensure!(delivered == event, "{} invented", delivered - event);
    }
    let relayed = daemon.status()?.relayed;
    eprintln!("{moved} moves, {relayed} of {} events relayed", event * 4);
    vmm.stop()
}
