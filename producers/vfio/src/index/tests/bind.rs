//! Enabling an index, and binding its sub-indexes.

use super::*;
use crate::producer_device::IndexError;

#[test]
fn bind_of_2048_vectors_is_one_request_and_rebinding_one_is_one() {
    allow_many_fds();
    // All that MSI-X can have.
    let (rig, index) = Rig::msix(2048);
    let mut producers = Vec::new();

    let requests = rig.set_irqs(|| producers = index.bind(0..2048).unwrap());

    assert_eq!((requests, producers.len()), (1, 2048));
    assert!(producers.iter().all(|producer| rig.reaches(producer)));
    let mut new = None;
    assert_eq!(rig.set_irqs(|| new = index.rebind(1000).ok()), 1);
    assert!(rig.reaches(&new.unwrap()));
    assert_eq!(rig.set_irqs(|| index.unbind(1000).unwrap()), 1);
    assert_eq!(rig.set_irqs(|| drop(index)), 1);
    assert_eq!(rig.sim.active(), None);
}

#[test]
fn bind_where_the_host_has_fewer_vectors_says_how_many_and_binds_none() {
    let rig = Rig::new(SimDevice::pci().msix(8).host_vectors(3));
    let index = rig.device.index(IrqIndex::MSIX).unwrap();

    let error = index.bind(0..8).unwrap_err();

    let fewer = matches!(
        error,
        BindError::Fewer {
            asked: 8,
            available: 3,
            ..
        }
    );
    assert!(fewer, "{error}");
    assert_eq!(rig.sim.active(), None);
    assert!(index.get(0).is_none());
    assert_eq!(index.bind(0..3).unwrap().len(), 3);
}

#[test]
fn bind_answered_with_a_positive_number_binds_none_and_keeps_the_others() {
    let (rig, index) = Rig::msix(8);
    let kept = index.bind(0..2).unwrap();
    rig.sim.fail_next(Request::SetIrqs, Fault::Answer(2));

    let error = index.bind(2..8).unwrap_err();

    assert!(
        matches!(error, BindError::Fewer { available: 2, .. }),
        "{error}"
    );
    assert!(kept.iter().all(|producer| rig.reaches(producer)));
    assert!(index.get(2).is_none());
    assert_eq!(index.bind(2..8).unwrap().len(), 6);
}

#[test]
fn bind_that_is_refused_changes_nothing() {
    for errno in [Errno::EBUSY, Errno::ENODEV, Errno::EINVAL] {
        let (rig, index) = Rig::msix(8);
        let kept = index.bind(0..2).unwrap();
        rig.sim.fail_next(Request::SetIrqs, Fault::Errno(errno));

        let error = index.bind(2..8).unwrap_err();

        assert!(matches!(error, BindError::Refused { source, .. } if source == errno));
        assert!(kept.iter().all(|producer| rig.reaches(producer)));
        assert_eq!(index.bind(2..8).unwrap().len(), 6);
    }
}

#[test]
fn bind_that_fails_at_a_vector_in_the_middle_is_not_half_done() {
    let (rig, index) = Rig::msix(8);
    let kept = index.bind(0..2).unwrap();
    rig.sim.refuse_vector(5, Errno::ENOSPC);

    let error = index.bind(2..8).unwrap_err();

    assert!(
        matches!(
            error,
            BindError::Refused {
                source: Errno::ENOSPC,
                ..
            }
        ),
        "{error}"
    );
    assert!((2..8).all(|vector| !rig.sim.is_bound(IrqIndex::MSIX, vector)));
    assert!(kept.iter().all(|producer| rig.reaches(producer)));
}

#[test]
fn bind_that_enables_and_fails_leaves_the_index_disabled() {
    let (rig, index) = Rig::msix(8);
    rig.sim.refuse_vector(7, Errno::ENOSPC);

    index.bind(0..8).unwrap_err();

    assert_eq!(rig.sim.active(), None);
    let msi = rig.device.index(IrqIndex::MSI).unwrap();
    assert_eq!(msi.bind(0..1).unwrap().len(), 1);
}

#[test]
fn bind_beyond_the_index_of_nothing_or_twice_costs_no_request() {
    let (rig, index) = Rig::msix(8);
    index.bind(0..2).unwrap();
    let requests = rig.set_irqs(|| {
        for range in [0..9, 8..9, 3..3, 0..u32::MAX] {
            let error = index.bind(range.clone()).unwrap_err();
            assert!(
                matches!(error, BindError::Range { count: 8, .. }),
                "{range:?}"
            );
        }
        let error = index.bind(1..3).unwrap_err();
        assert!(
            matches!(error, BindError::Bound { sub_index: 1, .. }),
            "{error}"
        );
    });
    assert_eq!(requests, 0);
}

#[test]
fn bind_of_as_many_as_a_device_absurdly_claims_is_refused() {
    let (rig, index) = Rig::msix(u32::MAX);
    let requests = rig.set_irqs(|| {
        for range in [0..u32::MAX, 0..2049] {
            let error = index.bind(range).unwrap_err();
            assert!(
                matches!(error, BindError::TooMany { limit: 2048, .. }),
                "{error}"
            );
            let error = index.enable(u32::MAX).unwrap_err();
            assert!(matches!(error, BindError::TooMany { .. }), "{error}");
        }
    });
    assert_eq!(requests, 0);
}

#[test]
fn bind_of_more_vectors_than_enabled_is_refused_where_they_are_fixed() {
    let old = SimDevice::pci().msix(8).kernel(KernelProfile::LINUX_6_1);
    let rig = Rig::new(old);
    let index = rig.device.index(IrqIndex::MSIX).unwrap();
    let first = index.bind(0..1).unwrap();

    let requests = rig.set_irqs(|| {
        let error = index.bind(1..2).unwrap_err();
        assert!(
            matches!(error, BindError::NoResize { enabled: 1, .. }),
            "{error}"
        );
    });

    assert_eq!(requests, 0);
    assert!(rig.reaches(&first[0]));
}

#[test]
fn enable_makes_room_for_vectors_that_are_bound_later() {
    let old = SimDevice::pci().msix(8).kernel(KernelProfile::LINUX_6_1);
    let rig = Rig::new(old);
    let index = rig.device.index(IrqIndex::MSIX).unwrap();
    assert_eq!(rig.set_irqs(|| index.enable(8).unwrap()), 1);

    let late = index.bind(7..8).unwrap();

    assert!(rig.reaches(&late[0]));
    assert!(matches!(
        index.enable(8).unwrap_err(),
        BindError::Bound { .. }
    ));
    index.unbind(7).unwrap();
    assert!(matches!(
        index.enable(8).unwrap_err(),
        BindError::Enabled { .. }
    ));
    let req = rig.device.index(IrqIndex::REQ).unwrap();
    assert!(matches!(
        req.enable(1).unwrap_err(),
        BindError::NoVectors { .. }
    ));
}

#[test]
fn bind_on_demand_adds_vectors_where_the_kernel_can() {
    let (rig, index) = Rig::msix(8);
    let first = index.bind(0..1).unwrap();
    let late = index.bind(6..8).unwrap();
    assert!(
        first
            .iter()
            .chain(&late)
            .all(|producer| rig.reaches(producer))
    );
}

#[test]
fn bind_beside_another_active_index_is_refused_until_that_is_disabled() {
    let (rig, msix) = Rig::msix(2);
    let [msi, intx] = [IrqIndex::MSI, IrqIndex::INTX].map(|at| rig.device.index(at).unwrap());
    msix.bind(0..2).unwrap();
    let requests = rig.set_irqs(|| {
        for other in [&msi, &intx] {
            let error = other.bind(0..1).unwrap_err();
            let named =
                matches!(&error, BindError::OtherActive { active, .. } if active == "dev.msix");
            assert!(named, "{error}");
        }
    });
    assert_eq!(requests, 0);

    assert_eq!(rig.set_irqs(|| msix.disable().unwrap()), 1);
    intx.bind(0..1).unwrap();
    drop(intx);
    msi.bind(0..1).unwrap();
}

#[test]
fn index_that_is_absent_taken_or_unknown_is_refused() {
    let rig = Rig::new(SimDevice::pci().msix(2));
    let refused = |index| rig.device.index(index).unwrap_err();
    assert!(matches!(refused(IrqIndex::INTX), IndexError::Absent { .. }));
    let einval = Errno::EINVAL;
    assert!(
        matches!(refused(IrqIndex::ERR), IndexError::Device { source, .. } if source == einval)
    );
    assert!(matches!(refused(IrqIndex(77)), IndexError::Device { .. }));
    let taken = rig.device.index(IrqIndex::MSIX).unwrap();
    assert!(matches!(refused(IrqIndex::MSIX), IndexError::Taken { .. }));
    drop(taken);
    rig.device.index(IrqIndex::MSIX).unwrap();
}
