use irqbroker_core::MsiMessage;

use super::MsiCapability;
use super::MsiLayout;
use super::MsiLayoutError;
use super::RestoreMsiError;
use super::SavedMsi;
use crate::pci::MessageEffect;
use crate::pci::VectorIndex;

const LAYOUT: MsiLayout = MsiLayout {
    vectors: 4,
    address_64: false,
    per_vector_masking: true,
    extended_data: false,
};
const V0: VectorIndex = VectorIndex(0);
const V1: VectorIndex = VectorIndex(1);

fn message(data: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data,
    }
}

fn unmasked(vector: u16, data: u32) -> MessageEffect {
    MessageEffect::Unmasked {
        vector: VectorIndex(vector),
        message: message(data),
    }
}

/// Two of four vectors allocated and enabled.
fn enabled() -> MsiCapability {
    let mut msi = MsiCapability::new(LAYOUT).unwrap();
    let _ = msi.write_config(4, &0xfee0_0000u32.to_le_bytes());
    let _ = msi.write_config(8, &0x41u16.to_le_bytes());
    let _ = msi.write_config(2, &0x11u16.to_le_bytes());
    msi
}

#[test]
fn msi_new_refuses_what_the_specification_has_not() {
    for vectors in [0, 3, 64] {
        let refused = MsiCapability::new(MsiLayout { vectors, ..LAYOUT });
        assert_eq!(refused.unwrap_err(), MsiLayoutError::Vectors(vectors));
    }
}

#[test]
fn msi_enable_and_disable_have_one_effect_for_the_whole_and_one_for_each_vector() {
    let mut msi = enabled();
    assert_eq!(
        msi.write_config(2, &[0]),
        [
            MessageEffect::Masked { vector: V0 },
            MessageEffect::Masked { vector: V1 },
            MessageEffect::Disabled,
        ]
    );
    assert_eq!(
        msi.write_config(2, &[0x11]),
        [MessageEffect::Enabled, unmasked(0, 0x40), unmasked(1, 0x41),]
    );
}

#[test]
fn msi_write_across_control_address_and_data_takes_effect_at_once() {
    let mut msi = MsiCapability::new(LAYOUT).unwrap();
    let write = [0x05, 0, 0x11, 0, 0, 0, 0xe0, 0xfe, 0x50, 0];
    assert_eq!(
        msi.write_config(0, &write),
        [MessageEffect::Enabled, unmasked(0, 0x50), unmasked(1, 0x51),]
    );
}

#[test]
fn msi_more_or_fewer_vectors_while_enabled_retarget_those_that_stay() {
    let mut msi = enabled();
    let retargeted = |vector, data| MessageEffect::Retargeted {
        vector,
        message: message(data),
    };
    // Data is 0x41, its low bit the guest's own again with one vector.
    assert_eq!(
        msi.write_config(2, &[0x01]),
        [retargeted(V0, 0x41), MessageEffect::Masked { vector: V1 }]
    );
    assert_eq!(
        msi.write_config(2, &[0x21]),
        [
            retargeted(V0, 0x40),
            unmasked(1, 0x41),
            unmasked(2, 0x42),
            unmasked(3, 0x43),
        ]
    );
}

#[test]
fn msi_write_that_changes_nothing_has_no_effect_and_allocates_nothing() {
    let mut msi = enabled();
    let again = [
        msi.write_config(0, &[5, 0, 0x11, 0]),
        msi.write_config(4, &0xfee0_0003u32.to_le_bytes()),
        msi.write_config(12, &0b1100u32.to_le_bytes()),
        msi.write_config(16, &[0xff; 4]),
        msi.write_config(20, &[0xff; 16]),
        msi.write_config(u16::MAX, &[0xff; 4]),
    ];
    for effects in again {
        assert_eq!(effects.capacity(), 0);
    }
}

#[test]
fn msi_suppressed_delivers_nothing_and_returns() {
    let mut msi = enabled();
    let effects = msi.set_suppressed(true);
    assert_eq!(effects.last(), Some(&MessageEffect::Disabled));
    assert_eq!(msi.deliverable(V0), None);
    assert_eq!(msi.write_config(2, &[0]).capacity(), 0);
    let _ = msi.write_config(2, &[1]);
    assert_eq!(
        msi.set_suppressed(false),
        [MessageEffect::Enabled, unmasked(0, 0x41)]
    );
}

#[test]
fn msi_pending_bits_are_asked_for_only_where_read() {
    let mut msi = enabled();
    let _ = msi.write_config(12, &0b10u32.to_le_bytes());
    let mut bytes = [0; 4];
    msi.read_config(12, &mut bytes, |_| panic!("mask bits need no probe"));
    assert_eq!(bytes, [0b10, 0, 0, 0]);
    msi.read_config(16, &mut bytes, |vector| vector.0 < 2);
    assert_eq!(bytes, [0b10, 0, 0, 0]);
}

#[test]
fn msi_restore_leads_from_the_present_state_and_signals_what_was_pending() {
    let saved = enabled().save(|vector| vector == V1);
    let mut msi = MsiCapability::new(LAYOUT).unwrap();
    assert_eq!(
        msi.restore(&saved).unwrap(),
        [
            MessageEffect::Enabled,
            unmasked(0, 0x40),
            unmasked(1, 0x41),
            MessageEffect::Resignal { vector: V1 },
        ]
    );
    assert_eq!(msi.save(|vector| vector == V1), saved);
}

#[test]
fn msi_restore_refuses_what_does_not_fit_and_changes_nothing() {
    type Spoil = fn(&mut SavedMsi);
    // 0x0104: four vectors, maskable.
    let cases: [(Spoil, RestoreMsiError); 9] = [
        (
            |saved| saved.version = 0,
            RestoreMsiError::Version { found: 0 },
        ),
        (
            |saved| saved.control = 0x0004,
            RestoreMsiError::Control { found: 0x0004 },
        ),
        (
            |saved| saved.control = 0x0504,
            RestoreMsiError::Control { found: 0x0504 },
        ),
        (
            |saved| saved.control = 0x0135,
            RestoreMsiError::Allocated {
                possible: 4,
                found: 8,
            },
        ),
        (
            |saved| saved.address |= 1,
            RestoreMsiError::Address { found: 0xfee0_0001 },
        ),
        (
            |saved| saved.address |= 1 << 40,
            RestoreMsiError::Address {
                found: 0x0100_fee0_0000,
            },
        ),
        (
            |saved| saved.data |= 1 << 16,
            RestoreMsiError::Data { found: 0x1_0041 },
        ),
        (
            |saved| saved.mask = 0x10,
            RestoreMsiError::Mask { found: 0x10 },
        ),
        (
            |saved| saved.pending = 0x10,
            RestoreMsiError::Pending { found: 0x10 },
        ),
    ];
    for (spoil, expected) in cases {
        let mut msi = enabled();
        let before = msi.save(|_| false);
        let mut saved = before.clone();
        spoil(&mut saved);
        assert_eq!(msi.restore(&saved), Err(expected));
        assert_eq!(msi.save(|_| false), before);
    }
}
