//! A device that is stopped because it was saved, and how that ends.

use super::save::busy;
use super::save::visible;
use super::*;
use std::os::fd::AsRawFd;

use crate::saved::SaveError;

/// A device with a listener that was told of all so far.
fn listening() -> (Bed, OwnedFd) {
    let mut bed = Bed::new();
    let vblank = bed.listen(HeadEvent::Vblank);
    bed.frames(3);
    assert_eq!(count(&vblank), 3);
    (bed, vblank)
}

#[test]
fn stopped_device_tells_nobody_and_wakes_nobody() {
    let (mut bed, vblank) = listening();
    bed.device.save_state().unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
    // Nor does it for what is asked of it meanwhile.
    bed.set_mode();
    let flip = bed.listen(HeadEvent::Flip);
    bed.commit(800);
    assert_eq!(bed.driver.next_wakeup(), None);
    bed.frames(10);
    assert_eq!((count(&vblank), count(&flip)), (0, 0));
}

#[test]
fn saved_device_that_is_reset_runs_again() {
    // The device's reset, and that of the function.
    let resets: [fn(&Bed); 2] = [
        |bed| bed.device.reset().unwrap(),
        |bed| {
            let written = bed.device.region_write(RegionIndex::CONFIG, 0x49, &[0xa8]);
            assert_eq!(written, Ok(1));
        },
    ];
    for reset in resets {
        let (mut bed, vblank) = listening();
        bed.device.save_state().unwrap();
        bed.frames(10);
        reset(&bed);
        bed.frame();
        assert_eq!(count(&vblank), 1, "one for all it has missed");
        bed.frames(4);
        assert_eq!(count(&vblank), 4);
    }
}

#[test]
fn saved_device_runs_again_once_the_user_who_saved_it_is_gone() {
    let mut bed = busy();
    let view = bed.device.head_view(HEAD).unwrap();
    let vblank = new_event();
    let fds = [Some(vblank.as_fd())];
    let request = IrqSet::bind(IrqIndex(0), HeadEvent::Vblank.sub_index(HEAD), &fds);
    view.set_irqs(&request).unwrap();
    let open = bed.device.open().unwrap();
    open.save().unwrap();
    bed.frames(10);
    assert_eq!(count(&vblank), 0);
    let before = visible(&bed);
    drop(open);
    assert_eq!(count(&vblank), 1, "told at once that it missed some");
    assert_eq!(visible(&bed), before);
    bed.frames(4);
    assert_eq!(count(&vblank), 4);
}

#[test]
fn device_that_its_owner_saved_stays_stopped_when_a_user_goes() {
    let (mut bed, _) = listening();
    let producer = bed.device.producer(HEAD, HeadEvent::Flip).unwrap();
    crate::fakes::bind(&producer);
    let open = bed.device.open().unwrap();
    // What the user did itself is over.
    let file = open.save().unwrap();
    open.restore(file.as_fd()).unwrap();
    open.save().unwrap();
    open.reset().unwrap();
    open.save().unwrap();
    open.resume();
    bed.device.save_state().unwrap();
    drop(open);
    bed.set_mode();
    bed.frames(4);
    assert_eq!(count(producer.token()), 0);
    // Resuming ends it, and one that runs does not mind.
    bed.device.resume();
    bed.device.resume();
    assert_eq!(count(producer.token()), 1);
}

#[test]
fn device_that_is_destroyed_does_not_run_again() {
    let (mut bed, vblank) = listening();
    bed.device.save_state().unwrap();
    bed.parent.destroy(bed.device.instance().id()).unwrap();
    bed.device.resume();
    bed.device.reset().unwrap();
    bed.frames(4);
    assert_eq!(count(&vblank), 0);
}

#[test]
fn save_that_fails_leaves_the_device_running() {
    // Memory that can be written and not read.
    let memory = rustix::fs::memfd_create("write-only", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memory, 16 << 20).unwrap();
    let link = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let write_only = rustix::fs::open(link, flags, rustix::fs::Mode::empty()).unwrap();
    let mut bed = Bed::with_vram(Vram::within(write_only, 16 << 20));
    bed.draw(0, b"picture");
    let vblank = bed.listen(HeadEvent::Vblank);
    let error = bed.device.save_state().unwrap_err();
    assert!(matches!(error, SaveError::Memory { .. }), "{error:?}");
    bed.frames(4);
    assert_eq!(count(&vblank), 4);
}

#[test]
fn test_card_is_not_painted_while_the_device_is_stopped() {
    let mut bed = Bed::new();
    let _card = bed.device.show_test_card(HEAD).unwrap();
    bed.frames(3);
    // Under way as it stops.
    let painter = bed.device.lock().heads[0].card.take().unwrap();
    let file = bed.device.save_state().unwrap();
    let before = (visible(&bed), bed.device.counters(HEAD).unwrap().commits);
    bed.device.card_due(0, painter, 3);
    assert_eq!(
        (visible(&bed), bed.device.counters(HEAD).unwrap().commits),
        before
    );
    bed.device.restore_state(file.as_fd()).unwrap();
    bed.frames(2);
    assert!(bed.device.counters(HEAD).unwrap().commits > before.1);
}
