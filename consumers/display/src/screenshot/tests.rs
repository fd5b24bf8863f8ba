use std::sync::Mutex;

use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::RegionInfo;

use super::*;
use crate::picture::SIDE_MAX;

const XR24: u32 = u32::from_le_bytes(*b"XR24");
const REGION: RegionIndex = RegionIndex(4);

/// A device that is nothing but what it says of its plane, and a region.
#[derive(Debug)]
struct Shown {
    plane: Result<GfxPlaneInfo, Errno>,
    memory: Vec<u8>,
    /// How often the region was read.
    reads: Mutex<u32>,
}

/// Two by two pixels in lines of twelve bytes.
fn shown() -> Shown {
    let plane = GfxPlaneInfo {
        format: XR24,
        width: 2,
        height: 2,
        stride: 12,
        size: 4096,
        surface: GfxSurface::Region(REGION),
        ..GfxPlaneInfo::disabled(PlaneType::PRIMARY, GfxTransport::Region)
    };
    Shown {
        plane: Ok(plane),
        memory: (0..24).collect(),
        reads: Mutex::new(0),
    }
}

/// The same with another plane.
fn shown_as(change: impl FnOnce(&mut GfxPlaneInfo)) -> Shown {
    let mut shown = shown();
    change(shown.plane.as_mut().unwrap());
    shown
}

impl Device for Shown {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Err(Errno::EINVAL)
    }

    fn region_info(&self, _index: RegionIndex) -> Result<RegionInfo, Errno> {
        Err(Errno::EINVAL)
    }

    fn irq_info(&self, _index: IrqIndex) -> Result<IrqInfo, Errno> {
        Err(Errno::EINVAL)
    }

    fn set_irqs(&self, _request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Err(Errno::EINVAL)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        *self.reads.lock().unwrap() += 1;
        let from = usize::try_from(offset).unwrap();
        let rest = self.memory.get(from..).filter(|_| index == REGION);
        let rest = rest.ok_or(Errno::EINVAL)?;
        let len = rest.len().min(data.len());
        data[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        self.query_gfx_plane(transport, PlaneType::PRIMARY)
            .map(|_| ())
    }

    fn query_gfx_plane(
        &self,
        _transport: GfxTransport,
        _plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.plane
    }
}

#[test]
fn picture_is_the_lines_of_the_region_without_what_is_between_them() {
    let picture = screenshot(&shown()).unwrap();

    assert_eq!((picture.width(), picture.height()), (2, 2));
    assert_eq!(picture.rgb(), [2, 1, 0, 6, 5, 4, 14, 13, 12, 18, 17, 16]);
}

#[test]
fn device_that_hands_out_no_region_is_told_apart_from_one_that_shows_nothing() {
    let none = Shown {
        plane: Err(Errno::ENOTTY),
        ..shown()
    };
    let error = screenshot(&none).unwrap_err();
    assert!(matches!(error, ScreenshotError::Transport { source, .. } if source == Errno::ENOTTY));

    let off = shown_as(|plane| plane.format = 0);
    assert!(matches!(screenshot(&off), Err(ScreenshotError::Disabled)));
}

#[test]
fn picture_that_cannot_be_is_refused_before_anything_is_read() {
    let absurd: [fn(&mut GfxPlaneInfo); 4] = [
        |plane| plane.width = u32::MAX,
        |plane| plane.height = SIDE_MAX + 1,
        |plane| plane.stride = 7,
        |plane| plane.stride = 0,
    ];
    for change in absurd {
        let shown = shown_as(change);
        let error = screenshot(&shown).unwrap_err();
        assert!(matches!(error, ScreenshotError::Size { .. }), "{error}");
        assert_eq!(*shown.reads.lock().unwrap(), 0);
    }
}

#[test]
fn unknown_format_and_tiled_pixels_are_refused() {
    let formats: [fn(&mut GfxPlaneInfo); 2] =
        [|plane| plane.format = 1, |plane| plane.modifier = 1];
    for change in formats {
        let error = screenshot(&shown_as(change)).unwrap_err();
        assert!(matches!(error, ScreenshotError::Format { .. }), "{error}");
    }
}

#[test]
fn picture_beyond_its_region_is_short_or_cannot_be_read() {
    let short = Shown {
        memory: vec![0; 19],
        ..shown()
    };
    let error = screenshot(&short).unwrap_err();
    assert!(
        matches!(error, ScreenshotError::Short { line: 1 }),
        "{error}"
    );

    let elsewhere = shown_as(|plane| plane.surface = GfxSurface::Region(RegionIndex(5)));
    let error = screenshot(&elsewhere).unwrap_err();
    assert!(matches!(error, ScreenshotError::Read { line: 0, source } if source == Errno::EINVAL));
}
