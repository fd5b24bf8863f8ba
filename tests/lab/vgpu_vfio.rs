//! The vblanks and flips of our vGPU, through vfio-user and vfio-pci to a nested guest.
//!
//! vfio-user is QEMU's, vfio-pci this machine's.

use std::cell::Cell;
use std::time::Duration;
use std::time::Instant;

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
/// Vblanks of a round, and rounds of a head: a second at 60 Hz.
const FRAMES: u32 = 20;
const ROUNDS: u32 = 3;
/// A round at whose edge a vblank came is taken again. That is one of some dozens, but emulation is slow.
const ATTEMPTS: u32 = 30;
/// For a vblank. Only a timer that has stopped comes near.
const PATIENCE: Duration = Duration::from_secs(10);

/// For the way of an interrupt through QEMU: a hundred times what it takes.
const LATENESS: Duration = Duration::from_millis(500);

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
    /// Rounds that were not counted.
    taken_again: u32,
}

impl Counted {
    fn as_json(self) -> Value {
        json!({
            "produced": self.account.produced,
            "arrived": self.arrived,
            "delivered": self.account.delivered,
            "rounds_taken_again": self.taken_again,
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
    let mut counted = 0;
    while counted < ROUNDS {
        match round(block, nested, links, head)? {
            Some(told) => {
                all.account.add(told.account);
                all.arrived += told.arrived;
                counted += 1;
            }
            None => all.taken_again += 1,
        }
        ensure!(all.taken_again < ATTEMPTS, "no round between two vblanks");
    }
    Ok(all)
}

/// Vblanks of one head, counted by the device, while no other vector interrupts. None if it cannot be said
/// whether a vblank came before or after the head was told to interrupt, or to cease.
fn round(
    block: &VblankBlock,
    nested: &Nested,
    links: &[Link],
    head: u32,
) -> anyhow::Result<Option<Counted>> {
    let vector = FIRST_VECTOR + u8::try_from(2 * head)?;
    block.take_status(head)?;
    let before = marks(nested, links)?;
    let first = switch(block, head, Events::Vblank)?;
    let start = block.frame(head)?;
    let deadline = Instant::now() + PATIENCE;
    while block.frame(head)?.wrapping_sub(start) < FRAMES {
        ensure!(Instant::now() < deadline, "head {head} has no vblanks");
    }
    let last = switch(block, head, Events::Nothing)?;
    let frames = match (first, last) {
        (Some(first), Some(last)) => Some(last.wrapping_sub(first)),
        _ => None,
    };
    let place = usize::try_from(2 * head)?;
    let wanted = before[place].delivered + u64::from(frames.unwrap_or(FRAMES));
    await_last(nested, vector, wanted);
    let after = marks(nested, links)?;
    let Some(frames) = frames else {
        return Ok(None);
    };
    ensure!(block.take_status(head)? & 1 == 1, "no vblank in the status");
    let mut told = Counted::default();
    for (link, (before, after)) in links.iter().zip(before.into_iter().zip(after)) {
        let runs = after.delivered - before.delivered;
        let arrived = after.produced - before.produced;
        ensure!(
            runs <= arrived,
            "{arrived} interrupts ran a handler {runs} times"
        );
        if link.vector() == vector {
            told.account.round(frames.into(), runs);
            told.arrived = arrived;
        } else {
            told.account.round(0, runs);
        }
    }
    Ok(Some(told))
}

/// Gives the last vblank time, which may still be with QEMU. If some have merged it does not come.
fn await_last(nested: &Nested, vector: u8, runs: u64) {
    let deadline = Instant::now() + LATENESS;
    while nested.delivered(vector) < runs && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// The head's frame at which it was switched, if it was one and the same.
fn switch(block: &VblankBlock, head: u32, events: Events) -> anyhow::Result<Option<u32>> {
    let before = block.frame(head)?;
    block.enable(head, events)?;
    let after = block.frame(head)?;
    Ok((before == after).then_some(after))
}

/// Where each vector stands, with nothing on its way through this machine.
fn marks(nested: &Nested, links: &[Link]) -> anyhow::Result<Vec<Mark>> {
    links.iter().map(|link| link.mark(nested)).collect()
}
