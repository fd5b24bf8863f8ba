//! What the kernel refuses, and what is left when it does.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::LinkError;
use irqbroker_core::PathPolicy;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Token;
use irqbroker_guest::GuestVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::KvmErrno;
use irqbroker_kvm::SimCallKind;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrqFd;
use kvm_ioctls::Kvm;
use libtest_mimic::Trial;
use rustix::process::PidfdFlags;
use rustix::process::PidfdGetfdFlags;

use crate::bench::Change;
use crate::bench::Device;
use crate::bench::Party;
use crate::bench::settle;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

/// Set for the process that is handed another one's VM on its standard input.
const FOREIGN_VM: &str = "IRQBROKER_TEST_FOREIGN_VM";

const EIO: KvmErrno = KvmErrno(5);
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![
        story(
            "eventfd_of_another_vm_stays_in_relay_with_ebusy",
            Need::Nothing,
            || {
                let host = SimHost::default();
                bound_elsewhere(&SimWorld::on(&host)?, &SimWorld::on(&host)?)
            },
        ),
        story(
            "eventfd_of_another_vm_stays_in_relay_with_ebusy_on_kvm",
            Need::Kvm,
            || bound_elsewhere(&KvmWorld::new()?, &KvmWorld::new()?),
        ),
        story(
            "refused_route_keeps_no_other_link_from_the_kernel",
            Need::Nothing,
            refused_route,
        ),
        story(
            "invariant_9_closed_vm_changes_no_link_and_is_told_once",
            Need::Nothing,
            closed_vm,
        ),
        story(
            "vm_of_another_process_is_refused_with_eio",
            Need::Kvm,
            foreign_vm,
        ),
    ];
    stories.extend(on_both("gsi_exhaustion_leaves_a_working_relay", exhaustion));
    stories
}

/// Whether this process is the one that gets the VM; `main` then does nothing else.
pub(crate) fn is_foreign_process() -> bool {
    std::env::var_os(FOREIGN_VM).is_some()
}

/// What that process does: everything it asks of the VM is answered with EIO.
pub(crate) fn foreign_process() -> anyhow::Result<()> {
    let vm: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    let vm = VmIrqFd::from_owned_fd(&Kvm::new()?, vm)?;
    let refused = VmDomain::new(
        Arc::new(vm),
        EmbedderRoutes::pc_pins(),
        DestinationIds::Bits8,
    )
    .err()
    .context("another process's vm was taken")?;
    println!("{:#}", anyhow::Error::new(refused));
    Ok(())
}

fn foreign_vm() -> anyhow::Result<()> {
    let guest = GuestVm::builder().build()?;
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let vm = rustix::process::pidfd_getfd(own, guest.vm().as_raw_fd(), PidfdGetfdFlags::empty())?;
    let child = Command::new(std::env::current_exe()?)
        .env(FOREIGN_VM, "1")
        .stdin(Stdio::from(vm))
        .output()?;
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    ensure!(child.status.success(), "{said}{errors}");
    ensure!(
        said.contains("EIO") || said.contains("os error 5"),
        "{said}"
    );
    Ok(())
}

fn bound_elsewhere(first: &dyn World, second: &dyn World) -> anyhow::Result<()> {
    let (one, other) = (Registry::new()?, Registry::new()?);
    let mut party = Party::new(1)?;
    party.open_up(&one, first)?;
    // A second broker, which knows nothing of the first, is given the same eventfd.
    let token = party.source.token().clone();
    let consumer = second.domain().msi("late", message(party.vector()), None)?;
    let _producer = other.register_producer(token.clone(), Arc::new(Device))?;
    let late = other.register_consumer(token, consumer)?;
    let delivery = late.delivery()?;
    ensure!(
        matches!(delivery.reason, Reason::AttachRefused { errno: EBUSY, .. })
            && delivery.state == DeliveryState::Relay,
        "{delivery:?}"
    );
    party.source.signal();
    settle(&one, first)?;
    settle(&other, second)?;
    let delivered = (party.delivered(first), second.delivered(party.vector()));
    ensure!(delivered == (1, 0), "{delivered:?}");
    // The first lets go: now the second may have it.
    party.change(Change::ConsumerLeaves, &one, first)?;
    ensure!(other.promote(late.link())?.state == DeliveryState::Bypass);
    Ok(())
}

fn exhaustion(world: &dyn World) -> anyhow::Result<()> {
    let limit = world.domain().capabilities().kernel.max_routes;
    let mut leases = Vec::new();
    let refused = loop {
        // Destinations nobody has: the routes only take room.
        let at = u64::try_from(leases.len())?;
        let taken = irqbroker_core::MsiMessage {
            address: 0xfee0_0000 | (at & 0xff) << 12,
            data: u32::try_from(0x20 + at / 0x100)?,
        };
        match world.domain().lease(taken, None) {
            Ok(lease) => leases.push(lease),
            Err(error) => break error,
        }
    };
    let refused = format!("{:#}", anyhow::Error::new(refused));
    ensure!(refused.contains(&limit.to_string()), "{refused}");
    let registry = Registry::new()?;
    let mut party = Party::new(50)?;
    party.open_up(&registry, world)?;
    let consumer = party.consumer.as_ref().context("no consumer")?;
    let delivery = consumer.delivery()?;
    ensure!(
        delivery.reason == Reason::GsiExhausted { limit },
        "{delivery:?}"
    );
    party.source.signal();
    settle(&registry, world)?;
    ensure!(party.delivered(world) == 1, "the relay does not deliver");
    leases.clear();
    ensure!(registry.promote(consumer.link())?.state == DeliveryState::Bypass);
    party.source.signal();
    settle(&registry, world)?;
    ensure!(party.delivered(world) == 2, "the kernel does not deliver");
    Ok(())
}

fn refused_route() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let registry = Registry::new()?;
    let mut parties: Vec<Party> = (0..3).map(Party::new).collect::<anyhow::Result<_>>()?;
    let table = world.vm.inner().table();
    // The batch is refused, and then the first link that is tried alone.
    world
        .vm
        .inner()
        .fail_nth(SimCallKind::CommitRoutes, 0, KvmErrno(EINVAL));
    world
        .vm
        .inner()
        .fail_nth(SimCallKind::CommitRoutes, 1, KvmErrno(EINVAL));
    let hold = registry.hold_promotions();
    for party in &mut parties {
        party.open_up(&registry, &world)?;
    }
    let promoted = hold.release();
    ensure!(
        (promoted.bypassed, promoted.relayed) == (2, 1),
        "{promoted:?}"
    );
    let refused = parties[0]
        .consumer
        .as_ref()
        .context("no consumer")?
        .delivery()?;
    ensure!(
        matches!(refused.reason, Reason::RouteRefused { errno: EINVAL, .. }),
        "{refused:?}"
    );
    ensure!(
        world.vm.inner().table() != table,
        "the others' routes are not live"
    );
    parties.iter().for_each(|party| party.source.signal());
    settle(&registry, &world)?;
    ensure!(
        parties.iter().all(|party| party.delivered(&world) == 1),
        "{parties:?}"
    );
    Ok(())
}

fn closed_vm() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let registry = Registry::new()?;
    let mut bypassed = Party::new(1)?;
    let mut relayed = Party::new(3)?;
    bypassed.open_up(&registry, &world)?;
    relayed.open_up(&registry, &world)?;
    let relay = relayed.consumer.as_ref().context("no consumer")?.link();
    registry.set_path(relay, PathPolicy::Relay)?;
    let events = registry.subscribe(16);
    world.vm.inner().close();

    let consumer = bypassed.consumer.as_ref().context("no consumer")?;
    let refused = consumer
        .mask()
        .err()
        .context("a dead vm let go of its irqfd")?;
    ensure!(matches!(refused, LinkError::Detach { .. }), "{refused:?}");
    ensure!(format!("{:#}", anyhow::Error::new(refused)).contains(&EIO.to_string()));
    ensure!(
        consumer.delivery()?.state == DeliveryState::Bypass,
        "a failed mask changed the link"
    );
    relayed.source.signal();
    settle(&registry, &world)?;
    relayed.source.signal();
    settle(&registry, &world)?;
    let told: Vec<Event> = events.try_iter().collect();
    ensure!(told == [Event::InjectFailed { link: relay }], "{told:?}");
    ensure!(registry.link(relay)?.counters.inject_failures == 2);
    let token: &Token = relayed.source.token();
    ensure!(token.pending()? == 0);
    Ok(())
}
