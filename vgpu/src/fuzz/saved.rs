//! A saved device whose state was tampered with.

use std::os::fd::AsFd;

use crate::fuzz::Bed;
use crate::fuzz::operations;
use crate::head::HeadId;
use crate::saved::SavedFile;
use crate::saved::SavedVgpu;
use crate::saved::write;
use crate::vram::Vram;

/// The bed's device with bytes of its saved state replaced, the checksum right again: it is refused
/// and nothing has changed, or it is taken and what it shows lies within the VRAM.
pub fn saved(input: &[u8]) {
    thread_local! {
        static BED: Option<Bed> = Bed::new();
    }
    BED.with(|bed| {
        let bed = bed.as_ref().expect("memory and eventfds");
        let state = state(bed);
        let mut text = serde_json::to_vec(&state).expect("a text");
        for operation in operations(input) {
            // Anywhere in the text; most of it is numbers, so digits stay digits.
            let len = text.len().max(1);
            let at = (usize::from(operation.offset) << 1 | usize::from(operation.kind & 1)) % len;
            for (byte, new) in text.iter_mut().skip(at).zip(operation.data) {
                *byte = match (*byte, operation.kind & 2) {
                    (b'0'..=b'9', 0) => b'0' + new % 10,
                    _ => *new,
                };
            }
        }
        let vram = Vram::new(bed.device.vgpu_type().vram).expect("memory");
        let file = write(&text, &vram).expect("memory");
        let restored = bed.device.restore_state(file.as_fd());
        match restored {
            Ok(()) => shows_what_is_there(bed),
            Err(_) => assert_eq!(unchanging(self::state(bed)), unchanging(state)),
        }
        bed.clean();
    });
}

fn state(bed: &Bed) -> SavedVgpu {
    let file = bed.device.save_state().expect("memory");
    let saved = SavedFile::read(file.as_fd()).expect("what was just written");
    let state = saved.state.clone();
    bed.device
        .restore_state(file.as_fd())
        .expect("what was just written");
    state
}

/// Without the time, which goes on.
fn unchanging(mut state: SavedVgpu) -> SavedVgpu {
    for head in &mut state.heads {
        head.since_vblank = 0;
    }
    state
}

fn shows_what_is_there(bed: &Bed) {
    let vram = bed.device.vgpu_type().vram;
    for head in [HeadId(0), HeadId(1)] {
        if let Some(shown) = bed.device.scanout(head) {
            assert!(!shown.is_empty() && shown.offset + shown.len() <= vram);
        }
        if let Some(cursor) = bed.device.cursor(head) {
            assert!(cursor.offset + crate::cursor::Cursor::BYTES <= vram);
        }
    }
}
