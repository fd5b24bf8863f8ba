//! The device through its VFIO face, on a stepped clock.

mod capture;
mod edid;
mod events;
mod front_buffer;
mod irqs;
mod regions;
mod restore;
mod save;
mod stop;
mod test_card;
mod threads;
mod traces;
mod walks;

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::budget::Purse;
use crate::budget::VgpuBudget;
use crate::clock::Clock;
use crate::device::VgpuDevice;
use crate::fakes::CountingWaker;
use crate::fakes::FakeClock;
use crate::granularity::Granularity;
use crate::head::HeadId;
use crate::head_event::HeadEvent;
use crate::parent::VgpuParent;
use crate::refresh::Refresh;
use crate::scheduler::VblankDriver;
use crate::scheduler::VblankScheduler;
use crate::vgpu_type::VgpuType;
use crate::vram::Vram;

/// Just over a period of 60 Hz: 16.666_667 ms.
const FRAME: Duration = Duration::from_nanos(16_666_667);
const HEAD: HeadId = HeadId(0);
const DISPLAY: IrqIndex = IrqIndex(5);

struct Bed {
    clock: Arc<FakeClock>,
    parent: VgpuParent,
    driver: VblankDriver,
    device: Arc<VgpuDevice>,
}

impl Bed {
    fn new() -> Self {
        Self::of("medium")
    }

    fn of(name: &str) -> Self {
        Self::with_type(&VgpuType::find(name).unwrap())
    }

    fn with_type(vgpu: &VgpuType) -> Self {
        let clock = FakeClock::new();
        let create = |parent: &VgpuParent| parent.create_device(vgpu, None).unwrap();
        Self::build(clock.clone(), clock, create)
    }

    /// A medium one whose memory is of the test's making.
    fn with_vram(vram: Vram) -> Self {
        let clock = FakeClock::new();
        Self::build(clock.clone(), clock, |parent| {
            let instance = crate::fakes::create(parent, &[Refresh::HZ_60]);
            let vgpu = VgpuType::find("medium").unwrap();
            let reservation = Purse::new(VgpuBudget::UNLIMITED).reserve(vgpu.vram);
            VgpuDevice::new(instance, vgpu, vram, reservation.unwrap(), None).unwrap()
        })
    }

    /// One whose time is told by `time`, which `clock` steps.
    fn build(
        clock: Arc<FakeClock>,
        time: Arc<dyn Clock>,
        create: impl FnOnce(&VgpuParent) -> Arc<VgpuDevice>,
    ) -> Self {
        let scheduler = VblankScheduler::with_clock(Granularity::Exact, time);
        let waker = Arc::new(CountingWaker::default());
        let driver = scheduler.drive(waker.into()).unwrap();
        let parent = VgpuParent::new(scheduler);
        let device = create(&parent);
        Self {
            clock,
            parent,
            driver,
            device,
        }
    }

    /// Lets a vblank of 60 Hz pass, and serves it if anybody wants it.
    fn frame(&mut self) {
        let now = self.clock.step(FRAME);
        if self
            .driver
            .next_wakeup()
            .is_some_and(|wakeup| wakeup <= now)
        {
            self.driver.run_due(now);
        }
    }

    fn frames(&mut self, count: usize) {
        (0..count).for_each(|_| self.frame());
    }

    fn wakeups(&self) -> u64 {
        self.parent.scheduler().counters().wakeups
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let written = self.device.region_write(RegionIndex::BAR2, offset, data);
        assert_eq!(written, Ok(data.len()));
    }

    fn write16(&self, offset: u64, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }

    fn write32(&self, offset: u64, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn read32(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        let read = self
            .device
            .region_read(RegionIndex::BAR2, offset, &mut data);
        assert_eq!(read, Ok(4));
        u32::from_le_bytes(data)
    }

    /// 1280x800 at 32 bits, in the order of the driver.
    fn set_mode(&self) {
        for (offset, value) in [
            (0x508, 0),
            (0x506, 32),
            (0x502, 1280),
            (0x504, 800),
            (0x50a, 0),
            (0x50c, 1280),
            (0x50e, 3276),
            (0x510, 0),
            (0x512, 0),
            (0x508, 0x41),
        ] {
            self.write16(offset, value);
        }
    }

    /// The driver's base: a frame that begins at line `y`.
    fn commit(&self, y: u16) {
        self.write16(0x50c, 1280);
        self.write16(0x510, 0);
        self.write16(0x512, y);
        self.write32(0x604, 0x1e1e_1e1e);
    }

    fn draw(&self, offset: u64, data: &[u8]) {
        let drawn = self.device.region_write(RegionIndex::BAR0, offset, data);
        assert_eq!(drawn, Ok(data.len()));
    }

    fn set(
        &self,
        index: IrqIndex,
        action: IrqAction,
        start: u32,
        data: IrqData<'_>,
    ) -> Result<(), Errno> {
        let request = IrqSet {
            index,
            start,
            action,
            data,
        };
        self.device.set_irqs(&request).map(drop)
    }

    fn bind(&self, index: IrqIndex, start: u32, event: &OwnedFd) {
        let fds = [Some(event.as_fd())];
        let bound = self.set(index, IrqAction::Trigger, start, IrqData::Eventfds(&fds));
        assert_eq!(bound, Ok(()));
    }

    /// Binds a new eventfd to an event of the first head.
    fn listen(&self, event: HeadEvent) -> OwnedFd {
        let fd = new_event();
        self.bind(DISPLAY, event.sub_index(HEAD), &fd);
        fd
    }

    fn mask(&self, event: HeadEvent) {
        let one = IrqData::None { count: 1 };
        let masked = self.set(DISPLAY, IrqAction::Mask, event.sub_index(HEAD), one);
        assert_eq!(masked, Ok(()));
    }

    fn unmask(&self, event: HeadEvent) {
        let one = IrqData::None { count: 1 };
        let unmasked = self.set(DISPLAY, IrqAction::Unmask, event.sub_index(HEAD), one);
        assert_eq!(unmasked, Ok(()));
    }
}

fn new_event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// Drains an eventfd.
fn count(event: impl AsFd) -> u64 {
    fn read(event: BorrowedFd<'_>) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(event, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                0
            }
        }
    }
    read(event.as_fd())
}
