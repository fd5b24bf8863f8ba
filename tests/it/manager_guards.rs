//! What the manager does when something runs short, fires too often, is refused or takes long.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::manager::CountInterrupts;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::LocalProducer;
use irqbroker_core::Reason;
use irqbroker_core::Wait;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::HostIrqs;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::layout;
use crate::manager_rig::story_time;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![
        story(
            "manager_storm_of_a_kernel_device_is_seen_by_the_hosts_count",
            Need::Nothing,
            host_count,
        ),
        story(
            "manager_access_does_not_wait_for_a_commit_of_routes",
            Need::Nothing,
            no_wait,
        ),
    ];
    stories.extend(on_both(
        "manager_storm_is_held_down_and_ends_by_itself",
        storm,
    ));
    stories
}

fn reason(guest: &GuestDriver, at: u16) -> Option<Reason> {
    let explained = guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.reason)
}

fn state(guest: &GuestDriver, at: u16) -> Option<DeliveryState> {
    let explained = guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.state)
}

fn storm(world: &dyn World) -> anyhow::Result<()> {
    const LIMIT: u32 = 1000;
    let options = ManagerOptions {
        storm: Some(LIMIT),
        ..ManagerOptions::default()
    };
    let manager = Manager::new(Arc::clone(world.domain()), options)?;
    let head = LocalProducer::new("head")?;
    let shape = DeviceShape {
        layout: layout(1, IntxSource::Tracked),
        device_id: None,
    };
    let source = DeviceSource::Local(vec![head.clone()]);
    let guest = GuestDriver(manager.add_device("gpu", source, shape)?);
    guest.enable_msix([(0, message(vector(0)))]);
    let settle = || -> anyhow::Result<()> {
        while manager.service(Wait::No)?.events > 0 {}
        world.settle()
    };
    settle()?;
    ensure!(state(&guest, 0) == Some(DeliveryState::Bypass));
    let mut now = story_time();
    manager.look(now);
    // Twice the limit for half a second.
    (0..1000).for_each(|_| head.signal());
    now += Duration::from_millis(500);
    manager.look(now);
    let storm = Reason::Storm { limit: LIMIT };
    ensure!(reason(&guest, 0) == Some(storm), "{:?}", reason(&guest, 0));

    settle()?;
    const BURST: u64 = 2000;
    let before = world.delivered(vector(0));
    let began = Instant::now();
    for _ in 0..BURST {
        head.signal();
        manager.service(Wait::No)?;
    }
    // The service loop begins a window every ten milliseconds, each with a share of ten.
    let windows = began.elapsed().as_millis() / 10 + 2;
    settle()?;
    let passed = world.delivered(vector(0)) - before;
    ensure!(
        (1..=11 * windows).contains(&passed.into()),
        "{passed} of {BURST} passed in {windows} windows"
    );

    for _ in 0..12 {
        now += Duration::from_millis(100);
        manager.look(now);
        settle()?;
    }
    ensure!(state(&guest, 0) == Some(DeliveryState::Bypass));
    let before = world.delivered(vector(0));
    head.signal();
    settle()?;
    ensure!(world.delivered(vector(0)) == before + 1);
    Ok(())
}

/// What a host would have counted.
#[derive(Debug, Default)]
struct HostCount(AtomicU64);

impl CountInterrupts for HostCount {
    fn read(&self) -> HostIrqs {
        // Relaxed: one thread.
        let count = self.0.load(Ordering::Relaxed);
        let vector = HostIrq::of("device", IrqIndex::MSIX, 0);
        vector.into_iter().map(|irq| (irq, count)).collect()
    }
}

fn host_count() -> anyhow::Result<()> {
    const LIMIT: u32 = 1000;
    let world = SimWorld::new()?;
    let host = Arc::new(HostCount::default());
    let options = ManagerOptions {
        storm: Some(LIMIT),
        counts: Some(host.clone()),
        ..ManagerOptions::default()
    };
    let rig = Rig::with(&world, 1, SimDevice::pci().intx().msi(1).msix(1), options)?;
    rig.guest.enable_msix([(0, message(vector(0)))]);
    rig.settle(&world)?;
    ensure!(state(&rig.guest, 0) == Some(DeliveryState::Bypass));
    let mut now = story_time();
    let mut second = |interrupts: u64| {
        host.0.fetch_add(interrupts, Ordering::Relaxed);
        now += Duration::from_secs(1);
        rig.manager.look(now);
        rig.settle(&world)
    };
    second(0)?;
    second(900)?;
    ensure!(state(&rig.guest, 0) == Some(DeliveryState::Bypass));
    second(5000)?;
    let storm = Reason::Storm { limit: LIMIT };
    ensure!(reason(&rig.guest, 0) == Some(storm));
    second(600)?;
    ensure!(
        reason(&rig.guest, 0) == Some(storm),
        "not half of the limit"
    );
    second(10)?;
    second(10)?;
    ensure!(state(&rig.guest, 0) == Some(DeliveryState::Bypass));
    rig.raise(0);
    rig.settle(&world)?;
    ensure!(world.delivered(vector(0)) == 1);
    Ok(())
}

fn no_wait() -> anyhow::Result<()> {
    let (began, commits) = mpsc::channel();
    let (let_through, may_end) = mpsc::channel();
    let vm = SimHost::default().vm(VmShape::PC);
    let may_end = Mutex::new(may_end);
    vm.before_commits(move || {
        // Nobody listens any more once the story is over.
        let _ = began.send(());
        let may_end = may_end.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = may_end.recv();
    });
    let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;
    let device = SimDevice::pci().intx().msi(1).msix(64);
    let rig = Rig::on(manager, "device", 64, device)?;
    let guest = &rig.guest;
    guest.enable_msix((0..8).map(|at| (at, message(vector(at)))));
    let_through.send(())?;
    while rig.manager.service(Wait::No)?.events > 0 {}
    commits.recv()?;

    // A new vector makes the service loop commit, which takes as long as this story lasts.
    guest.set_message(8, message(vector(8)));
    guest.unmask(8);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let service = scope.spawn(|| rig.manager.service(Wait::Forever));
        commits.recv()?;
        // All of these come back, or the story hangs: a new vector, another message for one that
        // has a route and for one that waits for it, mask, unmask, a look at the pending bits.
        guest.set_message(9, message(vector(9)));
        guest.unmask(9);
        guest.set_message(0, message(vector(20)));
        guest.mask(1);
        guest.set_message(1, message(vector(21)));
        guest.unmask(1);
        guest.set_message(8, message(vector(22)));
        guest.mask(2);
        ensure!(!guest.is_pending(2));
        guest.unmask(2);
        rig.raise(2);
        guest.mask(9);
        let_through.send(())?;
        // And one for what has come up meanwhile.
        let_through.send(())?;
        ensure!(service.join().is_ok_and(|serviced| serviced.is_ok()));
        Ok(())
    })?;
    let_through.send(())?;
    let_through.send(())?;
    while rig.manager.service(Wait::No)?.events > 0 {}
    for at in [0, 1, 2, 8] {
        let raised = rig.raise(at);
        ensure!(raised == Raised::Signalled, "{raised:?}");
        vm.pump();
    }
    let found = [0, 20, 1, 21, 2, 8, 22].map(|at| vm.delivered(vector(at)));
    ensure!(found == [0, 1, 0, 1, 2, 0, 1], "{found:?}");
    Ok(())
}
