use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxTransport;

use super::*;
use crate::dmabuf_fd::stand_in;
use crate::fake::FakeDisplay;
use crate::fake::HOTPLUG;
use crate::fake::REFRESH;

/// Longer than anything takes here: it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another colour for each pixel of a picture of 40 by 30.
fn color(x: u32, y: u32) -> u32 {
    x << 16 | y << 8 | (x ^ y)
}

fn fake() -> FakeDisplay {
    let fake = FakeDisplay::new();
    fake.show(40, 30, color);
    fake
}

fn is_whole(picture: &Picture) -> bool {
    let pixel = |x, y| {
        let [red, green, blue] = picture.pixel(x, y).unwrap();
        u32::from_be_bytes([0, red, green, blue])
    };
    (picture.width(), picture.height()) == (40, 30)
        && (0..30).all(|y| (0..40).all(|x| pixel(x, y) == color(x, y)))
}

#[test]
fn picture_that_nothing_overtakes_is_read_once_however_it_is_read() {
    for forbid in [|_: &FakeDisplay| (), FakeDisplay::forbid_mapping] {
        let fake = fake();
        forbid(&fake);
        let picture = whole_screenshot(&fake, 0, TransportChoice::Any, PATIENCE).unwrap();
        assert!(is_whole(&picture));
        assert_eq!((fake.queries(), fake.bound()), (1, 0));
    }
}

#[test]
fn picture_that_flips_overtake_is_taken_again_until_none_does() {
    let fake = fake();
    fake.overtake(3);
    let picture = whole_screenshot(&fake, 0, TransportChoice::Any, PATIENCE).unwrap();
    assert!(is_whole(&picture));
    assert_eq!((fake.queries(), fake.bound()), (4, 0));
}

#[test]
fn picture_that_is_always_overtaken_is_none_at_the_limit() {
    let fake = fake();
    fake.overtake(u32::MAX);
    let error = whole_screenshot(&fake, 0, TransportChoice::Any, Duration::ZERO).unwrap_err();
    assert!(
        matches!(error, ScreenshotError::Overtaken { times: 1 }),
        "{error}"
    );
    assert_eq!(fake.bound(), 0);
}

#[test]
fn event_that_cannot_be_bound_leaves_none_bound() {
    let fake = fake();
    let [refresh, hotplug] = [REFRESH, HOTPLUG].map(|event| u32::try_from(event).unwrap());
    assert!(refresh < hotplug, "one is bound before the other fails");
    fake.refuse(hotplug);
    let error = whole_screenshot(&fake, 0, TransportChoice::Any, PATIENCE).unwrap_err();
    let ScreenshotError::Bind {
        sub_index, source, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((sub_index, source), (hotplug, Errno::EBUSY));
    assert_eq!((fake.queries(), fake.bound()), (0, 0));
}

#[test]
fn picture_of_a_head_that_tells_of_nothing_is_taken_as_it_comes() {
    let fake = fake();
    // There is one head, and its events are of no use to the next.
    let picture = whole_screenshot(&fake, 1, TransportChoice::Any, PATIENCE).unwrap();
    assert!(is_whole(&picture));
    assert_eq!((fake.queries(), fake.bound()), (1, 0));
}

#[test]
fn picture_by_dmabuf_is_taken_again_too_and_its_buffer_fetched_once() {
    let fake = fake();
    fake.offer(&[GfxTransport::Dmabuf]);
    fake.overtake(3);
    let mut source = Source::importing(GfxTransport::Dmabuf, stand_in::import);
    let picture = whole(&fake, 0, &mut source, PATIENCE).unwrap();
    assert!(is_whole(&picture));
    assert_eq!((fake.queries(), fake.bound()), (4, 0));
    assert_eq!((fake.fetches(), stand_in::accesses()), (1, 4));
}

#[test]
fn transport_that_the_device_does_not_have_is_refused_before_anything_is_bound() {
    let fake = fake();
    let choice = TransportChoice::Only(GfxTransport::Dmabuf);
    let error = whole_screenshot(&fake, 0, choice, PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the device hands out no pictures as dma-bufs"
    );
    assert_eq!((fake.queries(), fake.bound()), (0, 0));
}

#[test]
fn memfd_in_place_of_a_dmabuf_is_no_picture() {
    let fake = fake();
    fake.offer(&[GfxTransport::Dmabuf]);
    for taken in [
        whole_screenshot(&fake, 0, TransportChoice::Any, PATIENCE),
        crate::screenshot(&fake),
    ] {
        let error = taken.unwrap_err();
        assert!(matches!(error, ScreenshotError::Import { .. }), "{error}");
    }
    assert_eq!(fake.bound(), 0);
}
