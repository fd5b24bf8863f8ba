//! A display that has its pictures as dma-bufs. The kernel makes none here: sealed memfds stand in.

use std::error::Error;

use super::*;
use crate::dmabuf_fd::stand_in;
use crate::import_error::ImportError;

const BOTH: [GfxTransport; 2] = [GfxTransport::Region, GfxTransport::Dmabuf];

fn by_dmabuf(device: &Arc<FakeDisplay>) -> Display {
    let source = Source::importing(GfxTransport::Dmabuf, stand_in::import);
    Display::open_source(Arc::clone(device) as _, 0, source).unwrap()
}

/// A device that shows 200 by 40 red pixels by these transports.
fn device(transports: &[GfxTransport]) -> Arc<FakeDisplay> {
    let device = Arc::new(FakeDisplay::new());
    device.show(200, 40, |_, _| RED);
    device.offer(transports);
    device
}

#[test]
fn display_by_dmabuf_shows_what_one_by_region_does() {
    let device = device(&BOTH);
    device.point(5, 6, 64, 0x8012_3456);
    let mut by_dmabuf = by_dmabuf(&device);
    // Of one device the one that bound last is told.
    let mut by_region = Display::open(Arc::clone(&device) as _, 0).unwrap();
    for display in [&mut by_region, &mut by_dmabuf] {
        display.service(Wait::No).unwrap();
    }
    for seen in 1..=3 {
        device.draw(3 * seen, 7, seen);
        device.draw(199, 39, seen);
        after(&device, &mut by_region, fake::REFRESH);
        let change = by_dmabuf.fetch_primary();

        assert!(matches!(change, PictureChange::Drawn(_)), "{change:?}");
        assert_eq!(by_dmabuf.frame().unwrap().line(39)[199], seen);
        assert!(by_dmabuf.frame() == by_region.frame());
    }
    assert!(by_region.cursor().is_some());
    assert_eq!(by_dmabuf.cursor(), by_region.cursor());
    // The first pictures of plane and cursor, and three more.
    assert_eq!((stand_in::accesses(), device.fetches()), (5, 2));
}

#[test]
fn region_is_taken_where_there_is_one_and_what_was_asked_for_before_all() {
    let of = |transports: &[GfxTransport], choice| {
        let display = Display::open_with(device(transports), 0, choice);
        display.map(|display| display.transport())
    };
    let only = TransportChoice::Only;
    for (transports, choice, expected) in [
        (&BOTH[..], TransportChoice::Any, GfxTransport::Region),
        (&BOTH[..1], TransportChoice::Any, GfxTransport::Region),
        (&BOTH[1..], TransportChoice::Any, GfxTransport::Dmabuf),
        (&BOTH[..], only(GfxTransport::Dmabuf), GfxTransport::Dmabuf),
    ] {
        assert_eq!(of(transports, choice).unwrap(), expected);
    }
    for (transports, choice, told) in [
        (&BOTH[..1], only(GfxTransport::Dmabuf), "as dma-bufs"),
        (&BOTH[1..], only(GfxTransport::Region), "in a region"),
        (&[], TransportChoice::Any, "in a region or as dma-bufs"),
    ] {
        let refused = of(transports, choice).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("the device hands out no pictures {told}")
        );
        assert!(matches!(
            refused,
            OpenError::Transport { source, .. } if source == irqbroker_vfio_abi::Errno::EINVAL
        ));
    }
}

#[test]
fn buffer_that_is_gone_before_it_is_fetched_is_asked_for_anew_but_not_for_ever() {
    // Three times more, and no more.
    for (flips, queries, shown) in [(1, 2, true), (3, 4, true), (u32::MAX, 4, false)] {
        let device = device(&BOTH[1..]);
        let mut display = by_dmabuf(&device);
        device.flip_before_fetch(flips);
        display.fetch_primary();

        assert_eq!((device.queries(), device.fetches()), (queries, queries));
        assert_eq!(display.frame().is_some(), shown);
        let trouble = display.trouble();
        let gone = matches!(trouble, Some(ScreenshotError::Fetch { source, .. })
            if *source == irqbroker_vfio_abi::Errno::ENOENT);
        assert_eq!(gone, !shown, "{trouble:?}");

        // The next one is as good as any.
        device.flip_before_fetch(0);
        display.fetch_primary();
        assert!(display.frame().is_some() && display.trouble().is_none());
    }
}

#[test]
fn memfd_that_is_handed_out_as_a_dmabuf_is_not_looked_at() {
    let device = device(&BOTH[1..]);
    let mut display = Display::open(Arc::clone(&device) as _, 0).unwrap();
    display.service(Wait::Forever).unwrap();

    assert!(display.frame().is_none());
    let trouble = display.trouble().unwrap();
    let cause = trouble.source().unwrap().downcast_ref();
    assert!(
        matches!(cause, Some(ImportError::Kind { .. })),
        "{trouble:?}"
    );
}

#[test]
fn picture_that_ends_behind_its_dmabuf_is_none() {
    let device = device(&BOTH[1..]);
    let mut display = by_dmabuf(&device);
    // 1 MiB has 1024 lines of this length.
    device.tell(|plane| (plane.stride, plane.height) = (1024, 1025));
    display.fetch_primary();

    let trouble = display.trouble();
    assert!(
        matches!(trouble, Some(ScreenshotError::Short { line: 1024 })),
        "{trouble:?}"
    );
    assert!(display.frame().is_none());
    // Nothing of it was read.
    assert_eq!(stand_in::accesses(), 0);
}
