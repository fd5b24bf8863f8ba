//! Vectors behind a guest's remapping unit where something runs short or fires too often.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::Reason;
use irqbroker_core::Wait;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::VmDomain;
use libtest_mimic::Trial;
use posted_irq::VtdIrte;

use crate::manager_overflow::FewRoutes;
use crate::manager_remapped_rig::BYPASS;
use crate::manager_remapped_rig::Behind;
use crate::manager_remapped_rig::Setting;
use crate::manager_remapped_rig::UNTRANSLATED;
use crate::manager_rig::story_time;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::remapping_rig::on_both_split;
use crate::world::SimWorld;
use crate::world::World;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![story(
        "manager_vectors_behind_a_unit_compete_for_gsis_once_they_are_translated",
        Need::Nothing,
        overflow,
    )];
    stories.extend(on_both_split(
        "manager_storm_behind_a_unit_is_held_down_though_its_interrupts_are_refused",
        storm,
    ));
    stories
}

fn storm(world: &dyn World) -> anyhow::Result<()> {
    const LIMIT: u32 = 1000;
    let setting = Setting {
        options: ManagerOptions {
            storm: Some(LIMIT),
            ..ManagerOptions::default()
        },
        ..Setting::default()
    };
    let behind = Behind::with(world.domain(), 1, setting)?;
    let manager = &behind.rig.manager;
    behind.enable(1);
    behind.rig.settle(world)?;
    ensure!(behind.state(0)? == UNTRANSLATED);
    let mut now = story_time();
    manager.look(now);
    // Twice the limit for half a second, each of them a fault.
    for _ in 0..1000 {
        behind.rig.raise(0);
        manager.service(Wait::No)?;
    }
    ensure!(behind.faults.take().len() == 1000);
    now += Duration::from_millis(500);
    manager.look(now);
    let storm = (DeliveryState::Relay, Reason::Storm { limit: LIMIT });
    ensure!(behind.state(0)? == storm, "{:?}", behind.state(0)?);

    let began = Instant::now();
    for _ in 0..2000 {
        behind.rig.raise(0);
        manager.service(Wait::No)?;
    }
    // The service loop begins a window every ten milliseconds, each with a share of ten.
    let windows = began.elapsed().as_millis() / 10 + 2;
    let passed = behind.faults.take().len();
    ensure!(
        u128::try_from(passed)? <= 11 * windows,
        "{passed} faults in {windows} windows"
    );

    // What waits is delivered by the entry that there is at last, once. Two looks measure what had
    // come, a second of calm is ten.
    behind.lead(0, vector(0));
    for _ in 0..15 {
        now += Duration::from_millis(100);
        manager.look(now);
        behind.rig.settle(world)?;
    }
    let waited = world.delivered(vector(0));
    ensure!(waited <= 1, "{waited}");
    behind.interrupt(world, 0)?;
    ensure!(world.delivered(vector(0)) == waited + 1);
    ensure!(behind.state(0)? == BYPASS, "{:?}", behind.state(0)?);
    Ok(())
}

fn overflow() -> anyhow::Result<()> {
    /// GSIs there are for messages, and vectors that want one.
    const ROOM: u16 = 2;
    const WANTED: u16 = 5;
    /// The one whose entry is garbage at first.
    const BAD: u16 = 4;
    let world = SimWorld::split()?;
    let limit = 24 + u32::from(ROOM);
    let vm = Arc::new(FewRoutes {
        vm: Arc::clone(&world.vm),
        max_routes: limit,
    });
    // Reserved pins have no entries, and their GSIs are not to be had.
    let pins = EmbedderRoutes::reserved(24);
    let domain = VmDomain::new(vm, pins, DestinationIds::Bits32)?;
    let behind = Behind::with(&domain, WANTED, Setting::default())?;
    (0..BAD).for_each(|at| behind.lead(at, vector(at)));
    behind.enable(WANTED);
    behind.rig.settle(&world)?;
    let states = || -> anyhow::Result<Vec<_>> { (0..WANTED).map(|at| behind.state(at)).collect() };
    let exhausted = (DeliveryState::Relay, Reason::GsiExhausted { limit });
    let outpaced = (DeliveryState::Relay, Reason::Outpaced { limit });
    ensure!(states()? == [BYPASS, BYPASS, exhausted, exhausted, UNTRANSLATED]);

    // Relayed for want of a GSI, and not tried again with each interrupt.
    let events = behind.rig.manager.registry().subscribe(64);
    let mut now = story_time();
    let mut look = || {
        now += Duration::from_millis(100);
        behind.rig.manager.look(now);
        behind.rig.settle(&world)
    };
    let fire = |at: u16, times: u32| (0..times).try_for_each(|_| behind.interrupt(&world, at));
    look()?;
    fire(2, 10)?;
    ensure!(world.delivered(vector(2)) == 10);
    let moves = events
        .try_iter()
        .filter(|event| matches!(event, Event::Delivery { .. }));
    ensure!(moves.count() == 0, "tried in vain");

    // The busier one takes the GSI of a quiet one, as without a unit.
    look()?;
    ensure!(states()? == [BYPASS, outpaced, BYPASS, exhausted, UNTRANSLATED]);

    // One that has no translation takes none, however busy it is. Its rate is measured from a look
    // after it has gone to the relay.
    look()?;
    behind.table.write(1, VtdIrte::default());
    ensure!(behind.invalidate(1)? == 1);
    fire(1, 100)?;
    fire(BAD, 100)?;
    ensure!(behind.faults.take().len() == 200);
    let before = world.ioctls();
    look()?;
    ensure!(states()? == [BYPASS, outpaced, BYPASS, exhausted, UNTRANSLATED]);
    ensure!(world.ioctls() == before);
    // Now it has.
    behind.lead(1, vector(1));
    fire(1, 100)?;
    ensure!(world.delivered(vector(1)) == 100);
    look()?;
    ensure!(behind.state(1)? == BYPASS, "{:?}", states()?);
    fire(1, 1)?;
    ensure!(world.delivered(vector(1)) == 101);
    Ok(())
}
