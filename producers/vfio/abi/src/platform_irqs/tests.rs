use super::*;
use crate::flags::IrqSetFlags;
use crate::index::IrqIndex;
use crate::irq_set_header::IrqLimits;
use crate::irq_set_header::IrqSetHeader;

const LEVEL: PlatformIrqState = PlatformIrqState {
    flags: IrqFlags::EVENTFD
        .union(IrqFlags::MASKABLE)
        .union(IrqFlags::AUTOMASKED),
    requested: Ok(()),
};

const EDGE: PlatformIrqState = PlatformIrqState {
    flags: IrqFlags::EVENTFD,
    requested: Ok(()),
};

const DATA: [IrqSetFlags; 3] = [
    IrqSetFlags::DATA_NONE,
    IrqSetFlags::DATA_BOOL,
    IrqSetFlags::DATA_EVENTFD,
];

/// What a device with three interrupts is asked, of its last.
fn request(flags: IrqSetFlags, start: u32, count: u32) -> ValidatedHeader {
    let header = IrqSetHeader {
        argsz: 4096,
        flags,
        index: IrqIndex(2),
        start,
        count,
    };
    header.validate(IrqLimits::platform(3)).expect("in range")
}

#[test]
fn level_interrupt_has_every_action_with_every_payload() {
    let answers =
        |action| DATA.map(|data| platform_set_irqs(&request(data | action, 0, 1), &LEVEL));

    assert_eq!(
        answers(IrqSetFlags::ACTION_MASK),
        [
            Ok(IrqOperation::Mask),
            Ok(IrqOperation::Mask),
            Ok(IrqOperation::BindMask)
        ]
    );
    assert_eq!(
        answers(IrqSetFlags::ACTION_UNMASK),
        [
            Ok(IrqOperation::Unmask),
            Ok(IrqOperation::Unmask),
            Ok(IrqOperation::BindUnmask)
        ]
    );
    assert_eq!(
        answers(IrqSetFlags::ACTION_TRIGGER),
        [
            Ok(IrqOperation::Fire),
            Ok(IrqOperation::Fire),
            Ok(IrqOperation::Bind)
        ]
    );
}

#[test]
fn edge_interrupt_cannot_be_masked() {
    for action in [IrqSetFlags::ACTION_MASK, IrqSetFlags::ACTION_UNMASK] {
        for data in DATA {
            let answer = platform_set_irqs(&request(data | action, 0, 1), &EDGE);

            assert_eq!(answer, Err(Errno::EINVAL));
        }
    }
}

#[test]
fn range_other_than_the_one_is_refused_by_the_index_itself() {
    let ask = |start, count| {
        let flags = IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_TRIGGER;
        platform_set_irqs(&request(flags, start, count), &EDGE)
    };

    // In range of the device's three indexes, which is what the header was checked against.
    assert_eq!(ask(0, 3), Err(Errno::EINVAL));
    assert_eq!(ask(1, 1), Err(Errno::EINVAL));
    assert_eq!(ask(0, 0), Ok(IrqOperation::Disable));
    assert_eq!(ask(2, 0), Ok(IrqOperation::Disable));
}

#[test]
fn no_sub_index_is_refused_where_it_is_not_to_disable() {
    let flags = IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_TRIGGER;
    let mask = IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_MASK;

    assert_eq!(
        platform_set_irqs(&request(flags, 0, 0), &LEVEL),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        platform_set_irqs(&request(mask, 0, 0), &LEVEL),
        Err(Errno::EINVAL)
    );
}

#[test]
fn interrupt_that_could_not_be_had_answers_its_error_to_everything() {
    let unavailable = PlatformIrqState {
        requested: Err(Errno::EBUSY),
        ..LEVEL
    };

    let bind = IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_TRIGGER;
    assert_eq!(
        platform_set_irqs(&request(bind, 0, 1), &unavailable),
        Err(Errno::EBUSY)
    );
    let no_action = IrqSetFlags::DATA_NONE;
    assert_eq!(
        platform_set_irqs(&request(no_action, 0, 1), &unavailable),
        Err(Errno::EBUSY)
    );
    assert_eq!(
        platform_set_irqs(&request(no_action, 0, 1), &LEVEL),
        Err(Errno::ENOTTY)
    );
}
