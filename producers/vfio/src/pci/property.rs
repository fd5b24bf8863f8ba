//! The state machines against the model, over random guests and devices.

use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

use super::effect::Level;
use super::effect::MessageSource;
use super::effect::VectorIndex;
use super::intx::IntxSource;
use super::model::Model;
use super::msi::MsiLayout;
use super::traces::At;
use super::traces::FunctionTarget;
use super::traces::LINE;
use super::traces::OTHER_LINE;
use super::traces::Shape;
use super::traces::TraceTarget;

/// More than one quadword of pending bits.
const MANY: u16 = 67;

#[derive(Debug, Clone)]
enum Op {
    Write(At, Vec<u8>),
    Signal(MessageSource),
    Device(Level),
    Eoi,
    EoiOther,
    Reroute(bool),
    SaveRestore,
    Reset,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let vectors = prop_oneof![Just(None), (1..6u16).prop_map(Some), Just(Some(MANY))];
    let msi = (0..6u32, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(log2, address_64, per_vector_masking, extended_data)| MsiLayout {
            vectors: 1 << log2,
            address_64,
            per_vector_masking,
            extended_data,
        },
    );
    let msi = proptest::option::of(msi);
    (vectors, msi, any::<bool>()).prop_map(|(msix, msi, intx)| Shape { msix, msi, intx })
}

/// A write that begins in a structure of `len` bytes and ends there.
fn write(len: u16, at: fn(u16) -> At) -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![
        3 => vec(any::<u8>(), 1..=8),
        // Few bits, so that messages and masks come back to what they were.
        3 => vec(prop_oneof![Just(0u8), Just(1), Just(0x40), Just(0x80), Just(0xc0)], 1..=8),
    ];
    (0..len, bytes).prop_map(move |(from, mut bytes)| {
        bytes.truncate(usize::from(len - from));
        Op::Write(at(from), bytes)
    })
}

fn ops(shape: Shape) -> impl Strategy<Value = Vec<Op>> {
    let vectors = shape.msix.unwrap_or(1);
    let messages: u16 = shape.msi.map_or(1, |msi| msi.vectors.into());
    let table = match shape.msix {
        Some(vectors) => write(vectors * 16, At::Table).boxed(),
        None => Just(Op::Eoi).boxed(),
    };
    let msix = match shape.msix {
        Some(_) => write(12, At::Msix).boxed(),
        None => Just(Op::Eoi).boxed(),
    };
    let msi = match shape.msi {
        Some(msi) => write(msi.len(), At::Msi).boxed(),
        None => Just(Op::Eoi).boxed(),
    };
    let signal_msix = (0..vectors).prop_map(|n| Op::Signal(MessageSource::Msix(VectorIndex(n))));
    let signal_msi = (0..messages).prop_map(|n| Op::Signal(MessageSource::Msi(VectorIndex(n))));
    let device = prop_oneof![Just(Level::Asserted), Just(Level::Deasserted)];
    let op = prop_oneof![
        8 => table,
        6 => msix,
        6 => msi,
        2 => write(8, At::Header),
        1 => (0x3c..0x3eu16, any::<u8>()).prop_map(|(at, byte)| Op::Write(At::Header(at), vec![byte])),
        6 => signal_msix,
        6 => signal_msi,
        4 => device.prop_map(Op::Device),
        4 => Just(Op::Eoi),
        1 => Just(Op::EoiOther),
        1 => any::<bool>().prop_map(Op::Reroute),
        1 => Just(Op::SaveRestore),
        1 => proptest::bool::weighted(0.2).prop_map(|reset| if reset { Op::Reset } else { Op::Eoi }),
    ];
    vec(op, 0..80)
}

fn run(target: &mut dyn TraceTarget, op: &Op) {
    match op {
        Op::Write(at, bytes) => target.write(*at, bytes),
        Op::Signal(source) => target.signal(*source),
        Op::Device(level) => target.set_device(*level),
        Op::Eoi => target.eoi(LINE),
        Op::EoiOther => target.eoi(OTHER_LINE),
        Op::Reroute(other) => {
            target.reroute(if *other { OTHER_LINE } else { LINE });
        }
        Op::SaveRestore => {
            target.save_restore();
        }
        Op::Reset => {
            target.reset();
        }
    }
}

/// Everything a guest can read that is the interrupts'.
fn registers(target: &mut dyn TraceTarget, shape: &Shape, source: IntxSource) -> Vec<u8> {
    let mut all = Vec::new();
    let mut read = |at, len: usize| {
        let mut bytes = vec![0; len];
        target.read(at, &mut bytes);
        all.extend(bytes);
    };
    if let Some(vectors) = shape.msix {
        read(At::Msix(2), 2);
        read(At::Table(0), usize::from(vectors) * 16);
        read(At::Pba(0), usize::from(vectors).div_ceil(64) * 8);
    }
    if let Some(msi) = shape.msi {
        read(At::Msi(2), usize::from(msi.len()) - 2);
    }
    read(At::Header(5), 1);
    if source == IntxSource::Tracked {
        // Only the device itself knows the level behind an automasked source.
        read(At::Header(6), 1);
    }
    read(At::Header(0x3c), 2);
    all
}

fn shapes_with_ops() -> impl Strategy<Value = (Shape, Vec<Op>)> {
    shapes().prop_flat_map(|shape| (Just(shape), ops(shape)))
}

fn sources() -> impl Strategy<Value = IntxSource> {
    prop_oneof![Just(IntxSource::Tracked), Just(IntxSource::Automasked)]
}

proptest! {
    // Enough that a fault of the model is found in every run.
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn function_agrees_with_the_model_none_lost_none_invented(
        (shape, ops) in shapes_with_ops(),
        source in sources(),
    ) {
        let mut function = FunctionTarget::new(&shape, source).unwrap();
        let mut model = Model::new(&shape, None);
        for op in &ops {
            run(&mut function, op);
            run(&mut model, op);
            function.function().assert_consistent();
            let (mut got, mut expected) = (function.take_delivered(), model.take_delivered());
            got.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(got, expected, "after {:?}", op);
            prop_assert_eq!(
                registers(&mut function, &shape, source),
                registers(&mut model, &shape, source),
                "after {:?}",
                op
            );
        }
    }
}
