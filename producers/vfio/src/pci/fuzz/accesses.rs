//! Sequences of guest accesses and device events.

use irqbroker_core::Gsi;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::effect::VectorIndex;
use super::super::interrupts::Capability;
use super::super::interrupts::IntxLayout;
use super::super::interrupts::PciInterruptsLayout;
use super::super::intx::IntxPin;
use super::super::intx::IntxSource;
use super::super::msi::MsiLayout;
use super::super::msix::BarOffset;
use super::super::msix::MsixLayout;
use super::super::sim::SimFunction;
use super::input::Input;

const MSIX: u8 = 0xdc;
const MSIX_CONTROL_HIGH: u16 = MSIX as u16 + 3;

/// The longest access that is tried, enough to span either capability.
const LONGEST: u8 = 40;

/// Config-space accesses of any width, with events in between.
///
/// Byte 0 is the function's shape. An operation is a byte of kind, then its operands; see
/// `step`.
///
/// # Panics
///
/// If an access panics, or effects contradict the state.
pub fn config_space(data: &[u8]) {
    let mut input = Input(data);
    let layout = layout(input.u8());
    let Ok(function) = SimFunction::new(layout) else {
        return;
    };
    run(function, &layout, input, |function, input| {
        let offset = input.u16() % 0x108;
        let len = input.u8() % LONGEST;
        function.write_config(offset, input.bytes(len.into()));
    });
}

/// Accesses to the BAR with table and pending-bit array, with events in between.
///
/// MSI-X is enabled to begin with. Byte 0 is the function's shape. An operation is a byte of
/// kind, then its operands; see `step`.
///
/// # Panics
///
/// If an access panics, or effects contradict the state.
pub fn msix_table(data: &[u8]) {
    let mut input = Input(data);
    let layout = layout(input.u8() | 1);
    let Ok(mut function) = SimFunction::new(layout) else {
        return;
    };
    function.write_config(MSIX_CONTROL_HIGH, &[0x80]);
    run(function, &layout, input, |function, input| {
        match input.u8() {
            0xff => function.write_config(MSIX_CONTROL_HIGH, input.bytes(1)),
            place => {
                let (bar, offset) = bar_offset(place, input);
                let len = input.u8() % LONGEST;
                function.write_bar(bar, offset, input.bytes(len.into()));
            }
        }
    });
}

pub(super) fn layout(shape: u8) -> PciInterruptsLayout {
    let bit = |n: u8| shape >> n & 1 != 0;
    // Table and array side by side, so that accesses span the seam.
    let vectors = if bit(1) { 5 } else { 66 };
    let place = |offset| BarOffset { bar: 1, offset };
    let msix = MsixLayout {
        vectors,
        table: place(0x10),
        pba: place(0x10 + u32::from(vectors) * 16),
    };
    let msi = MsiLayout {
        vectors: if bit(2) { 4 } else { 32 },
        address_64: bit(3),
        per_vector_masking: bit(4),
        extended_data: bit(5),
    };
    let source = match bit(6) {
        true => IntxSource::Automasked,
        false => IntxSource::Tracked,
    };
    PciInterruptsLayout {
        intx: Some(IntxLayout {
            pin: IntxPin::B,
            source,
        }),
        // At the end of what has capabilities, and right behind each other.
        msi: (!bit(7)).then_some(Capability {
            at: 0xe8,
            layout: msi,
        }),
        msix: bit(0).then_some(Capability {
            at: MSIX,
            layout: msix,
        }),
    }
}

fn run(
    mut function: SimFunction,
    layout: &PciInterruptsLayout,
    mut input: Input<'_>,
    write: impl Fn(&mut SimFunction, &mut Input<'_>),
) {
    while !input.is_empty() {
        step(&mut function, &mut input, layout, &write);
    }
    function.assert_consistent();
}

/// One operation: kinds 0-7 write, 8 and 9 read, 10 and 11 signal, 12-15 act on the line or on
/// the whole.
fn step(
    function: &mut SimFunction,
    input: &mut Input<'_>,
    layout: &PciInterruptsLayout,
    write: impl Fn(&mut SimFunction, &mut Input<'_>),
) {
    let mut buffer = [0; LONGEST as usize];
    match input.u8() % 16 {
        0..8 => write(function, input),
        8 => {
            let offset = input.u16();
            let len = usize::from(input.u8() % LONGEST);
            function.read_config(offset, &mut buffer[..len]);
        }
        9 => {
            let (bar, offset) = bar_offset(input.u8(), input);
            let len = usize::from(input.u8() % LONGEST);
            function.read_bar(bar, offset, &mut buffer[..len]);
        }
        10 => function.signal(MessageSource::Msix(VectorIndex(input.u8().into()))),
        11 => function.signal(MessageSource::Msi(VectorIndex(input.u8().into()))),
        12 => function.set_device(match input.u8() & 1 {
            0 => Level::Deasserted,
            _ => Level::Asserted,
        }),
        13 => function.eoi(Gsi(16 + u32::from(input.u8() & 1))),
        14 => match input.u8() % 8 {
            0 => function.reset(),
            line => function.reroute(Gsi(16 + u32::from(line & 1))),
        },
        _ => save_and_continue(function, layout),
    }
}

fn save_and_continue(function: &mut SimFunction, layout: &PciInterruptsLayout) {
    let saved = function.save();
    let fresh = SimFunction::new(*layout).map(|fresh| function.continue_in(fresh));
    match fresh {
        Ok(Ok(continued)) => {
            // A line that opened in between has been asked again, and shows what it said.
            let (before, after) = (&saved, continued.save());
            assert_eq!((&before.msi, &before.msix), (&after.msi, &after.msix));
            *function = continued;
        }
        Ok(Err(error)) => panic!("own state refused: {error}"),
        Err(error) => panic!("own layout refused: {error}"),
    }
}

/// Mostly in or near the structures, at times anywhere.
fn bar_offset(place: u8, input: &mut Input<'_>) -> (u8, u64) {
    match place {
        0 => (input.u8(), input.u64()),
        _ => (1, u64::from(input.u16() % 0x480)),
    }
}
