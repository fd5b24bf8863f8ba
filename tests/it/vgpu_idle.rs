//! vGPUs that nobody looks at cost nothing, whatever their guests do; nor do those that are listened to
//! for flips, while there are none.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

use crate::need::Need;
use crate::need::story;
use crate::ticker::Ticker;

/// How long nothing is to happen.
const QUIET: Duration = Duration::from_secs(10);
/// One guest commits so often meanwhile.
const COMMIT: Duration = Duration::from_millis(16);
/// Longer than anything takes here: it ends a story that hangs.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};
/// Of a vGPU, behind the indexes of PCI.
const DISPLAY: IrqIndex = IrqIndex(IrqIndex::PCI_NUM);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpus_nobody_looks_at_wake_nobody_for_ten_seconds_of_1",
            Need::Nothing,
            || idle(1),
        ),
        story(
            "vgpus_nobody_looks_at_wake_nobody_for_ten_seconds_of_1000",
            Need::Nothing,
            || idle(1000),
        ),
        story(
            "vgpus_that_do_not_flip_wake_no_listener_in_ten_seconds_of_1",
            Need::Nothing,
            || listened_to(1),
        ),
        story(
            "vgpus_that_do_not_flip_wake_no_listener_in_ten_seconds_of_1000",
            Need::Nothing,
            || listened_to(1000),
        ),
    ]
}

/// Turns a 64x64 picture on, as a guest does.
fn show(device: &VgpuDevice) -> anyhow::Result<()> {
    let words = [(3, 32), (1, 64), (2, 64), (6, 64), (4, 0xc1u16)];
    words.iter().try_for_each(|(word, value)| {
        let offset = 0x500 + 2 * word;
        device.region_write(RegionIndex::BAR2, offset, &value.to_le_bytes())?;
        Ok(())
    })
}

/// Half of the guests commit with registers all the time, the other half show a still picture.
fn idle(instances: usize) -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let small = VgpuType::find("small").context("no such type")?;
    let devices = (0..instances)
        .map(|_| Ok(parent.create_device(&small, None)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    devices.iter().try_for_each(|device| show(device))?;
    let _vblanks = parent.scheduler().spawn()?;
    let first = devices.first().context("no device")?;
    let frame = || first.instance().heads().first().map(|head| head.frame());
    let (before, frames, start) = (parent.scheduler().counters(), frame(), Instant::now());
    let pace = Ticker::every(COMMIT)?;
    while start.elapsed() < QUIET {
        for device in devices.iter().step_by(2) {
            device.region_write(RegionIndex::BAR2, 0x512, &0u16.to_le_bytes())?;
        }
        // What is counted is what the scheduler does meanwhile.
        pace.wait()?;
    }
    let after = parent.scheduler().counters();
    ensure!(
        after == before,
        "{before:?} before ten quiet seconds, {after:?} after"
    );
    ensure!(frame() > frames, "time has not passed");
    Ok(())
}

/// Binds the flips of head 0 of a vGPU to an eventfd.
fn bind_flips(device: &VgpuDevice) -> anyhow::Result<OwnedFd> {
    let display = device.irq_info(DISPLAY)?;
    let events = display.display_events().context("no events")?;
    let is_flip = |kind| kind == DisplayEventKind::FLIP;
    let flip = events
        .iter()
        .find(|event| event.head == 0 && is_flip(event.kind));
    let flip = flip.context("no flip")?.sub_index;
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    device.set_irqs(&IrqSet::bind(DISPLAY, flip, &[Some(event.as_fd())]))?;
    Ok(event)
}

/// Each guest has committed a picture, and shows it from then on.
fn listened_to(instances: usize) -> anyhow::Result<()> {
    // Three files for each: its memory, the listener's eventfd and the device's own of it.
    let files = getrlimit(Resource::Nofile);
    let current = files.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..files })?;
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let small = VgpuType::find("small").context("no such type")?;
    let devices = (0..instances)
        .map(|_| Ok(parent.create_device(&small, None)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let flips = devices.iter().map(|device| bind_flips(device));
    let flips = flips.collect::<anyhow::Result<Vec<_>>>()?;
    let _vblanks = parent.scheduler().spawn()?;
    devices.iter().try_for_each(|device| show(device))?;
    // Every listener is told once that the first picture is shown.
    flips.iter().try_for_each(flip_comes)?;
    let before = parent.scheduler().counters();

    let mut fds: Vec<_> = flips
        .iter()
        .map(|event| PollFd::new(event, PollFlags::IN))
        .collect();
    let (end, mut told) = (Instant::now() + QUIET, 0);
    while told == 0 && Instant::now() < end {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()))?;
        told = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&left)))?;
    }

    let after = parent.scheduler().counters();
    ensure!(
        after == before,
        "{before:?} before ten quiet seconds, {after:?} after"
    );
    ensure!(told == 0, "{told} flips without a commit");
    // They did listen: the flip of each is told once there is one.
    for device in &devices {
        device.region_write(RegionIndex::BAR2, 0x512, &1u16.to_le_bytes())?;
    }
    flips.iter().try_for_each(flip_comes)
}

/// Waits for a flip, and takes it.
fn flip_comes(event: &OwnedFd) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&PATIENCE)))?;
    ensure!(ready == 1, "a flip that nobody is told of");
    let mut told = [0; 8];
    rustix::io::read(event, &mut told)?;
    let told = u64::from_ne_bytes(told);
    ensure!(told == 1, "a flip that is told {told} times");
    Ok(())
}
