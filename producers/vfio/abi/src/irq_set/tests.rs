use std::os::fd::AsFd;

use super::*;
use crate::irq_set_header::IrqLimits;
use crate::irq_set_header::IrqPayload;

/// MSI-X of eight vectors.
const LIMITS: IrqLimits = IrqLimits {
    num_irqs: 5,
    count: 8,
};

#[test]
fn eventfds_are_written_by_number_and_none_as_minus_one() {
    let file = std::fs::File::open("/dev/null").expect("there always");
    let fds = [Some(file.as_fd()), None];
    let request = IrqSet::bind(IrqIndex::MSIX, 3, &fds);

    let bytes = request.encode();

    let header = IrqSetHeader::decode(&bytes).expect("whole");
    assert_eq!(bytes.len(), 28);
    assert_eq!(header.argsz, 28);
    assert_eq!(header.flags.bits(), (1 << 2) | (1 << 5));
    assert_eq!(
        (header.index, header.start, header.count),
        (IrqIndex::MSIX, 3, 2)
    );
    assert_eq!(bytes[20..24], file.as_fd().as_raw_fd().to_ne_bytes());
    assert_eq!(bytes[24..28], (-1i32).to_ne_bytes());
}

#[test]
fn bools_are_one_byte_each() {
    let request = IrqSet {
        index: IrqIndex::MSIX,
        start: 0,
        action: IrqAction::Trigger,
        data: IrqData::Bool(&[true, false, true]),
    };

    let bytes = request.encode();

    assert_eq!(bytes.len(), 23);
    assert_eq!(bytes[20..], [1, 0, 1]);
    let valid = request.header().validate(LIMITS).expect("in range");
    assert_eq!(valid.payload(&bytes), Ok(IrqPayload::Bool(&[1, 0, 1])));
}

#[test]
fn no_payload_may_speak_of_any_number_of_sub_indexes() {
    let request = IrqSet {
        index: IrqIndex::INTX,
        start: 0,
        action: IrqAction::Unmask,
        data: IrqData::None { count: 1 },
    };

    let words = [20u32, 1 | (1 << 4), 0, 0, 1];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(request.encode(), bytes);
}

#[test]
fn disabling_is_triggering_nothing() {
    let header = IrqSet::disable(IrqIndex::MSI).header();

    assert_eq!(
        header.flags,
        IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_TRIGGER
    );
    assert_eq!((header.argsz, header.start, header.count), (20, 0, 0));
}

#[test]
fn flags_have_the_bits_of_the_header() {
    let actions = [IrqAction::Mask, IrqAction::Unmask, IrqAction::Trigger];
    let kinds = [IrqDataKind::None, IrqDataKind::Bool, IrqDataKind::Eventfd];

    assert_eq!(actions.map(|action| action.flag().bits()), [8, 16, 32]);
    assert_eq!(kinds.map(|kind| kind.flag().bits()), [1, 2, 4]);
    assert_eq!(IrqSetFlags::all().bits(), 0x3f);
}
