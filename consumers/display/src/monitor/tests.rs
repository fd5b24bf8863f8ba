use super::*;
use crate::fake::FakeDisplay;
use crate::fake_edid::FakeEdid;

/// The most that the device shows.
const MAX: (u32, u32) = (1920, 1080);

fn edid(name: &str, sizes: &[(u16, u16)]) -> Edid {
    let modes: Vec<Mode> = sizes
        .iter()
        .map(|&(width, height)| Mode {
            width,
            height,
            refresh: Refresh::HZ_60,
        })
        .collect();
    let monitor = MonitorDescription {
        name,
        serial: 5,
        modes: &modes,
    };
    monitor.to_edid().unwrap()
}

/// A device whose monitor prefers 1280x800, and the monitor.
fn plugged() -> (Arc<FakeDisplay>, Monitor) {
    let device = FakeDisplay::new();
    device.plug(FakeEdid::new(&edid("first", &[(1280, 800)]), MAX));
    let device = Arc::new(device);
    let monitor = Monitor::find(Arc::clone(&device) as _).unwrap();
    (device, monitor)
}

fn sizes(device: &FakeDisplay) -> Vec<(u16, u16)> {
    let modes = device.edid(|edid| edid.seen().unwrap().modes());
    modes.iter().map(|mode| (mode.width, mode.height)).collect()
}

#[test]
fn monitor_prefers_what_it_is_asked_for_and_stays_the_same_one() {
    let (device, mut monitor) = plugged();

    assert_eq!(monitor.prefer(1000, 700), Ok(Preference::Changed));

    let seen = device.edid(|edid| edid.seen().unwrap());
    assert_eq!((seen.name().as_str(), seen.serial()), ("first", 5));
    assert_eq!(sizes(&device), [(1000, 700), (1280, 800)]);
    let links = device.edid(|edid| edid.links.clone());
    assert_eq!(links, [LinkState::DOWN, LinkState::UP]);
}

#[test]
fn sizes_asked_for_before_leave_no_trace() {
    let (device, mut monitor) = plugged();
    for width in 1000..1020 {
        monitor.prefer(width, 700).unwrap();
    }
    assert_eq!(sizes(&device), [(1019, 700), (1280, 800)]);
}

#[test]
fn monitor_that_somebody_else_plugs_in_is_the_one_that_is_changed() {
    let (device, mut monitor) = plugged();
    monitor.prefer(1000, 700).unwrap();
    device.plug(FakeEdid::new(&edid("second", &[(1600, 900)]), MAX));

    monitor.prefer(1100, 700).unwrap();

    let name = device.edid(|edid| edid.seen().unwrap().name());
    assert_eq!(name, "second");
    assert_eq!(sizes(&device), [(1100, 700), (1600, 900)]);
}

#[test]
fn nobody_is_told_of_what_is_preferred_already() {
    let (device, mut monitor) = plugged();
    assert_eq!(monitor.prefer(1280, 800), Ok(Preference::AsBefore));
    assert!(device.edid(|edid| edid.links.is_empty()));
}

#[test]
fn sizes_are_allowed_from_a_cursors_to_the_devices_and_not_beyond() {
    let (device, mut monitor) = plugged();
    for (width, height) in [(64, 64), (1920, 1080)] {
        assert_eq!(monitor.allows(width, height), Ok(()));
        assert_eq!(monitor.prefer(width, height), Ok(Preference::Changed));
    }
    let before = device.edid(|edid| edid.seen());
    for (width, height) in [(63, 64), (64, 63), (1921, 1080), (1920, 1081), (0, 0)] {
        let refused = PreferError::Size {
            width,
            height,
            max: MAX,
        };
        assert_eq!(monitor.allows(width, height), Err(refused));
        assert_eq!(monitor.prefer(width, height), Err(refused));
    }
    assert_eq!(device.edid(|edid| edid.seen()), before);
    // A device may show more than an EDID can tell.
    device.change_edid(|edid| edid.head.max_xres = u32::MAX);
    assert_eq!(monitor.allows(4095, 1080), Ok(()));
    monitor.allows(4096, 1080).unwrap_err();
}

#[test]
fn monitor_that_is_unplugged_stays_so() {
    let (device, mut monitor) = plugged();
    device.change_edid(|edid| edid.head.link_state = LinkState::DOWN);
    assert_eq!(monitor.prefer(1000, 700), Err(PreferError::Unplugged));
    assert_eq!(device.edid(|edid| edid.seen()), None);
}

#[test]
fn device_that_fails_at_any_write_has_its_monitor_back() {
    for refused in 0..4 {
        let (device, mut monitor) = plugged();
        monitor.prefer(1000, 700).unwrap();
        let before = device.edid(|edid| edid.seen());
        device.change_edid(|edid| edid.refuses_after = Some(refused));

        let failed = monitor.prefer(1100, 700);

        let source = Errno::EIO;
        assert_eq!(failed, Err(PreferError::Write { source }));
        assert_eq!(device.edid(|edid| edid.seen()), before, "write {refused}");
        // And is known by it: nothing of it stays in what is plugged in next.
        monitor.prefer(1100, 700).unwrap();
        assert_eq!(sizes(&device), [(1100, 700), (1280, 800)]);
    }
}

#[test]
fn what_a_device_tells_of_its_edid_is_not_believed() {
    for size in [129, 1025, u32::MAX] {
        let (device, mut monitor) = plugged();
        device.change_edid(|edid| edid.head.edid_size = size);
        assert_eq!(monitor.prefer(1000, 700), Ok(Preference::Changed));
        assert_eq!(sizes(&device), [(1000, 700)]);
    }
    let (device, mut monitor) = plugged();
    device.change_edid(|edid| edid.head.edid_max_size = 127);
    let source = irqbroker_vfio_abi::MonitorError::Room {
        needed: 128,
        room: 127,
    };
    let refused = monitor.prefer(1000, 700);
    assert_eq!(refused, Err(PreferError::Build { source }));
    assert!(device.edid(|edid| edid.links.is_empty()));
}

#[test]
fn device_without_an_edid_region_or_with_one_to_read_is_refused() {
    let none = Monitor::find(Arc::new(FakeDisplay::new())).unwrap_err();
    assert_eq!(none, FindMonitorError::NoRegion);
    let device = FakeDisplay::new();
    device.plug(FakeEdid::new(&edid("fixed", &[(1280, 800)]), MAX));
    device.fix_monitor();
    let index = RegionIndex(2);
    let fixed = Monitor::find(Arc::new(device)).unwrap_err();
    assert_eq!(fixed, FindMonitorError::ReadOnly { index });
}
