//! What VFIO answers to requests, legal and not, on the real devices of this kernel.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::DeviceFd;
use irqbroker_vfio::RawDevice;
use irqbroker_vfio::conformance;
use irqbroker_vfio::conformance::DeviceShape;
use irqbroker_vfio::conformance::KernelProfile;
use serde_json::json;

use crate::devices;
use crate::e1000e;
use crate::edu;
use crate::findings::Findings;
use crate::machine::Machine;

const DEVICE_NODES: &str = "/dev/vfio/devices";

pub(crate) fn run(machine: &Machine) -> anyhow::Result<Findings> {
    let profile = KernelProfile::of_release(machine.release());
    let mut table = Table::new(profile);
    for (name, id) in [("edu", edu::ID), ("e1000e", e1000e::ID)] {
        let opened = devices::open(id)?;
        let shape = DeviceShape::of(&*opened.fd)?;
        table.device(name, &*opened.fd, &shape);
    }
    // On kernels that have them. It answers nothing until it is bound to an iommufd.
    if Path::new(DEVICE_NODES).is_dir() {
        let node = std::fs::read_dir(DEVICE_NODES)?.next();
        let path = node.context("no device node")??.path();
        let file = File::options().read(true).write(true).open(path)?;
        let unbound = DeviceFd::new(file.into(), Arc::new(()));
        table.device("unbound node", &unbound, &DeviceShape::unbound_node());
    }
    let broken = table.broken;
    ensure!(broken.is_empty(), "not so here: {}", broken.join("; "));
    Ok(table.findings)
}

/// The cases that were run.
struct Table {
    profile: KernelProfile,
    findings: Findings,
    /// Cases that failed, and how.
    broken: Vec<String>,
}

impl Table {
    fn new(profile: KernelProfile) -> Self {
        Self {
            profile,
            findings: Findings::default(),
            broken: Vec::new(),
        }
    }

    /// Runs whatever the device has the means for. vfio-pci has no known differences.
    fn device(&mut self, name: &str, device: &dyn RawDevice, shape: &DeviceShape) {
        let (mut held, mut without_means) = (0, 0);
        for case in conformance::all() {
            if !case.runs_on(shape) {
                without_means += 1;
                continue;
            }
            match conformance::run(case, device, shape, self.profile) {
                Ok(()) => held += 1,
                Err(mismatch) => self
                    .broken
                    .push(format!("{name}: {}: {mismatch}", case.name)),
            }
        }
        let told = json!({"held": held, "without_means": without_means});
        self.findings.facts.insert(name.to_owned(), told);
    }
}
