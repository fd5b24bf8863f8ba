use super::*;
use crate::conformance::KernelProfile;
use crate::conformance::VmShape;
use crate::counting::CountingVm;
use crate::route::Irqchip;
use crate::sim::SimCallKind;
use crate::sim::SimHost;
use crate::sim::SimVm;
use crate::vm_irq::KernelCapabilities;

fn sim(irqchip: IrqchipMode) -> Arc<CountingVm<Arc<SimVm>>> {
    let host = SimHost::new(KernelProfile::default());
    let shape = VmShape {
        irqchip,
        ..VmShape::PC
    };
    Arc::new(CountingVm::new(host.vm(shape)))
}

fn domain(vm: &Arc<CountingVm<Arc<SimVm>>>) -> Arc<VmDomain> {
    let vm: Arc<dyn VmIrq> = Arc::<CountingVm<_>>::clone(vm);
    VmDomain::new(vm, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap()
}

fn message(n: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000,
        data: 0x40 + n,
    }
}

#[test]
fn new_finds_the_irqchip_out_and_leaves_nothing_behind() {
    for mode in [IrqchipMode::None, IrqchipMode::Split, IrqchipMode::Full] {
        let vm = sim(mode);
        let domain = domain(&vm);
        assert_eq!(domain.capabilities().irqchip, mode);
        assert_eq!(vm.inner().irqfds(), []);
        assert_eq!(vm.counts().commits, 0);
    }
}

#[test]
fn new_on_a_dead_vm_is_refused() {
    let vm = SimHost::default().vm(VmShape::PC);
    vm.close();
    let domain = VmDomain::new(vm, EmbedderRoutes::none(), DestinationIds::Bits8);
    assert!(matches!(
        domain,
        Err(DomainError::Probe(ProbeError::Irqfd {
            source: KvmErrno::IO,
            ..
        }))
    ));
}

#[test]
fn commit_of_many_leases_is_one_write_and_a_second_commit_none() {
    let vm = sim(IrqchipMode::Full);
    let domain = domain(&vm);
    let leases: Vec<RouteLease> = (0..100)
        .map(|n| domain.lease(message(n), None).unwrap())
        .collect();
    assert!(!leases[0].is_live());
    assert_eq!(domain.commit_routes().unwrap(), Committed::Written(100));
    assert_eq!(domain.commit_routes().unwrap(), Committed::Unchanged);
    assert!(leases.iter().all(RouteLease::is_live));
    assert_eq!(vm.counts().commits, 1);
}

#[test]
fn lease_of_a_route_let_go_before_is_live_without_a_write() {
    let vm = sim(IrqchipMode::Full);
    let domain = domain(&vm);
    let lease = domain.lease(message(1), None).unwrap();
    domain.commit_routes().unwrap();
    drop(lease);
    let again = domain.lease(message(1), None).unwrap();
    assert!(again.is_live());
    assert_eq!(domain.commit_routes().unwrap(), Committed::Unchanged);
}

#[test]
fn lease_of_a_shared_staged_route_is_live_for_all_after_the_write() {
    let vm = sim(IrqchipMode::Full);
    let domain = domain(&vm);
    let first = domain.lease(message(1), None).unwrap();
    let second = domain.lease(message(1), None).unwrap();
    assert_eq!(first.gsi(), second.gsi());
    assert!(!second.is_live());
    domain.commit_routes().unwrap();
    assert!(first.is_live() && second.is_live());
    assert_eq!(domain.leased(), 1);
}

#[test]
fn invariant_4_failed_commit_leaves_the_old_table_and_dropping_the_leases_undoes_it() {
    let vm = sim(IrqchipMode::Full);
    let domain = domain(&vm);
    let kept = domain.lease(message(1), None).unwrap();
    domain.commit_routes().unwrap();
    let before = vm.inner().table();

    let staged = domain.lease(message(2), None).unwrap();
    let no_memory = KvmErrno(12);
    vm.inner().fail_next(SimCallKind::CommitRoutes, no_memory);
    let error = domain.commit_routes().unwrap_err();
    assert_eq!((error.gsi, error.source), (staged.gsi(), no_memory));
    assert_eq!(vm.inner().table(), before);
    assert!(kept.is_live() && !staged.is_live());

    drop(staged);
    assert_eq!(domain.commit_routes().unwrap(), Committed::Unchanged);
}

#[test]
fn lease_beyond_the_table_is_refused_with_its_limit() {
    let capabilities = KernelCapabilities {
        max_routes: 2,
        irqfd: true,
        resample: true,
        signal_msi: true,
        msi_devid: false,
    };
    let vm = SimHost::default().vm_with(VmShape::PC, capabilities);
    let domain = VmDomain::new(vm, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
    let _held: Vec<RouteLease> = (0..2)
        .map(|n| domain.lease(message(n), None).unwrap())
        .collect();
    let refused = domain.lease(message(2), None).unwrap_err();
    assert_eq!(refused.reason(), Reason::GsiExhausted { limit: 2 });
}

#[test]
fn lease_without_irqchip_is_refused() {
    let domain = domain(&sim(IrqchipMode::None));
    let refused = domain.lease(message(1), None).unwrap_err();
    assert_eq!(refused, LeaseError::NoIrqchip);
}

#[test]
fn lease_carries_the_device_id_only_where_the_kernel_has_them() {
    let vm = sim(IrqchipMode::Full);
    let domain = domain(&vm);
    let first = domain.lease(message(1), Some(DeviceId(1))).unwrap();
    let second = domain.lease(message(1), Some(DeviceId(2))).unwrap();
    assert_eq!(first.gsi(), second.gsi());
}

#[test]
fn lease_without_a_device_id_is_refused_where_the_kernel_has_them() {
    let capabilities = KernelCapabilities {
        msi_devid: true,
        ..sim(IrqchipMode::Full).capabilities()
    };
    let vm = SimHost::default().vm_with(VmShape::PC, capabilities);
    let domain = VmDomain::new(vm, EmbedderRoutes::none(), DestinationIds::Bits8).unwrap();
    let refused = domain.lease(message(1), None).unwrap_err();
    assert_eq!(refused.reason(), Reason::NoDeviceId);
    let first = domain.lease(message(1), Some(DeviceId(1))).unwrap();
    let second = domain.lease(message(1), Some(DeviceId(2))).unwrap();
    assert_ne!(first.gsi(), second.gsi());
}

#[test]
fn reroute_changes_one_of_the_embedders_gsis_with_the_next_commit() {
    let vm = sim(IrqchipMode::Split);
    let seam: Arc<dyn VmIrq> = Arc::<CountingVm<_>>::clone(&vm);
    let reserved = EmbedderRoutes::reserved(24);
    let domain = VmDomain::new(seam, reserved, DestinationIds::Bits8).unwrap();
    let target = Route::Msi(domain.msi_route(message(1), None).unwrap());
    domain.reroute(Gsi(4), &[target]).unwrap();
    domain.commit_routes().unwrap();
    let entry = RouteEntry {
        gsi: Gsi(4),
        target,
    };
    assert_eq!(vm.inner().table(), [entry]);

    let refused = domain.reroute(Gsi(24), &[target]);
    let gsi = Gsi(24);
    assert_eq!(refused, Err(EmbedderRoutesError::NotEmbedders { gsi }));
    let refused = domain.reroute(Gsi(4), &[target, target]);
    let gsi = Gsi(4);
    assert_eq!(refused, Err(EmbedderRoutesError::Conflict { gsi }));
    assert_eq!(domain.commit_routes().unwrap(), Committed::Unchanged);
}

#[test]
fn reroute_that_would_overflow_the_table_is_refused() {
    let capabilities = KernelCapabilities {
        max_routes: 3,
        ..sim(IrqchipMode::Full).capabilities()
    };
    let vm = SimHost::default().vm_with(VmShape::PC, capabilities);
    // Two entries on GSI 0 would make four with the two leases.
    let routes = EmbedderRoutes::none().with_pin(Gsi(0), Irqchip::IOAPIC, 0);
    let domain = VmDomain::new(vm, routes, DestinationIds::Bits8).unwrap();
    let _held: Vec<RouteLease> = (0..2)
        .map(|n| domain.lease(message(n), None).unwrap())
        .collect();
    let pin = |chip| Route::Pin { chip, pin: 0 };
    let both = [pin(Irqchip::IOAPIC), pin(Irqchip::PIC_MASTER)];
    let (entries, limit) = (4, 3);
    assert_eq!(
        domain.reroute(Gsi(0), &both),
        Err(EmbedderRoutesError::TooMany { entries, limit })
    );
    assert_eq!(domain.commit_routes().unwrap(), Committed::Written(3));
}
