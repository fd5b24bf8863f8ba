//! The fuzz targets as plain functions: each panics where a property does not hold.
//!
//! An input is a list of operations: kind, length and a 16-bit offset, and as many bytes as the
//! length says. `fuzz/` hands the targets to `cargo fuzz`; the tests of this module replay its
//! corpora, mutated.

mod gfx;
mod saved;

pub use gfx::gfx;
pub use saved::saved;

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Waker;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use rustix::event::EventfdFlags;

use crate::clock::Clock;
use crate::clock::MonotonicTime;
use crate::config_space;
use crate::config_space::ConfigSpace;
use crate::cursor::Cursor;
use crate::device::VgpuDevice;
use crate::granularity::Granularity;
use crate::head::HeadId;
use crate::parent::VgpuParent;
use crate::registers;
use crate::registers::HeadView;
use crate::registers::Monitor;
use crate::registers::Registers;
use crate::scheduler::VblankDriver;
use crate::scheduler::VblankScheduler;
use crate::vgpu_type::VgpuType;

/// An entry point.
pub type Target = fn(&[u8]);

/// All entry points, by the names of their corpora.
pub const TARGETS: [(&str, Target); 5] = [
    ("registers", registers),
    ("config_space", config_space),
    ("device", device),
    ("gfx", gfx),
    ("saved", saved),
];

const HEADS: usize = 2;
const VRAM: u64 = 16 << 20;

/// One operation of an input.
struct Operation<'a> {
    kind: u8,
    offset: u16,
    data: &'a [u8],
}

/// The operations of an input; what is left at its end is none.
fn operations(mut input: &[u8]) -> impl Iterator<Item = Operation<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, len, low, high], rest) = input.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(len))?;
        input = rest;
        Some(Operation {
            kind,
            offset: u16::from_le_bytes([low, high]),
            data,
        })
    })
}

/// The register BAR: pictures and cursors stay within the VRAM, and reset takes all back.
pub fn registers(input: &[u8]) {
    let edid: Vec<u8> = (0..128).collect();
    let mut fresh = Registers::new(VRAM, HEADS);
    fresh.set_edid(HeadId(0), &edid);
    let mut registers = fresh.clone();
    let views = [HeadView::default(); HEADS];
    let mut effects = Vec::new();
    for operation in operations(input) {
        let at = usize::from(operation.offset) % registers::SIZE;
        let data = &operation.data[..operation.data.len().min(registers::SIZE - at)];
        if operation.kind.is_multiple_of(2) {
            registers.read(at, &mut data.to_vec(), &views);
            continue;
        }
        effects.clear();
        registers.write(at, data, &mut effects);
        assert!(effects.len() <= 2 * data.len());
        for head in [HeadId(0), HeadId(1)] {
            if let Some(shown) = registers.shown(head) {
                assert!(!shown.is_empty() && shown.offset + shown.len() <= VRAM);
            }
            if let Some(cursor) = registers.cursor(head) {
                assert!(cursor.offset + Cursor::BYTES <= VRAM);
            }
        }
    }
    registers.reset();
    assert_eq!(registers, fresh);
}

/// Configuration space: what is read-only stays, and reset takes all back.
pub fn config_space(input: &[u8]) {
    let fresh = ConfigSpace::new(16 << 20, 5);
    let mut space = fresh.clone();
    for operation in operations(input) {
        let at = usize::from(operation.offset) % config_space::SIZE;
        let data = &operation.data[..operation.data.len().min(config_space::SIZE - at)];
        if operation.kind.is_multiple_of(2) {
            space.read(at, &mut data.to_vec());
        } else {
            space.write(at, data);
        }
        let mut identity = [0; 4];
        space.read(0, &mut identity);
        assert_eq!(identity, [0x34, 0x12, 0x11, 0x11]);
        // A prefetchable BAR of 16 MiB, wherever it is.
        let mut bar = [0; 4];
        space.read(0x10, &mut bar);
        assert_eq!(bar[..3], [0x08, 0, 0]);
    }
    space.reset();
    assert_eq!(space, fresh);
}

/// A whole device: regions, SET_IRQS as they come, time, monitors and resets. No event comes more
/// than once a vblank, and nothing ticks once nobody listens.
pub fn device(input: &[u8]) {
    thread_local! {
        static BED: Option<Bed> = Bed::new();
    }
    BED.with(|bed| {
        let bed = bed.as_ref().expect("memory and eventfds");
        bed.run(input);
        bed.clean();
    });
}

/// A clock that is stepped.
#[derive(Debug, Default)]
struct StepClock(AtomicU64);

impl Clock for StepClock {
    fn now(&self) -> MonotonicTime {
        // Relaxed: one thread.
        MonotonicTime::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A device that serves one input after the other.
struct Bed {
    clock: Arc<StepClock>,
    parent: VgpuParent,
    device: Arc<VgpuDevice>,
    event: OwnedFd,
}

impl Bed {
    fn new() -> Option<Self> {
        let clock = Arc::new(StepClock::default());
        let scheduler = VblankScheduler::with_clock(Granularity::Exact, clock.clone());
        let parent = VgpuParent::new(scheduler);
        // Two heads, and a VRAM that is clear at once.
        let vgpu = VgpuType {
            width: 640,
            height: 480,
            vram: 4 << 20,
            heads: HEADS,
            ..VgpuType::find("small")?
        };
        let device = parent.create_device(&vgpu, None).ok()?;
        let event = rustix::event::eventfd(0, EventfdFlags::NONBLOCK).ok()?;
        Some(Self {
            clock,
            parent,
            device,
            event,
        })
    }

    fn drive(&self) -> VblankDriver {
        let driver = self.parent.scheduler().drive(Waker::noop().clone());
        driver.expect("driven by nobody else")
    }

    fn run(&self, input: &[u8]) {
        let mut driver = self.drive();
        for operation in operations(input) {
            let (kind, offset, data) = (operation.kind, operation.offset, operation.data);
            let index = RegionIndex(u32::from(kind >> 4));
            match kind & 0x07 {
                0 => {
                    let mut data = data.to_vec();
                    let len = self.device.region_read(index, offset.into(), &mut data);
                    assert!(len.is_ok_and(|len| len <= data.len()) || len == Err(Errno::EINVAL));
                }
                1 | 2 => {
                    let len = self.device.region_write(index, offset.into(), data);
                    assert!(len.is_ok_and(|len| len <= data.len()) || len == Err(Errno::EINVAL));
                }
                3 => self.set_irqs(kind, offset, data),
                4 => {
                    let monitor = [Monitor::Plugged, Monitor::Unplugged][usize::from(kind >> 7)];
                    let head = HeadId(offset.to_le_bytes()[0]);
                    let set = self.device.set_monitor(head, monitor);
                    assert_eq!(set.is_ok(), usize::from(head.0) < HEADS);
                }
                5 if kind >> 4 == 0 => {
                    self.device.reset().expect("memory");
                    assert_eq!(self.device.scanout(HeadId(0)), None);
                }
                _ => self.step(&mut driver, u64::from(offset)),
            }
        }
    }

    /// Lets up to 65 ms pass.
    fn step(&self, driver: &mut VblankDriver, micros: u64) {
        let before = [0, 1].map(|head| self.device.counters(HeadId(head)));
        let frames = self.device.instance().heads()[0].frame();
        // Relaxed: one thread.
        self.clock.0.fetch_add(micros * 1000, Ordering::Relaxed);
        let now = self.clock.now();
        if driver.next_wakeup().is_some_and(|wakeup| wakeup <= now) {
            driver.run_due(now);
        }
        let passed = self.device.instance().heads()[0].frame() - frames;
        for (head, before) in (0..).map(HeadId).zip(before) {
            let (Some(before), Some(after)) = (before, self.device.counters(head)) else {
                panic!("head {head} is gone");
            };
            assert!(after.flips - before.flips <= passed);
            assert!(after.refreshes - before.refreshes <= passed);
        }
    }

    /// A request whose payload is made of `data`: fds that are eventfds, other files, or none.
    fn set_irqs(&self, kind: u8, offset: u16, data: &[u8]) {
        let [index, start] = offset.to_le_bytes();
        let action = [IrqAction::Trigger, IrqAction::Mask, IrqAction::Unmask];
        let bools: Vec<bool> = data.iter().map(|byte| byte % 2 == 1).collect();
        let fds: Vec<Option<BorrowedFd<'_>>> = data
            .iter()
            .map(|byte| match byte {
                0..0x20 => None,
                0x20..0xf0 => Some(self.event.as_fd()),
                _ => Some(self.device.vram()),
            })
            .collect();
        let data = match kind >> 6 {
            0 => IrqData::None {
                count: data
                    .iter()
                    .fold(0, |count, byte| count << 4 | u32::from(*byte)),
            },
            1 => IrqData::Bool(&bools),
            _ => IrqData::Eventfds(&fds),
        };
        let request = IrqSet {
            index: IrqIndex(index.into()),
            start: start.into(),
            action: action[usize::from(kind >> 4 & 3) % 3],
            data,
        };
        let answer = self.device.set_irqs(&request);
        let known = [Errno::EINVAL, Errno::ENOTTY, Errno::ERANGE];
        assert!(answer.is_ok() || answer.is_err_and(|error| known.contains(&error)));
    }

    /// Nobody listens any more, so nothing ticks; then as new.
    fn clean(&self) {
        for index in [IrqIndex(5), IrqIndex::MSIX, IrqIndex::ERR, IrqIndex::REQ] {
            let off = self.device.set_irqs(&IrqSet::disable(index));
            assert!(off.is_ok() || off == Err(Errno::EINVAL));
        }
        assert_eq!(self.drive().next_wakeup(), None);
        for head in self.device.instance().heads() {
            let plugged = self.device.set_monitor(head.id(), Monitor::Plugged);
            plugged.expect("a head of the device");
        }
        self.device.reset().expect("memory");
        let mut count = [0; 8];
        // Empty, or as many events as there were.
        let _ = rustix::io::read(&self.event, &mut count);
    }
}

#[cfg(test)]
mod tests;
