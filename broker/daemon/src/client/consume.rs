//! A VMM's process: a tiny guest whose interrupts come from another process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use irqbroker::Consumer;
use irqbroker::Registry;
use irqbroker::Wait;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ConsumerSpec;
use irqbroker::client::ControlClient;
use irqbroker::client::Name;
use irqbroker::client::Scope;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker_guest::GuestVector;
use irqbroker_guest::RunningGuest;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

use super::args::ConsumeArgs;
use super::args::rejection;
use super::counting::Counting;
use super::pace::Teller;
use super::pace::Told;
use super::report::Consumed;
use crate::guest;
use crate::output::Output;

/// How often the guest's counters are looked at, since no exit tells of them.
const LOOK: Duration = Duration::from_millis(1);

/// After the last expected event, one that was invented has this long to show.
const QUIET: Duration = Duration::from_millis(200);

/// Who counts the interrupts.
enum Taker {
    Guest {
        guest: RunningGuest,
        vectors: Vec<GuestVector>,
    },
    UserSpace(Vec<Arc<Counting>>),
}

/// Where the process stands.
struct Run {
    client: ControlClient,
    registry: Registry,
    names: Vec<Name>,
    taker: Taker,
    /// Consumers that were bound to their producer's eventfd at some time.
    bound: BTreeSet<Name>,
    connects: u64,
    refused: Option<String>,
}

/// Takes interrupts until as many as expected came, or none came for too long.
///
/// # Errors
///
/// There is no guest to be had, the daemon refused a consumer, or the count is not what was
/// expected.
pub(super) fn run(args: &ConsumeArgs, output: &Output) -> anyhow::Result<()> {
    let mut run = Run::new(args)?;
    let teller = Teller::new(&args.common)?;
    let (mut seen, mut until) = (0, Instant::now() + args.common.timeout);
    while Instant::now() < until {
        let delivered = run.delivered();
        let sum = delivered.iter().sum();
        if sum > seen {
            (seen, until) = (sum, Instant::now() + args.common.timeout);
        }
        let delivered = delivered.into_iter().min().unwrap_or_default();
        // Over and over: the producer may have come just now. The last word has to reach it.
        let told = teller.tell(delivered);
        if delivered >= args.events && told == Told::Once {
            break;
        }
        run.serve_for(LOOK)?;
    }
    if run.connects == 0 {
        bail!(args.common.no_daemon());
    }
    let quiet = Instant::now() + QUIET;
    while Instant::now() < quiet {
        run.serve_for(LOOK)?;
    }
    let report = run.report(args)?;
    output.print(&report)?;
    if let Taker::Guest { guest, .. } = run.taker {
        guest.stop()?;
    }
    if report.lost + report.invented > 0 {
        bail!(
            "{} interrupts are lost and {} invented",
            report.lost,
            report.invented
        );
    }
    Ok(())
}

impl Run {
    fn new(args: &ConsumeArgs) -> anyhow::Result<Self> {
        let registry = Registry::new()?;
        let options = ClientOptions {
            scopes: vec![Scope::Consumer],
            ..ClientOptions::new(&args.common.socket, "irqbroker client consume")
        };
        let mut client = ControlClient::new(options, registry.clone())?;
        let names: Result<Vec<Name>, _> = (0..args.common.links)
            .map(|index| args.common.side_name("consumer", index))
            .collect();
        let names = names?;
        let (taker, consumers) = match args.user_space {
            true => in_user_space(&names),
            false => in_a_guest(args, &names)?,
        };
        for (index, (name, consumer)) in (0..).zip(names.iter().zip(consumers)) {
            let spec = ConsumerSpec {
                name: name.clone(),
                link: Some(args.common.link_name(index)?),
                event: None,
            };
            client.consume(spec, consumer)?;
        }
        Ok(Self {
            client,
            registry,
            names,
            taker,
            bound: BTreeSet::new(),
            connects: 0,
            refused: None,
        })
    }

    /// Interrupts of each link so far.
    fn delivered(&self) -> Vec<u64> {
        match &self.taker {
            Taker::Guest { guest, vectors } => vectors
                .iter()
                .map(|&vector| guest.counters().delivered(vector))
                .collect(),
            Taker::UserSpace(counting) => counting.iter().map(|one| one.count()).collect(),
        }
    }

    fn serve_for(&mut self, limit: Duration) -> anyhow::Result<()> {
        let limit = Timespec::try_from(limit)?;
        let mut fds = [
            PollFd::from_borrowed_fd(self.client.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.registry.poll_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        self.client.service();
        self.registry.service(Wait::No)?;
        for event in self.client.take_events() {
            match event {
                ClientEvent::Connected { .. } => self.connects += 1,
                ClientEvent::Bound { name, bound: true } => drop(self.bound.insert(name)),
                ClientEvent::Rejected { error } => {
                    self.refused = self.refused.take().or(rejection(&error));
                }
                ClientEvent::Refused { name, error, .. } => {
                    self.refused = Some(format!("{name}: {error}"));
                }
                _ => {}
            }
        }
        match self.refused.take() {
            Some(refused) => bail!(refused),
            None => Ok(()),
        }
    }

    fn report(&self, args: &ConsumeArgs) -> anyhow::Result<Consumed> {
        let delivered = self.delivered();
        let first = self.names.first().context("there is a first link")?;
        let (delivery, _) = self.client.delivery(first)?;
        let over = |count: &u64| count.saturating_sub(args.events);
        let short = |count: &u64| args.events.saturating_sub(*count);
        Ok(Consumed {
            links: args.common.links,
            expected: args.events * args.common.links,
            delivered: delivered.iter().sum(),
            lost: delivered.iter().map(short).sum(),
            invented: delivered.iter().map(over).sum(),
            bound: self.bound.len(),
            path: delivery.map_or_else(String::new, |delivery| delivery.state.to_string()),
            reason: delivery.map_or_else(String::new, |delivery| delivery.reason.to_string()),
            connects: self.connects,
        })
    }
}

type Consumers = Vec<Arc<dyn Consumer>>;

fn in_user_space(names: &[Name]) -> (Taker, Consumers) {
    let counting: Vec<Arc<Counting>> = names
        .iter()
        .map(|name| Arc::new(Counting::new(name.to_string())))
        .collect();
    let consumers = counting.iter().map(|one| Arc::clone(one) as _).collect();
    (Taker::UserSpace(counting), consumers)
}

fn in_a_guest(args: &ConsumeArgs, names: &[Name]) -> anyhow::Result<(Taker, Consumers)> {
    let guest = guest::boot(&args.kvm, None, &[])?;
    let irqs = Arc::new(VmIrqFd::new(guest.vm()));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let mut vectors = Vec::new();
    let mut consumers: Consumers = Vec::new();
    for (name, vector) in names.iter().zip(GuestVector::all()) {
        let message = irqbroker::MsiMessage {
            address: vector.msi_address(),
            data: vector.msi_data(),
        };
        consumers.push(domain.msi(name.as_str(), message, None)?);
        vectors.push(vector);
    }
    Ok((Taker::Guest { guest, vectors }, consumers))
}
