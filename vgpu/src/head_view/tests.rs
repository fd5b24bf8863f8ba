mod dmabuf;
mod flips;

use super::*;
use std::os::fd::AsFd;
use std::time::Duration;

use irqbroker_vfio_abi::GfxEdidField;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::LinkState;
use irqbroker_vfio_abi::RegionFlags;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::export::ExportDmabuf;
use crate::fakes::FakeClock;
use crate::granularity::Granularity;
use crate::parent::VgpuParent;
use crate::registers::Monitor;
use crate::scheduler::VblankDriver;
use crate::scheduler::VblankScheduler;
use crate::vgpu_type::VgpuType;

/// Just over a period of 60 Hz.
const FRAME: Duration = Duration::from_nanos(16_666_667);
const PAGE: u64 = 4096;

struct Bed {
    clock: Arc<FakeClock>,
    driver: VblankDriver,
    device: Arc<VgpuDevice>,
    _parent: VgpuParent,
}

impl Bed {
    /// A vGPU of two heads.
    fn new() -> Self {
        Self::with_exporter(None)
    }

    fn with_exporter(exporter: Option<Arc<dyn ExportDmabuf>>) -> Self {
        let clock = FakeClock::new();
        let scheduler = VblankScheduler::with_clock(Granularity::Exact, clock.clone());
        let driver = scheduler.drive(std::task::Waker::noop().clone()).unwrap();
        let parent = VgpuParent::new(scheduler).with_exporter(exporter);
        let dual = VgpuType::find("dual").unwrap();
        let device = parent.create_device(&dual, None).unwrap();
        Self {
            clock,
            driver,
            device,
            _parent: parent,
        }
    }

    fn view(&self, head: u8) -> HeadView {
        self.device.head_view(HeadId(head)).unwrap()
    }

    fn frame(&mut self) {
        let now = self.clock.step(FRAME);
        let due = self.driver.next_wakeup();
        if due.is_some_and(|wakeup| wakeup <= now) {
            self.driver.run_due(now);
        }
    }

    fn write(&self, region: RegionIndex, offset: u64, data: &[u8]) {
        let written = self.device.region_write(region, offset, data);
        assert_eq!(written, Ok(data.len()));
    }

    /// Words of the register block from `offset` on.
    fn words(&self, offset: u64, words: [u32; 4]) {
        for (at, word) in (offset..).step_by(4).zip(words) {
            self.write(RegionIndex::BAR2, at, &word.to_le_bytes());
        }
    }

    /// Two by one pixels of 32 bits on the second head: its plane registers are at 0x960.
    fn show(&self, offset: u32) {
        self.words(0x960, [offset, 8, 1 << 16 | 2, 1]);
    }

    /// The same, from the next vblank on if it shows a picture already.
    fn flip(&mut self, offset: u32) {
        self.show(offset);
        self.frame();
    }

    /// The cursor of the second head, at 3, -2, with the pixel 1, 2 that points.
    fn point(&self, offset: u32) {
        self.words(0x970, [offset, 0xfffe_0003, 2 << 16 | 1, 1]);
    }
}

fn query(view: &HeadView, plane: PlaneType) -> Result<GfxPlaneInfo, Errno> {
    view.query_gfx_plane(GfxTransport::Region, plane)
}

fn read(view: &HeadView, region: RegionIndex) -> Result<[u8; 8], Errno> {
    let mut data = [0; 8];
    let len = view.region_read(region, 0, &mut data)?;
    assert_eq!(len, data.len());
    Ok(data)
}

/// Binds a new eventfd to an event of the view's head.
fn listen(view: &HeadView, event: HeadEvent) -> OwnedFd {
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let fds = [Some(fd.as_fd())];
    let request = IrqSet {
        index: IrqIndex(0),
        start: event.sub_index(HeadId(0)),
        action: IrqAction::Trigger,
        data: IrqData::Eventfds(&fds),
    };
    assert_eq!(view.set_irqs(&request), Ok(IrqSetAnswer::Done));
    fd
}

/// What an eventfd has counted.
fn count(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(event, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(error) => {
            assert_eq!(error, rustix::io::Errno::AGAIN);
            0
        }
    }
}

#[test]
fn region_of_a_view_is_the_picture_of_its_latest_query() {
    let mut bed = Bed::new();
    bed.write(RegionIndex::BAR0, 0, &[7; 8]);
    bed.write(RegionIndex::BAR0, PAGE, &[9; 8]);
    let (view, other) = (bed.view(1), bed.view(1));
    assert_eq!(read(&view, PRIMARY), Err(Errno::EINVAL));
    bed.show(0);
    query(&view, PlaneType::PRIMARY).unwrap();
    bed.flip(4096);
    query(&other, PlaneType::PRIMARY).unwrap();
    assert_eq!(read(&view, PRIMARY), Ok([7; 8]));
    assert_eq!(read(&other, PRIMARY), Ok([9; 8]));
    query(&view, PlaneType::PRIMARY).unwrap();
    assert_eq!(read(&view, PRIMARY), Ok([9; 8]));
    assert!(
        query(&bed.view(0), PlaneType::PRIMARY)
            .unwrap()
            .is_disabled()
    );
}

#[test]
fn region_is_empty_once_a_query_found_nothing_shown() {
    let bed = Bed::new();
    let view = bed.view(1);
    bed.show(4096);
    bed.point(8192);
    for plane in [PlaneType::PRIMARY, PlaneType::CURSOR] {
        query(&view, plane).unwrap();
    }
    bed.words(0x960, [0; 4]);
    bed.words(0x970, [0; 4]);
    for (plane, region) in [(PlaneType::PRIMARY, PRIMARY), (PlaneType::CURSOR, CURSOR)] {
        // What the latest query found stays until the next one.
        assert_ne!(view.region_info(region).unwrap().size, 0);
        assert!(query(&view, plane).unwrap().is_disabled());
        assert_eq!(view.region_info(region).unwrap().size, 0);
        assert_eq!(read(&view, region), Err(Errno::EINVAL));
    }
}

#[test]
fn region_that_begins_with_a_page_can_be_mapped_where_it_says() {
    let mut bed = Bed::new();
    bed.write(RegionIndex::BAR0, 2 * PAGE, &[5; 8]);
    let view = bed.view(1);
    bed.show(8192);
    query(&view, PlaneType::PRIMARY).unwrap();
    let region = view.region_info(PRIMARY).unwrap();
    assert_eq!(region.flags, RegionFlags::READ | RegionFlags::MMAP);
    assert_eq!((region.offset, region.size), (2 * PAGE, PAGE));
    let mut data = [0; 8];
    let file = view.region_fd(PRIMARY).unwrap();
    rustix::io::pread(file, &mut data, region.offset).unwrap();
    assert_eq!(data, [5; 8]);
    bed.flip(8200);
    query(&view, PlaneType::PRIMARY).unwrap();
    let region = view.region_info(PRIMARY).unwrap();
    assert_eq!((region.flags, region.offset), (RegionFlags::READ, 0));
}

#[test]
fn cursor_is_a_plane_of_its_own_with_place_and_hotspot() {
    let bed = Bed::new();
    let view = bed.view(1);
    assert!(query(&view, PlaneType::CURSOR).unwrap().is_disabled());
    bed.write(RegionIndex::BAR0, 3 * PAGE, &[4; 8]);
    bed.point(12288);
    let cursor = query(&view, PlaneType::CURSOR).unwrap();
    assert_eq!((cursor.width, cursor.height, cursor.stride), (64, 64, 256));
    assert_eq!(cursor.format.to_le_bytes(), *b"AR24");
    assert_eq!((cursor.x_pos, cursor.y_pos.cast_signed()), (3, -2));
    assert_eq!(cursor.hotspot(), Some((1, 2)));
    assert_eq!(cursor.surface, GfxSurface::Region(CURSOR));
    assert_eq!(read(&view, CURSOR), Ok([4; 8]));
    assert_eq!(read(&view, PRIMARY), Err(Errno::EINVAL));
}

#[test]
fn region_at_the_end_of_the_vram_is_cut_there_and_refused_behind_it() {
    let bed = Bed::new();
    let view = bed.view(1);
    // The last eight of 64 MiB.
    bed.show((64 << 20) - 8);
    let info = query(&view, PlaneType::PRIMARY).unwrap();
    assert_eq!(u64::from(info.size), PAGE);
    let mut data = [1; 16];
    assert_eq!(view.region_read(PRIMARY, 0, &mut data), Ok(8));
    assert_eq!(view.region_read(PRIMARY, 8, &mut data), Err(Errno::EINVAL));
    let far = view.region_read(PRIMARY, u64::MAX, &mut data);
    assert_eq!(far, Err(Errno::EINVAL));
}

#[test]
fn queries_of_planes_and_transports_that_are_not_there_are_einval() {
    let bed = Bed::new();
    bed.show(0);
    let view = bed.view(1);
    for plane in [0, 3, u32::MAX] {
        assert_eq!(query(&view, PlaneType(plane)), Err(Errno::EINVAL));
    }
    assert_eq!(view.probe_gfx(GfxTransport::Region), Ok(()));
    assert_eq!(view.probe_gfx(GfxTransport::Dmabuf), Err(Errno::EINVAL));
    let dmabuf = view.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY);
    assert_eq!(dmabuf, Err(Errno::EINVAL));
    assert_eq!(view.gfx_dmabuf(DmabufId(1)).unwrap_err(), Errno::EINVAL);
    bed.device.head_view(HeadId(2)).unwrap_err();
}

/// Takes the link down.
fn unplug(view: &HeadView) -> Result<usize, Errno> {
    let down = LinkState::DOWN.0.to_ne_bytes();
    view.region_write(EDID, GfxEdidField::LinkState.offset(), &down)
}

#[test]
fn view_can_look_and_do_nothing_else() {
    let bed = Bed::new();
    bed.show(0);
    let view = bed.view(1);
    query(&view, PlaneType::PRIMARY).unwrap();
    assert_eq!(view.region_write(PRIMARY, 0, &[1]), Err(Errno::EINVAL));
    let edid = view.region_info(EDID).unwrap();
    assert_eq!(edid.flags, RegionFlags::READ);
    assert_eq!(unplug(&view), Err(Errno::EINVAL));
    assert_eq!(bed.device.monitor(HeadId(1)), Some(Monitor::Plugged));
    assert_eq!(view.reset(), Err(Errno::EINVAL));
    assert_eq!(view.region_info(RegionIndex(9)), Err(Errno::EINVAL));
    let err = IrqSet::disable(IrqIndex::ERR);
    assert_eq!(view.set_irqs(&err), Err(Errno::EINVAL));
    assert_eq!(view.irq_info(IrqIndex(1)), Err(Errno::EINVAL));
}

#[test]
fn view_with_the_right_to_it_changes_the_monitor_of_its_head() {
    let bed = Bed::new();
    let view = bed.view(1).with_monitor();
    let edid = view.region_info(EDID).unwrap();
    assert_eq!(edid.flags, RegionFlags::READ | RegionFlags::WRITE);
    assert_eq!(unplug(&view), Ok(4));
    let monitors = [0, 1].map(|head| bed.device.monitor(HeadId(head)));
    assert_eq!(monitors, [Monitor::Plugged, Monitor::Unplugged].map(Some));
}

#[test]
fn views_are_told_of_their_head_beside_the_device_and_each_other() {
    let mut bed = Bed::new();
    let (first, second, other_head) = (bed.view(1), bed.view(1), bed.view(0));
    let device_event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let fds = [Some(device_event.as_fd())];
    let request = IrqSet {
        index: IrqIndex(5),
        start: HeadEvent::Flip.sub_index(HeadId(1)),
        action: IrqAction::Trigger,
        data: IrqData::Eventfds(&fds),
    };
    bed.device.set_irqs(&request).unwrap();
    let events = [&first, &second, &other_head].map(|view| listen(view, HeadEvent::Flip));
    bed.show(0);
    bed.frame();
    assert_eq!(events.each_ref().map(count), [1, 1, 0]);
    assert_eq!(count(&device_event), 1);
    let mask = IrqSet {
        index: IrqIndex(0),
        start: 0,
        action: IrqAction::Mask,
        data: IrqData::None { count: 1 },
    };
    second.set_irqs(&mask).unwrap();
    bed.show(4096);
    bed.frame();
    assert_eq!(events.each_ref().map(count), [1, 0, 0]);
    let unmask = IrqSet {
        action: IrqAction::Unmask,
        ..mask
    };
    second.set_irqs(&unmask).unwrap();
    assert_eq!(events.each_ref().map(count), [0, 1, 0]);
    assert_eq!(count(&device_event), 1);
}

#[test]
fn view_describes_its_heads_events_from_sub_index_0_on() {
    let bed = Bed::new();
    let info = bed.view(1).irq_info(IrqIndex(0)).unwrap();
    let [IrqCapability::Type(kind), IrqCapability::Display(events)] = &info.capabilities[..] else {
        panic!("type and events: {info:?}");
    };
    assert_eq!(*kind, IrqType::GFX_DISPLAY);
    let places: Vec<_> = events
        .iter()
        .map(|event| (event.sub_index, event.head))
        .collect();
    assert_eq!(places, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(info.count, 5);
}

#[test]
fn view_that_is_gone_wakes_nobody_and_its_place_is_given_again() {
    let mut bed = Bed::new();
    let view = bed.view(1);
    let event = listen(&view, HeadEvent::Vblank);
    bed.frame();
    assert_eq!(count(&event), 1);
    drop(view);
    assert_eq!(bed.driver.next_wakeup(), None);
    let next = bed.view(0);
    let fresh = listen(&next, HeadEvent::Flip);
    bed.show(0);
    bed.frame();
    assert_eq!((count(&event), count(&fresh)), (0, 0));
    assert!(query(&next, PlaneType::PRIMARY).unwrap().is_disabled());
}

#[test]
fn device_itself_shows_its_first_head_in_regions_behind_those_of_pci() {
    let bed = Bed::new();
    let device = &bed.device;
    let primary = || device.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY);
    assert!(primary().unwrap().is_disabled());
    // 64x64 at 32 bits, on.
    for (word, value) in [(3, 32), (1, 64), (2, 64), (4, 0x41u16)] {
        bed.write(RegionIndex::BAR2, 0x500 + 2 * word, &value.to_le_bytes());
    }
    bed.write(RegionIndex::BAR0, 0, &[6; 8]);
    let shown = primary().unwrap();
    assert_eq!((shown.width, shown.height, shown.size), (64, 64, 16384));
    assert_eq!(shown.surface, GfxSurface::Region(RegionIndex(10)));
    let mut data = [0; 8];
    assert_eq!(device.region_read(RegionIndex(10), 0, &mut data), Ok(8));
    assert_eq!(data, [6; 8]);
    let behind = device.region_read(RegionIndex(10), 16384, &mut data);
    assert_eq!(behind, Err(Errno::EINVAL));
    let write = device.region_write(RegionIndex(10), 0, &data);
    assert_eq!(write, Err(Errno::EINVAL));
    assert_eq!(device.region_info(RegionIndex(10)).unwrap().size, 16384);
    assert_eq!(device.region_info(RegionIndex(11)).unwrap().size, 0);
    device.reset().unwrap();
    assert_eq!(device.region_info(RegionIndex(10)).unwrap().size, 0);
}
