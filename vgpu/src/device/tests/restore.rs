//! Who is there already where a device is restored, and what may happen meanwhile.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

use super::save::busy;
use super::save::moved;
use super::*;

use crate::clock::MonotonicTime;
use crate::head_view::HeadView;
use crate::saved::RestoreError;

fn listen_to(view: &HeadView, event: HeadEvent) -> OwnedFd {
    let fd = new_event();
    let fds = [Some(fd.as_fd())];
    let request = IrqSet::bind(IrqIndex(0), event.sub_index(HEAD), &fds);
    view.set_irqs(&request).unwrap();
    fd
}

#[test]
fn eventfd_that_is_bound_already_is_told_at_once_what_it_missed() {
    let (from, to) = (Bed::new(), Bed::new());
    let _flip = from.listen(HeadEvent::Flip);
    from.set_mode();
    // The vblank has come, and nobody has served it yet.
    from.clock.step(FRAME);
    let (flip, cursor) = (to.listen(HeadEvent::Flip), to.listen(HeadEvent::Cursor));
    moved(&from, &to);
    assert_eq!(count(&flip), 1);
    assert_eq!(count(&cursor), 0, "nobody listened to it before");
}

#[test]
fn views_and_producers_here_go_on_with_the_device_that_came() {
    let (from, mut to) = (busy(), Bed::new());
    let view = to.device.head_view(HEAD).unwrap();
    let (vblank, flip) = (
        listen_to(&view, HeadEvent::Vblank),
        listen_to(&view, HeadEvent::Flip),
    );
    let producer = to.device.producer(HEAD, HeadEvent::Flip).unwrap();
    crate::fakes::bind(&producer);
    moved(&from, &to);
    assert_eq!(count(&flip), 0, "what was before is not their own");
    to.commit(0);
    to.frame();
    assert_eq!((count(&vblank), count(&flip)), (1, 1));
    assert_eq!(count(producer.token()), 1);
}

#[test]
fn guest_that_was_reset_before_a_move_is_told_of_no_flip_from_before_after_it() {
    let (mut from, mut to) = (Bed::new(), Bed::new());
    from.set_mode();
    from.frame();
    from.device.reset().unwrap();
    moved(&from, &to);
    to.frame();
    assert_eq!(to.device.counters(HEAD).unwrap().flips, 2);
    assert_eq!(to.read32(0x904) & 2, 0);
}

#[test]
fn alarm_of_before_a_restore_takes_no_frame_forward() {
    // Of a device that has been there for a day.
    const LATE: u64 = 5_000_000;
    let (from, mut to) = (Bed::new(), Bed::new());
    from.set_mode();
    let (vblank, flip) = (to.listen(HeadEvent::Vblank), to.listen(HeadEvent::Flip));
    moved(&from, &to);
    count(&flip);
    // One that the scheduler had in hand meanwhile.
    to.device.vblank(0, LATE);
    count(&vblank);
    to.commit(0);
    to.frame();
    assert_eq!((count(&vblank), count(&flip)), (1, 1));
}

#[test]
fn restore_takes_back_the_pictures_that_were_told_of_here() {
    let (from, to) = (busy(), busy());
    let view = to.device.head_view(HEAD).unwrap();
    let planes = [PlaneType::PRIMARY, PlaneType::CURSOR];
    // Of the device itself and of the view, in the order of the planes.
    let users: [(&dyn Device, [u32; 2]); 2] = [(&*to.device, [10, 11]), (&view, [0, 1])];
    let sizes = || {
        users.map(|(user, regions)| {
            regions.map(|region| user.region_info(RegionIndex(region)).unwrap().size)
        })
    };
    for (user, _) in users {
        for plane in planes {
            user.query_gfx_plane(GfxTransport::Region, plane).unwrap();
        }
    }
    assert!(sizes().as_flattened().iter().all(|&size| size > 0));
    moved(&from, &to);
    assert_eq!(sizes(), [[0; 2]; 2]);
}

#[test]
fn restore_that_fails_half_way_leaves_a_device_that_was_reset() {
    let size = 16 << 20;
    let memory = || {
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("half", flags).unwrap();
        // Half of what it says, and no more can be had.
        rustix::fs::ftruncate(&memory, size / 2).unwrap();
        rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::GROW).unwrap();
        memory
    };
    let mut from = busy();
    from.draw(15 << 20, b"beyond");
    let file = from.device.save_state().unwrap();
    let mut to = Bed::with_vram(Vram::within(memory(), size));
    let vblank = to.listen(HeadEvent::Vblank);
    to.set_mode();
    to.draw(0, b"before");
    from.frame();
    let error = to.device.restore_state(file.as_fd()).unwrap_err();
    assert!(matches!(error, RestoreError::Read { .. }), "{error:?}");
    assert_eq!(to.device.scanout(HEAD), None);
    for offset in [0, 800 * 5120] {
        let mut bytes = [1; 7];
        to.device
            .region_read(RegionIndex::BAR0, offset, &mut bytes)
            .unwrap();
        assert_eq!(bytes, [0; 7], "at {offset}");
    }
    to.frames(3);
    assert_eq!(count(&vblank), 3, "and it runs");
}

/// A clock that steps by itself, between two looks at it.
#[derive(Debug)]
struct Leaping {
    clock: Arc<FakeClock>,
    /// Looks until then; 0 for never.
    looks: AtomicU32,
    leap: Duration,
}

impl Clock for Leaping {
    fn now(&self) -> MonotonicTime {
        match self.looks.load(Ordering::SeqCst) {
            0 => {}
            left => {
                self.looks.store(left - 1, Ordering::SeqCst);
                if left == 1 {
                    self.clock.step(self.leap);
                }
            }
        }
        self.clock.now()
    }
}

#[test]
fn vblank_that_comes_while_the_device_is_saved_is_not_a_frame_late() {
    // More than there are looks at the clock.
    for looks in 1..8 {
        let clock = FakeClock::new();
        let time = Arc::new(Leaping {
            clock: clock.clone(),
            looks: AtomicU32::new(0),
            leap: FRAME / 50,
        });
        let medium = VgpuType::find("medium").unwrap();
        let mut from = Bed::build(clock, time.clone(), |parent| {
            parent.create_device(&medium, None).unwrap()
        });
        from.frames(5);
        let before = from.device.instance().heads()[0].frame();
        // A hundredth of a frame before the vblank.
        from.clock.step(FRAME * 99 / 100);
        assert_eq!(from.device.instance().heads()[0].frame(), before);
        time.looks.store(looks, Ordering::SeqCst);
        let file = from.device.save_state().unwrap();
        let to = Bed::new();
        // A host that is up for longer than a frame.
        to.clock.step(FRAME);
        to.device.restore_state(file.as_fd()).unwrap();
        // As long as the leap, whenever it was.
        to.clock.step(FRAME / 50);
        let after = to.device.instance().heads()[0].frame();
        assert_eq!(after, before + 1, "after {looks} looks");
    }
}
