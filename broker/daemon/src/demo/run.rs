//! Runs the demo: a source's interrupts, through the broker, into a real guest.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker::Consumer;
use irqbroker::ConsumerHandle;
use irqbroker::DeliveryState;
use irqbroker::Gsi;
use irqbroker::MsiMessage;
use irqbroker::Options;
use irqbroker::PathPolicy;
use irqbroker::ProducerHandle;
use irqbroker::Registry;
use irqbroker::RelayThread;
use irqbroker::Rid;
use irqbroker::Trigger;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker::posted::PostedVm;
use irqbroker::vgpu::Refresh;
use irqbroker_guest::GuestVector;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::TscClock;
use irqbroker_guest::Wait;
use irqbroker_guest::WaitError;

use super::DemoArgs;
use super::account::Account;
use super::args::PathWanted;
use super::args::Source;
use super::display_feed::DisplayFeed;
use super::feed::Feed;
use super::feed::Line;
use super::report::Conditions;
use super::report::DemoReport;
use super::report::LineResult;
use super::report::RelayCounts;
use super::vfio_feed::Raise;
use super::vfio_feed::VfioFeed;
use super::vgpu_feed::VgpuFeed;
use crate::guest;
use crate::guest::LevelPin;
use crate::halt_poll::HaltPoll;
use crate::kvm_node;
use crate::machine::Machine;
use crate::output::Output;
use crate::posted_guest;
use crate::progress::Progress;

/// How often stamps are collected and the live line is drawn: often enough that the guest's ring
/// of 255 stamps holds a head's vblanks at the highest rate, 1000 Hz.
const LOOK: Duration = Duration::from_millis(100);

/// How often the guest is asked whether it rests, so that what it stamped until then can be judged:
/// seldom, since the question takes the vCPU out of the guest.
const ASK: Duration = Duration::from_secs(1);

/// How long the last interrupts may take to arrive once the source has stopped. Far longer than
/// they take: a machine that has much else to do keeps threads from running for seconds.
const DRAIN: Duration = Duration::from_secs(60);

/// Between two looks at an eventfd that is being emptied: longer than that takes.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a device that signals by itself is given to be at rest for once.
const REST: Duration = Duration::from_secs(2);

/// Vector of the first interrupt; the others follow.
const FIRST_VECTOR: u8 = 0x40;

/// A pin of the guest's IOAPIC that the PIC does not have too; a source has one line at most.
const LEVEL_PIN: u8 = 20;

/// The requester id of a source that is no PCI device: 00:00.0, which a host bridge has.
const NO_DEVICE: Rid = Rid(0);

/// Runs the demo and prints its report.
///
/// # Errors
///
/// There is no KVM, the source could not be had, the guest could not be booted, an interrupt was
/// lost or invented, or the report not printed.
pub(crate) fn run(args: &DemoArgs, output: &Output) -> anyhow::Result<()> {
    kvm_node::open(&args.kvm)?;
    let measured = {
        let progress = output.progress(args.seconds.as_secs());
        measure(args, &progress)?
    };
    let conditions = Conditions {
        source: args.source.to_string(),
        ran_for: measured.ran_for,
        refresh: measured.refresh,
        halt_poll: measured.halt_poll,
        machine: Machine::read(),
    };
    let report = DemoReport::new(conditions, &measured.lines, measured.relay)?;
    output.print(&report)?;
    ensure!(
        report.faults() == 0,
        "interrupts were lost or invented: see the report"
    );
    Ok(())
}

struct Measured {
    ran_for: Duration,
    refresh: Option<Refresh>,
    halt_poll: HaltPoll,
    lines: Vec<LineResult>,
    relay: RelayCounts,
}

fn open(args: &DemoArgs) -> anyhow::Result<Box<dyn Feed>> {
    ensure!(
        matches!(args.source, Source::Vfio(_)) || args.irq.is_none() && !args.listen,
        "--irq and --listen are for --source vfio:DEVICE"
    );
    Ok(match &args.source {
        Source::Vgpu => Box::new(VgpuFeed::new(args.heads, args.refresh_hz)?),
        Source::VfioUser(socket) => Box::new(DisplayFeed::connect(socket)?),
        Source::Vfio(address) => {
            let raise = match args.listen {
                true => Raise::Device,
                false => Raise::Loopback(args.refresh_hz),
            };
            Box::new(VfioFeed::open(address, args.irq, raise)?)
        }
    })
}

fn measure(args: &DemoArgs, progress: &Progress) -> anyhow::Result<Measured> {
    let mut feed = open(args)?;
    progress.set(0, "booting the guest");
    let clock = TscClock::calibrate()?;
    let vectors = vectors(feed.lines().len())?;
    let pins = level_pins(feed.lines(), &vectors)?;
    let (guest, vm) = boot(args, &pins)?;
    let path = match args.path {
        PathWanted::Auto | PathWanted::Bypass | PathWanted::Posted => PathPolicy::Auto,
        PathWanted::Relay => PathPolicy::Relay,
    };
    let registry = Registry::with_options(Options {
        path,
        ..Options::default()
    })?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let links = connect(&registry, &vm, feed.lines(), &vectors)?;
    let paths = delivery(&links, args.path)?;
    feed.hush()?;
    let patience = Instant::now() + REST;
    let mut account = loop {
        let before = counted(&*feed)?;
        quiesce(&registry, &guest, &*feed, &links)?;
        let account = Account::new(&guest, &*feed, vectors.clone(), clock)?;
        // An interrupt at this edge would be on one side of the account only: then a new one is
        // opened. A device that is never at rest gets the last.
        if counted(&*feed)? == before || Instant::now() > patience {
            break account;
        }
    };

    feed.start()?;
    let started = Instant::now();
    let (mut asked, mut settled) = (started, 0);
    while started.elapsed() < args.seconds {
        std::thread::sleep(LOOK.min(args.seconds.saturating_sub(started.elapsed())));
        if let Some(error) = guest.failure() {
            return Err(error).context("the guest stopped");
        }
        if asked.elapsed() >= ASK {
            let probe = guest.probe(Instant::now() + DRAIN)?;
            if probe.quiet {
                (asked, settled) = (Instant::now(), probe.tsc);
            }
        }
        account.collect(&*feed, settled)?;
        progress.set(started.elapsed().as_secs(), account.line());
    }
    // Before the stop, which takes what is due by then into account.
    let ran_for = started.elapsed();
    feed.stop()?;
    let quiet = quiesce(&registry, &guest, &*feed, &links)?;
    let quiet = match end_level_lines(&*feed, &guest, &vectors)? {
        0 => quiet,
        _ => quiesce(&registry, &guest, &*feed, &links)?,
    };
    account.close(&*feed, quiet)?;
    let counters = registry.relay_counters();
    let lines = account.results(&*feed, paths)?;
    drop(links);
    drop(relay);

    // Only where the pace is ours.
    let refresh = feed.stamps().map(|_| args.refresh_hz);
    Ok(Measured {
        ran_for,
        refresh,
        halt_poll: guest.halt_poll().into(),
        lines,
        relay: RelayCounts {
            wakeups: counters.waits,
            claims: counters.claims,
            injections: counters.injections,
        },
    })
}

/// Signals each level line that is ours to signal once more, and waits for its handler; how many there are.
///
/// VFIO's loopback raises a line that may be up: until the handler's EOI an event merges with the one whose
/// handler runs, or has run. Were that the last, it would look lost. Nor does a guest at rest say that nothing is
/// under way, since the kernel raises a pin by a work item.
fn end_level_lines(
    feed: &dyn Feed,
    guest: &RunningGuest,
    vectors: &[GuestVector],
) -> anyhow::Result<usize> {
    let mut ended = 0;
    for (at, (line, vector)) in feed.lines().iter().zip(vectors).enumerate() {
        let before = guest.counters().delivered(*vector);
        if line.trigger() != Trigger::Level || !feed.signal_once(at)? {
            continue;
        }
        let pause = Wait::Sleep(Duration::from_millis(1));
        match guest.wait_delivered(*vector, before + 1, Instant::now() + DRAIN, pause) {
            // The account tells of one that has not come.
            Ok(_) | Err(WaitError::TimedOut { .. }) => ended += 1,
            Err(error) => return Err(error).context("the guest stopped"),
        }
    }
    Ok(ended)
}

/// What a source that keeps a count of its own has counted of each line.
fn counted(feed: &dyn Feed) -> anyhow::Result<Vec<Option<u64>>> {
    (0..feed.lines().len())
        .map(|line| feed.signalled(line))
        .collect()
}

/// The guest's interrupt side.
enum Vm {
    Kvm(Arc<VmDomain>),
    Posted(Arc<PostedVm>),
}

fn boot(args: &DemoArgs, pins: &[LevelPin]) -> anyhow::Result<(RunningGuest, Vm)> {
    if args.path == PathWanted::Posted {
        ensure!(
            pins.is_empty(),
            "a level line is not posted; choose another index with --irq, or another --path"
        );
        let (guest, vm) = posted_guest::boot(&args.kvm, args.halt_poll_ns)?;
        return Ok((guest, Vm::Posted(vm)));
    }
    let guest = guest::boot(&args.kvm, args.halt_poll_ns, pins)?;
    let domain = VmDomain::new(
        Arc::new(VmIrqFd::new(guest.vm())),
        EmbedderRoutes::pc_pins(),
        DestinationIds::Bits8,
    )?;
    Ok((guest, Vm::Kvm(domain)))
}

impl Vm {
    /// The consumer of a line: a message of the guest, or its pin.
    fn consumer(&self, line: &Line, vector: GuestVector) -> anyhow::Result<Arc<dyn Consumer>> {
        let name = format!("guest.vector{:#04x}", vector.get());
        let message = MsiMessage {
            address: vector.msi_address(),
            data: vector.msi_data(),
        };
        let source = line.producer.info().source_id.unwrap_or(NO_DEVICE);
        Ok(match (self, line.trigger()) {
            (Self::Posted(vm), _) => vm.msi(name, source, message)?,
            (Self::Kvm(domain), Trigger::Edge) => domain.msi(name, message, None)?,
            (Self::Kvm(domain), Trigger::Level) => domain.pin(name, Gsi(LEVEL_PIN.into()))?,
        })
    }
}

fn vectors(lines: usize) -> anyhow::Result<Vec<GuestVector>> {
    let vectors: Vec<GuestVector> = (FIRST_VECTOR..=u8::MAX)
        .filter_map(GuestVector::new)
        .take(lines)
        .collect();
    ensure!(
        vectors.len() == lines,
        "{lines} interrupts are more than the guest has vectors for"
    );
    Ok(vectors)
}

/// The pin of the source's level line, if it has one.
fn level_pins(lines: &[Line], vectors: &[GuestVector]) -> anyhow::Result<Vec<LevelPin>> {
    let levels = lines.iter().zip(vectors);
    let levels = levels.filter(|(line, _)| line.trigger() == Trigger::Level);
    let pins: Vec<LevelPin> = levels
        .map(|(_, vector)| LevelPin {
            pin: LEVEL_PIN,
            vector: *vector,
        })
        .collect();
    ensure!(pins.len() <= 1, "the guest has one pin for level lines");
    Ok(pins)
}

type Link = (ProducerHandle, ConsumerHandle);

/// Registers each line as producer and a message or the pin of the guest as its consumer; all
/// routes go into the table with one commit.
fn connect(
    registry: &Registry,
    vm: &Vm,
    lines: &[Line],
    vectors: &[GuestVector],
) -> anyhow::Result<Vec<Link>> {
    let hold = registry.hold_promotions();
    let mut links = Vec::new();
    for (line, vector) in lines.iter().zip(vectors) {
        let consumer = vm.consumer(line, *vector)?;
        links.push((
            registry.register_producer(line.token.clone(), Arc::clone(&line.producer))?,
            registry.register_consumer(line.token.clone(), consumer)?,
        ));
    }
    hold.release();
    Ok(links)
}

/// The path and reason of each link, if they are what was asked for.
fn delivery(links: &[Link], wanted: PathWanted) -> anyhow::Result<Vec<(String, String)>> {
    links
        .iter()
        .map(|(_, consumer)| {
            let delivery = consumer.delivery()?;
            if wanted == PathWanted::Bypass && delivery.state != DeliveryState::Bypass {
                bail!("no bypass to be had: {}; try --path auto", delivery.reason);
            }
            if wanted == PathWanted::Posted && delivery.state != DeliveryState::Posted {
                bail!("not posted: {}", delivery.reason);
            }
            Ok((delivery.state.to_string(), delivery.reason.to_string()))
        })
        .collect()
}

/// Waits until nothing is under way, and tells since when.
fn quiesce(
    registry: &Registry,
    guest: &RunningGuest,
    feed: &dyn Feed,
    links: &[Link],
) -> anyhow::Result<u64> {
    let deadline = Instant::now() + DRAIN;
    for line in feed.lines() {
        // Under bypass the kernel empties the eventfd as it is written.
        while line.token.pending()? > 0 {
            ensure!(
                Instant::now() < deadline,
                "{} is stuck in the relay",
                line.name
            );
            // Asleep, not busy: whoever is to empty it may need this core, or this process's share.
            std::thread::sleep(PAUSE);
        }
    }
    loop {
        let before = registry.relay_counters();
        for (_, consumer) in links {
            // Takes the link's lock, under which the relay claims and injects: what it had claimed
            // is on its way to the guest when this returns.
            consumer.delivery()?;
        }
        let probe = guest.quiesce(deadline)?;
        if registry.relay_counters() == before {
            return Ok(probe.tsc);
        }
    }
}
