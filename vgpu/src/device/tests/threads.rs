//! Guest, user and scheduler on threads of their own.

use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use irqbroker_core::Mask;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::fakes::bind;
use crate::refresh::Refresh;

/// Waits until there is something in an eventfd, and drains it.
fn wait(event: impl AsFd) -> u64 {
    // Long enough for any machine; only a lost event gets there.
    let limit = Timespec {
        tv_sec: 120,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&event, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "lost");
    count(event)
}

#[test]
fn flips_under_commits_masks_and_rebindings_are_neither_lost_nor_invented() {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType {
        // The fastest rate, to have the most vblanks.
        refresh: Refresh::new(Refresh::MAX_HZ, 1).unwrap(),
        ..VgpuType::find("small").unwrap()
    };
    let device = parent.create_device(&vgpu, None).unwrap();
    let thread = parent.scheduler().spawn().unwrap();
    let flip = HeadEvent::Flip.sub_index(HEAD);
    let set = |action, data| {
        let request = IrqSet {
            index: DISPLAY,
            start: flip,
            action,
            data,
        };
        device.set_irqs(&request).unwrap();
    };
    let one = IrqData::None { count: 1 };
    let (masked, rebound) = (new_event(), new_event());
    let fds = [Some(masked.as_fd())];
    set(IrqAction::Trigger, IrqData::Eventfds(&fds));
    let producer = device.producer(HEAD, HeadEvent::Flip).unwrap();
    bind(&producer);
    let commit = || {
        device
            .region_write(RegionIndex::BAR2, 0x512, &[0, 0])
            .unwrap()
    };
    device
        .region_write(RegionIndex::BAR2, 0x508, &[0x41, 0])
        .unwrap();

    let done = AtomicBool::new(false);
    let (mut display, mut local) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                commit();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                set(IrqAction::Mask, one);
                producer.mask().unwrap();
                set(IrqAction::Unmask, one);
                producer.unmask().unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // A vector without an enabled interrupt: bindings change, nothing is signalled.
                let fds = [Some(rebound.as_fd())];
                device
                    .set_irqs(&IrqSet::bind(IrqIndex::MSIX, 1, &fds))
                    .unwrap();
                device.set_irqs(&IrqSet::disable(IrqIndex::MSIX)).unwrap();
            }
        });
        // A tenth of a second of flips.
        while display < 100 || local < 100 {
            display += wait(&masked);
            local += wait(producer.token());
        }
        done.store(true, Ordering::Relaxed);
    });
    display += count(&masked);
    local += count(producer.token());
    // One more, with nobody in the way.
    let flips = device.counters(HEAD).unwrap().flips;
    commit();
    while device.counters(HEAD).unwrap().flips == flips {
        std::thread::yield_now();
    }
    display += wait(&masked);
    local += wait(producer.token());
    drop(thread);
    display += count(&masked);
    local += count(producer.token());

    let flips = device.counters(HEAD).unwrap().flips;
    assert!(
        display <= flips && local <= flips,
        "{display} and {local} of {flips}"
    );
    assert!(flips <= device.instance().heads()[0].frame());
    assert_eq!(local, producer.signalled());
    assert_eq!(count(&rebound), 0);
}

#[test]
fn flip_is_one_wakeup_of_the_thread_however_long_that_slept_before() {
    // A second and a half of frames at most, and pauses.
    const FLIPS: u64 = 40;
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let small = VgpuType::find("small").unwrap();
    let device = parent.create_device(&small, None).unwrap();
    let write = |offset, value: u16| {
        device
            .region_write(RegionIndex::BAR2, offset, &value.to_le_bytes())
            .unwrap()
    };
    let head = &device.instance().heads()[0];
    let pass_frames = |count| {
        let first = head.frame();
        while head.frame() < first + count {
            std::thread::yield_now();
        }
    };
    // A flip too, which is over when the listener comes.
    write(0x508, 0x41);
    pass_frames(1);
    let flip = new_event();
    let fds = [Some(flip.as_fd())];
    let place = HeadEvent::Flip.sub_index(HEAD);
    let _thread = parent.scheduler().spawn().unwrap();
    device
        .set_irqs(&IrqSet::bind(DISPLAY, place, &fds))
        .unwrap();
    let before = parent.scheduler().counters().wakeups;
    for number in 0..FLIPS {
        // Every other one after a frame with nothing to do.
        pass_frames(2 * (number % 2));
        write(0x512, 0);
        assert_eq!(wait(&flip), 1);
    }
    assert_eq!(parent.scheduler().counters().wakeups - before, FLIPS);
}
