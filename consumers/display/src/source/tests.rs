use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::RegionIndex;
use proptest::prelude::*;

use super::*;
use crate::dmabuf_fd::stand_in;
use crate::dmabufs::KEPT_MAX;
use crate::fake::FakeDisplay;
use crate::fake::SIZE;
use crate::fetch::Fetcher;
use crate::fetch::for_each_line;

const XR24: u32 = u32::from_le_bytes(*b"XR24");

fn device() -> FakeDisplay {
    let device = FakeDisplay::new();
    device.show(20, 10, |x, y| x << 8 | y);
    device.offer(&[GfxTransport::Dmabuf]);
    device
}

fn source() -> Source {
    Source::importing(GfxTransport::Dmabuf, stand_in::import)
}

/// Looks at the picture in the buffer of an id.
fn look(source: &mut Source, device: &FakeDisplay, id: u32) {
    device.show_buffer(id);
    let shown = source.shown(device, PlaneType::PRIMARY).unwrap().unwrap();
    assert_eq!(shown.info.surface, GfxSurface::Dmabuf(DmabufId(id)));
}

#[test]
fn buffer_is_fetched_once_and_bracketed_each_time() {
    let (device, mut source) = (device(), source());
    for turn in 0..10 {
        look(&mut source, &device, 1 + turn % 2);
    }
    assert_eq!((device.queries(), device.fetches()), (10, 2));
    assert_eq!(stand_in::accesses(), 10);
}

#[test]
fn buffers_that_are_held_are_bounded_and_the_one_not_asked_for_goes() {
    let (device, mut source) = (device(), source());
    // One of before between any two new ones.
    for id in 2..100 {
        look(&mut source, &device, id);
        look(&mut source, &device, 1);
    }
    assert_eq!(source.dmabufs.len(), KEPT_MAX);
    // Each of them once.
    assert_eq!(device.fetches(), 99);
}

#[test]
fn buffers_of_another_mode_or_of_memory_that_was_cleared_are_given_back() {
    let (device, mut source) = (device(), source());
    let fill = |source: &mut Source| (1..=3).for_each(|id| look(source, &device, id));

    fill(&mut source);
    device.show(20, 11, |_, _| 0);
    look(&mut source, &device, 3);
    assert_eq!(source.dmabufs.len(), 1, "another size");

    fill(&mut source);
    device.hide();
    assert!(source.shown(&device, PlaneType::PRIMARY).unwrap().is_none());
    assert_eq!(source.dmabufs.len(), 0, "nothing is shown");

    device.show(20, 11, |_, _| 0);
    fill(&mut source);
    device.show_buffer(4);
    device.flip_before_fetch(1);
    source.shown(&device, PlaneType::PRIMARY).unwrap();
    assert_eq!(source.dmabufs.len(), 1, "one is gone");
}

#[test]
fn picture_that_is_handed_out_in_another_way_is_refused() {
    for (asked_for, told) in [
        (GfxTransport::Region, GfxSurface::Dmabuf(DmabufId(1))),
        (GfxTransport::Dmabuf, GfxSurface::Region(RegionIndex(0))),
    ] {
        let mut source = Source::importing(asked_for, stand_in::import);
        let info = GfxPlaneInfo {
            surface: told,
            ..GfxPlaneInfo::disabled(PlaneType::PRIMARY, asked_for)
        };
        let refused = source.hold(&device(), &info);
        assert!(
            matches!(refused, Err(ScreenshotError::Surface)),
            "{refused:?}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_told_of_a_dmabuf_it_is_read_within_it_or_not_at_all(
        width in prop_oneof![0..300u32, any::<u32>()],
        height in prop_oneof![0..300u32, any::<u32>()],
        stride in prop_oneof![0..5000u32, any::<u32>()],
        size in prop_oneof![1..2_000_000u32, any::<u32>()],
    ) {
        let (device, mut source) = (device(), source());
        device.tell(|plane| {
            plane.format = XR24;
            (plane.width, plane.height, plane.stride) = (width, height, stride);
            plane.size = size;
        });
        let mut lines = 0u32;
        let read = source.shown(&device, PlaneType::PRIMARY).and_then(|shown| {
            let Some(Shown { plane, surface, .. }) = shown else {
                return Ok(());
            };
            for_each_line(&mut Vec::new(), &surface, &plane, |_, _| lines += 1)
        });
        // What the size says of itself is not believed: the buffer is as long as it is.
        let end = |line: u32| u64::from(line) * u64::from(stride) + u64::from(width) * 4;
        let taken = read.is_ok();
        match read {
            Ok(()) if lines == 0 => prop_assert!(width == 0 || height == 0),
            Ok(()) => {
                prop_assert_eq!(lines, height);
                prop_assert!(end(height - 1) <= SIZE as u64);
            }
            Err(ScreenshotError::Short { line }) => {
                prop_assert_eq!(lines, 0);
                prop_assert!(end(line) > SIZE as u64);
                prop_assert!(line == 0 || end(line - 1) <= SIZE as u64);
            }
            Err(error) => prop_assert!(matches!(error, ScreenshotError::Size { .. }), "{}", error),
        }
        // A display, which reads a tile at a time, comes to the same.
        let (fresh, mut frame) = (self::source(), None);
        let fetched = Fetcher::new(fresh).primary(&device, &mut frame);
        prop_assert_eq!(fetched.is_ok(), taken);
        prop_assert_eq!(frame.is_some(), lines > 0);
        stand_in::accesses();
    }
}
