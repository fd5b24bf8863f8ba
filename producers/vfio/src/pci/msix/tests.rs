use irqbroker_core::MsiMessage;

use super::BarOffset;
use super::MsixCapability;
use super::MsixLayout;
use super::MsixLayoutError;
use super::RestoreMsixError;
use super::SavedMsix;
use crate::pci::MessageEffect;
use crate::pci::VectorIndex;

const LAYOUT: MsixLayout = MsixLayout {
    vectors: 3,
    table: BarOffset { bar: 2, offset: 0 },
    pba: BarOffset {
        bar: 3,
        offset: 0x800,
    },
};
const V0: VectorIndex = VectorIndex(0);
const V1: VectorIndex = VectorIndex(1);
const V2: VectorIndex = VectorIndex(2);

fn message(data: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data,
    }
}

fn entry(data: u32, masked: u32) -> Vec<u8> {
    let mut bytes = 0xfee0_0000u64.to_le_bytes().to_vec();
    bytes.extend(data.to_le_bytes());
    bytes.extend(masked.to_le_bytes());
    bytes
}

/// Vectors 0 and 1 unmasked, not enabled.
fn capability() -> MsixCapability {
    let mut msix = MsixCapability::new(LAYOUT).unwrap();
    let _ = msix.write_table(
        0,
        &[entry(0x41, 0), entry(0x42, 0), entry(0x43, 1)].concat(),
    );
    msix
}

fn enabled() -> MsixCapability {
    let mut msix = capability();
    let _ = msix.write_config(2, &0x8000u16.to_le_bytes());
    msix
}

#[test]
fn msix_new_refuses_what_the_specification_has_not() {
    let refused = |layout| MsixCapability::new(layout).unwrap_err();
    let vectors = |vectors| MsixLayout { vectors, ..LAYOUT };
    assert_eq!(refused(vectors(0)), MsixLayoutError::Vectors(0));
    assert_eq!(refused(vectors(2049)), MsixLayoutError::Vectors(2049));
    let table = |bar, offset| MsixLayout {
        table: BarOffset { bar, offset },
        ..LAYOUT
    };
    assert_eq!(refused(table(6, 0)), MsixLayoutError::Bar(6));
    assert_eq!(refused(table(0, 4)), MsixLayoutError::Alignment(4));
    assert_eq!(
        refused(table(0, 0xffff_fff8)),
        MsixLayoutError::End(0xffff_fff8)
    );
    // 3 entries have 48 bytes, the array begins in the last of them.
    assert_eq!(refused(table(3, 0x7d8)), MsixLayoutError::Overlap(3));
    MsixCapability::new(table(3, 0x7d0)).unwrap();
}

#[test]
fn msix_enable_has_one_effect_for_the_whole_and_one_for_each_unmasked_vector() {
    let mut msix = capability();
    let effects = msix.write_config(2, &0x8000u16.to_le_bytes());
    assert_eq!(
        effects,
        [
            MessageEffect::Enabled,
            MessageEffect::Unmasked {
                vector: V0,
                message: message(0x41)
            },
            MessageEffect::Unmasked {
                vector: V1,
                message: message(0x42)
            },
        ]
    );
    let effects = msix.write_config(2, &[0, 0]);
    assert_eq!(
        effects,
        [
            MessageEffect::Masked { vector: V0 },
            MessageEffect::Masked { vector: V1 },
            MessageEffect::Disabled,
        ]
    );
}

#[test]
fn msix_write_that_changes_nothing_has_no_effect_and_allocates_nothing() {
    let mut msix = enabled();
    let again = [
        msix.write_config(0, &[0x11, 0, 0, 0x80]),
        msix.write_table(0, &entry(0x41, 0)),
        msix.write_table(32, &entry(0x99, 1)),
        msix.write_table(48, &[0; 16]),
        msix.write_table(u64::MAX, &[0; 16]),
        msix.write_config(u16::MAX, &[0; 16]),
    ];
    for effects in again {
        assert_eq!(effects.capacity(), 0);
    }
}

#[test]
fn msix_message_written_while_deliverable_is_a_retarget() {
    let mut msix = enabled();
    let effects = msix.write_table(8, &0x51u32.to_le_bytes());
    let message = message(0x51);
    assert_eq!(
        effects,
        [MessageEffect::Retargeted {
            vector: V0,
            message
        }]
    );
}

#[test]
fn msix_write_across_entries_takes_effect_entry_by_entry() {
    let mut msix = enabled();
    // From vector 0's mask to vector 1's address.
    let mut bytes = 1u32.to_le_bytes().to_vec();
    bytes.extend(0xfee0_1000u64.to_le_bytes());
    let effects = msix.write_table(12, &bytes);
    let message = MsiMessage {
        address: 0xfee0_1000,
        data: 0x42,
    };
    assert_eq!(
        effects,
        [
            MessageEffect::Masked { vector: V0 },
            MessageEffect::Retargeted {
                vector: V1,
                message
            },
        ]
    );
}

#[test]
fn msix_table_byte_write_changes_its_byte_only() {
    let mut msix = enabled();
    let _ = msix.write_table(9, &[0x12]);
    assert_eq!(msix.deliverable(V0), Some(message(0x1241)));
    assert_eq!(
        msix.write_table(12, &[1]),
        [MessageEffect::Masked { vector: V0 }]
    );
}

#[test]
fn msix_reads_beyond_the_ends_are_all_ones() {
    let msix = enabled();
    let mut table = [0; 20];
    msix.read_table(44, &mut table);
    assert_eq!(table[..4], 1u32.to_le_bytes());
    assert_eq!(table[4..], [0xff; 16]);
    let mut pba = [0; 12];
    msix.read_pba(0, &mut pba, |_| true);
    assert_eq!(pba[..8], 0b100u64.to_le_bytes());
    assert_eq!(pba[8..], [0xff; 4]);
}

#[test]
fn msix_pba_read_asks_only_for_vectors_it_covers_that_are_not_deliverable() {
    let layout = MsixLayout {
        vectors: 70,
        pba: BarOffset {
            bar: 3,
            offset: 0x1000,
        },
        ..LAYOUT
    };
    let mut msix = MsixCapability::new(layout).unwrap();
    let _ = msix.write_config(2, &0x8000u16.to_le_bytes());
    let _ = msix.write_table(66 * 16, &entry(0x41, 0));
    let asked = std::cell::RefCell::new(Vec::new());
    let mut pba = [0; 4];
    msix.read_pba(8, &mut pba, |vector| {
        asked.borrow_mut().push(vector.0);
        vector.0 == 65
    });
    assert_eq!(pba, [0b10, 0, 0, 0]);
    assert_eq!(asked.into_inner(), [64, 65, 67, 68, 69]);
}

#[test]
fn msix_config_read_leaves_the_header_to_the_caller() {
    let msix = enabled();
    let mut bytes = [0xaa; 16];
    msix.read_config(0, &mut bytes);
    assert_eq!(bytes[..4], [0xaa, 0xaa, 2, 0x80]);
    assert_eq!(bytes[4..8], 2u32.to_le_bytes());
    assert_eq!(bytes[8..12], 0x803u32.to_le_bytes());
    assert_eq!(bytes[12..], [0xaa; 4]);
}

#[test]
fn msix_restore_leads_from_the_present_state_and_signals_what_was_pending() {
    let mut saved = enabled().save(|vector| vector != V1);
    saved.entries[1].control = 1;
    saved.entries[0].data = 0x77;
    let mut msix = enabled();
    let effects = msix.restore(&saved).unwrap();
    assert_eq!(
        effects,
        [
            MessageEffect::Retargeted {
                vector: V0,
                message: message(0x77)
            },
            MessageEffect::Masked { vector: V1 },
            MessageEffect::Resignal { vector: V0 },
            MessageEffect::Resignal { vector: V2 },
        ]
    );
}

#[test]
fn msix_restore_refuses_what_does_not_fit_and_changes_nothing() {
    type Spoil = fn(&mut SavedMsix);
    let cases: [(Spoil, RestoreMsixError); 10] = [
        (
            |saved| saved.version = 2,
            RestoreMsixError::Version { found: 2 },
        ),
        (
            |saved| saved.control = 0x8003,
            RestoreMsixError::Control { found: 0x8003 },
        ),
        (
            |saved| saved.control = 0x8802,
            RestoreMsixError::Control { found: 0x8802 },
        ),
        (
            |saved| saved.entries.truncate(2),
            RestoreMsixError::Entries {
                expected: 3,
                found: 2,
            },
        ),
        (
            |saved| saved.entries.push(saved.entries[0]),
            RestoreMsixError::Entries {
                expected: 3,
                found: 4,
            },
        ),
        (
            |saved| saved.entries[1].address |= 2,
            RestoreMsixError::Reserved { vector: V1 },
        ),
        (
            |saved| saved.entries[2].control = 3,
            RestoreMsixError::Reserved { vector: V2 },
        ),
        (
            |saved| saved.pending = vec![3],
            RestoreMsixError::Pending {
                vector: VectorIndex(3),
            },
        ),
        (
            |saved| saved.pending = vec![1, 1],
            RestoreMsixError::Pending { vector: V1 },
        ),
        (
            |saved| saved.pending = vec![2, 0],
            RestoreMsixError::Pending { vector: V0 },
        ),
    ];
    for (spoil, expected) in cases {
        let mut msix = enabled();
        let before = msix.save(|_| false);
        let mut saved = capability().save(|_| false);
        spoil(&mut saved);
        assert_eq!(msix.restore(&saved), Err(expected));
        assert_eq!(msix.save(|_| false), before);
    }
}
