use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VgpuParent;
use irqbroker::vgpu::VgpuType;
use irqbroker_display::ScreenshotError;
use irqbroker_display::screenshot;

use super::*;

/// A vGPU of two heads.
fn vgpu() -> Arc<VgpuDevice> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let dual = VgpuType::find("dual").unwrap();
    parent.create_device(&dual, None).unwrap()
}

fn view(device: &Arc<VgpuDevice>, head: u8) -> HeadView {
    HeadView::new(Arc::clone(device), HeadId(head))
}

fn write(device: &VgpuDevice, region: RegionIndex, offset: u64, data: &[u8]) {
    let written = device.region_write(region, offset, data);
    assert_eq!(written, Ok(data.len()));
}

/// Shows two by one pixels of 32 bits on the second head, by its plane registers.
fn show(device: &VgpuDevice, offset: u32) {
    // Offset, stride, size and control of head 1: 0x900 + 0x40 + 0x20.
    for (at, value) in [
        (0x960, offset),
        (0x964, 8),
        (0x968, 1 << 16 | 2),
        (0x96c, 1),
    ] {
        write(device, RegionIndex::BAR2, at, &u32::to_le_bytes(value));
    }
}

#[test]
fn picture_of_a_head_begins_where_its_plane_does() {
    let device = vgpu();
    write(&device, RegionIndex::BAR0, 64, &[3, 2, 1, 0, 6, 5, 4, 0]);
    show(&device, 64);

    let picture = screenshot(&view(&device, 1)).unwrap();

    assert_eq!((picture.width(), picture.height()), (2, 1));
    assert_eq!(picture.rgb(), [1, 2, 3, 4, 5, 6]);
    let other = screenshot(&view(&device, 0));
    assert!(matches!(other, Err(ScreenshotError::Disabled)), "{other:?}");
}

#[test]
fn region_keeps_the_picture_of_the_query_when_the_head_shows_another() {
    let device = vgpu();
    write(&device, RegionIndex::BAR0, 0, &[7; 8]);
    write(&device, RegionIndex::BAR0, 4096, &[9; 8]);
    let view = view(&device, 1);
    let mut data = [0; 8];
    assert_eq!(view.region_read(PICTURE, 0, &mut data), Err(Errno::EINVAL));

    show(&device, 0);
    let query = || view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY);
    query().unwrap();
    show(&device, 4096);

    assert_eq!(view.region_read(PICTURE, 0, &mut data), Ok(8));
    assert_eq!(data, [7; 8]);
    query().unwrap();
    assert_eq!(view.region_read(PICTURE, 0, &mut data), Ok(8));
    assert_eq!(data, [9; 8]);
}

#[test]
fn view_shows_one_picture_and_changes_nothing() {
    let device = vgpu();
    show(&device, 0);
    let view = view(&device, 1);
    view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)
        .unwrap();

    let region = view.region_info(PICTURE).unwrap();
    assert_eq!((region.size, region.flags), (PAGE, RegionFlags::READ));
    assert_eq!(view.region_info(RegionIndex::BAR2), Err(Errno::EINVAL));
    assert_eq!(view.region_write(PICTURE, 0, &[1]), Err(Errno::EINVAL));
    assert_eq!(view.reset(), Err(Errno::EINVAL));
    let mut data = [0; 8];
    assert_eq!(
        view.region_read(PICTURE, PAGE, &mut data),
        Err(Errno::EINVAL)
    );
    assert_eq!(view.region_read(PICTURE, PAGE - 4, &mut data), Ok(4));
    let cursor = view.query_gfx_plane(GfxTransport::Region, PlaneType::CURSOR);
    assert_eq!(cursor, Err(Errno::EINVAL));
    assert_eq!(view.probe_gfx(GfxTransport::Dmabuf), Err(Errno::EINVAL));
}
