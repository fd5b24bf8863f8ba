//! The words one by one; the property tests are those of the whole register file.

use super::*;

const VRAM: u64 = 16 << 20;
const LFB: u16 = 0x40;
const LITTLE: Endian = Endian::Little;

/// A display of 1280x800 at 32 bits, not yet on.
fn prepared() -> Dispi {
    let mut dispi = Dispi::new(VRAM);
    for (word, value) in [
        (ENABLE, 0),
        (BPP, 32),
        (XRES, 1280),
        (YRES, 800),
        (VIRT_WIDTH, 1280),
    ] {
        dispi.write(word, value, LITTLE);
    }
    dispi
}

#[test]
fn id_is_the_newest_and_any_known_one_can_be_written() {
    let mut dispi = Dispi::new(VRAM);
    assert_eq!(dispi.read(ID), 0xb0c5);
    for (written, read) in [
        (0xb0c0, 0xb0c0),
        (0xb0bf, 0xb0c0),
        (0xb0c6, 0xb0c0),
        (0xb0c4, 0xb0c4),
    ] {
        dispi.write(ID, written, LITTLE);
        assert_eq!(dispi.read(ID), read);
    }
}

#[test]
fn memory_is_told_in_64_kib_and_cannot_be_written() {
    let mut dispi = Dispi::new(VRAM);
    dispi.write(VIDEO_MEMORY_64K, 1, LITTLE);
    assert_eq!(dispi.read(VIDEO_MEMORY_64K), 0x100);
}

#[test]
fn getcaps_shows_the_limits_and_keeps_the_mode() {
    let mut dispi = prepared();
    dispi.write(ENABLE, GETCAPS, LITTLE);
    assert_eq!(
        [XRES, YRES, BPP].map(|word| dispi.read(word)),
        [16_000, 12_000, 32]
    );
    dispi.write(ENABLE, 0, LITTLE);
    assert_eq!(
        [XRES, YRES, BPP].map(|word| dispi.read(word)),
        [1280, 800, 32]
    );
}

#[test]
fn resolution_at_the_limit_is_stored_and_beyond_it_is_not() {
    let mut dispi = prepared();
    for (word, limit) in [(XRES, MAX_XRES), (YRES, MAX_YRES), (BPP, MAX_BPP)] {
        dispi.write(word, limit, LITTLE);
        dispi.write(word, limit + 1, LITTLE);
        assert_eq!(dispi.read(word), limit);
    }
}

#[test]
fn enable_shows_the_picture_and_clears_its_lines_unless_told_not_to() {
    let lines = 1280 * 4 * 800;
    let on = prepared().write(ENABLE, ENABLED | LFB, LITTLE);
    assert_eq!(on, DispiEffect::Enabled { clear: lines });
    let mut kept = prepared();
    let on = kept.write(ENABLE, ENABLED | LFB | NOCLEARMEM, LITTLE);
    assert_eq!(on, DispiEffect::Enabled { clear: 0 });
    assert_eq!(
        kept.shown().map(|shown| (shown.width, shown.height)),
        Some((1280, 800))
    );
    assert_eq!(kept.write(ENABLE, ENABLED, LITTLE), DispiEffect::Stored);
    assert_eq!(kept.write(ENABLE, 0, LITTLE), DispiEffect::Disabled);
    assert_eq!(kept.shown(), None);
}

#[test]
fn y_offset_takes_all_words_over_and_is_a_frame_only_while_enabled() {
    let mut dispi = prepared();
    assert_eq!(dispi.write(Y_OFFSET, 0, LITTLE), DispiEffect::Stored);
    dispi.write(ENABLE, ENABLED, LITTLE);
    dispi.write(X_OFFSET, 8, LITTLE);
    assert_eq!(dispi.shown().map(|shown| shown.offset), Some(0));
    assert_eq!(dispi.write(Y_OFFSET, 800, LITTLE), DispiEffect::Commit);
    assert_eq!(
        dispi.shown().map(|shown| shown.offset),
        Some(800 * 5120 + 32)
    );
}

#[test]
fn picture_beyond_the_vram_is_not_shown() {
    let mut dispi = prepared();
    dispi.write(ENABLE, ENABLED, LITTLE);
    // 16 MiB hold 3276 whole lines: the last picture of 800 begins at line 2476.
    dispi.write(Y_OFFSET, 2476, LITTLE);
    assert!(dispi.shown().is_some());
    assert_eq!(dispi.write(Y_OFFSET, 2477, LITTLE), DispiEffect::Commit);
    assert_eq!(dispi.shown(), None);
}

#[test]
fn formats_are_those_of_the_depth_and_the_byte_order() {
    let shown = |bpp, endian| {
        let mut dispi = prepared();
        dispi.write(BPP, bpp, endian);
        dispi.write(ENABLE, ENABLED, endian);
        dispi.shown().map(|shown| shown.format)
    };
    assert_eq!(shown(32, Endian::Little), Some(PixelFormat::Xrgb8888));
    assert_eq!(shown(32, Endian::Big), Some(PixelFormat::Bgrx8888));
    assert_eq!(shown(24, Endian::Little), Some(PixelFormat::Rgb888));
    assert_eq!(shown(16, Endian::Little), Some(PixelFormat::Rgb565));
    assert_eq!(shown(15, Endian::Little), Some(PixelFormat::Xrgb1555));
    for (bpp, endian) in [(8, Endian::Little), (0, Endian::Little), (16, Endian::Big)] {
        assert_eq!(shown(bpp, endian), None, "{bpp} bits, {endian:?}");
    }
}
