//! Links behind a guest's remapping unit: what an invalidation costs, and what it must not miss.

use anyhow::ensure;
use irqbroker::remapping::IecInvalidation;
use irqbroker::remapping::VtdFaultReason;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::MsiMessage;
use irqbroker_core::Options;
use irqbroker_core::Reason;
use irqbroker_core::Vector;
use irqbroker_kvm::IoctlCounts;
use libtest_mimic::Trial;
use posted_irq::VtdIrte;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

use crate::remapping_rig::Behind;
use crate::remapping_rig::Rig;
use crate::remapping_rig::entry;
use crate::remapping_rig::handle;
use crate::remapping_rig::on_both_split;
use crate::remapping_rig::one;
use crate::world::World;

/// Two vectors of the guest's, neither of which a table of many entries has at this place.
const OLD: Vector = Vector(0x41);
const NEW: Vector = Vector(0x52);
/// The index of the stories with one link.
const INDEX: u16 = 7;

const BYPASS: (DeliveryState, Reason) = (DeliveryState::Bypass, Reason::Best);
const UNTRANSLATED: (DeliveryState, Reason) = (DeliveryState::Relay, Reason::Untranslated);

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = Vec::new();
    stories.extend(on_both_split(
        "iec_of_one_index_costs_one_ioctl_for_each_of_its_links_and_none_for_others",
        one_index,
    ));
    stories.extend(on_both_split(
        "iec_with_a_mask_or_global_detaches_each_link_meant_once",
        ranges,
    ));
    stories.extend(on_both_split(
        "retargeted_entry_counts_from_the_invalidation_on_and_not_before",
        retarget,
    ));
    stories.extend(on_both_split(
        "irte_follows_the_guests_new_message",
        new_message,
    ));
    stories.extend(on_both_split(
        "fault_is_recorded_with_the_interrupt_that_is_refused",
        fault,
    ));
    stories.extend(on_both_split(
        "event_that_waits_behind_a_mask_goes_by_the_entry_of_the_unmask",
        masked,
    ));
    stories.extend(on_both_split(
        "garbage_in_the_guests_table_faults_by_code_and_leaves_other_links_alone",
        garbage,
    ));
    stories
}

fn state(link: &Behind) -> anyhow::Result<(DeliveryState, Reason)> {
    let delivery = link.delivery()?;
    Ok((delivery.state, delivery.reason))
}

/// Vector and APIC of entry `at`, all different: no two links share a GSI. APIC 0 is the guest's.
pub(crate) fn place(at: u16) -> (u32, Vector) {
    let vectors = 0xe0 - 0x60;
    let vector = u8::try_from(0x60 + at % vectors).unwrap_or(u8::MAX);
    (u32::from(at / vectors), Vector(vector))
}

fn many(rig: &Rig<'_>, links: u16) -> anyhow::Result<Vec<Behind>> {
    for at in 0..links {
        let (apic, vector) = place(at);
        rig.table.write(at, entry(apic, vector));
    }
    let hold = rig.registry.hold_promotions();
    let behind = (0..links)
        .map(|at| rig.link(at, handle(at)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let promoted = hold.release();
    ensure!(promoted.bypassed == usize::from(links), "{promoted:?}");
    Ok(behind)
}

fn one_index(world: &dyn World) -> anyhow::Result<()> {
    /// Links that share the entry that changes; the device's other vectors have their own.
    const SHARING: u64 = 3;
    // An eventfd for each link; most shells start with 1024 files.
    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            ..files
        },
    )?;
    for links in [16, 4000] {
        let rig = Rig::new(world, Options::default())?;
        let others = many(&rig, links)?;
        rig.table.write(links, entry(0, OLD));
        let sharing = (0..SHARING)
            .map(|_| rig.link(links, handle(links)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let before = world.ioctls();
        let invalidated = rig.unit.invalidate(one(links))?;
        let spent = world.ioctls() - before;
        let only = IoctlCounts {
            deassigns: SHARING,
            ..IoctlCounts::default()
        };
        ensure!(spent == only, "{links} links: {spent:?}");
        ensure!(invalidated.links == 3, "{invalidated:?}");
        for link in &sharing {
            ensure!(state(link)? == UNTRANSLATED);
        }
        for link in &others {
            ensure!(state(link)? == BYPASS, "another link was touched");
        }
        // The two that have no interrupt stay where they are, and cost nothing.
        rig.table.write(links, entry(0, NEW));
        let (old, new) = (world.delivered(OLD), world.delivered(NEW));
        let before = world.ioctls();
        sharing[0].source.signal();
        rig.settle()?;
        let spent = world.ioctls() - before;
        let once = IoctlCounts {
            messages: 1,
            commits: 1,
            assigns: 1,
            ..IoctlCounts::default()
        };
        ensure!(spent == once, "{links} links: {spent:?}");
        ensure!(state(&sharing[0])? == BYPASS && state(&sharing[1])? == UNTRANSLATED);
        ensure!(world.delivered(NEW) == new + 1 && world.delivered(OLD) == old);
        // An entry that no link goes by.
        let before = world.ioctls();
        let nobody = rig.unit.invalidate(one(links + 1))?;
        ensure!(nobody.links == 0 && world.ioctls() == before);
    }
    Ok(())
}

fn ranges(world: &dyn World) -> anyhow::Result<()> {
    const LINKS: u16 = 64;
    let rig = Rig::new(world, Options::default())?;
    let links = many(&rig, LINKS)?;
    let spend = |invalidation| -> anyhow::Result<IoctlCounts> {
        let before = world.ioctls();
        let _links = rig.unit.invalidate(invalidation)?;
        Ok(world.ioctls() - before)
    };
    let deassigns = |deassigns| IoctlCounts {
        deassigns,
        ..IoctlCounts::default()
    };
    // Indexes 8 to 15.
    let block = IecInvalidation::Index { index: 10, mask: 3 };
    ensure!(spend(block)? == deassigns(8));
    for (at, link) in links.iter().enumerate() {
        let expected = match at {
            8..16 => UNTRANSLATED,
            _ => BYPASS,
        };
        ensure!(state(link)? == expected, "link {at}");
    }
    ensure!(spend(IecInvalidation::Global)? == deassigns(u64::from(LINKS) - 8));
    ensure!(spend(IecInvalidation::Global)? == IoctlCounts::default());
    // All come back with one table: none has another message, so not even that.
    let before = world.ioctls();
    links.iter().for_each(|link| link.source.signal());
    rig.settle()?;
    let spent = world.ioctls() - before;
    let back = IoctlCounts {
        messages: LINKS.into(),
        assigns: LINKS.into(),
        ..IoctlCounts::default()
    };
    ensure!(spent == back, "{spent:?}");
    for (at, link) in (0..).zip(&links) {
        ensure!(state(link)? == BYPASS, "link {at}");
        let (apic, vector) = place(at);
        ensure!(apic != 0 || world.delivered(vector) == 1, "link {at}");
    }
    Ok(())
}

fn retarget(world: &dyn World) -> anyhow::Result<()> {
    const ROUNDS: u64 = 200;
    let rig = Rig::new(world, Options::default())?;
    rig.table.write(INDEX, entry(0, OLD));
    let link = rig.link(1, handle(INDEX))?;
    let events = rig.registry.subscribe(16);
    let (mut now, mut next) = (OLD, NEW);
    let mut expected = [0, 0];
    for round in 0..ROUNDS {
        // By the kernel, to where the entry led when it was looked at.
        ensure!(state(&link)? == BYPASS);
        rig.table.write(INDEX, entry(0, next));
        link.source.signal();
        rig.settle()?;
        expected[usize::from(now == NEW)] += 1;
        let delivered = [OLD, NEW].map(|vector| world.delivered(vector));
        ensure!(delivered == expected, "round {round}: {delivered:?}");
        let invalidated = rig.unit.invalidate(one(INDEX))?;
        ensure!(invalidated.links == 1 && state(&link)? == UNTRANSLATED);
        link.source.signal();
        rig.settle()?;
        std::mem::swap(&mut now, &mut next);
        expected[usize::from(now == NEW)] += 1;
        let delivered = [OLD, NEW].map(|vector| world.delivered(vector));
        ensure!(delivered == expected, "round {round}: {delivered:?}");
        let transitions: Vec<_> = events
            .try_iter()
            .filter_map(|event| match event {
                Event::Delivery { to, .. } => Some((to.state, to.reason)),
                _ => None,
            })
            .collect();
        let pending = (DeliveryState::Relay, Reason::PromotionPending);
        ensure!(
            transitions == [UNTRANSLATED, pending, BYPASS],
            "{transitions:?}"
        );
    }
    ensure!(rig.faults().is_empty());
    Ok(())
}

fn new_message(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, Options::default())?;
    rig.table.write(INDEX, entry(0, OLD));
    rig.table.write(INDEX + 1, entry(0, NEW));
    let link = rig.link(1, handle(INDEX))?;
    link.link.update_route(handle(INDEX + 1))?;
    ensure!(state(&link)? == BYPASS);
    link.source.signal();
    rig.settle()?;
    ensure!(world.delivered(NEW) == 1 && world.delivered(OLD) == 0);
    // The entry it went by before is nothing to it any more, the one it goes by now is.
    let before = world.ioctls();
    ensure!(rig.unit.invalidate(one(INDEX))?.links == 0 && world.ioctls() == before);
    ensure!(rig.unit.invalidate(one(INDEX + 1))?.links == 1);
    Ok(())
}

fn fault(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, Options::default())?;
    // Nothing there yet when the message comes.
    let link = rig.link(1, handle(INDEX))?;
    ensure!(state(&link)? == UNTRANSLATED);
    ensure!(rig.faults().is_empty(), "recorded when it was translated");
    for count in 1..=3 {
        link.source.signal();
        rig.settle()?;
        let faults = rig.faults();
        let [fault] = faults[..] else {
            anyhow::bail!("{faults:?}")
        };
        ensure!(fault.reason == VtdFaultReason::NotPresent, "{fault:?}");
        ensure!(fault.index == Some(INDEX.into()) && fault.source_id.0 == 3 << 3);
        let counters = rig.registry.link(link.link.link())?.counters;
        ensure!(counters.inject_failures == count && counters.relayed == 0);
    }
    // What is not cached needs no invalidation.
    rig.table.write(INDEX, entry(0, OLD));
    link.source.signal();
    rig.settle()?;
    ensure!(world.delivered(OLD) == 1 && state(&link)? == BYPASS);
    // An entry that goes away takes its links off the kernel, and is a fault with the next interrupt.
    rig.table.write(INDEX, VtdIrte::default());
    ensure!(rig.unit.invalidate(one(INDEX))?.links == 1);
    rig.settle()?;
    ensure!(rig.faults().is_empty());
    link.source.signal();
    rig.settle()?;
    ensure!(rig.faults().len() == 1 && world.delivered(OLD) == 1);
    Ok(())
}

fn masked(world: &dyn World) -> anyhow::Result<()> {
    let rig = Rig::new(world, Options::default())?;
    rig.table.write(INDEX, entry(0, OLD));
    // One masked at its source and one by its irqfd.
    for at in [0, 1] {
        let link = rig.link(at, handle(INDEX))?;
        let (old, new) = (world.delivered(OLD), world.delivered(NEW));
        link.link.mask()?;
        link.source.signal();
        rig.table.write(INDEX, entry(0, NEW));
        let _links = rig.unit.invalidate(one(INDEX))?;
        rig.settle()?;
        ensure!(world.delivered(OLD) == old && world.delivered(NEW) == new);
        link.link.unmask()?;
        rig.settle()?;
        ensure!(world.delivered(OLD) == old, "went by what is invalid");
        ensure!(world.delivered(NEW) == new + 1, "lost");
        ensure!(state(&link)? == BYPASS);
        drop(link);
        rig.table.write(INDEX, entry(0, OLD));
    }
    Ok(())
}

fn garbage(world: &dyn World) -> anyhow::Result<()> {
    const ROUNDS: u32 = 2000;
    let rig = Rig::new(world, Options::default())?;
    rig.table.write(INDEX, entry(0, OLD));
    let other = rig.link(1, handle(INDEX))?;
    let link = rig.link(3, handle(INDEX + 1))?;
    // The seed is arbitrary; a fixed one makes a failure come again.
    let mut random = fastrand::Rng::with_seed(1);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..ROUNDS {
        // Half of the entries are at least present, and a quarter the device's.
        let mut bits = random.u128(..) & !1 | u128::from(random.bool());
        if random.bool() {
            let own = entry(0, NEW).into_bits();
            // Like it in most bits.
            bits = bits & random.u128(..) & random.u128(..) & random.u128(..) | own;
        }
        // What passes is to reach nobody: an INIT would end the story.
        let nobody = 1 << 62;
        rig.table
            .write(INDEX + 1, VtdIrte::from_bits(bits | nobody));
        let _links = rig.unit.invalidate(one(INDEX + 1))?;
        let message = match random.u8(..4) {
            0 => MsiMessage {
                // Any message of the 0xfee range, but no wide ids: those the kernel refuses.
                address: 0xfee0_0000 | random.u64(..0x10_0000),
                data: random.u32(..),
            },
            _ => handle(INDEX + 1),
        };
        link.link.update_route(message)?;
        link.source.signal();
        rig.settle()?;
        let translated = link.consumer.translated().is_some();
        for fault in rig.faults() {
            ensure!(!translated, "round {round}: {fault}");
            seen.insert(fault.reason.code());
        }
        ensure!(state(&other)? == BYPASS, "round {round}: another link");
    }
    // Not 23h and 27h: the whole table is memory, and descriptors are not offered.
    for code in [0x20, 0x21, 0x22, 0x24, 0x25, 0x26] {
        ensure!(
            seen.contains(&code),
            "fault {code:#x} was never met: {seen:x?}"
        );
    }
    let before = world.delivered(OLD);
    other.source.signal();
    rig.settle()?;
    ensure!(world.delivered(OLD) == before + 1);
    Ok(())
}
