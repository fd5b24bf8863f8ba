//! The register file under accesses of any width at any place.

use super::*;
use proptest::prelude::*;

const VRAM: u64 = 16 << 20;

fn registers() -> Registers {
    let mut registers = Registers::new(VRAM, 2);
    let edid: Vec<u8> = (0..128).collect();
    registers.set_edid(HeadId(0), &edid);
    registers
}

fn views() -> [HeadView; 2] {
    [0, 1].map(|head| HeadView {
        frame: 0x1_2345_6789 + head,
        flips: 0x9_8765_4321 + head,
        millihertz: 60_000,
        status: Interrupts::FLIP,
        monitor: Monitor::Plugged,
    })
}

fn read<const N: usize>(registers: &mut Registers, offset: usize) -> [u8; N] {
    let mut data = [0; N];
    registers.read(offset, &mut data, &views());
    data
}

fn write(registers: &mut Registers, offset: usize, data: &[u8]) -> Vec<Effect> {
    let mut effects = Vec::new();
    registers.write(offset, data, &mut effects);
    effects
}

/// 1280x800 at 32 bits, as the driver sets it; returns the effects of the last write.
fn set_mode(registers: &mut Registers) -> Vec<Effect> {
    for (offset, value) in [
        (0x508, 0u16),
        (0x506, 32),
        (0x502, 1280),
        (0x504, 800),
        (0x50c, 1280),
        (0x510, 0),
        (0x512, 0),
    ] {
        write(registers, offset, &value.to_le_bytes());
    }
    write(registers, 0x508, &0x41u16.to_le_bytes())
}

/// An access that lies within the BAR, mostly where there are registers.
fn accesses() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let offset = prop_oneof![
        2 => 0..SIZE,
        2 => 0x3f8..0x420usize,
        4 => 0x4fe..0x51cusize,
        2 => 0x5fe..0x60cusize,
        4 => 0x8fe..0x990usize,
    ];
    (offset, proptest::collection::vec(any::<u8>(), 1..12)).prop_map(|(offset, mut data)| {
        data.truncate(SIZE - offset);
        (offset, data)
    })
}

proptest! {
    #[test]
    fn pictures_stay_within_the_vram_and_reset_takes_all_back(
        writes in proptest::collection::vec(accesses(), 0..60),
        enable in any::<bool>(),
    ) {
        let mut registers = registers();
        if enable {
            set_mode(&mut registers);
        }
        for (offset, data) in writes {
            let effects = write(&mut registers, offset, &data);
            // Each byte belongs to one register, which has a change of the picture beside.
            prop_assert!(effects.len() <= 2 * data.len());
            for head in [HeadId(0), HeadId(1)] {
                if let Some(shown) = registers.shown(head) {
                    prop_assert!(!shown.is_empty());
                    prop_assert!(shown.offset + shown.len() <= VRAM);
                }
                if let Some(cursor) = registers.cursor(head) {
                    prop_assert!(cursor.offset + Cursor::BYTES <= VRAM);
                }
            }
        }
        registers.reset();
        prop_assert_eq!(registers, self::registers());
    }

    #[test]
    fn wide_read_is_the_bytes_it_spans(
        writes in proptest::collection::vec(accesses(), 0..20),
        (offset, data) in accesses(),
    ) {
        let mut registers = registers();
        for (offset, data) in writes {
            write(&mut registers, offset, &data);
        }
        let mut wide = data.clone();
        registers.read(offset, &mut wide, &views());
        for (at, byte) in (offset..).zip(wide) {
            prop_assert_eq!(read(&mut registers, at), [byte], "at {:#x}", at);
        }
    }

    #[test]
    fn wide_write_is_the_registers_it_spans_in_order(
        writes in proptest::collection::vec(accesses(), 0..20),
        (offset, data) in accesses(),
    ) {
        let mut wide = registers();
        for (offset, data) in writes {
            write(&mut wide, offset, &data);
        }
        let mut apart = wide.clone();
        let told = write(&mut wide, offset, &data);
        let mut told_apart = Vec::new();
        let mut at = offset;
        while at < offset + data.len() {
            let (start, width) = register_at(at);
            let end = (start + width).min(offset + data.len());
            told_apart.extend(write(&mut apart, at, &data[at - offset..end - offset]));
            at = end;
        }
        prop_assert_eq!(told, told_apart);
        prop_assert_eq!(wide, apart);
    }
}

#[test]
fn block_is_found_by_its_magic_and_tells_where_its_heads_are() {
    let mut registers = registers();
    assert_eq!(&read::<4>(&mut registers, 0x800), b"VGPU");
    assert_eq!(read(&mut registers, 0x804), 0x0001_0001u32.to_le_bytes());
    assert_eq!(read(&mut registers, 0x808), 0x0040_0002u32.to_le_bytes());
    assert_eq!(read(&mut registers, 0x80c), 0x900u32.to_le_bytes());
    assert_eq!(read(&mut registers, 0x810), 0b111u32.to_le_bytes());
}

#[test]
fn frame_counter_is_read_whole_by_eight_bytes() {
    let frame = 0x1_2345_6789u64;
    assert_eq!(read(&mut registers(), 0x908), frame.to_le_bytes());
    assert_eq!(read(&mut registers(), 0x948), (frame + 1).to_le_bytes());
    assert_eq!(
        read::<4>(&mut registers(), 0x988),
        [0; 4],
        "there is no third head"
    );
}

#[test]
fn summary_has_the_heads_whose_enabled_events_are_not_acknowledged() {
    let mut registers = registers();
    assert_eq!(read(&mut registers, 0x814), 0u32.to_le_bytes());
    // Vblank on head 0, which has a flip only; vblank and flip on head 1.
    write(&mut registers, 0x900, &[1]);
    write(&mut registers, 0x940, &[3]);
    assert_eq!(read(&mut registers, 0x814), 0b10u32.to_le_bytes());
}

#[test]
fn edid_is_there_while_a_monitor_is_plugged() {
    let mut registers = registers();
    assert_eq!(read(&mut registers, 0x7c), [124, 125, 126, 127, 0, 0, 0, 0]);
    let mut data = [1; 4];
    let mut unplugged = views();
    unplugged[0].monitor = Monitor::Unplugged;
    registers.read(0x10, &mut data, &unplugged);
    assert_eq!(data, [0; 4]);
}

#[test]
fn mode_set_clears_the_memory_and_shows_a_picture_and_y_offset_commits() {
    let mut registers = registers();
    let effects = set_mode(&mut registers);
    let clear = Effect::ClearVram {
        len: 1280 * 4 * 800,
    };
    assert_eq!(effects, [clear, Effect::PictureChanged(HeadId(0))]);
    // The offsets and the memory size in one access: the base is complete with the second.
    let moved = write(&mut registers, 0x510, &[0, 0, 0x20, 0x03, 0xff, 0xff]);
    assert_eq!(moved, [Effect::Commit(HeadId(0))]);
    assert_eq!(registers.shown(HeadId(0)).unwrap().offset, 800 * 5120);
}

#[test]
fn blanking_hides_the_picture_and_unblanking_brings_it_back() {
    let mut registers = registers();
    set_mode(&mut registers);
    let shown = registers.shown(HeadId(0));
    for (value, expected) in [(0x00, None), (0x20, shown)] {
        read::<1>(&mut registers, 0x41a);
        let effects = write(&mut registers, 0x400, &[value]);
        assert_eq!(effects, [Effect::PictureChanged(HeadId(0))]);
        assert_eq!(registers.shown(HeadId(0)), expected);
    }
}

#[test]
fn byte_order_is_one_of_two_and_changes_the_format() {
    let mut registers = registers();
    set_mode(&mut registers);
    assert_eq!(write(&mut registers, 0x604, &[0x12; 4]), []);
    assert_eq!(read(&mut registers, 0x604), [0x1e; 4]);
    let effects = write(&mut registers, 0x604, &[0xbe; 4]);
    assert_eq!(effects, [Effect::PictureChanged(HeadId(0))]);
    let format = registers.shown(HeadId(0)).unwrap().format;
    assert_eq!(format.fourcc().to_le_bytes(), *b"BX24");
}

#[test]
fn second_head_is_set_in_the_block_and_the_first_is_not() {
    let mut registers = registers();
    let plane: Vec<u8> = [0x1000u32, 2560, 480 << 16 | 640, 1]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    assert_eq!(
        write(&mut registers, 0x960, &plane),
        [Effect::Commit(HeadId(1))]
    );
    assert_eq!(
        registers.shown(HeadId(1)).map(|shown| shown.width),
        Some(640)
    );
    assert_eq!(write(&mut registers, 0x920, &plane), []);
    assert_eq!(registers.shown(HeadId(0)), None);
}
