//! What is counted rather than timed: system calls, ioctls, wake-ups.

use std::fs;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::MsiMessage;
use irqbroker_core::Options;
use irqbroker_core::PathPolicy;
use irqbroker_core::Registry;
use irqbroker_core::RelayThread;
use irqbroker_core::Token;
use irqbroker_core::Wait;
use irqbroker_guest::GuestVector;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::bench::Change;
use crate::bench::Device;
use crate::bench::Party;
use crate::bench::settle;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

/// How long one interrupt may take. Only a lost one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![
        story(
            "bypassed_link_costs_no_system_call_and_no_wakeup_over_1e5_interrupts",
            Need::Kvm,
            bypass_costs_nothing,
        ),
        story(
            "relay_costs_three_system_calls_for_a_lone_event",
            Need::Kvm,
            relay_lone,
        ),
    ];
    stories.extend(on_both(
        "relay_costs_two_system_calls_and_a_share_of_a_wait_in_a_burst",
        relay_burst,
    ));
    stories.extend(on_both(
        "enabling_many_vectors_in_one_transaction_writes_the_table_once",
        one_commit,
    ));
    stories.extend(on_both(
        "invariant_5_links_under_one_hold_write_the_table_once",
        one_hold,
    ));
    stories.extend(on_both(
        "invariant_6_toggles_of_an_in_process_producer_cost_no_ioctl",
        toggles,
    ));
    stories.extend(on_both(
        "equal_messages_share_a_gsi_and_free_it_with_the_last",
        shared_gsi,
    ));
    stories
}

/// The one voluntary switch a sleeping thread is at is its last.
fn relay_switches() -> anyhow::Result<u64> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // Threads of other stories come and go meanwhile.
        let Ok(status) = fs::read_to_string(task.join("status")) else {
            continue;
        };
        if status.starts_with("Name:\tirq-relay-1e5") {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            return Ok(line.context("no switch count")?.trim().parse()?);
        }
    }
    anyhow::bail!("no relay thread")
}

fn wait_for(world: &KvmWorld, vector: u8, count: u64) -> anyhow::Result<()> {
    let vector = GuestVector::new(vector).context("no handler")?;
    world.guest.wait_delivered(
        vector,
        count,
        Instant::now() + PATIENCE,
        irqbroker_guest::Wait::Spin,
    )?;
    Ok(())
}

fn bypass_costs_nothing() -> anyhow::Result<()> {
    const INTERRUPTS: u64 = 100_000;
    let world = KvmWorld::new()?;
    let registry = Registry::new()?;
    let _relay = RelayThread::spawn(registry.clone(), || {
        rename("irq-relay-1e5");
    })?;
    let mut party = Party::new(1)?;
    party.open_up(&registry, &world)?;
    // Once through the relay and back: its eventfd stays in the epoll set, as in real life.
    party.change(Change::Demote, &registry, &world)?;
    party.source.signal();
    wait_for(&world, party.vector().0, 1)?;
    party.change(Change::Promote, &registry, &world)?;
    let vector = party.vector().0;
    // The relay thread goes back to sleep.
    settle(&registry, &world)?;
    let before = (registry.relay_counters(), world.ioctls(), relay_switches()?);
    for count in 1..=INTERRUPTS {
        party.source.signal();
        wait_for(&world, vector, 1 + count)?;
    }
    let after = (registry.relay_counters(), world.ioctls(), relay_switches()?);
    ensure!(before == after, "{before:?} became {after:?}");
    world.settle()?;
    let delivered = party.delivered(&world);
    ensure!(delivered == 1 + INTERRUPTS, "{delivered} delivered");
    Ok(())
}

fn rename(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // A name that was not taken fails the story when it looks for the thread.
        let _ = rustix::thread::set_name(&name);
    }
}

fn relay_lone() -> anyhow::Result<()> {
    const EVENTS: u64 = 1000;
    let world = KvmWorld::new()?;
    let registry = Registry::with_options(Options {
        path: PathPolicy::Relay,
        ..Options::default()
    })?;
    let _relay = RelayThread::spawn(registry.clone(), || {})?;
    let mut party = Party::new(1)?;
    party.open_up(&registry, &world)?;
    let before = registry.relay_counters();
    for count in 1..=EVENTS {
        party.source.signal();
        wait_for(&world, party.vector().0, count)?;
    }
    world.settle()?;
    let after = registry.relay_counters();
    let calls = (after.waits + after.claims + after.injections)
        - (before.waits + before.claims + before.injections);
    // A wait that the relay has begun and that has not returned yet is not counted.
    ensure!(
        calls <= 3 * EVENTS,
        "{calls} system calls for {EVENTS} events"
    );
    ensure!(after.injections - before.injections == EVENTS, "{after:?}");
    Ok(())
}

/// Links of one burst: as many as one `epoll_wait` hands out.
const BURST: usize = 64;

fn relay_burst(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::with_options(Options {
        path: PathPolicy::Relay,
        ..Options::default()
    })?;
    let mut parties: Vec<Party> = (0..BURST).map(Party::new).collect::<anyhow::Result<_>>()?;
    parties
        .iter_mut()
        .try_for_each(|party| party.open_up(&registry, world))?;
    settle(&registry, world)?;
    let before = registry.relay_counters();
    parties.iter().for_each(|party| party.source.signal());
    let serviced = registry.service(Wait::No)?;
    let after = registry.relay_counters();
    ensure!(serviced.injected == BURST, "{serviced:?}");
    let calls = (after.waits + after.claims + after.injections)
        - (before.waits + before.claims + before.injections);
    ensure!(
        calls == 2 * BURST as u64 + 1,
        "{calls} system calls for {BURST} events"
    );
    world.settle()?;
    for party in &parties {
        ensure!(party.delivered(world) == 1, "{party:?}");
    }
    Ok(())
}

/// More than any table this side of a big NVMe, and half of what KVM takes.
const VECTORS: u32 = 2048;

/// Messages that differ from each other: 224 vectors times ten destinations.
fn distinct(at: u32) -> MsiMessage {
    let (destination, vector) = (at / 224, at % 224 + 0x20);
    MsiMessage {
        address: 0xfee0_0000 | u64::from(destination) << 12,
        data: vector,
    }
}

fn one_commit(world: &dyn World) -> anyhow::Result<()> {
    let events = (0..VECTORS)
        .map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let mut commits = Vec::new();
    for _ in 0..2 {
        let before = world.ioctls();
        let mut transaction = world.domain().transaction();
        for (at, event) in (0..).zip(&events) {
            transaction.arm(Arc::clone(event), distinct(at), None)?;
        }
        let irqfds = transaction.commit()?;
        let spent = world.ioctls() - before;
        ensure!(spent.assigns == u64::from(VECTORS), "{spent:?}");
        commits.push(spent.commits);
        drop(irqfds);
    }
    // The second time the kernel still has every route.
    ensure!(commits == [1, 0], "{commits:?} commits");
    Ok(())
}

fn one_hold(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let before = world.ioctls();
    let hold = registry.hold_promotions();
    let mut links = Vec::new();
    for at in 0..VECTORS {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let token = Token::of(event)?;
        let consumer = world.domain().msi(format!("msi{at}"), distinct(at), None)?;
        links.push((
            registry.register_producer(token.clone(), Arc::new(Device))?,
            registry.register_consumer(token, consumer)?,
        ));
    }
    let promoted = hold.release();
    let spent = world.ioctls() - before;
    ensure!(promoted.bypassed == VECTORS as usize, "{promoted:?}");
    ensure!(
        (spent.commits, spent.assigns) == (1, u64::from(VECTORS)),
        "{spent:?}"
    );
    ensure!(registry.relay_counters() == irqbroker_core::RelayCounters::default());
    Ok(())
}

fn toggles(world: &dyn World) -> anyhow::Result<()> {
    const TOGGLES: u64 = 10_000;
    let registry = Registry::new()?;
    // Even parties have a producer in this process.
    let mut party = Party::new(0)?;
    party.open_up(&registry, world)?;
    let before = world.ioctls();
    for _ in 0..TOGGLES {
        party.change(Change::Mask, &registry, world)?;
        party.source.signal();
        party.change(Change::Unmask, &registry, world)?;
    }
    let spent = world.ioctls() - before;
    ensure!(spent == irqbroker_kvm::IoctlCounts::default(), "{spent:?}");
    settle(&registry, world)?;
    let delivered = party.delivered(world);
    ensure!(
        (1..=TOGGLES).contains(&delivered),
        "{delivered} delivered of {TOGGLES}"
    );
    Ok(())
}

fn shared_gsi(world: &dyn World) -> anyhow::Result<()> {
    const LINKS: usize = 300;
    let registry = Registry::new()?;
    let hold = registry.hold_promotions();
    let mut links = Vec::new();
    for _ in 0..LINKS {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let token = Token::of(event)?;
        let consumer = world
            .domain()
            .msi("shared", message(irqbroker_core::Vector(0x50)), None)?;
        let producer = registry.register_producer(token.clone(), Arc::new(Device))?;
        links.push((producer, registry.register_consumer(token, consumer)?));
    }
    ensure!(hold.release().bypassed == LINKS);
    ensure!(
        world.domain().leased() == 1,
        "{} gsis",
        world.domain().leased()
    );
    drop(links);
    ensure!(
        world.domain().leased() == 0,
        "{} gsis",
        world.domain().leased()
    );
    Ok(())
}
