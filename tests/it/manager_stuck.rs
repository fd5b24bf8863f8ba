//! A line that the kernel forwards, stuck where nobody here sees an EOI.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::CountInterrupts;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::Reason;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::HostIrqs;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::SimDeviceBuilder;
use irqbroker_vfio::abi::IrqIndex;
use libtest_mimic::Trial;

use crate::manager_rig::Rig;
use crate::manager_rig::story_time;
use crate::need::Need;
use crate::need::story;
use crate::world::LEVEL_PIN;
use crate::world::SimWorld;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "manager_forwarded_line_whose_eoi_does_not_come_is_reported",
            Need::Nothing,
            no_eoi,
        ),
        story(
            "manager_forwarded_line_that_is_asserted_again_after_every_eoi_is_reported",
            Need::Nothing,
            stuck,
        ),
        story(
            "manager_forwarded_line_that_nobody_counts_is_not_looked_at",
            Need::Nothing,
            uncounted,
        ),
    ]
}

/// What the host would have counted for the line of the rig's device.
#[derive(Debug, Default)]
struct HostCount(AtomicU64);

impl CountInterrupts for HostCount {
    fn read(&self) -> HostIrqs {
        // Relaxed: one thread.
        let count = self.0.load(Ordering::Relaxed);
        let line = HostIrq::of("device", IrqIndex::INTX, 0);
        line.into_iter().map(|irq| (irq, count)).collect()
    }
}

/// A line in the kernel's hands, and a clock that is far from the service loop's.
struct Forwarded {
    world: SimWorld,
    rig: Rig,
    host: Arc<HostCount>,
    now: Instant,
}

fn device() -> SimDeviceBuilder {
    SimDevice::pci().intx().msi(1).msix(1)
}

impl Forwarded {
    fn new() -> anyhow::Result<Self> {
        let world = SimWorld::new()?;
        let host = Arc::new(HostCount::default());
        let options = ManagerOptions {
            counts: Some(host.clone()),
            ..ManagerOptions::default()
        };
        let rig = Rig::with(&world, 1, device(), options)?;
        rig.guest.0.route_intx(Some(LEVEL_PIN.gsi))?;
        rig.settle(&world)?;
        let now = story_time();
        let mut line = Self {
            world,
            rig,
            host,
            now,
        };
        line.second(0)?;
        Ok(line)
    }

    /// A second in which the host counts so many; what is wrong with the line after it.
    fn second(&mut self, interrupts: u64) -> anyhow::Result<Option<Reason>> {
        self.host.0.fetch_add(interrupts, Ordering::Relaxed);
        self.now += Duration::from_secs(1);
        self.rig.manager.look(self.now);
        self.rig.settle(&self.world)?;
        let explained = self.rig.guest.0.explain_line();
        let delivery = explained.delivery.context("no link")?;
        // Reported, and left to the kernel.
        ensure!(delivery.state != DeliveryState::Relay, "{explained}");
        if let Some(trouble) = explained.trouble {
            let told = explained.to_string();
            ensure!(told.contains(&trouble.to_string()), "{told}");
        }
        Ok(explained.trouble)
    }
}

fn no_eoi() -> anyhow::Result<()> {
    let mut line = Forwarded::new()?;
    // Three seconds are longer than the guest has for an EOI by default.
    for _ in 0..3 {
        ensure!(line.second(0)?.is_none(), "a quiet line");
    }
    line.rig.sim.assert_line(IrqIndex::INTX);
    ensure!(line.second(1)?.is_none());
    ensure!(line.second(0)?.is_none());
    ensure!(line.second(0)? == Some(Reason::NoEoi));
    // Disabled, it waits for nobody.
    line.rig.guest.0.config_write(4, &[0x00, 0x04]);
    ensure!(line.second(0)?.is_none());
    line.rig.guest.0.config_write(4, &[0x00, 0x00]);
    ensure!(line.second(0)?.is_none());
    ensure!(line.second(0)?.is_none());
    ensure!(line.second(0)? == Some(Reason::NoEoi));
    line.rig.sim.deassert_line(IrqIndex::INTX);
    line.world.serve(LEVEL_PIN.gsi);
    ensure!(line.second(0)?.is_none());
    // Gone with the line.
    line.rig.sim.assert_line(IrqIndex::INTX);
    (0..4).try_for_each(|_| line.second(0).map(drop))?;
    line.rig.guest.0.route_intx(None)?;
    ensure!(line.rig.guest.0.explain_line().trouble.is_none());
    Ok(())
}

fn stuck() -> anyhow::Result<()> {
    let mut line = Forwarded::new()?;
    let limit = u64::from(ManagerOptions::default().line.eois_per_second);
    ensure!(line.second(limit)?.is_none());
    ensure!(line.second(limit + 1)? == Some(Reason::LineStuck));
    ensure!(line.second(limit + 1)? == Some(Reason::LineStuck));
    ensure!(line.second(10)?.is_none());
    Ok(())
}

fn uncounted() -> anyhow::Result<()> {
    let world = SimWorld::new()?;
    let rig = Rig::with(&world, 1, device(), ManagerOptions::default())?;
    rig.guest.0.route_intx(Some(LEVEL_PIN.gsi))?;
    rig.settle(&world)?;
    rig.sim.assert_line(IrqIndex::INTX);
    let reads = rig.reads();
    for seconds in 0..5 {
        rig.manager
            .look(Instant::now() + Duration::from_secs(seconds));
    }
    ensure!(rig.reads() == reads, "the device was asked");
    ensure!(rig.guest.0.explain_line().trouble.is_none());
    Ok(())
}
