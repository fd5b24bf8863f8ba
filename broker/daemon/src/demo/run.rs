//! Runs the demo: a vGPU's vblanks, through the broker, into a real guest.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker::ConsumerHandle;
use irqbroker::DeliveryState;
use irqbroker::MsiMessage;
use irqbroker::Options;
use irqbroker::PathPolicy;
use irqbroker::ProducerHandle;
use irqbroker::Registry;
use irqbroker::RelayThread;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::InstanceConfig;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuInstance;
use irqbroker::vgpu::VgpuParent;
use irqbroker_guest::GuestVector;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::TscClock;

use super::DemoArgs;
use super::account::Account;
use super::account::Stamps;
use super::args::PathWanted;
use super::report::Conditions;
use super::report::DemoReport;
use super::report::HeadResult;
use super::report::RelayCounts;
use crate::guest;
use crate::halt_poll::HaltPoll;
use crate::kvm_node;
use crate::machine::Machine;
use crate::output::Output;
use crate::progress::Progress;

/// How often stamps are collected and the live line is drawn: often enough that the guest's ring
/// of 255 stamps holds a head's vblanks at the highest rate, 1000 Hz.
const LOOK: Duration = Duration::from_millis(100);

/// How long the last interrupts may take to arrive once the vblanks have stopped.
const DRAIN: Duration = Duration::from_secs(2);

/// Vector of head 0; the others follow.
const FIRST_VECTOR: u8 = 0x40;

/// Runs the demo and prints its report.
///
/// # Errors
///
/// There is no KVM, the guest could not be booted, or the report not printed.
pub(crate) fn run(args: &DemoArgs, output: &Output) -> anyhow::Result<()> {
    kvm_node::open(&args.kvm)?;
    let measured = {
        let progress = output.progress(args.seconds.as_secs());
        measure(args, &progress)?
    };
    let conditions = Conditions {
        source: args.source,
        ran_for: measured.ran_for,
        refresh: args.refresh_hz,
        halt_poll: measured.halt_poll,
        machine: Machine::read(),
    };
    let report = DemoReport::new(conditions, &measured.heads, measured.relay)?;
    output.print(&report)?;
    ensure!(
        report.faults() == 0,
        "interrupts were lost or invented: see the report"
    );
    Ok(())
}

struct Measured {
    ran_for: Duration,
    halt_poll: HaltPoll,
    heads: Vec<HeadResult>,
    relay: RelayCounts,
}

fn measure(args: &DemoArgs, progress: &Progress) -> anyhow::Result<Measured> {
    progress.set(0, "booting the guest");
    let clock = TscClock::calibrate()?;
    let guest = guest::boot(&args.kvm, args.halt_poll_ns)?;
    let domain = VmDomain::new(
        Arc::new(VmIrqFd::new(guest.vm())),
        EmbedderRoutes::pc_pins(),
        DestinationIds::Bits8,
    )?;
    let path = match args.path {
        PathWanted::Auto | PathWanted::Bypass => PathPolicy::Auto,
        PathWanted::Relay => PathPolicy::Relay,
    };
    let registry = Registry::with_options(Options {
        path,
        ..Options::default()
    })?;
    let scheduler = VblankScheduler::new(Granularity::Exact);
    let stamps = Arc::new(Stamps::new(args.heads));
    scheduler.observe(stamps.clone())?;
    let vgpu = VgpuParent::new(scheduler.clone()).create(InstanceConfig {
        name: None,
        heads: vec![args.refresh_hz; args.heads],
    })?;
    let mut account = Account::new(&guest, &stamps, vectors(args.heads)?, clock)?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let links = connect(&registry, &domain, &vgpu)?;
    let heads: Vec<(String, String)> = delivery(&links, args.path)?;

    let vblanks = scheduler.spawn()?;
    let started = Instant::now();
    while started.elapsed() < args.seconds {
        std::thread::sleep(LOOK.min(args.seconds.saturating_sub(started.elapsed())));
        account.collect()?;
        progress.set(started.elapsed().as_secs(), account.line());
        if let Some(error) = guest.failure() {
            return Err(error).context("the guest stopped");
        }
    }
    drop(vblanks);
    let ran_for = started.elapsed();
    drain(&registry, &guest, &vgpu, &mut account)?;
    let counters = registry.relay_counters();
    drop(links);
    drop(relay);

    Ok(Measured {
        ran_for,
        halt_poll: guest.halt_poll().into(),
        heads: account.results(&vgpu, heads)?,
        relay: RelayCounts {
            wakeups: counters.waits,
            claims: counters.claims,
            injections: counters.injections,
        },
    })
}

fn vectors(heads: usize) -> anyhow::Result<Vec<GuestVector>> {
    (FIRST_VECTOR..)
        .take(heads)
        .map(|vector| GuestVector::new(vector).context("too many heads for the guest's vectors"))
        .collect()
}

type Link = (ProducerHandle, ConsumerHandle);

/// Registers each head's vblank as producer and a message of the guest as its consumer; all routes
/// go into the table with one commit.
fn connect(
    registry: &Registry,
    domain: &Arc<VmDomain>,
    vgpu: &VgpuInstance,
) -> anyhow::Result<Vec<Link>> {
    let hold = registry.hold_promotions();
    let mut links = Vec::new();
    for (head, vector) in vgpu.heads().iter().zip(vectors(vgpu.heads().len())?) {
        let producer = head.producer();
        let token = producer.token().clone();
        let message = MsiMessage {
            address: vector.msi_address(),
            data: vector.msi_data(),
        };
        let consumer = domain.msi(format!("guest.msi{}", head.id()), message, None)?;
        links.push((
            registry.register_producer(token.clone(), producer)?,
            registry.register_consumer(token, consumer)?,
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
            Ok((delivery.state.to_string(), delivery.reason.to_string()))
        })
        .collect()
}

/// Waits until nothing is under way, and closes the account.
fn drain(
    registry: &Registry,
    guest: &RunningGuest,
    vgpu: &VgpuInstance,
    account: &mut Account,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + DRAIN;
    for head in vgpu.heads() {
        let producer = head.producer();
        // Under bypass the kernel empties the eventfd as it is written.
        while producer.token().pending()? > 0 {
            ensure!(
                Instant::now() < deadline,
                "{} is stuck in the relay",
                head.id()
            );
            std::thread::yield_now();
        }
    }
    // A claimed event may still be under way to the guest; the relay counts the injection before
    // it makes it, so look until the guest is quiet after the counters agree.
    let probe = loop {
        let before = registry.relay_counters();
        let probe = guest.quiesce(deadline)?;
        if registry.relay_counters() == before {
            break probe;
        }
    };
    account.close(probe.tsc)
}
