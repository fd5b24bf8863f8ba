//! Which picture a query answers while a guest flips pages.

use super::dmabuf::FakeExporter;
use super::dmabuf::dmabuf_of;
use super::*;

/// Where the region of the picture that is told now begins.
fn shown(view: &HeadView) -> u64 {
    query(view, PlaneType::PRIMARY).unwrap();
    view.region_info(PRIMARY).unwrap().offset
}

#[test]
fn picture_that_was_committed_is_not_told_before_its_vblank() {
    let mut bed = Bed::with_exporter(Some(Arc::new(FakeExporter::default())));
    let view = bed.view(1);
    bed.show(4096);
    let front = dmabuf_of(&view);

    bed.show(8192);
    assert_eq!(shown(&view), PAGE);
    assert_eq!(dmabuf_of(&view), front);
    assert_eq!(bed.device.scanout(HeadId(1)).unwrap().offset, PAGE);

    bed.frame();
    assert_eq!(shown(&view), 2 * PAGE);
    assert_ne!(dmabuf_of(&view), front);
    assert_eq!(bed.device.scanout(HeadId(1)).unwrap().offset, 2 * PAGE);
}

#[test]
fn each_flip_is_seen_by_whoever_looks_after_the_next_commit() {
    let mut bed = Bed::new();
    let view = bed.view(1);
    let flip = listen(&view, HeadEvent::Flip);
    bed.show(4096);
    // A second of two buffers by turns, each committed as soon as the other is shown.
    for frame in 0..60 {
        bed.frame();
        bed.show(4096 * (2 - frame % 2));
        assert_eq!(count(&flip), 1);
        let other = u64::from(1 + frame % 2);
        assert_eq!(shown(&view), other * PAGE, "frame {frame}");
    }
}

#[test]
fn vblank_that_nobody_was_woken_for_shows_what_was_committed_before_it() {
    let bed = Bed::new();
    let view = bed.view(1);
    bed.show(4096);
    bed.show(8192);
    bed.clock.step(FRAME);
    bed.show(12288);
    assert_eq!(shown(&view), 2 * PAGE);
    bed.clock.step(FRAME);
    assert_eq!(shown(&view), 3 * PAGE);
}

#[test]
fn reset_and_another_mode_are_shown_at_once() {
    let bed = Bed::new();
    let view = bed.view(1);
    bed.show(4096);
    bed.show(8192);
    // Four pixels instead of two.
    bed.words(0x960, [12288, 16, 1 << 16 | 4, 1]);
    assert_eq!(shown(&view), 3 * PAGE);
    bed.device.reset().unwrap();
    assert!(query(&view, PlaneType::PRIMARY).unwrap().is_disabled());
}
