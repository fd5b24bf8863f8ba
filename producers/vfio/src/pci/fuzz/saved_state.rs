//! Saved state from anywhere.

use super::super::effect::Level;
use super::super::interrupts::SavedPciInterrupts;
use super::super::intx::SavedIntx;
use super::super::msi::SavedMsi;
use super::super::msix::SavedMsix;
use super::super::msix::SavedMsixEntry;
use super::super::saved::SAVED_VERSION;
use super::super::sim::SimFunction;
use super::accesses::layout;
use super::input::Input;

/// Loads saved state: JSON if it begins with a brace, else its fields one after the other.
///
/// # Panics
///
/// If loading panics, a refused state changes something, or an accepted one is not what is saved
/// afterwards.
pub fn saved_state(data: &[u8]) {
    let saved = match data.first() {
        Some(b'{') => serde_json::from_slice(data).ok(),
        _ => Some(from_fields(&mut Input(data))),
    };
    // 5 MSI-X vectors, 4 maskable MSI vectors, an address of 64 bits, extended data.
    let function = SimFunction::new(layout(0b0011_1111));
    let (Some(saved), Ok(mut function)) = (saved, function) else {
        return;
    };
    let before = function.save();
    match function.restore(&saved) {
        Ok(()) => {
            let after = function.save();
            assert_eq!(without_pending(saved), without_pending(after));
        }
        Err(_) => assert_eq!(function.save(), before),
    }
    function.assert_consistent();
}

/// What was pending may have been delivered by now.
fn without_pending(mut saved: SavedPciInterrupts) -> SavedPciInterrupts {
    if let Some(msi) = &mut saved.msi {
        msi.pending = 0;
    }
    if let Some(msix) = &mut saved.msix {
        msix.pending.clear();
    }
    saved
}

/// The version that is accepted, unless the input says otherwise.
fn version(input: &mut Input<'_>) -> u32 {
    SAVED_VERSION.wrapping_add(u32::from(input.u8() / 0xf0))
}

fn from_fields(input: &mut Input<'_>) -> SavedPciInterrupts {
    let kinds = input.u8();
    let lacks = |bit: u8| kinds >> bit & 1 != 0;
    let intx = (!lacks(0)).then(|| SavedIntx {
        version: version(input),
        pin: input.u8(),
        line: input.u8(),
        level: match input.u8() & 1 {
            0 => Level::Deasserted,
            _ => Level::Asserted,
        },
        disabled: input.u8() & 1 != 0,
    });
    let msi = (!lacks(1)).then(|| SavedMsi {
        version: version(input),
        control: input.u16(),
        address: input.u64(),
        data: input.u32(),
        mask: input.u32(),
        pending: input.u32(),
    });
    let msix = (!lacks(2)).then(|| SavedMsix {
        version: version(input),
        control: input.u16(),
        pending: (0..input.u8() % 8).map(|_| input.u8().into()).collect(),
        entries: (0..input.u8() % 8)
            .map(|_| SavedMsixEntry {
                address: input.u64(),
                data: input.u32(),
                control: input.u8().into(),
            })
            .collect(),
    });
    SavedPciInterrupts {
        version: version(input),
        intx,
        msi,
        msix,
    }
}
