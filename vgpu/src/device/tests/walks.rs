//! Devices that anything has been done to: reset they are as fresh ones, moved as they were.

use super::save::moved;
use super::save::visible;
use super::*;
use proptest::prelude::*;

use crate::registers::Monitor;

/// What a guest or a user may do before a reset.
#[derive(Debug, Clone)]
enum Step {
    Register(u16, Vec<u8>),
    Config(u16, Vec<u8>),
    Table(u16, Vec<u8>),
    Draw(u32, Vec<u8>),
    Edid(u16, Vec<u8>),
    Link(u32),
    Mode,
    Cursor,
    Plug(bool),
    Frames(usize),
    Query,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..9);
    let step = prop_oneof![
        8 => (0x500..0xa00u16, bytes()).prop_map(|(at, data)| Step::Register(at, data)),
        2 => (0..0xa0u16, bytes()).prop_map(|(at, data)| Step::Config(at, data)),
        2 => (0..0x40u16, bytes()).prop_map(|(at, data)| Step::Table(at, data)),
        2 => (any::<u32>(), bytes()).prop_map(|(at, data)| Step::Draw(at, data)),
        2 => (0x7f0..0xc10u16, bytes()).prop_map(|(at, data)| Step::Edid(at, data)),
        2 => (0..4u32).prop_map(Step::Link),
        2 => Just(Step::Mode),
        2 => Just(Step::Cursor),
        1 => any::<bool>().prop_map(Step::Plug),
        2 => (1..40usize).prop_map(Step::Frames),
        1 => Just(Step::Query),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..40)
}

fn take(bed: &mut Bed, step: &Step) {
    let write = |bed: &Bed, index: u32, at: u64, data: &[u8]| {
        // Refused or not, nothing of it may be left.
        let _ = bed.device.region_write(RegionIndex(index), at, data);
    };
    match step {
        Step::Register(at, data) => write(bed, 2, u64::from(*at), data),
        Step::Config(at, data) => write(bed, 7, u64::from(*at), data),
        Step::Table(at, data) => write(bed, 4, u64::from(*at), data),
        Step::Draw(at, data) => write(bed, 0, u64::from(at % (16 << 20)), data),
        Step::Edid(at, data) => write(bed, 9, u64::from(*at), data),
        Step::Link(state) => write(bed, 9, 20, &state.to_ne_bytes()),
        Step::Mode => bed.set_mode(),
        Step::Cursor => [(0x934, 3), (0x93c, 1u32)]
            .iter()
            .for_each(|&(at, value)| bed.write32(at, value)),
        Step::Plug(plugged) => {
            let monitor = if *plugged {
                Monitor::Plugged
            } else {
                Monitor::Unplugged
            };
            bed.device.set_monitor(HEAD, monitor).unwrap();
        }
        Step::Frames(frames) => bed.frames(*frames),
        Step::Reset => bed.device.reset().unwrap(),
        Step::Query => {
            let (transport, plane) = (
                irqbroker_vfio_abi::GfxTransport::Region,
                irqbroker_vfio_abi::PlaneType::PRIMARY,
            );
            bed.device.query_gfx_plane(transport, plane).unwrap();
        }
    }
}

/// All that is saved of a device, but for its time and what it has counted.
fn state_of(bed: &Bed) -> serde_json::Value {
    let file = bed.device.save_state().unwrap();
    let saved = crate::saved::SavedFile::read(file.as_fd()).unwrap();
    let mut state = serde_json::to_value(&saved.state).unwrap();
    for head in state["heads"].as_array_mut().unwrap() {
        head["since_vblank"].take();
        head["events"].take();
    }
    bed.device.restore_state(file.as_fd()).unwrap();
    state
}

proptest! {
    // Each clears 16 MiB a few times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn device_that_was_reset_is_as_a_fresh_one(steps in steps()) {
        let mut used = Bed::new();
        for step in &steps {
            take(&mut used, step);
        }
        used.device.reset().unwrap();
        let mut fresh = Bed::new();
        prop_assert_eq!(state_of(&used), state_of(&fresh));
        prop_assert_eq!(used.read32(0x904), 0, "nothing is unacknowledged");
        // What waited for a vblank before is none of the guest's that comes then.
        used.frame();
        fresh.frame();
        prop_assert_eq!(used.read32(0x904), fresh.read32(0x904));
        prop_assert_eq!(state_of(&used), state_of(&fresh));
        prop_assert_eq!(used.device.monitor(HEAD), fresh.device.monitor(HEAD));
        prop_assert_eq!(used.device.region_info(RegionIndex(10)), fresh.device.region_info(RegionIndex(10)));
        let mut used_vram = vec![0; 16 << 20];
        used.device.region_read(RegionIndex::BAR0, 0, &mut used_vram).unwrap();
        prop_assert!(used_vram.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn device_that_was_moved_is_as_it_was(steps in steps(), more in steps()) {
        let (mut stays, mut moves, mut to) = (Bed::new(), Bed::new(), Bed::new());
        for step in &steps {
            take(&mut stays, step);
            take(&mut moves, step);
        }
        moved(&moves, &to);
        for step in &more {
            take(&mut stays, step);
            take(&mut to, step);
        }
        prop_assert_eq!(visible(&to), visible(&stays));
        prop_assert_eq!(to.device.counters(HEAD), stays.device.counters(HEAD));
    }
}
