use super::*;
use crate::flags::IrqSetFlags;
use crate::irq_set_header::IrqLimits;
use crate::irq_set_header::IrqSetHeader;

const NONE: IrqSetFlags = IrqSetFlags::DATA_NONE;
const BOOL: IrqSetFlags = IrqSetFlags::DATA_BOOL;
const EVENTFD: IrqSetFlags = IrqSetFlags::DATA_EVENTFD;
const MASK: IrqSetFlags = IrqSetFlags::ACTION_MASK;
const UNMASK: IrqSetFlags = IrqSetFlags::ACTION_UNMASK;
const TRIGGER: IrqSetFlags = IrqSetFlags::ACTION_TRIGGER;

/// Sixteen vectors of MSI and MSI-X, one of all else.
fn request(index: IrqIndex, flags: IrqSetFlags, start: u32, count: u32) -> ValidatedHeader {
    let header = IrqSetHeader {
        argsz: 4096,
        flags,
        index,
        start,
        count,
    };
    let count = match index {
        IrqIndex::MSI | IrqIndex::MSIX => 16,
        _ => 1,
    };
    let limits = IrqLimits {
        num_irqs: IrqIndex::PCI_NUM,
        count,
    };
    header.validate(limits).expect("in range")
}

/// A device with an index enabled.
fn active(index: IrqIndex, vectors: u32) -> PciIrqState {
    PciIrqState {
        active: Some(index),
        vectors,
        ..PciIrqState::default()
    }
}

/// What a device just opened answers.
fn opened(
    index: IrqIndex,
    flags: IrqSetFlags,
    start: u32,
    count: u32,
) -> Result<IrqOperation, Errno> {
    pci_set_irqs(
        &request(index, flags, start, count),
        &PciIrqState::default(),
    )
}

#[test]
fn no_index_but_intx_can_be_masked() {
    for index in [IrqIndex::MSI, IrqIndex::MSIX, IrqIndex::ERR, IrqIndex::REQ] {
        for action in [MASK, UNMASK] {
            for data in [NONE, BOOL, EVENTFD] {
                assert_eq!(opened(index, data | action, 0, 1), Err(Errno::ENOTTY));
            }
        }
    }
}

#[test]
fn no_action_or_two_are_enotty_for_every_index() {
    for index in (0..IrqIndex::PCI_NUM).map(IrqIndex) {
        for actions in [
            IrqSetFlags::empty(),
            MASK | UNMASK,
            MASK | TRIGGER,
            MASK | UNMASK | TRIGGER,
        ] {
            assert_eq!(opened(index, NONE | actions, 0, 1), Err(Errno::ENOTTY));
        }
    }
}

#[test]
fn intx_is_masked_and_unmasked_only_while_enabled() {
    let enabled = active(IrqIndex::INTX, 1);
    let ask =
        |flags, state: PciIrqState| pci_set_irqs(&request(IrqIndex::INTX, flags, 0, 1), &state);

    assert_eq!(ask(NONE | MASK, enabled), Ok(IrqOperation::Mask));
    assert_eq!(ask(BOOL | UNMASK, enabled), Ok(IrqOperation::Unmask));
    assert_eq!(ask(EVENTFD | UNMASK, enabled), Ok(IrqOperation::BindUnmask));
    assert_eq!(ask(EVENTFD | MASK, enabled), Err(Errno::ENOTTY));
    // Not enabled comes before not implemented.
    assert_eq!(
        ask(EVENTFD | MASK, PciIrqState::default()),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        ask(NONE | UNMASK, active(IrqIndex::MSI, 1)),
        Err(Errno::EINVAL)
    );
}

#[test]
fn intx_takes_no_range_but_its_one_line() {
    let enabled = active(IrqIndex::INTX, 1);
    let none = |flags| pci_set_irqs(&request(IrqIndex::INTX, flags, 0, 0), &enabled);

    assert_eq!(none(NONE | MASK), Err(Errno::EINVAL));
    assert_eq!(none(NONE | UNMASK), Err(Errno::EINVAL));
    assert_eq!(none(BOOL | TRIGGER), Err(Errno::EINVAL));
    assert_eq!(none(EVENTFD | TRIGGER), Err(Errno::EINVAL));
    assert_eq!(none(NONE | TRIGGER), Ok(IrqOperation::Disable));
}

#[test]
fn intx_is_enabled_by_its_first_eventfd() {
    let bind = request(IrqIndex::INTX, EVENTFD | TRIGGER, 0, 1);
    let unconnected = PciIrqState {
        intx: IntxLine::NotConnected,
        ..PciIrqState::default()
    };

    let first = pci_set_irqs(&bind, &PciIrqState::default());

    assert_eq!(first, Ok(IrqOperation::Enable { vectors: 1 }));
    assert_eq!(
        pci_set_irqs(&bind, &active(IrqIndex::INTX, 1)),
        Ok(IrqOperation::Bind)
    );
    assert_eq!(
        pci_set_irqs(&bind, &active(IrqIndex::MSIX, 4)),
        Err(Errno::EINVAL)
    );
    assert_eq!(pci_set_irqs(&bind, &unconnected), Err(Errno::ENODEV));
}

#[test]
fn msi_is_enabled_with_all_vectors_up_to_the_last_bound() {
    for index in [IrqIndex::MSI, IrqIndex::MSIX] {
        let enable = opened(index, EVENTFD | TRIGGER, 3, 2);

        assert_eq!(enable, Ok(IrqOperation::Enable { vectors: 5 }));
        assert_eq!(opened(index, EVENTFD | TRIGGER, 0, 0), Err(Errno::ERANGE));
        // Enabled, and nothing bound.
        assert_eq!(
            opened(index, EVENTFD | TRIGGER, 2, 0),
            Ok(IrqOperation::Enable { vectors: 2 })
        );
    }
}

#[test]
fn one_of_intx_msi_and_msix_excludes_the_others() {
    let indexes = [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX];
    for index in indexes {
        for other in indexes.into_iter().filter(|&other| other != index) {
            let state = active(other, 1);
            for data in [NONE, BOOL, EVENTFD] {
                let answer = pci_set_irqs(&request(index, data | TRIGGER, 0, 1), &state);
                assert_eq!(answer, Err(Errno::EINVAL), "{index} while {other}");
            }
            let disable = pci_set_irqs(&request(index, NONE | TRIGGER, 0, 0), &state);
            assert_eq!(disable, Err(Errno::EINVAL), "{index} while {other}");
        }
    }
}

#[test]
fn index_that_is_not_enabled_neither_fires_nor_is_disabled() {
    for index in [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX] {
        assert_eq!(opened(index, NONE | TRIGGER, 0, 1), Err(Errno::EINVAL));
        assert_eq!(opened(index, BOOL | TRIGGER, 0, 1), Err(Errno::EINVAL));
        assert_eq!(opened(index, NONE | TRIGGER, 0, 0), Err(Errno::EINVAL));
    }
}

#[test]
fn enabled_msix_is_bound_anew_fired_and_disabled() {
    let state = active(IrqIndex::MSIX, 4);
    let ask =
        |flags, start, count| pci_set_irqs(&request(IrqIndex::MSIX, flags, start, count), &state);

    assert_eq!(ask(EVENTFD | TRIGGER, 1, 3), Ok(IrqOperation::Bind));
    assert_eq!(ask(NONE | TRIGGER, 0, 4), Ok(IrqOperation::Fire));
    assert_eq!(ask(BOOL | TRIGGER, 0, 4), Ok(IrqOperation::Fire));
    assert_eq!(ask(NONE | TRIGGER, 0, 0), Ok(IrqOperation::Disable));
    // The first sub-index does not matter where there is no other.
    assert_eq!(ask(NONE | TRIGGER, 7, 0), Ok(IrqOperation::Disable));
}

#[test]
fn vectors_beyond_those_enabled_depend_on_the_kernel() {
    let beyond = |growth, flags| {
        let state = PciIrqState {
            growth,
            ..active(IrqIndex::MSIX, 4)
        };
        pci_set_irqs(&request(IrqIndex::MSIX, flags | TRIGGER, 3, 2), &state)
    };

    assert_eq!(
        beyond(VectorGrowth::RequestRefused, EVENTFD),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        beyond(VectorGrowth::RequestRefused, NONE),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        beyond(VectorGrowth::BindRefused, EVENTFD),
        Ok(IrqOperation::Bind)
    );
    assert_eq!(
        beyond(VectorGrowth::BindRefused, NONE),
        Ok(IrqOperation::Fire)
    );
    assert_eq!(
        beyond(VectorGrowth::OnDemand, EVENTFD),
        Ok(IrqOperation::Bind)
    );
}

#[test]
fn eventfd_is_bound_beyond_only_on_demand_and_only_to_msix() {
    let may = |index, growth, vector| {
        let state = PciIrqState {
            growth,
            ..active(index, 4)
        };
        state.may_bind(vector)
    };

    assert_eq!(may(IrqIndex::MSIX, VectorGrowth::BindRefused, 3), Ok(()));
    assert_eq!(
        may(IrqIndex::MSIX, VectorGrowth::BindRefused, 4),
        Err(Errno::EINVAL)
    );
    assert_eq!(may(IrqIndex::MSIX, VectorGrowth::OnDemand, 4), Ok(()));
    assert_eq!(
        may(IrqIndex::MSI, VectorGrowth::OnDemand, 4),
        Err(Errno::EINVAL)
    );
}

#[test]
fn err_and_req_without_an_eventfd_refuse_to_fire_without_a_payload() {
    let bound = PciIrqState {
        err: SingleTrigger::Bound,
        req: SingleTrigger::Bound,
        // They have nothing to do with the others.
        ..active(IrqIndex::MSI, 1)
    };
    for index in [IrqIndex::ERR, IrqIndex::REQ] {
        let ask = |flags, count| pci_set_irqs(&request(index, flags | TRIGGER, 0, count), &bound);

        assert_eq!(ask(NONE, 1), Ok(IrqOperation::Fire));
        assert_eq!(ask(NONE, 0), Ok(IrqOperation::Disable));
        assert_eq!(ask(EVENTFD, 1), Ok(IrqOperation::Bind));
        assert_eq!(ask(EVENTFD, 0), Err(Errno::EINVAL));
        assert_eq!(ask(BOOL, 0), Err(Errno::EINVAL));
        assert_eq!(opened(index, NONE | TRIGGER, 0, 1), Err(Errno::EINVAL));
        assert_eq!(opened(index, NONE | TRIGGER, 0, 0), Err(Errno::EINVAL));
        assert_eq!(opened(index, BOOL | TRIGGER, 0, 1), Ok(IrqOperation::Fire));
        assert_eq!(
            opened(index, EVENTFD | TRIGGER, 0, 1),
            Ok(IrqOperation::Bind)
        );
    }
}
