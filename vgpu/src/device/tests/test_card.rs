//! The test card, read back as a display does.

use super::*;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

use crate::device::TestCardError;
use crate::fakes::bind;
use crate::fakes::wait;
use crate::head_view::HeadView;
use crate::test_picture::TestPicture;
use crate::test_picture::TestReading;

/// A type that is painted fast: two heads of 320x200.
fn small() -> Bed {
    let vgpu = VgpuType {
        width: 320,
        height: 200,
        heads: 2,
        vram: 2 << 20,
        ..VgpuType::find("small").unwrap()
    };
    Bed::with_type(&vgpu)
}

/// The pixels of a view's picture, all lines.
fn capture(view: &HeadView) -> Option<Vec<u8>> {
    let query = view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY);
    let plane = query.unwrap();
    if plane.is_disabled() {
        return None;
    }
    assert_eq!((plane.width, plane.height, plane.stride), (320, 200, 1280));
    let mut pixels = vec![0; 320 * 200 * 4];
    let read = view.region_read(RegionIndex(0), 0, &mut pixels);
    assert_eq!(read, Ok(pixels.len()));
    Some(pixels)
}

fn is_frame(pixels: &[u8], picture: TestPicture, frame: u64) -> bool {
    let (found, _) = pixels.as_chunks::<4>();
    let all = (0..200).flat_map(|y| (0..320).map(move |x| (x, y)));
    all.zip(found)
        .all(|((x, y), &found)| picture.pixel(frame, x, y) == found)
}

#[test]
fn each_vblank_shows_the_card_of_its_frame_pixel_by_pixel() {
    for head in [HeadId(0), HeadId(1)] {
        let mut bed = small();
        let view = bed.device.head_view(head).unwrap();
        let card = bed.device.show_test_card(head).unwrap();
        assert_eq!(capture(&view), None);
        bed.frame();
        // Past the place where the moving bar begins anew, 316 pixels on; each eleventh is looked at.
        for _ in 0..30 {
            bed.frames(10);
            let shown = bed.device.scanout(head);
            bed.frame();
            assert_ne!(bed.device.scanout(head), shown);
            let frame = bed.device.instance().head(head).unwrap().frame();
            // The next one has been painted and committed, and is not shown before its vblank.
            assert!(is_frame(&capture(&view).unwrap(), card.picture(), frame));
        }
        let counters = bed.device.counters(head).unwrap();
        assert_eq!((counters.flips, counters.coalesced), (330, 0));
    }
}

#[test]
fn late_painter_skips_frames_and_never_shows_one_half() {
    let mut bed = small();
    let view = bed.device.head_view(HEAD).unwrap();
    let card = bed.device.show_test_card(HEAD).unwrap();
    bed.frames(2);
    bed.clock.step(5 * FRAME);
    bed.frame();
    let frame = bed.device.instance().head(HEAD).unwrap().frame();
    assert_eq!(frame, 8);
    // Painted after the vblank of 2, and nothing since.
    assert!(is_frame(&capture(&view).unwrap(), card.picture(), 3));
    bed.frame();
    assert!(is_frame(&capture(&view).unwrap(), card.picture(), 9));
}

#[test]
fn card_comes_back_after_a_reset_of_the_device() {
    let mut bed = small();
    let view = bed.device.head_view(HEAD).unwrap();
    let card = bed.device.show_test_card(HEAD).unwrap();
    bed.frames(3);
    bed.device.reset().unwrap();
    assert_eq!(capture(&view), None);
    // The mode is set with the first picture, which is shown at once.
    bed.frame();
    let first = bed.device.instance().head(HEAD).unwrap().frame() + 1;
    assert!(is_frame(&capture(&view).unwrap(), card.picture(), first));
    for frame in first..first + 3 {
        bed.frame();
        assert!(is_frame(&capture(&view).unwrap(), card.picture(), frame));
    }
}

#[test]
fn card_that_is_dropped_stands_still_and_wakes_nobody() {
    let mut bed = small();
    let view = bed.device.head_view(HEAD).unwrap();
    let card = bed.device.show_test_card(HEAD).unwrap();
    let again = bed.device.show_test_card(HEAD).unwrap_err();
    assert!(matches!(again, TestCardError::Shown { head: HEAD }));
    bed.frames(3);
    let picture = card.picture();
    drop(card);
    assert_eq!(bed.driver.next_wakeup(), None);
    bed.frames(3);
    assert!(is_frame(&capture(&view).unwrap(), picture, 4));
    bed.device.show_test_card(HEAD).unwrap();
}

#[test]
fn card_without_head_or_room_is_refused() {
    let vgpu = VgpuType {
        // One picture is 640 KiB.
        width: 400,
        height: 400,
        vram: 1 << 20,
        ..VgpuType::find("small").unwrap()
    };
    let bed = Bed::with_type(&vgpu);
    let refused = bed.device.show_test_card(HEAD).unwrap_err();
    assert!(matches!(refused, TestCardError::Room { head: HEAD }));
    let none = bed.device.show_test_card(HeadId(1)).unwrap_err();
    assert!(matches!(none, TestCardError::Head(_)));
}

#[test]
fn reading_of_a_capture_is_its_frame() {
    let mut bed = small();
    let view = bed.device.head_view(HEAD).unwrap();
    let card = bed.device.show_test_card(HEAD).unwrap();
    bed.frames(10);
    let pixels = capture(&view).unwrap();
    let (pixels, _) = pixels.as_chunks::<4>();
    let read = card
        .picture()
        .read(|x, y| pixels[usize::try_from(y * 320 + x).unwrap()]);
    assert_eq!(read, TestReading::Frame(10));
}

#[test]
fn card_of_the_hosts_clock_is_painted_on_a_thread_of_its_own_that_ends_with_it() {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("small").unwrap();
    let device = parent.create_device(&vgpu, None).unwrap();
    let owners = Arc::strong_count(&device);
    let flip = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let sub_index = HeadEvent::Flip.sub_index(HEAD);
    let fds = [Some(flip.as_fd())];
    device
        .set_irqs(&IrqSet::bind(DISPLAY, sub_index, &fds))
        .unwrap();
    let card = device.show_test_card(HEAD).unwrap();
    // The card and its thread.
    assert_eq!(Arc::strong_count(&device), owners + 2);
    let vblanks = parent.scheduler().spawn().unwrap();

    // Painted, committed and shown, three times over.
    for _ in 0..3 {
        rustix::io::read(&flip, &mut [0; 8]).unwrap();
    }
    drop(card);

    let commits = || device.counters(HEAD).unwrap().commits;
    let before = commits();
    // The first one was shown with the mode, which is no commit.
    assert!(before >= 2);
    // Two more vblanks at which it would have been painted.
    let vblank = parent.get(device.instance().id()).unwrap().heads()[0].producer();
    bind(&vblank);
    for _ in 0..2 {
        wait(&vblank);
    }
    assert_eq!(commits(), before);
    drop(vblanks);
    assert_eq!(Arc::strong_count(&device), owners);
}
