//! A guest flips two colours at 60 Hz: whoever looks at each flip never sees both.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadEvent;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::HeadView;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::display_tearing::wait;
use crate::need::Need;
use crate::need::story;

/// Pictures of the guest: 640x480 at 32 bits, one behind the other.
const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;
const PICTURE: usize = 640 * 480 * 4;
/// Captures: 17 seconds of 60 Hz.
const CAPTURES: usize = 1000;
/// How long nothing may come before the story fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// The vector of head 0's flips.
const FLIP_VECTOR: u32 = 1;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "thousand_captures_of_a_guest_that_flips_two_colours_are_none_mixed",
        Need::Nothing,
        tearing,
    )]
}

fn eventfd() -> anyhow::Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    Ok(rustix::event::eventfd(0, flags)?)
}

fn bind(
    device: &dyn Device,
    index: IrqIndex,
    start: u32,
    event: BorrowedFd<'_>,
) -> anyhow::Result<()> {
    let fds = [Some(event)];
    device.set_irqs(&IrqSet {
        index,
        start,
        action: IrqAction::Trigger,
        data: IrqData::Eventfds(&fds),
    })?;
    Ok(())
}

/// Waits for an event. Returns whether one came.
fn flipped(event: &OwnedFd) -> anyhow::Result<bool> {
    let limit = Timespec::try_from(PATIENCE)?;
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&limit))?;
    Ok(rustix::io::read(event, &mut [0; 8]).is_ok())
}

/// Draws into the buffer that is not shown and flips, as soon as it is told that it may.
fn guest(device: &VgpuDevice, vector: &OwnedFd, done: &AtomicBool) -> anyhow::Result<()> {
    let word = |word: u64, value: u16| -> anyhow::Result<()> {
        device.region_write(RegionIndex::BAR2, 0x500 + 2 * word, &value.to_le_bytes())?;
        Ok(())
    };
    for (at, value) in [(3, 32), (1, WIDTH), (2, HEIGHT), (6, WIDTH), (4, 0xc1)] {
        word(at, value)?;
    }
    // Flip done.
    device.region_write(RegionIndex::BAR2, 0x900, &2u32.to_le_bytes())?;
    let (mut buffer, mut colour) = (0usize, 0u8);
    // Relaxed: it only ends the story; nothing is published by it.
    while !done.load(Ordering::Relaxed) {
        buffer = 1 - buffer;
        colour = colour.wrapping_add(1);
        let offset = (buffer * PICTURE) as u64;
        device.region_write(RegionIndex::BAR0, offset, &vec![colour; PICTURE])?;
        word(9, if buffer == 0 { 0 } else { HEIGHT })?;
        wait(vector, done)?;
    }
    Ok(())
}

/// The picture of a flip, whole: taken again if the next flip came before it was.
fn capture(view: &HeadView, flip: &OwnedFd, pixels: &mut [u8]) -> anyhow::Result<()> {
    loop {
        ensure!(flipped(flip)?, "no flip in {PATIENCE:?}");
        let plane = view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)?;
        ensure!(!plane.is_disabled(), "nothing is shown");
        let read = view.region_read(RegionIndex(0), 0, pixels)?;
        ensure!(read == pixels.len(), "{read} bytes of a picture");
        let mut fds = [PollFd::new(flip, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if rustix::event::poll(&mut fds, Some(&now))? == 0 {
            return Ok(());
        }
    }
}

fn tearing() -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let medium = VgpuType::find("medium").context("no such type")?;
    let device = parent.create_device(&medium, None)?;
    let view = device.head_view(HeadId(0))?;
    let (flip, vector) = (eventfd()?, eventfd()?);
    let sub_index = HeadEvent::Flip.sub_index(HeadId(0));
    bind(&view, IrqIndex(0), sub_index, flip.as_fd())?;
    bind(&*device, IrqIndex::MSIX, FLIP_VECTOR, vector.as_fd())?;
    let _vblanks = parent.scheduler().spawn()?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let guest = scope.spawn(|| guest(&device, &vector, &done));
        let mut pixels = vec![0; PICTURE];
        let mut mixed = 0;
        let captured = (0..CAPTURES).try_for_each(|_| {
            capture(&view, &flip, &mut pixels)?;
            let colour = pixels.first();
            mixed += usize::from(!pixels.iter().all(|byte| Some(byte) == colour));
            anyhow::Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let drawn = guest.join();
        captured?;
        drawn.map_err(|_| anyhow::anyhow!("the guest has panicked"))??;
        ensure!(mixed == 0, "{mixed} of {CAPTURES} pictures are mixed");
        Ok(())
    })
}
