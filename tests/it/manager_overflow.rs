//! More vectors than GSIs: the busiest are bypassed, the others relayed.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Reason;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::KernelCapabilities;
use irqbroker_kvm::KvmErrno;
use irqbroker_kvm::LineLevel;
use irqbroker_kvm::MsiDelivery;
use irqbroker_kvm::RouteEntry;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::story_time;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;

pub(crate) fn stories() -> Vec<Trial> {
    let name = "manager_busiest_vectors_get_the_gsis_there_are";
    vec![
        story(name, Need::Nothing, || {
            let world = SimWorld::new()?;
            let load = Load {
                looks: 12,
                events: 10,
            };
            overflow(&world, world.vm.clone(), load)
        }),
        // A guest takes a while for each event.
        story(format!("{name}_on_kvm"), Need::Kvm, || {
            let world = KvmWorld::new()?;
            let load = Load {
                looks: 4,
                events: 1,
            };
            overflow(&world, VmIrqFd::new(world.guest.vm()), load)
        }),
    ]
}

fn reason(guest: &GuestDriver, at: u16) -> Option<Reason> {
    let explained = guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.reason)
}

fn state(guest: &GuestDriver, at: u16) -> Option<DeliveryState> {
    let explained = guest.0.explain(MessageSource::Msix(VectorIndex(at)));
    explained.delivery.map(|delivery| delivery.state)
}

/// GSIs that the table of `overflow` has for messages, and vectors that want one.
const ROOM: u16 = 4;
const WANTED: u16 = 12;

/// The VM of a world, with room for few routes.
#[derive(Debug)]
pub(crate) struct FewRoutes<V> {
    pub(crate) vm: V,
    pub(crate) max_routes: u32,
}

impl<V: VmIrq> VmIrq for FewRoutes<V> {
    fn capabilities(&self) -> KernelCapabilities {
        KernelCapabilities {
            max_routes: self.max_routes,
            ..self.vm.capabilities()
        }
    }
    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        self.vm.commit_routes(table)
    }
    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        self.vm.assign_irqfd(event, gsi)
    }
    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        self.vm.assign_resample_irqfd(event, resample, gsi)
    }
    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        self.vm.deassign_irqfd(event, gsi)
    }
    fn signal_msi(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno> {
        self.vm.signal_msi(message, device)
    }
    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno> {
        self.vm.set_line(gsi, level)
    }
}

/// How hard the vectors are driven.
#[derive(Debug, Clone, Copy)]
struct Load {
    looks: usize,
    /// Events of the second vector between two looks; the third has twice as many, and so on.
    events: u32,
}

fn overflow<V: VmIrq + 'static>(world: &dyn World, vm: V, load: Load) -> anyhow::Result<()> {
    // Reserved pins have no entries, and their GSIs are not to be had.
    let pins = EmbedderRoutes::reserved(24);
    let max_routes = 24 + u32::from(ROOM);
    let vm = Arc::new(FewRoutes { vm, max_routes });
    let domain = VmDomain::new(vm, pins, DestinationIds::Bits8)?;
    let options = ManagerOptions {
        // The service loop looks all the time, which is to change nothing: see `story_time`.
        interval: Duration::from_millis(1),
        ..ManagerOptions::default()
    };
    let manager = Manager::new(domain, options)?;
    let device = SimDevice::pci().intx().msi(1).msix(WANTED.into());
    let rig = Rig::on(manager, "device", WANTED, device)?;
    rig.guest
        .enable_msix((0..WANTED).map(|at| (at, message(vector(at)))));
    let mut raised = [0; WANTED as usize];
    let mut now = story_time();
    let settle = |rig: &Rig| -> anyhow::Result<()> { rig.settle(world) };
    settle(&rig)?;
    let bypassed = |rig: &Rig| -> Vec<u16> {
        let all = 0..WANTED;
        all.filter(|at| state(&rig.guest, *at) == Some(DeliveryState::Bypass))
            .collect()
    };
    ensure!(bypassed(&rig) == [0, 1, 2, 3], "{:?}", bypassed(&rig));
    let limit = max_routes;
    ensure!(reason(&rig.guest, 9) == Some(Reason::GsiExhausted { limit }));

    // The last ones are busy, each more than the one before it.
    for _ in 0..load.looks {
        for at in 0..WANTED {
            for _ in 0..(u32::from(at) * load.events) {
                rig.raise(at);
                raised[usize::from(at)] += 1;
                settle(&rig)?;
            }
        }
        now += Duration::from_millis(100);
        rig.manager.look(now);
        settle(&rig)?;
    }
    for at in 0..WANTED {
        let owed = raised[usize::from(at)];
        let found = rig.taken(world, vector(at), 0, owed)?;
        ensure!(found == owed, "vector {at}: {found} instead of {owed}");
    }
    let busy = bypassed(&rig);
    ensure!(busy.len() == usize::from(ROOM), "{busy:?}");
    ensure!(busy.iter().all(|at| *at >= 4), "{busy:?}");
    ensure!(reason(&rig.guest, 0) == Some(Reason::Outpaced { limit }));

    // A masked vector makes room for whoever is short.
    rig.guest.mask(busy[0]);
    now += Duration::from_millis(100);
    rig.manager.look(now);
    settle(&rig)?;
    ensure!(
        bypassed(&rig).len() == usize::from(ROOM),
        "{:?}",
        bypassed(&rig)
    );
    rig.guest.unmask(busy[0]);
    settle(&rig)?;
    rig.raise(busy[0]);
    settle(&rig)?;
    let owed = raised[usize::from(busy[0])] + 1;
    ensure!(rig.taken(world, vector(busy[0]), 0, owed)? == owed);
    // And all of them once there is room.
    for at in 0..ROOM * 2 {
        rig.guest.mask(at);
        rig.guest.set_message(at, message(vector(WANTED - 1)));
        rig.guest.unmask(at);
    }
    for _ in 0..2 {
        settle(&rig)?;
        now += Duration::from_millis(100);
        rig.manager.look(now);
    }
    settle(&rig)?;
    ensure!(bypassed(&rig).len() == usize::from(WANTED));
    Ok(())
}
