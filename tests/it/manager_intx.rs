//! INTx through the manager: in the kernel, driven from user space, shared, disabled, given up.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::manager::RouteIntxError;
use irqbroker_core::DeliveryState;
use irqbroker_core::Gsi;
use irqbroker_core::Reason;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IrqchipMode;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::InterruptMode;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::Level;
use libtest_mimic::Trial;

use crate::manager_rig::GuestDriver;
use crate::manager_rig::Rig;
use crate::manager_rig::layout;
use crate::manager_rig::story_time;
use crate::need::Need;
use crate::need::story;
use crate::world::KvmWorld;
use crate::world::LEVEL_PIN;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![
        story(
            "manager_line_is_driven_from_the_eoi_exit_without_a_full_irqchip",
            Need::Nothing,
            split,
        ),
        story(
            "manager_shared_line_asks_every_function_again_at_the_eoi",
            Need::Nothing,
            shared,
        ),
        story(
            "manager_line_of_a_device_model_follows_its_level",
            Need::Nothing,
            tracked,
        ),
        story(
            "manager_line_without_a_driver_is_refused",
            Need::Nothing,
            no_driver,
        ),
        story(
            "manager_line_whose_eoi_does_not_come_is_reported",
            Need::Nothing,
            no_eoi,
        ),
    ];
    let name = "manager_line_is_forwarded_by_the_kernel_and_gives_way_to_messages";
    stories.push(story(name, Need::Nothing, || {
        in_kernel(&SimWorld::new()?, Took::Exactly)
    }));
    // The running guest ends its interrupt whether its device is served or not.
    stories.push(story(format!("{name}_on_kvm"), Need::Kvm, || {
        in_kernel(&KvmWorld::new()?, Took::AtLeast)
    }));
    stories
}

/// Lets the kernel, the device behind VFIO and the guest come to rest.
fn rest(rig: &Rig, world: &dyn World) -> anyhow::Result<()> {
    rig.settle(world)?;
    // An eventfd that unmasks acts when the simulated device is pumped.
    rig.sim.pump();
    rig.settle(world)
}

/// How often a guest takes a level interrupt that is asserted for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    Exactly,
    AtLeast,
}

fn in_kernel(world: &dyn World, took: Took) -> anyhow::Result<()> {
    let rig = Rig::new(world, 1)?;
    let mut seen = 0;
    let mut expect = |step: &str, more: u64| {
        let found = rig.taken(world, LEVEL_PIN.vector, seen, more)?;
        seen += found;
        let as_owed = match took {
            Took::AtLeast if more > 0 => found >= more,
            _ => found == more,
        };
        ensure!(as_owed, "{step}: {found} instead of {more}");
        Ok(())
    };
    rig.guest.0.route_intx(Some(LEVEL_PIN.gsi))?;
    ensure!(rig.sim.active() == Some(IrqIndex::INTX));
    rest(&rig, world)?;
    let delivery = rig.guest.0.explain_line().delivery.context("no link")?;
    ensure!(delivery.state == DeliveryState::Bypass, "{delivery:?}");

    let injections = rig.manager.registry().relay_counters().injections;
    for _ in 0..10 {
        rig.sim.assert_line(IrqIndex::INTX);
        rig.settle(world)?;
        expect("assert", 1)?;
        // The guest serves the device, then ends the interrupt.
        rig.sim.deassert_line(IrqIndex::INTX);
        world.serve(LEVEL_PIN.gsi);
        // On a busy machine the eoi comes late.
        rest(&rig, world)?;
        for _ in 0..1000 {
            if !rig.sim.is_masked(IrqIndex::INTX) {
                break;
            }
            rest(&rig, world)?;
        }
        expect("deassert", 0).or_else(|error| match took {
            Took::Exactly => Err(error),
            Took::AtLeast => Ok(()),
        })?;
        ensure!(!rig.sim.is_masked(IrqIndex::INTX), "masked after the eoi");
    }
    ensure!(rig.manager.registry().relay_counters().injections == injections);

    // DisINTx keeps it back; what the device asserts meanwhile comes when it is cleared.
    rig.guest.0.config_write(4, &[0x00, 0x04]);
    rig.sim.assert_line(IrqIndex::INTX);
    rest(&rig, world)?;
    expect("disabled", 0)?;
    rig.guest.0.config_write(4, &[0x00, 0x00]);
    rig.settle(world)?;
    expect("enabled again", 1)?;
    rig.sim.deassert_line(IrqIndex::INTX);
    world.serve(LEVEL_PIN.gsi);
    rest(&rig, world)?;

    // VFIO has one index enabled at a time.
    let vector = Vector(0x41);
    rig.guest.enable_msix([(0, message(vector))]);
    rest(&rig, world)?;
    ensure!(rig.sim.active() == Some(IrqIndex::MSIX));
    rig.raise(0);
    rest(&rig, world)?;
    ensure!(rig.taken(world, vector, 0, 1)? == 1);
    rig.guest.enable_msi(0, message(vector));
    rig.guest.disable_msix();
    ensure!(rig.sim.active() == Some(IrqIndex::MSI));
    rig.guest.disable_msi();
    ensure!(rig.sim.active() == Some(IrqIndex::INTX));
    ensure!(rig.guest.0.mode() == InterruptMode::Intx);
    rig.sim.assert_line(IrqIndex::INTX);
    rig.settle(world)?;
    expect("back in INTx", 1)?;
    rig.guest.0.route_intx(None)?;
    ensure!(rig.sim.active().is_none());
    Ok(())
}

/// A VM with a split irqchip, and an IOAPIC that only logs.
#[derive(Debug)]
struct Split {
    manager: Manager,
    log: Arc<Mutex<Vec<(Gsi, Level)>>>,
}

impl Split {
    fn new(options: ManagerOptions) -> anyhow::Result<Self> {
        let vm = SimHost::default().vm(VmShape {
            irqchip: IrqchipMode::Split,
            destination_ids: DestinationIds::Bits8,
        });
        let domain = VmDomain::new(vm, EmbedderRoutes::reserved(24), DestinationIds::Bits8)?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let driver = move |gsi, level| {
            let mut log = lines.lock().unwrap_or_else(PoisonError::into_inner);
            log.push((gsi, level));
        };
        let options = ManagerOptions {
            lines: Some(Arc::new(driver)),
            ..options
        };
        Ok(Self {
            manager: Manager::new(domain, options)?,
            log,
        })
    }

    fn device(&self, name: &str) -> anyhow::Result<Rig> {
        let device = SimDevice::pci().intx().msi(32).msix(1);
        let rig = Rig::on(self.manager.clone(), name, 1, device)?;
        rig.guest.0.route_intx(Some(GSI))?;
        Ok(rig)
    }

    fn service(&self) -> anyhow::Result<()> {
        while self.manager.service(Wait::No)?.events > 0 {}
        Ok(())
    }

    fn expect(&self, step: &str, levels: &[Level]) -> anyhow::Result<()> {
        self.service()?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<Level> = log.drain(..).map(|(_, level)| level).collect();
        ensure!(found == levels, "{step}: {found:?} instead of {levels:?}");
        Ok(())
    }
}

const GSI: Gsi = Gsi(20);
const HIGH: Level = Level::Asserted;
const LOW: Level = Level::Deasserted;

fn split() -> anyhow::Result<()> {
    let vm = Split::new(ManagerOptions::default())?;
    let rig = vm.device("device")?;
    let explained = rig.guest.0.explain_line().delivery.context("no link")?;
    ensure!(explained.reason == Reason::NoResample, "{explained:?}");
    for _ in 0..10 {
        rig.sim.assert_line(IrqIndex::INTX);
        vm.expect("assert", &[HIGH])?;
        ensure!(rig.sim.is_masked(IrqIndex::INTX));
        rig.sim.deassert_line(IrqIndex::INTX);
        vm.manager.eoi(GSI);
        vm.expect("served", &[LOW])?;
        ensure!(!rig.sim.is_masked(IrqIndex::INTX));
    }
    // Not served: it comes again.
    rig.sim.assert_line(IrqIndex::INTX);
    vm.expect("assert", &[HIGH])?;
    vm.manager.eoi(GSI);
    vm.expect("not served", &[LOW, HIGH])?;
    // An access of the guest's is no EOI.
    rig.guest.0.bar_write(0, 0, &[0; 4]);
    rig.guest.0.config_read(0, &mut [0; 4]);
    vm.expect("accesses", &[])?;
    rig.guest.0.config_write(4, &[0x00, 0x04]);
    vm.expect("DisINTx", &[LOW])?;
    rig.guest.0.config_write(4, &[0x00, 0x00]);
    vm.expect("enabled again", &[HIGH])?;
    drop(rig);
    vm.expect("removed", &[LOW])
}

fn shared() -> anyhow::Result<()> {
    let vm = Split::new(ManagerOptions::default())?;
    let (first, second) = (vm.device("first")?, vm.device("second")?);
    first.sim.assert_line(IrqIndex::INTX);
    vm.expect("first", &[HIGH])?;
    second.sim.assert_line(IrqIndex::INTX);
    vm.expect("second", &[])?;
    first.sim.deassert_line(IrqIndex::INTX);
    vm.manager.eoi(GSI);
    // Both are asked, one of them asserts again.
    vm.expect("eoi", &[LOW, HIGH])?;
    ensure!(!first.sim.is_masked(IrqIndex::INTX));
    second.sim.deassert_line(IrqIndex::INTX);
    vm.manager.eoi(GSI);
    vm.expect("eoi", &[LOW])?;
    vm.manager.eoi(GSI);
    vm.expect("an eoi of nobody's", &[])
}

fn tracked() -> anyhow::Result<()> {
    let vm = Split::new(ManagerOptions::default())?;
    let shape = DeviceShape {
        layout: layout(1, IntxSource::Tracked),
        device_id: None,
    };
    let source = || DeviceSource::Local(Vec::new());
    let model = GuestDriver(vm.manager.add_device("model", source(), shape)?);
    model.0.route_intx(Some(GSI))?;
    model.0.set_level(HIGH);
    vm.expect("assert", &[HIGH])?;
    vm.manager.eoi(GSI);
    vm.expect("not served", &[LOW, HIGH])?;
    model.0.set_level(LOW);
    vm.expect("served", &[LOW])?;
    Ok(())
}

fn no_driver() -> anyhow::Result<()> {
    let vm = SimHost::default().vm(VmShape::PC);
    let domain = VmDomain::new(vm, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let manager = Manager::new(domain, ManagerOptions::default())?;
    let shape = DeviceShape {
        layout: layout(1, IntxSource::Tracked),
        device_id: None,
    };
    let model = manager.add_device("model", DeviceSource::Local(Vec::new()), shape)?;
    let refused = model.route_intx(Some(GSI));
    ensure!(refused == Err(RouteIntxError::NoLines { gsi: GSI }));
    ensure!(model.explain_line().gsi.is_none());
    Ok(())
}

fn no_eoi() -> anyhow::Result<()> {
    let options = ManagerOptions::default();
    let patience = options.line.eoi;
    let vm = Split::new(options)?;
    let rig = vm.device("device")?;
    let reason = || {
        let delivery = rig.guest.0.explain_line().delivery;
        delivery.map(|delivery| delivery.reason)
    };
    let now = story_time();
    vm.manager.look(now);
    rig.sim.assert_line(IrqIndex::INTX);
    vm.expect("assert", &[HIGH])?;
    vm.manager.look(now);
    ensure!(reason() == Some(Reason::NoResample));
    vm.manager.look(now + patience);
    ensure!(reason() == Some(Reason::NoEoi), "{:?}", reason());
    rig.sim.deassert_line(IrqIndex::INTX);
    vm.manager.eoi(GSI);
    vm.manager.look(now + 2 * patience);
    ensure!(reason() == Some(Reason::NoResample), "{:?}", reason());
    vm.expect("served", &[LOW])
}
