//! The vblanks and flips of our vGPU, through vfio-user and vfio-pci to a nested guest.
//!
//! vfio-user is QEMU's, vfio-pci this machine's.

use std::cell::Cell;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::abi::IrqIndex;
use serde_json::Value;
use serde_json::json;

use crate::devices;
use crate::findings::Account;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::link::Mark;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::message;
use crate::vgpu;
use crate::vgpu::Events;
use crate::vgpu::VblankBlock;

/// The guest's vectors, one for each of the device's.
const FIRST_VECTOR: u8 = 0x50;
/// The head that is flipped, by the registers that the first does not have, and its vector for that.
const FLIP_HEAD: u32 = 1;
const FLIP_LINK: usize = 3;
/// Vblanks of a round that have to reach the guest, and rounds of a head: a second at 60 Hz.
const FRAMES: u64 = 20;
const ROUNDS: u32 = 3;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    vgpu::give_to("vfio-pci")?;
    let opened = devices::open(vgpu::ID)?;
    let block = VblankBlock::new(opened.device())?;
    let nested = Nested::new()?;
    let broker = Broker::new()?;

    let index = opened.index(IrqIndex::MSIX)?;
    let mut links = Vec::new();
    for (source, vector) in index
        .bind(0..vgpu::VECTORS)?
        .into_iter()
        .zip(FIRST_VECTOR..)
    {
        let name = format!("vgpu.{vector:#04x}");
        let consumer = nested.domain().msi(name, message(vector), None)?;
        links.push(Link::new(&broker, source, consumer, vector)?);
    }
    for link in &links {
        link.require(DeliveryState::Bypass)?;
    }

    let mut account = Account::default();
    let mut heads = Vec::new();
    for head in 0..vgpu::HEADS {
        let told = rounds(&block, &nested, &links, head)?;
        account.add(told.account);
        heads.push(told.as_json());
    }
    let flip = links.get_mut(FLIP_LINK).context("no vector for flips")?;
    let flips = flips(&block, &nested, flip)?;
    account.add(flip.account);
    Ok(Findings::counted(account)
        .fact("heads", heads)
        .fact("flips", flips)
        .fact("vectors", vgpu::VECTORS))
}

/// What came of the vblanks of one head.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// The device's vblanks against the runs of the nested guest's handlers, of all vectors.
    account: Account,
    /// Interrupts of the head's vector in between, as this machine's kernel counts: fewer if QEMU, where the
    /// vectors' eventfds end, found several vblanks in one.
    arrived: u64,
}

impl Counted {
    fn as_json(self) -> Value {
        json!({
            "produced": self.account.produced,
            "arrived": self.arrived,
            "delivered": self.account.delivered,
        })
    }
}

/// Commits on the second head, each waited for; how many flips the device counts.
fn flips(block: &VblankBlock, nested: &Nested, link: &mut Link) -> anyhow::Result<u32> {
    let number = Cell::new(0);
    let before = block.flips(FLIP_HEAD)?;
    block.enable(FLIP_HEAD, Events::Flip)?;
    link.paced(nested, &|| {
        number.set(number.get() + 1);
        block.commit(FLIP_HEAD, number.get())
    })?;
    block.enable(FLIP_HEAD, Events::Nothing)?;
    let flips = block.flips(FLIP_HEAD)?.wrapping_sub(before);
    let (commits, runs) = (number.get(), link.account.delivered);
    ensure!(
        commits == flips && u64::from(flips) == runs,
        "{commits} commits, {flips} flips, {runs} interrupts"
    );
    Ok(flips)
}

/// All rounds of a head.
fn rounds(
    block: &VblankBlock,
    nested: &Nested,
    links: &[Link],
    head: u32,
) -> anyhow::Result<Counted> {
    let mut all = Counted::default();
    for _ in 0..ROUNDS {
        let told = round(block, nested, links, head)?;
        all.account.add(told.account);
        all.arrived += told.arrived;
    }
    Ok(all)
}

/// Vblanks of one head, counted by the device, while no other vector interrupts.
fn round(
    block: &VblankBlock,
    nested: &Nested,
    links: &[Link],
    head: u32,
) -> anyhow::Result<Counted> {
    let vector = FIRST_VECTOR + u8::try_from(2 * head)?;
    let place = usize::try_from(2 * head)?;
    block.take_status(head)?;
    let before = marks(nested, links)?;
    let on = switch(block, head, Events::Vblank)?;
    nested.wait(vector, before[place].delivered + FRAMES)?;
    let off = switch(block, head, Events::Nothing)?;
    // The last may still be with QEMU.
    Machine::catch_up()?;
    let after = marks(nested, links)?;
    ensure!(block.take_status(head)? & 1 == 1, "no vblank in the status");
    // Frames that came wholly between the two, and those that may have. The device counts by its clock and signals
    // a moment later: one that was counted before can be signalled as the first.
    let least = off.before.wrapping_sub(on.after);
    let most = off.after.wrapping_sub(on.before).wrapping_add(1);
    let mut told = Counted::default();
    for (link, (before, after)) in links.iter().zip(before.into_iter().zip(after)) {
        let runs = after.delivered - before.delivered;
        let arrived = after.produced - before.produced;
        ensure!(
            runs <= arrived,
            "{arrived} interrupts ran a handler {runs} times"
        );
        if link.vector() == vector {
            told.account
                .round(runs.clamp(least.into(), most.into()), runs);
            told.arrived = arrived;
        } else {
            told.account.round(0, runs);
        }
    }
    Ok(told)
}

/// The head's frames when it was switched: a vblank may come meanwhile, or many if something stalls.
#[derive(Debug, Clone, Copy)]
struct Switched {
    before: u32,
    after: u32,
}

fn switch(block: &VblankBlock, head: u32, events: Events) -> anyhow::Result<Switched> {
    let before = block.frame(head)?;
    block.enable(head, events)?;
    let after = block.frame(head)?;
    Ok(Switched { before, after })
}

/// Where each vector stands, with nothing on its way through this machine.
fn marks(nested: &Nested, links: &[Link]) -> anyhow::Result<Vec<Mark>> {
    links.iter().map(|link| link.mark(nested)).collect()
}
