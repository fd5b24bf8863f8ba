//! Another monitor, by the EDID region as a VMM's display does it, and what the guest finds.

use super::*;
use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::GfxEdid;
use irqbroker_vfio_abi::LinkState;
use irqbroker_vfio_abi::Mode;
use irqbroker_vfio_abi::MonitorDescription;
use irqbroker_vfio_abi::RegionType;

use crate::refresh::Refresh;
use crate::registers::Monitor;

const EDID: RegionIndex = RegionIndex(9);
const SIZE: u64 = 8;
const LINK: u64 = 20;
const BLOB: u64 = 0x800;

fn monitor_of(width: u16, height: u16) -> Edid {
    let refresh = Refresh::HZ_60;
    let mode = Mode {
        width,
        height,
        refresh,
    };
    let monitor = MonitorDescription {
        name: "resized",
        serial: 1,
        modes: &[mode],
    };
    monitor.to_edid().unwrap()
}

impl Bed {
    fn edid_word(&self, at: u64, value: u32) -> Result<usize, Errno> {
        self.device.region_write(EDID, at, &value.to_ne_bytes())
    }

    fn link(&self, state: LinkState) -> Result<usize, Errno> {
        self.edid_word(LINK, state.0)
    }

    fn edid_head(&self) -> GfxEdid {
        let mut head = [0; GfxEdid::SIZE];
        let read = self.device.region_read(EDID, 0, &mut head);
        assert_eq!(read, Ok(head.len()));
        GfxEdid::decode(&head).unwrap()
    }

    /// Down, size and blob, up.
    fn write_edid(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.link(LinkState::DOWN)?;
        let size = u32::try_from(bytes.len()).unwrap();
        self.edid_word(SIZE, size)?;
        self.device.region_write(EDID, BLOB, bytes)?;
        self.link(LinkState::UP)
    }

    /// What the guest finds in the register BAR.
    fn guest_edid(&self) -> Option<Edid> {
        let mut bytes = [0; 1024];
        self.device
            .region_read(RegionIndex::BAR2, 0, &mut bytes)
            .unwrap();
        let len = 128 * (usize::from(bytes[126]) + 1);
        Edid::parse(&bytes[..len]).ok()
    }
}

#[test]
fn edid_region_tells_its_type_size_and_limits() {
    let bed = Bed::new();
    let region = bed.device.region_info(EDID).unwrap();
    assert_eq!(region.region_type(), Some(RegionType::GFX_EDID));
    assert_eq!(region.size, 4096);
    let head = bed.edid_head();
    assert_eq!((head.edid_offset, head.edid_max_size), (0x800, 1024));
    assert_eq!((head.max_xres, head.max_yres), (1280, 800));
    assert_eq!(head.link_state, LinkState::UP);
    let size = usize::try_from(head.edid_size).unwrap();
    let mut blob = vec![0; size];
    bed.device.region_read(EDID, BLOB, &mut blob).unwrap();
    assert_eq!(Edid::parse(&blob).ok(), bed.guest_edid());
}

#[test]
fn edid_of_a_type_prefers_its_mode_and_tells_the_smaller_ones() {
    let bed = Bed::of("uhd");
    let edid = bed.guest_edid().unwrap();
    assert_eq!(edid.preferred(), Some((3840, 2160)));
    // 1920x1080, 1280x800 and 1024x768 take an extension.
    assert_eq!(edid.as_bytes().len(), 256);
    assert_eq!(Bed::of("small").guest_edid().unwrap().as_bytes().len(), 128);
}

#[test]
fn new_edid_is_seen_by_the_guest_after_the_link_was_down_and_is_told_both_times() {
    let bed = Bed::new();
    let hotplug = bed.listen(HeadEvent::Hotplug);
    bed.link(LinkState::DOWN).unwrap();
    assert_eq!(count(&hotplug), 1);
    assert_eq!(bed.guest_edid(), None);
    assert_eq!(bed.read32(0x91c), 0, "no monitor");
    let edid = monitor_of(1024, 600);
    bed.edid_word(SIZE, 128).unwrap();
    // In two pieces.
    let (first, second) = edid.as_bytes().split_at(50);
    bed.device.region_write(EDID, BLOB, first).unwrap();
    bed.device.region_write(EDID, BLOB + 50, second).unwrap();
    assert_eq!(bed.guest_edid(), None);
    assert_eq!(count(&hotplug), 0);
    bed.link(LinkState::UP).unwrap();
    assert_eq!(count(&hotplug), 1);
    assert_eq!(bed.guest_edid(), Some(edid));
    assert_eq!(bed.read32(0x904) & 4, 4, "the guest is told by its status");
}

#[test]
fn same_link_state_again_is_no_event() {
    let bed = Bed::new();
    let hotplug = bed.listen(HeadEvent::Hotplug);
    bed.link(LinkState::UP).unwrap();
    assert_eq!(count(&hotplug), 0);
    bed.link(LinkState::DOWN).unwrap();
    bed.link(LinkState::DOWN).unwrap();
    assert_eq!(count(&hotplug), 1);
}

#[test]
fn bad_edids_are_refused_and_leave_the_link_down() {
    let good = monitor_of(1024, 600);
    let with = |place: usize, value: u8| {
        let mut bad = good.as_bytes().to_vec();
        bad[place] = value;
        bad
    };
    let checksum = with(127, good.as_bytes()[127] ^ 1);
    let header = with(0, 1);
    for bad in [&checksum[..], &header, &[], &good.as_bytes()[..127]] {
        let bed = Bed::new();
        assert_eq!(bed.write_edid(bad), Err(Errno::EINVAL));
        assert_eq!(bed.edid_head().link_state, LinkState::DOWN);
        assert_eq!(bed.guest_edid(), None);
        bed.write_edid(good.as_bytes()).unwrap();
        assert_eq!(bed.guest_edid().as_ref(), Some(&good));
    }
}

#[test]
fn writes_that_are_too_long_read_only_or_out_of_turn_change_nothing() {
    let bed = Bed::new();
    let before = (bed.edid_head(), bed.guest_edid());
    assert_eq!(bed.edid_word(SIZE, 128), Err(Errno::EBUSY));
    let early = bed.device.region_write(EDID, BLOB, &[0; 128]);
    assert_eq!(early, Err(Errno::EBUSY));
    assert_eq!(bed.edid_word(LINK, 0), Err(Errno::EINVAL));
    assert_eq!(bed.edid_word(LINK, 3), Err(Errno::EINVAL));
    for read_only in [0, 4, 12, 16] {
        assert_eq!(bed.edid_word(read_only, 7), Err(Errno::EPERM));
    }
    assert_eq!((bed.edid_head(), bed.guest_edid()), before);
    bed.link(LinkState::DOWN).unwrap();
    assert_eq!(bed.edid_word(SIZE, 1025), Err(Errno::EINVAL));
    for (at, len) in [
        (BLOB, 1025),
        (BLOB + 1024, 1),
        (24, 4),
        (LINK, 3),
        (LINK + 1, 4),
    ] {
        let refused = bed.device.region_write(EDID, at, &vec![1; len]);
        assert_eq!(refused, Err(Errno::EINVAL), "{at:#x} {len}");
    }
    assert_eq!(
        bed.device.region_write(EDID, 4096, &[0; 4]),
        Err(Errno::EINVAL)
    );
    bed.link(LinkState::UP).unwrap();
    assert_eq!((bed.edid_head(), bed.guest_edid()), before);
}

#[test]
fn edid_of_the_embedder_outlives_the_guests_reset_and_ends_with_the_devices() {
    let bed = Bed::new();
    let first = bed.device.edid(HEAD).unwrap();
    let hotplug = bed.listen(HeadEvent::Hotplug);
    let other = monitor_of(800, 480);
    bed.device.set_edid(HEAD, &other).unwrap();
    assert_eq!(count(&hotplug), 1);
    assert_eq!(bed.guest_edid().as_ref(), Some(&other));
    // The guest's own reset: function level.
    let function_reset = [0xa8];
    bed.device
        .region_write(RegionIndex::CONFIG, 0x49, &function_reset)
        .unwrap();
    assert_eq!(bed.guest_edid(), Some(other));
    bed.device.reset().unwrap();
    assert_eq!(bed.guest_edid(), Some(first));
    bed.device
        .set_edid(HeadId(1), &monitor_of(8, 8))
        .unwrap_err();
}

#[test]
fn monitor_plugged_in_over_half_an_edid_brings_the_first_one() {
    let bed = Bed::new();
    let first = bed.device.edid(HEAD);
    let size = bed.edid_head().edid_size;
    bed.link(LinkState::DOWN).unwrap();
    bed.edid_word(SIZE, 256).unwrap();
    bed.device.region_write(EDID, BLOB, &[0; 128]).unwrap();
    assert_eq!(bed.device.edid(HEAD), None);
    bed.device.set_monitor(HEAD, Monitor::Plugged).unwrap();
    assert_eq!(bed.device.edid(HEAD), first);
    assert_eq!(bed.edid_head().edid_size, size);
    assert_eq!(bed.guest_edid(), first);
}

#[test]
fn edid_of_the_embedder_plugs_the_monitor_in() {
    let bed = Bed::new();
    bed.device.set_monitor(HEAD, Monitor::Unplugged).unwrap();
    let other = monitor_of(800, 480);
    bed.device.set_edid(HEAD, &other).unwrap();
    assert_eq!(bed.device.monitor(HEAD), Some(Monitor::Plugged));
    assert_eq!(bed.edid_head().link_state, LinkState::UP);
    assert_eq!(bed.guest_edid(), Some(other));
}

#[test]
fn edid_leaves_nothing_of_a_longer_one_behind_it() {
    let bed = Bed::of("uhd");
    assert_eq!(bed.edid_head().edid_size, 256);
    bed.device.set_edid(HEAD, &monitor_of(800, 480)).unwrap();
    assert_eq!(bed.edid_head().edid_size, 128);
    let mut behind = [1; 1024 - 128];
    bed.device
        .region_read(EDID, BLOB + 128, &mut behind)
        .unwrap();
    assert_eq!(behind, [0; 1024 - 128]);
}

#[test]
fn reset_that_changes_a_monitor_is_a_hotplug_and_any_other_is_none() {
    let mut bed = Bed::new();
    let hotplug = bed.listen(HeadEvent::Hotplug);
    let after_reset = |bed: &mut Bed| {
        count(&hotplug);
        bed.device.reset().unwrap();
        bed.frame();
        count(&hotplug)
    };
    assert_eq!(after_reset(&mut bed), 0);
    bed.device.set_edid(HEAD, &monitor_of(800, 480)).unwrap();
    assert_eq!(after_reset(&mut bed), 1);
    bed.device.set_monitor(HEAD, Monitor::Unplugged).unwrap();
    assert_eq!(after_reset(&mut bed), 1);
    assert_eq!(after_reset(&mut bed), 0);
}

#[test]
fn monitors_of_a_device_have_serial_numbers_of_their_own() {
    let bed = Bed::of("dual");
    let serial = |head| bed.device.edid(HeadId(head)).unwrap().serial();
    assert_ne!(serial(0), serial(1));
    assert_eq!(serial(0) & 0xff_ffff, serial(1) & 0xff_ffff);
}

#[test]
fn edids_of_other_heads_are_found_by_their_register() {
    let bed = Bed::of("dual");
    let second = bed.device.head_view(HeadId(1)).unwrap().with_monitor();
    let first = bed.guest_edid();
    bed.device
        .set_edid(HeadId(1), &monitor_of(640, 480))
        .unwrap();
    assert_eq!(bed.guest_edid(), first);
    bed.write32(0x818, 1);
    assert_eq!(bed.guest_edid().unwrap().preferred(), Some((640, 480)));
    bed.write32(0x818, 2);
    assert_eq!(bed.read32(0x818), 1, "there is no third head");
    let down = LinkState::DOWN.0.to_ne_bytes();
    second.region_write(RegionIndex(2), LINK, &down).unwrap();
    assert_eq!(bed.guest_edid(), None);
    bed.write32(0x818, 0);
    assert_eq!(bed.guest_edid(), first);
}
