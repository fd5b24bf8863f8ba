mod dmabuf;

use super::*;
use crate::fake;
use crate::fake::FakeDisplay;
use crate::rect::Rect;

const RED: u32 = 0x00ff_0000;
const BLUE: u32 = 0x0000_00ff;

/// A display of 200 by 40 red pixels, fetched once.
fn open() -> (Arc<FakeDisplay>, Display) {
    let device = Arc::new(FakeDisplay::new());
    device.show(200, 40, |_, _| RED);
    let mut display = Display::open(Arc::clone(&device) as _, 0).unwrap();
    display.service(Wait::No).unwrap();
    (device, display)
}

/// The service call after an event.
fn after(device: &FakeDisplay, display: &mut Display, event: usize) -> Change {
    device.signal(event);
    display.service(Wait::Forever).unwrap()
}

#[test]
fn first_service_call_fetches_what_is_shown_already() {
    let device = Arc::new(FakeDisplay::new());
    device.show(3, 2, |x, y| x * 16 + y);
    device.point(-1, 5, 4, 0x8012_3456);

    let mut display = Display::open(device, 0).unwrap();
    let change = display.service(Wait::Forever).unwrap();

    assert_eq!(change.picture, PictureChange::Replaced);
    assert_eq!(change.cursor, CursorChange::Shape);
    let frame = display.frame().unwrap();
    assert_eq!(frame.line(0), [0, 16, 32]);
    assert_eq!(frame.line(1), [1, 17, 33]);
    let cursor = display.cursor().unwrap();
    assert_eq!(cursor.shape.argb, [0x8012_3456; 16]);
    assert_eq!((cursor.x, cursor.y), (-1, 5));
    assert_eq!(cursor.points_at(), (0, 7));
}

#[test]
fn refresh_fetches_and_tells_the_tiles_that_differ() {
    let (device, mut display) = open();
    device.draw(70, 20, BLUE);
    let change = after(&device, &mut display, fake::REFRESH);

    let PictureChange::Drawn(damage) = change.picture else {
        panic!("{change:?}");
    };
    let tile = Rect {
        x: 64,
        y: 16,
        width: 64,
        height: 16,
    };
    assert_eq!(damage.rects(), [tile]);
    assert_eq!(display.frame().unwrap().line(20)[70], BLUE);
    assert_eq!(change.cursor, CursorChange::None);
}

#[test]
fn nothing_is_fetched_without_an_event_and_nothing_told_without_a_change() {
    let (device, mut display) = open();
    let queries = device.queries();
    device.draw(0, 0, BLUE);

    assert_eq!(display.service(Wait::No).unwrap(), Change::default());
    assert_eq!(device.queries(), queries);
    after(&device, &mut display, fake::REFRESH);
    let again = after(&device, &mut display, fake::REFRESH);

    assert_eq!(again, Change::default());
    let counters = display.counters();
    // The first picture, the pixel, and the refresh that was none.
    assert_eq!((counters.fetches, counters.changes), (3, 2));
    assert_eq!(counters.wakeups, 3);
}

#[test]
fn events_that_nobody_took_are_one_fetch() {
    let (device, mut display) = open();
    let before = display.counters();
    for _ in 0..300 {
        device.signal(fake::REFRESH);
    }
    display.service(Wait::Forever).unwrap();
    assert_eq!(display.service(Wait::No).unwrap(), Change::default());
    assert_eq!(display.counters().fetches, before.fetches + 1);
}

#[test]
fn picture_that_a_flip_overtook_is_taken_again_but_not_for_ever() {
    for (flips, fetches) in [(1, 2), (100, 4)] {
        let (device, mut display) = open();
        let before = display.counters();
        device.draw(0, 0, BLUE);
        device.overtake(flips);
        let change = after(&device, &mut display, fake::REFRESH);

        assert!(matches!(change.picture, PictureChange::Drawn(_)));
        let counters = display.counters();
        assert_eq!(counters.fetches - before.fetches, fetches);
        assert_eq!(counters.wakeups - before.wakeups, 1);
    }
}

#[test]
fn another_size_replaces_the_picture_and_so_does_its_end() {
    let (device, mut display) = open();
    device.show(10, 20, |_, _| BLUE);
    let resized = after(&device, &mut display, fake::REFRESH);
    assert_eq!(resized.picture, PictureChange::Replaced);
    assert_eq!(display.frame().unwrap().width(), 10);

    device.hide();
    let gone = after(&device, &mut display, fake::REFRESH);
    assert_eq!(gone.picture, PictureChange::Replaced);
    assert!(display.frame().is_none() && display.trouble().is_none());
}

#[test]
fn frame_that_a_viewer_keeps_stays_as_it_is() {
    let (device, mut display) = open();
    let kept = Arc::clone(display.frame().unwrap());
    device.show(200, 40, |_, _| BLUE);
    after(&device, &mut display, fake::REFRESH);

    assert!((0..40).all(|y| kept.line(y).iter().all(|&pixel| pixel == RED)));
    assert_eq!(display.frame().unwrap().line(39)[199], BLUE);
}

#[test]
fn picture_that_cannot_be_read_is_none_and_the_next_event_brings_it_back() {
    let (device, mut display) = open();
    let absurd: [fn(&mut irqbroker_vfio_abi::GfxPlaneInfo); 4] = [
        |plane| plane.width = u32::MAX,
        |plane| plane.stride = 1,
        |plane| plane.stride = 1 << 30,
        |plane| plane.modifier = 1,
    ];
    for tell in absurd {
        device.tell(tell);
        let change = after(&device, &mut display, fake::REFRESH);
        assert_eq!(change.picture, PictureChange::Replaced);
        assert!(display.frame().is_none() && display.trouble().is_some());

        device.show(200, 40, |_, _| RED);
        after(&device, &mut display, fake::REFRESH);
        assert!(display.frame().is_some() && display.trouble().is_none());
    }
}

#[test]
fn region_that_cannot_be_mapped_is_read_though_it_has_a_file() {
    let (device, mut display) = open();
    device.forbid_mapping();
    device.draw(0, 0, BLUE);
    after(&device, &mut display, fake::REFRESH);
    let line = display.frame().unwrap().line(0);
    assert_eq!(line[..2], [BLUE, RED]);
}

#[test]
fn cursor_that_moves_is_told_apart_from_one_that_looks_different() {
    let (device, mut display) = open();
    let queries = device.queries();
    for (x, color, expected) in [
        (0, RED, CursorChange::Shape),
        (9, RED, CursorChange::Moved),
        (9, RED, CursorChange::None),
        (9, BLUE, CursorChange::Shape),
    ] {
        device.point(x, 0, 64, color);
        let change = after(&device, &mut display, fake::CURSOR);
        assert_eq!(change.cursor, expected);
    }
    // The primary plane was left alone.
    assert_eq!(device.queries(), queries + 4);

    device.hide_cursor();
    let gone = after(&device, &mut display, fake::CURSOR);
    assert_eq!(gone.cursor, CursorChange::Shape);
    assert_eq!(display.cursor(), None);
}

#[test]
fn cursor_of_an_absurd_size_is_none() {
    let (device, mut display) = open();
    device.point(0, 0, 513, RED);
    after(&device, &mut display, fake::CURSOR);
    assert_eq!(display.cursor(), None);
    assert!(display.frame().is_some());
}

#[test]
fn hotplug_fetches_all_anew() {
    let (device, mut display) = open();
    device.draw(0, 0, BLUE);
    let change = after(&device, &mut display, fake::HOTPLUG);
    assert!(change.monitor);
    assert!(matches!(change.picture, PictureChange::Drawn(_)));
}

#[test]
fn events_are_bound_while_the_display_is_open_and_not_after() {
    let (device, display) = open();
    assert_eq!(device.bound(), 3);
    drop(display);
    assert_eq!(device.bound(), 0);
}

#[test]
fn refused_binding_leaves_none_bound() {
    let device = Arc::new(FakeDisplay::new());
    device.refuse(2);
    let refused = Display::open(Arc::clone(&device) as _, 0).unwrap_err();
    assert!(matches!(refused, OpenError::Bind { sub_index: 2, .. }));
    assert_eq!(device.bound(), 0);

    let no_head = Display::open(device, 1).unwrap_err();
    assert!(matches!(no_head, OpenError::Plan { .. }));
}

#[test]
fn picture_that_is_mapped_is_the_one_that_is_read() {
    let (device, mut reader) = open();
    device.seal();
    let mut display = Display::open(Arc::clone(&device) as _, 0).unwrap();
    for seen in 1..=3 {
        device.draw(3 * seen, 7, seen);
        device.draw(199, 39, seen);

        device.allow_mapping();
        after(&device, &mut display, fake::REFRESH);
        device.forbid_mapping();
        reader.fetch_primary();

        assert_eq!(display.frame().unwrap().line(39)[199], seen);
        assert!(display.frame() == reader.frame());
    }
    assert!(display.fetcher.mapping.is_some());
    assert!(reader.fetcher.mapping.is_none());
}

#[test]
fn region_that_ends_within_the_picture_is_none_however_it_is_read() {
    // By its file, mapped and by requests.
    let ways: [fn(&FakeDisplay); 3] = [|_| (), FakeDisplay::seal, FakeDisplay::forbid_mapping];
    for way in ways {
        let (device, mut display) = open();
        way(&device);
        // 1 MiB has 1024 lines of this length.
        device.tell(|plane| (plane.stride, plane.height) = (1024, 1025));
        after(&device, &mut display, fake::REFRESH);
        let trouble = display.trouble();
        assert!(
            matches!(trouble, Some(ScreenshotError::Short { line: 1024 })),
            "{trouble:?}"
        );
    }
}
