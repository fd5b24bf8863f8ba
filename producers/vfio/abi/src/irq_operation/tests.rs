use super::*;
use crate::flags::IrqSetFlags;
use crate::index::IrqIndex;
use crate::irq_set_header::IrqLimits;
use crate::irq_set_header::IrqSetHeader;

/// An edge index that can be masked, as a display's.
const MASKABLE: IrqFlags = IrqFlags::EVENTFD.union(IrqFlags::MASKABLE);

const DATA: [IrqSetFlags; 3] = [
    IrqSetFlags::DATA_NONE,
    IrqSetFlags::DATA_BOOL,
    IrqSetFlags::DATA_EVENTFD,
];

/// What an index of four sub-indexes answers.
fn ask(flags: IrqSetFlags, start: u32, count: u32, index: IrqFlags) -> Result<IrqOperation, Errno> {
    let header = IrqSetHeader {
        argsz: 4096,
        flags,
        index: IrqIndex(5),
        start,
        count,
    };
    let limits = IrqLimits {
        num_irqs: 6,
        count: 4,
    };
    block_set_irqs(&header.validate(limits).expect("in range"), index)
}

#[test]
fn any_range_is_bound_fired_masked_and_unmasked() {
    let trigger = IrqSetFlags::ACTION_TRIGGER;
    let answers = DATA.map(|data| ask(data | trigger, 1, 3, MASKABLE));
    let mask = ask(
        IrqSetFlags::DATA_BOOL | IrqSetFlags::ACTION_MASK,
        2,
        1,
        MASKABLE,
    );
    let unmask = ask(
        IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_UNMASK,
        0,
        4,
        MASKABLE,
    );

    assert_eq!(
        answers,
        [
            Ok(IrqOperation::Fire),
            Ok(IrqOperation::Fire),
            Ok(IrqOperation::Bind)
        ]
    );
    assert_eq!(mask, Ok(IrqOperation::Mask));
    assert_eq!(unmask, Ok(IrqOperation::Unmask));
}

#[test]
fn masking_by_eventfd_or_of_what_cannot_be_masked_is_enotty() {
    for action in [IrqSetFlags::ACTION_MASK, IrqSetFlags::ACTION_UNMASK] {
        assert_eq!(
            ask(IrqSetFlags::DATA_EVENTFD | action, 0, 1, MASKABLE),
            Err(Errno::ENOTTY)
        );
        for data in DATA {
            assert_eq!(
                ask(data | action, 0, 1, IrqFlags::EVENTFD),
                Err(Errno::ENOTTY)
            );
        }
    }
}

#[test]
fn no_sub_index_disables_or_is_refused() {
    let trigger = IrqSetFlags::ACTION_TRIGGER;

    let answers = DATA.map(|data| ask(data | trigger, 0, 0, MASKABLE));
    let mask = ask(
        IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_MASK,
        0,
        0,
        MASKABLE,
    );

    assert_eq!(
        answers,
        [
            Ok(IrqOperation::Disable),
            Err(Errno::EINVAL),
            Err(Errno::EINVAL)
        ]
    );
    assert_eq!(mask, Err(Errno::EINVAL));
}

#[test]
fn anything_but_one_action_is_enotty() {
    let two = IrqSetFlags::ACTION_MASK | IrqSetFlags::ACTION_TRIGGER;

    assert_eq!(
        ask(IrqSetFlags::DATA_NONE, 0, 1, MASKABLE),
        Err(Errno::ENOTTY)
    );
    assert_eq!(
        ask(IrqSetFlags::DATA_NONE | two, 0, 1, MASKABLE),
        Err(Errno::ENOTTY)
    );
}
