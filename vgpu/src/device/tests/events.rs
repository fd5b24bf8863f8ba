//! Flips, vblanks, cursor and hotplug to all kinds of listeners.

use super::*;
use irqbroker_core::Mask;
use irqbroker_core::Producer;

use crate::fakes::bind;
use crate::registers::Monitor;

#[test]
fn commits_between_vblanks_are_one_flip_at_the_vblank() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let flip = bed.listen(HeadEvent::Flip);
    for y in [800, 1600, 0] {
        bed.commit(y);
    }
    assert_eq!(count(&flip), 0, "not before the vblank");
    bed.frame();
    assert_eq!(count(&flip), 1);
    bed.frames(10);
    assert_eq!(count(&flip), 0, "vblanks without a commit");
    let counters = bed.device.counters(HEAD).unwrap();
    // The mode set is a flip too: something else is shown.
    assert_eq!(
        (counters.commits, counters.coalesced, counters.flips),
        (3, 2, 2)
    );
}

#[test]
fn flip_listener_costs_a_wakeup_a_flip_and_none_without() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let flip = bed.listen(HeadEvent::Flip);
    bed.frames(600);
    assert_eq!(bed.wakeups(), 0);
    for _ in 0..10 {
        bed.commit(0);
        bed.frames(3);
    }
    assert_eq!((count(&flip), bed.wakeups()), (10, 10));
    assert_eq!(bed.parent.scheduler().counters().alarms, 10);
}

#[test]
fn device_nobody_listens_to_wakes_nobody_whatever_the_guest_does() {
    let mut bed = Bed::new();
    // The guest wants interrupts, but no vector is bound.
    bed.write32(0x900, 7);
    bed.set_mode();
    for y in [0, 800] {
        bed.commit(y);
        bed.frames(60);
        assert_eq!(bed.driver.next_wakeup(), None);
    }
    assert_eq!(bed.wakeups(), 0);
    assert_eq!(bed.device.counters(HEAD).unwrap().flips, 2);
}

#[test]
fn masked_or_unbound_listener_wakes_nobody() {
    let bed = Bed::new();
    bed.set_mode();
    let _vblank = bed.listen(HeadEvent::Vblank);
    let _refresh = bed.listen(HeadEvent::Refresh);
    assert!(bed.driver.next_wakeup().is_some());
    bed.mask(HeadEvent::Vblank);
    bed.mask(HeadEvent::Refresh);
    bed.commit(0);
    assert_eq!(bed.driver.next_wakeup(), None);
    bed.unmask(HeadEvent::Vblank);
    assert!(bed.driver.next_wakeup().is_some());
    let off = IrqSet::disable(DISPLAY);
    bed.device.set_irqs(&off).unwrap();
    assert_eq!(bed.driver.next_wakeup(), None);
}

#[test]
fn vblank_listeners_are_told_every_vblank_and_one_behind_a_mask() {
    let mut bed = Bed::new();
    let vblank = bed.listen(HeadEvent::Vblank);
    bed.frames(100);
    assert_eq!(count(&vblank), 100);
    bed.mask(HeadEvent::Vblank);
    bed.frames(100);
    assert_eq!(count(&vblank), 0);
    bed.unmask(HeadEvent::Vblank);
    assert_eq!(count(&vblank), 1);
    bed.frame();
    assert_eq!(count(&vblank), 1);
}

#[test]
fn unmask_within_the_frame_of_the_mask_tells_no_vblank() {
    let mut bed = Bed::new();
    let vblank = bed.listen(HeadEvent::Vblank);
    bed.frame();
    assert_eq!(count(&vblank), 1);
    bed.mask(HeadEvent::Vblank);
    bed.clock.step(FRAME / 2);
    bed.unmask(HeadEvent::Vblank);
    assert_eq!(count(&vblank), 0);
}

#[test]
fn new_eventfd_gets_nothing_from_before_even_behind_a_mask() {
    let mut bed = Bed::new();
    bed.set_mode();
    let old = bed.listen(HeadEvent::Flip);
    bed.mask(HeadEvent::Flip);
    bed.commit(0);
    bed.frame();
    let new = bed.listen(HeadEvent::Flip);
    bed.unmask(HeadEvent::Flip);
    assert_eq!((count(&old), count(&new)), (0, 0));
}

#[test]
fn each_listener_of_a_flip_is_told_with_its_own_mask() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let display = bed.listen(HeadEvent::Flip);
    let vector = new_event();
    // Vector 1: flips of head 0.
    bed.bind(IrqIndex::MSIX, 1, &vector);
    bed.write32(0x900, 2);
    let producer = bed.device.producer(HEAD, HeadEvent::Flip).unwrap();
    assert_eq!(producer.name(), "vgpu0.head0.flip");
    bind(&producer);
    bed.mask(HeadEvent::Flip);
    bed.commit(0);
    bed.frame();
    assert_eq!(
        (count(&display), count(&vector), count(producer.token())),
        (0, 1, 1)
    );
    producer.mask().unwrap();
    bed.commit(800);
    bed.frame();
    bed.write32(0x900, 0);
    bed.commit(0);
    bed.frame();
    assert_eq!(
        (count(&display), count(&vector), count(producer.token())),
        (0, 1, 0)
    );
    producer.unmask().unwrap();
    bed.unmask(HeadEvent::Flip);
    assert_eq!(
        (count(&display), count(&vector), count(producer.token())),
        (1, 0, 1)
    );
}

#[test]
fn producers_of_flips_without_a_consumer_cost_nothing_and_keep_nothing() {
    let mut bed = Bed::new();
    bed.set_mode();
    let producer = bed.device.producer(HEAD, HeadEvent::Flip).unwrap();
    assert!(Arc::ptr_eq(
        &producer,
        &bed.device.producer(HEAD, HeadEvent::Flip).unwrap()
    ));
    bed.commit(0);
    bed.frame();
    bind(&producer);
    bed.frame();
    assert_eq!((producer.signalled(), bed.wakeups()), (0, 0));
    bed.commit(800);
    bed.frame();
    assert_eq!(producer.signalled(), 1);
    producer.del_consumer();
    assert_eq!(bed.driver.next_wakeup(), None);
}

#[test]
fn vblank_producer_is_that_of_the_head() {
    let bed = Bed::new();
    let producer = bed.device.producer(HEAD, HeadEvent::Vblank).unwrap();
    assert!(Arc::ptr_eq(
        &producer,
        &bed.device.instance().heads()[0].producer()
    ));
    let missing = bed.device.producer(HeadId(1), HeadEvent::Vblank);
    let text = missing.unwrap_err().to_string();
    assert_eq!(
        text,
        "no producer for the vblank of a head that is not there"
    );
}

#[test]
fn guest_is_interrupted_for_what_it_enabled_and_acknowledges_it() {
    let mut bed = Bed::new();
    let (vblank, hotplug) = (new_event(), new_event());
    bed.bind(IrqIndex::MSIX, 0, &vblank);
    bed.bind(IrqIndex::MSIX, 2, &hotplug);
    bed.frame();
    assert_eq!(
        (count(&vblank), bed.read32(0x904)),
        (0, 1),
        "status without an interrupt"
    );
    bed.write32(0x900, 0b101);
    bed.write32(0x904, 1);
    assert_eq!(bed.read32(0x904), 0);
    bed.frame();
    assert_eq!(
        (count(&vblank), bed.read32(0x904), bed.read32(0x814)),
        (1, 1, 1)
    );
    assert_eq!(bed.read32(0x908), 2, "the frame counter");
    bed.device.set_monitor(HEAD, Monitor::Unplugged).unwrap();
    assert_eq!(
        (count(&hotplug), bed.read32(0x904), bed.read32(0x91c)),
        (1, 0b101, 0)
    );
    bed.write32(0x900, 0);
    assert_eq!(bed.driver.next_wakeup(), None);
}

#[test]
fn vector_bound_late_or_anew_gets_what_happens_from_then_on() {
    let mut bed = Bed::new();
    bed.write32(0x900, 1);
    bed.frames(5);
    let (first, second) = (new_event(), new_event());
    bed.bind(IrqIndex::MSIX, 0, &first);
    bed.frame();
    bed.bind(IrqIndex::MSIX, 0, &second);
    bed.frame();
    assert_eq!((count(&first), count(&second)), (1, 1));
}

#[test]
fn vblank_that_is_late_while_its_vector_is_moved_goes_to_the_new_eventfd() {
    let mut bed = Bed::new();
    bed.write32(0x900, 1);
    let (first, second) = (new_event(), new_event());
    bed.bind(IrqIndex::MSIX, 0, &first);
    let now = bed.clock.step(FRAME);
    bed.bind(IrqIndex::MSIX, 0, &second);
    bed.driver.run_due(now);
    assert_eq!((count(&first), count(&second)), (0, 1));
}

#[test]
fn cursor_changes_are_told_once_a_vblank() {
    let mut bed = Bed::new();
    let cursor = bed.listen(HeadEvent::Cursor);
    // Offset 8 MiB, shown, moved twice.
    bed.write32(0x930, 8 << 20);
    bed.write32(0x93c, 1);
    bed.write32(0x934, 10 << 16 | 20);
    bed.write32(0x934, 11 << 16 | 21);
    assert_eq!(count(&cursor), 0);
    bed.frame();
    assert_eq!(count(&cursor), 1);
    let shown = bed.device.cursor(HEAD).unwrap();
    assert_eq!((shown.offset, shown.x, shown.y), (8 << 20, 21, 11));
    bed.frames(5);
    assert_eq!((count(&cursor), bed.wakeups()), (0, 1));
}

#[test]
fn monitor_plugged_again_is_told_once_and_the_same_state_is_not() {
    let bed = Bed::new();
    let hotplug = bed.listen(HeadEvent::Hotplug);
    bed.device.set_monitor(HEAD, Monitor::Plugged).unwrap();
    assert_eq!(count(&hotplug), 0);
    bed.device.set_monitor(HEAD, Monitor::Unplugged).unwrap();
    assert_eq!(count(&hotplug), 1);
    assert_eq!(bed.device.monitor(HEAD), Some(Monitor::Unplugged));
    let unknown = bed.device.set_monitor(HeadId(1), Monitor::Plugged);
    assert_eq!(unknown.unwrap_err().head, HeadId(1));
}

#[test]
fn picture_that_vanishes_is_a_flip() {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let flip = bed.listen(HeadEvent::Flip);
    bed.write(0x400, &[0]);
    bed.frame();
    assert_eq!((count(&flip), bed.device.scanout(HEAD)), (1, None));
    bed.write(0x400, &[0]);
    bed.write(0x400, &[0x20]);
    bed.write16(0x508, 0);
    bed.frame();
    assert_eq!((count(&flip), bed.device.scanout(HEAD)), (1, None));
}

#[test]
fn second_head_has_events_of_its_own() {
    let mut bed = Bed::of("dual");
    let second = HeadId(1);
    let flip = new_event();
    bed.bind(DISPLAY, HeadEvent::Flip.sub_index(second), &flip);
    bed.set_mode();
    bed.commit(0);
    bed.frame();
    assert_eq!(count(&flip), 0);
    for (offset, value) in [
        (0x960, 0),
        (0x964, 2560),
        (0x968, 480 << 16 | 640),
        (0x96c, 1),
    ] {
        bed.write32(offset, value);
    }
    bed.frame();
    assert_eq!(count(&flip), 1);
    assert_eq!(
        bed.device.scanout(second).map(|shown| shown.width),
        Some(640)
    );
}

#[test]
fn destroyed_device_is_silent_whoever_holds_it_and_gives_its_budget_back() {
    let mut bed = Bed::new();
    bed.set_mode();
    let (flip, vblank) = (bed.listen(HeadEvent::Flip), bed.listen(HeadEvent::Vblank));
    let producer = bed.device.producer(HEAD, HeadEvent::Flip).unwrap();
    bind(&producer);
    bed.mask(HeadEvent::Flip);
    producer.mask().unwrap();
    bed.commit(0);
    bed.parent.destroy(bed.device.instance().id()).unwrap();
    assert!(bed.parent.device(bed.device.instance().id()).is_none());
    bed.commit(0);
    bed.frames(3);
    bed.unmask(HeadEvent::Flip);
    producer.unmask().unwrap();
    assert_eq!(
        (count(&flip), count(&vblank), producer.signalled()),
        (0, 0, 0)
    );
}
