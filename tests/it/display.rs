//! A display of a vGPU's head: it is woken for what is new to see, and for nothing else.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Wait;
use irqbroker_display::Display;
use irqbroker_display::PictureChange;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;
use crate::ticker::Ticker;

/// Flips of the paced story: half a second of them.
const FLIPS: u64 = 30;
/// Longer than a look at a still picture may be away.
const STILL: Duration = Duration::from_secs(2);
/// Of the timer that display code refreshes by.
const POLL: Duration = Duration::from_millis(30);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "display_is_woken_once_a_flip_and_fetches_once",
            Need::Nothing,
            flips,
        ),
        story(
            "display_of_a_still_picture_is_not_woken_while_a_poller_looks_on",
            Need::Nothing,
            still,
        ),
    ]
}

/// Commits line `y` of the memory as the first of the picture, by the Bochs display's words.
fn commit(device: &VgpuDevice, y: u16) -> anyhow::Result<()> {
    device.region_write(RegionIndex::BAR2, 0x512, &y.to_le_bytes())?;
    Ok(())
}

/// A vGPU that shows 640 by 480 pixels, with as much memory below them in which each line is
/// another.
fn device(parent: &VgpuParent) -> anyhow::Result<Arc<VgpuDevice>> {
    let vgpu = VgpuType::find("small").context("no such type")?;
    let device = parent.create_device(&vgpu, None)?;
    // Off, 32 bits, the size, lines of 640 pixels, on.
    let words = [(0x508, 0u16), (0x506, 32), (0x502, 640), (0x504, 480)];
    let last = [(0x50c, 640), (0x510, 0), (0x512, 0), (0x508, 0x41)];
    for (at, word) in words.into_iter().chain(last) {
        device.region_write(RegionIndex::BAR2, at, &word.to_le_bytes())?;
    }
    for line in 0..960u32 {
        let pixels = line.to_le_bytes().repeat(640);
        device.region_write(RegionIndex::BAR0, u64::from(line) * 640 * 4, &pixels)?;
    }
    Ok(device)
}

fn display(device: &Arc<VgpuDevice>) -> anyhow::Result<Display> {
    Ok(Display::open(Arc::new(device.head_view(HeadId(0))?), 0)?)
}

fn flips() -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let device = device(&parent)?;
    let _vblanks = parent.scheduler().spawn()?;
    let mut display = display(&device)?;
    // What was drawn before it came is seen by then, and from a flip on the guest is believed.
    commit(&device, 480)?;
    while display.frame().and_then(|frame| frame.line(0).first()) != Some(&480) {
        display.service(Wait::Forever)?;
    }
    let before = display.counters();
    for flip in 1..=FLIPS {
        // By turns one and two lines further down.
        let line = 1 + u16::try_from(flip % 2)?;
        commit(&device, line)?;
        let change = display.service(Wait::Forever)?;
        ensure!(
            matches!(change.picture, PictureChange::Drawn(_)),
            "{change:?}"
        );
        let first = display.frame().and_then(|frame| frame.line(0).first());
        ensure!(first == Some(&line.into()), "{first:?} at flip {flip}");
    }
    let after = display.counters();
    ensure!(after.wakeups - before.wakeups == FLIPS, "{after:?}");
    ensure!(after.fetches - before.fetches == FLIPS, "{after:?}");
    ensure!(after.changes - before.changes == FLIPS, "{after:?}");
    Ok(())
}

fn still() -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let device = device(&parent)?;
    let _vblanks = parent.scheduler().spawn()?;
    let mut display = display(&device)?;
    // One refresh comes when all has been looked at for the first time.
    loop {
        let before = display.counters().wakeups;
        display.service(Wait::For(STILL))?;
        if display.counters().wakeups == before {
            break;
        }
    }
    let before = display.counters();
    let poller = std::thread::spawn(|| -> anyhow::Result<u64> {
        let (end, timer) = (Instant::now() + STILL, Ticker::every(POLL)?);
        let mut wakeups = 0;
        while Instant::now() < end {
            timer.wait()?;
            wakeups += 1;
        }
        Ok(wakeups)
    });
    display.service(Wait::For(STILL))?;
    let polled = poller.join().map_err(|_| anyhow::anyhow!("the poller"))??;
    ensure!(display.counters() == before, "{:?}", display.counters());
    // 66 where nothing is late.
    ensure!(polled > 0, "the poller did not look");
    Ok(())
}
