//! Flips that overtake whoever reads a picture, each at the worst moment, in simulated time.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Waker;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Wait;
use irqbroker_display::Display;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vgpu::Clock;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::HeadView;
use irqbroker_vgpu::MonotonicTime;
use irqbroker_vgpu::VblankDriver;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;

use crate::display_tearing::CAPTURES;
use crate::display_tearing::Guest;
use crate::display_tearing::colour;
use crate::need::Need;
use crate::need::story;

/// Nanoseconds of a period of 60 Hz, and a bit.
const FRAME: u64 = 16_666_667;
/// How often a display takes a picture again that a flip overtook.
const LATE_MAX: u32 = 3;
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 60;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "thousand_pictures_of_a_display_that_flips_overtake_are_none_mixed",
        Need::Nothing,
        overtaken,
    )]
}

/// Goes on when it is told to.
#[derive(Debug, Default)]
pub(crate) struct SteppedClock(AtomicU64);

impl SteppedClock {
    pub(crate) fn step(&self, nanos: u64) {
        // Relaxed: one thread steps and reads it.
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> MonotonicTime {
        // Relaxed: one thread steps and reads it.
        MonotonicTime::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A guest and its vblanks, step by step.
#[derive(Debug)]
struct Steps {
    guest: Guest,
    clock: Arc<SteppedClock>,
    driver: VblankDriver,
    /// Flips while the next pictures are being read.
    overtaking: u32,
}

impl Steps {
    /// The guest finishes its picture, which is shown, and has begun the next by the time that
    /// this returns.
    fn flip(&mut self) -> Result<(), Errno> {
        self.guest.draw(1)?;
        self.guest.commit()?;
        self.clock.step(FRAME);
        let now = self.clock.now();
        if self.driver.next_wakeup().is_some_and(|due| due <= now) {
            self.driver.run_due(now);
        }
        self.guest.flipped();
        self.guest.draw(0)
    }
}

/// A view of which the picture that was asked for is drawn into before it is read.
#[derive(Debug)]
struct Overtaken {
    view: HeadView,
    steps: Arc<Mutex<Steps>>,
}

impl Device for Overtaken {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        self.view.info()
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        self.view.region_info(index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        self.view.irq_info(index)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        self.view.set_irqs(request)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        self.view.region_read(index, offset, data)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.view.region_write(index, offset, data)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.view.reset()
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        self.view.region_fd(index)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        self.view.probe_gfx(transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        let told = self.view.query_gfx_plane(transport, plane)?;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if plane == PlaneType::PRIMARY && steps.overtaking > 0 {
            steps.overtaking -= 1;
            steps.flip()?;
        }
        Ok(told)
    }
}

fn overtaken() -> anyhow::Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let scheduler = VblankScheduler::with_clock(Granularity::Exact, Arc::clone(&clock) as _);
    let driver = scheduler.drive(Waker::noop().clone())?;
    let parent = VgpuParent::new(scheduler);
    let medium = VgpuType::find("medium").context("no such type")?;
    let device = parent.create_device(&medium, None)?;
    let view = device.head_view(HeadId(0))?;
    let steps = Arc::new(Mutex::new(Steps {
        guest: Guest::new(device)?,
        clock,
        driver,
        overtaking: 0,
    }));
    let overtaken = Overtaken {
        view,
        steps: Arc::clone(&steps),
    };
    let mut display = Display::open(Arc::new(overtaken), 0)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    for capture in 0..CAPTURES {
        let flips = random.u32(0..=LATE_MAX);
        {
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.overtaking = flips;
            steps.flip()?;
        }
        let before = display.counters().fetches;
        display.service(Wait::No)?;
        let fetches = display.counters().fetches - before;
        ensure!(
            fetches == 1 + u64::from(flips),
            "{fetches} for {flips} flips"
        );
        let steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        // The guest is at the next one.
        let shown = steps.guest.colour.wrapping_sub(1);
        let expected = u32::from_be_bytes([0, shown, shown, shown]);
        let seen = display.frame().and_then(|frame| colour(frame));
        ensure!(seen == Some(expected), "{seen:?} at capture {capture}");
    }
    Ok(())
}
