//! SET_IRQS: what each index answers, as vfio-pci does for its own, and what is bound then.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::*;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqType;

const NONE: IrqData<'static> = IrqData::None { count: 1 };
const ZERO: IrqData<'static> = IrqData::None { count: 0 };
const BOOL: IrqData<'static> = IrqData::Bool(&[true]);
const UNBIND: IrqData<'static> = IrqData::Eventfds(&[None]);

const MASK: IrqAction = IrqAction::Mask;
const UNMASK: IrqAction = IrqAction::Unmask;
const TRIGGER: IrqAction = IrqAction::Trigger;

#[test]
fn device_and_irq_infos_are_those_of_a_pci_express_function_with_a_display() {
    let bed = Bed::new();
    let info = bed.device.info().unwrap();
    // RESET and PCI.
    assert_eq!(
        (info.flags.bits(), info.num_regions, info.num_irqs),
        (3, 12, 6)
    );
    let irqs = [0, 1, 2, 3, 4].map(|index| {
        let info = bed.device.irq_info(IrqIndex(index)).unwrap();
        (info.flags.bits(), info.count)
    });
    // MSI-X without NORESIZE, as on a kernel that adds vectors on demand.
    assert_eq!(irqs, [(7, 0), (9, 0), (1, 3), (9, 1), (9, 1)]);
    assert_eq!(bed.device.irq_info(IrqIndex(6)), Err(Errno::EINVAL));
}

#[test]
fn display_index_is_described_by_type_and_events() {
    let bed = Bed::of("dual");
    let info = bed.device.irq_info(DISPLAY).unwrap();
    // EVENTFD and MASKABLE.
    assert_eq!((info.flags.bits(), info.count), (3, 10));
    // Over the wire, as another process gets it.
    let decoded = IrqInfo::decode(&info.encode(4096).unwrap()).unwrap();
    let [
        IrqCapability::Type(IrqType::GFX_DISPLAY),
        IrqCapability::Display(events),
    ] = &decoded.capabilities[..]
    else {
        panic!("{:?}", decoded.capabilities);
    };
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.sub_index, event.kind, event.head, event.planes.bits()))
        .collect();
    // Planes: primary 2, cursor 4.
    let head = |first, head| {
        [
            (first, DisplayEventKind::FLIP, head, 2),
            (first + 1, DisplayEventKind::FLIP, head, 4),
            (first + 2, DisplayEventKind::VBLANK, head, 0),
            (first + 3, DisplayEventKind::HOTPLUG, head, 0),
            (first + 4, DisplayEventKind::REFRESH, head, 2),
        ]
    };
    assert_eq!(told, [head(0, 0), head(5, 1)].concat());
}

#[test]
fn requests_to_absent_indexes_or_beyond_an_index_are_einval() {
    let bed = Bed::new();
    for (index, count) in [
        (0, 0),
        (1, 0),
        (2, 3),
        (3, 1),
        (4, 1),
        (5, 5),
        (6, 0),
        (u32::MAX, 0),
    ] {
        for action in [MASK, UNMASK, TRIGGER] {
            let index = IrqIndex(index);
            assert_eq!(bed.set(index, action, count, NONE), Err(Errno::EINVAL));
            assert_eq!(bed.set(index, action, count, ZERO), Err(Errno::EINVAL));
            assert_eq!(bed.set(index, action, u32::MAX, NONE), Err(Errno::EINVAL));
            let beyond = IrqData::None { count: count + 1 };
            assert_eq!(bed.set(index, action, 0, beyond), Err(Errno::EINVAL));
        }
    }
}

#[test]
fn msix_err_and_req_answer_as_vfio_pci_does() {
    let bed = Bed::new();
    let (msix, err, req) = (IrqIndex::MSIX, IrqIndex::ERR, IrqIndex::REQ);
    for index in [msix, err, req] {
        for action in [MASK, UNMASK] {
            for data in [NONE, BOOL, UNBIND] {
                assert_eq!(bed.set(index, action, 0, data), Err(Errno::ENOTTY));
            }
        }
        assert_eq!(
            bed.set(index, TRIGGER, 0, NONE),
            Err(Errno::EINVAL),
            "not enabled"
        );
        assert_eq!(
            bed.set(index, TRIGGER, 0, ZERO),
            Err(Errno::EINVAL),
            "not enabled"
        );
    }
    assert_eq!(bed.set(msix, TRIGGER, 0, BOOL), Err(Errno::EINVAL));
    assert_eq!(
        bed.set(msix, TRIGGER, 0, IrqData::Eventfds(&[])),
        Err(Errno::ERANGE)
    );
    assert_eq!(bed.set(err, TRIGGER, 0, BOOL), Ok(()), "nothing to fire");
    assert_eq!(
        bed.set(err, TRIGGER, 0, IrqData::Eventfds(&[])),
        Err(Errno::EINVAL)
    );
    // QEMU enables MSI-X like this, and binds one by one later.
    assert_eq!(bed.set(msix, TRIGGER, 0, UNBIND), Ok(()));
    assert_eq!(
        bed.set(msix, TRIGGER, 0, NONE),
        Ok(()),
        "unbound vectors are passed over"
    );
    assert_eq!(bed.set(msix, TRIGGER, 0, ZERO), Ok(()));
    assert_eq!(
        bed.set(msix, TRIGGER, 0, ZERO),
        Err(Errno::EINVAL),
        "disabled already"
    );
}

#[test]
fn vectors_are_added_one_by_one_fired_and_disabled() {
    let bed = Bed::new();
    let events: Vec<_> = (0..3).map(|_| new_event()).collect();
    for (vector, event) in (0..).zip(&events) {
        bed.bind(IrqIndex::MSIX, vector, event);
    }
    let two = IrqData::Bool(&[true, false, true]);
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, two), Ok(()));
    assert_eq!(events.iter().map(count).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 1, UNBIND), Ok(()));
    let all = IrqData::None { count: 3 };
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, all), Ok(()));
    assert_eq!(events.iter().map(count).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, ZERO), Ok(()));
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, all), Err(Errno::EINVAL));
    assert_eq!(events.iter().map(count).collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn refused_eventfd_leaves_msix_bound_before_and_behind_the_failed_range() {
    let bed = Bed::new();
    let events: Vec<_> = (0..3).map(|_| new_event()).collect();
    for (vector, event) in (0..).zip(&events) {
        bed.bind(IrqIndex::MSIX, vector, event);
    }
    let fds = [Some(events[1].as_fd()), Some(bed.device.vram())];
    let refused = bed.set(IrqIndex::MSIX, TRIGGER, 0, IrqData::Eventfds(&fds));
    assert_eq!(refused, Err(Errno::EINVAL));
    let all = IrqData::None { count: 3 };
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, all), Ok(()));
    assert_eq!(events.iter().map(count).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn refused_eventfd_of_the_enabling_request_leaves_msix_disabled() {
    let bed = Bed::new();
    let event = new_event();
    let fds = [Some(event.as_fd()), Some(bed.device.vram())];
    let refused = bed.set(IrqIndex::MSIX, TRIGGER, 0, IrqData::Eventfds(&fds));
    assert_eq!(refused, Err(Errno::EINVAL));
    assert_eq!(
        bed.set(IrqIndex::MSIX, TRIGGER, 0, NONE),
        Err(Errno::EINVAL)
    );
}

#[test]
fn refused_eventfd_leaves_display_err_and_req_as_they_were() {
    let bed = Bed::new();
    for (index, start) in [(DISPLAY, 1), (IrqIndex::ERR, 0), (IrqIndex::REQ, 0)] {
        let event = new_event();
        bed.bind(index, start, &event);
        let good = new_event();
        let fds = [Some(good.as_fd()), Some(bed.device.vram())];
        // The second of two for the display, the only one for the others.
        let (first, fds) = if index == DISPLAY {
            (0, &fds[..])
        } else {
            (0, &fds[1..])
        };
        let refused = bed.set(index, TRIGGER, first, IrqData::Eventfds(fds));
        assert_eq!(refused, Err(Errno::EINVAL));
        assert_eq!(bed.set(index, TRIGGER, start, NONE), Ok(()));
        assert_eq!((count(&event), count(&good)), (1, 0));
    }
}

/// A request for the first sub-indexes that gives these away.
fn given(index: IrqIndex, eventfds: Vec<Option<OwnedFd>>) -> IrqBind {
    IrqBind {
        index,
        start: 0,
        action: TRIGGER,
        eventfds,
    }
}

#[test]
fn given_eventfds_are_bound_as_lent_ones_are() {
    let bed = Bed::new();
    for index in [IrqIndex::MSIX, DISPLAY, IrqIndex::ERR, IrqIndex::REQ] {
        let event = new_event();
        let dup = event.try_clone().unwrap();
        let bound = bed.device.bind_irqs(given(index, vec![Some(dup)]));
        assert_eq!(bound, Ok(IrqSetAnswer::Done));
        assert_eq!(bed.set(index, TRIGGER, 0, NONE), Ok(()));
        assert_eq!(count(&event), 1);
        let unbound = bed.device.bind_irqs(given(index, vec![None]));
        assert_eq!(unbound, Ok(IrqSetAnswer::Done));
        // ERR and REQ refuse to fire with nothing bound, the others do nothing.
        let _ = bed.set(index, TRIGGER, 0, NONE);
        assert_eq!(count(&event), 0);
    }
}

#[test]
fn given_file_that_is_no_eventfd_is_refused_and_closed() {
    let bed = Bed::new();
    for index in [IrqIndex::MSIX, DISPLAY, IrqIndex::ERR, IrqIndex(6)] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let refused = bed
            .device
            .bind_irqs(given(index, vec![Some(theirs.into())]));
        assert_eq!(refused, Err(Errno::EINVAL));
        // The other end is closed: no bytes, and none to wait for.
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn err_and_req_are_signalled_once_bound() {
    let bed = Bed::new();
    assert!(!bed.device.request_unplug() && !bed.device.report_error());
    let (err, req) = (new_event(), new_event());
    bed.bind(IrqIndex::ERR, 0, &err);
    bed.bind(IrqIndex::REQ, 0, &req);
    assert!(bed.device.request_unplug());
    assert_eq!((count(&err), count(&req)), (0, 1));
    assert!(bed.device.report_error());
    assert_eq!((count(&err), count(&req)), (1, 0));
    assert_eq!(bed.set(IrqIndex::REQ, TRIGGER, 0, ZERO), Ok(()));
    assert!(!bed.device.request_unplug());
}

#[test]
fn display_index_answers_as_specified() {
    let bed = Bed::new();
    for action in [MASK, UNMASK] {
        assert_eq!(bed.set(DISPLAY, action, 0, UNBIND), Err(Errno::ENOTTY));
        assert_eq!(bed.set(DISPLAY, action, 0, ZERO), Err(Errno::EINVAL));
        assert_eq!(bed.set(DISPLAY, action, 0, NONE), Ok(()));
        assert_eq!(bed.set(DISPLAY, action, 0, BOOL), Ok(()));
    }
    assert_eq!(
        bed.set(DISPLAY, TRIGGER, 0, IrqData::Eventfds(&[])),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        bed.set(DISPLAY, TRIGGER, 0, IrqData::Bool(&[])),
        Err(Errno::EINVAL)
    );
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, NONE), Ok(()), "nothing bound");
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, ZERO), Ok(()));
}

#[test]
fn display_index_is_independent_of_msix_and_of_its_own_members() {
    let bed = Bed::new();
    let (vector, flip) = (new_event(), bed.listen(HeadEvent::Flip));
    bed.bind(IrqIndex::MSIX, 0, &vector);
    let hotplug = bed.listen(HeadEvent::Hotplug);
    let all = IrqData::None { count: 5 };
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, all), Ok(()));
    assert_eq!((count(&flip), count(&hotplug), count(&vector)), (1, 1, 0));
    assert_eq!(bed.set(IrqIndex::MSIX, TRIGGER, 0, ZERO), Ok(()));
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, all), Ok(()));
    assert_eq!((count(&flip), count(&hotplug)), (1, 1));
}

#[test]
fn fire_behind_a_mask_is_one_event_at_unmask() {
    let bed = Bed::new();
    let flip = bed.listen(HeadEvent::Flip);
    bed.mask(HeadEvent::Flip);
    for _ in 0..3 {
        assert_eq!(bed.set(DISPLAY, TRIGGER, 0, NONE), Ok(()));
    }
    assert_eq!(count(&flip), 0);
    bed.unmask(HeadEvent::Flip);
    assert_eq!(count(&flip), 1);
    bed.unmask(HeadEvent::Flip);
    assert_eq!(count(&flip), 0);
}

#[test]
fn mask_outlives_a_rebinding_and_ends_with_the_index() {
    let bed = Bed::new();
    bed.mask(HeadEvent::Flip);
    let flip = bed.listen(HeadEvent::Flip);
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, NONE), Ok(()));
    assert_eq!(count(&flip), 0);
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, ZERO), Ok(()));
    let flip = bed.listen(HeadEvent::Flip);
    assert_eq!(bed.set(DISPLAY, TRIGGER, 0, NONE), Ok(()));
    assert_eq!(count(&flip), 1);
}
