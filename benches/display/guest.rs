//! A guest that flips, and when it did.

use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::MonotonicTime;
use irqbroker_vgpu::VgpuDevice;
use rustix::event::EventfdFlags;

use crate::CHECK;
use crate::Failure;
use crate::HEIGHT;
use crate::PICTURE;
use crate::PICTURES;
use crate::WIDTH;
use crate::wait;

/// The vector of head 0's flips.
const FLIP_VECTOR: u32 = 1;

/// When the guest began the register write of each of its commits; none once it has ended.
#[derive(Default)]
pub(crate) struct Commits(Mutex<Vec<MonotonicTime>>);

impl Commits {
    /// The one that the head shows from `vblank` on.
    pub(crate) fn shown_at(&self, vblank: MonotonicTime) -> Option<MonotonicTime> {
        let commits = self.lock();
        let before = commits.partition_point(|&commit| commit <= vblank);
        commits.get(before.checked_sub(1)?).copied()
    }

    fn begin(&self) {
        self.lock().push(MonotonicTime::now());
    }

    fn end(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<MonotonicTime>> {
        // A list of times is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest with three pictures that are ready, on a thread of its own.
pub(crate) fn guest(
    device: &VgpuDevice,
    commits: &Commits,
    over: &AtomicBool,
) -> Result<(), Failure> {
    let word = |word: u64, value: u16| {
        device.region_write(RegionIndex::BAR2, 0x500 + 2 * word, &value.to_le_bytes())
    };
    for (picture, colour) in PICTURES.into_iter().enumerate() {
        let offset = (picture * PICTURE) as u64;
        device.region_write(RegionIndex::BAR0, offset, &vec![colour; PICTURE])?;
    }
    for (at, value) in [(4, 0), (3, 32), (1, WIDTH), (2, HEIGHT), (6, WIDTH)] {
        word(at, value)?;
    }
    // On, and the memory kept.
    word(4, 0xc1)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let flipped = rustix::event::eventfd(0, flags)?;
    let fds = [Some(flipped.as_fd())];
    device.set_irqs(&IrqSet::bind(IrqIndex::MSIX, FLIP_VECTOR, &fds))?;
    // Flip done.
    device.region_write(RegionIndex::BAR2, 0x900, &2u32.to_le_bytes())?;
    let mut lines = [1, 2, 0]
        .into_iter()
        .cycle()
        .map(|picture| picture * HEIGHT);
    // Relaxed: nothing else is passed on by it.
    while !over.load(Ordering::Relaxed) {
        commits.begin();
        word(9, lines.next().unwrap_or(0))?;
        wait(&flipped, CHECK)?;
        let _ = rustix::io::read(&flipped, &mut [0; 8]);
    }
    device.set_irqs(&IrqSet::disable(IrqIndex::MSIX))?;
    commits.end();
    Ok(())
}
