use std::collections::BTreeSet;
use std::sync::Arc;

use irqbroker_core::Trigger;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

use super::*;
use crate::sim::SimDevice;

const PROFILES: [KernelProfile; 4] = [
    KernelProfile::LINUX_6_1_0,
    KernelProfile::LINUX_6_1,
    KernelProfile::LINUX_6_9,
    KernelProfile::LINUX_7_2,
];

/// Devices that between them have what any case needs.
fn devices(profile: KernelProfile) -> Vec<Arc<SimDevice>> {
    let transports = [GfxTransport::Dmabuf, GfxTransport::Region];
    let planes = transports.map(|transport| GfxPlaneInfo::disabled(PlaneType::PRIMARY, transport));
    let [dmabuf, region] = planes;
    [
        // As QEMU's e1000e, edu and a device with nothing.
        SimDevice::pci().intx().msi(1).msix(5).express(),
        SimDevice::pci().intx().msi(1).plane(dmabuf),
        SimDevice::pci().not_resettable().plane(region),
        SimDevice::platform(&[Trigger::Edge, Trigger::Level]),
    ]
    .map(|builder| builder.kernel(profile).build())
    .into()
}

#[test]
fn sim_keeps_every_rule_of_each_kernel_profile() {
    let mut ran = BTreeSet::new();
    for profile in PROFILES {
        for device in devices(profile) {
            let shape = DeviceShape::of(&*device).unwrap();
            for case in all().iter().filter(|case| case.runs_on(&shape)) {
                if let Err(mismatch) = run(case, &*device, &shape, profile) {
                    panic!("{}: {mismatch} ({profile:?}, {shape:?})", case.name);
                }
                ran.insert(case.name);
            }
        }
        let node = SimDevice::pci().unbound_node().build();
        let shape = DeviceShape::unbound_node();
        for case in all().iter().filter(|case| case.runs_on(&shape)) {
            run(case, &*node, &shape, profile).unwrap();
            ran.insert(case.name);
        }
    }
    let missed: Vec<_> = all()
        .iter()
        .filter(|case| !ran.contains(case.name))
        .collect();
    assert!(missed.is_empty(), "no device for {missed:?}");
}

#[test]
fn cases_are_114_and_have_names_of_their_own() {
    let names: BTreeSet<&str> = all().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), all().len());
    assert_eq!(all().len(), 114);
}

#[test]
fn case_fails_on_a_device_of_another_profile() {
    let name = "msi::vector_beyond_the_enabled_ones_is_bound_where_dynamic";
    let case = all().iter().find(|case| case.name == name).unwrap();
    let device = SimDevice::pci()
        .msix(8)
        .kernel(KernelProfile::LINUX_6_9)
        .build();
    let old = SimDevice::pci()
        .msix(8)
        .kernel(KernelProfile::LINUX_6_1)
        .build();
    // What another kernel says of itself.
    let shape = DeviceShape::of(&*old).unwrap();

    let verdict = run(case, &*device, &shape, KernelProfile::LINUX_6_1);

    assert!(
        matches!(verdict, Err(Mismatch::Answer { .. })),
        "{verdict:?}"
    );
}

#[test]
fn run_leaves_no_interrupt_set_up() {
    let device = SimDevice::pci().intx().msix(4).build();
    let shape = DeviceShape::of(&*device).unwrap();
    for case in all().iter().filter(|case| case.runs_on(&shape)) {
        run(case, &*device, &shape, KernelProfile::default()).unwrap();
        assert_eq!(device.active(), None, "{}", case.name);
        let req = irqbroker_vfio_abi::IrqIndex::REQ;
        assert!(!device.is_bound(req, 0), "{}", case.name);
    }
}

#[test]
fn profile_of_a_release_tells_6_1_from_newer() {
    for (release, profile) in [
        ("6.1.0-50-amd64", KernelProfile::LINUX_6_1),
        ("5.10.0", KernelProfile::LINUX_6_1),
        ("6.9.0", KernelProfile::LINUX_6_9),
        ("6.12.41+deb13-amd64", KernelProfile::LINUX_6_9),
        ("6.12.107+deb13-amd64", KernelProfile::LINUX_7_2),
        ("6.18.44", KernelProfile::LINUX_7_2),
        ("7.2.12+deb", KernelProfile::LINUX_7_2),
        ("no release", KernelProfile::LINUX_7_2),
    ] {
        assert_eq!(KernelProfile::of_release(release), profile, "{release}");
    }
}
