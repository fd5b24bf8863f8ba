//! Vectors that are brought up and restored: ours, and both bare ways.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker_kvm::VmIrq;
use kvm_ioctls::Kvm;
use serde_json::Value;
use serde_json::json;

use crate::bare;
use crate::median::median;
use crate::vm::Vm;
use crate::vm::enable;

/// How many of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) vms: usize,
    pub(crate) devices: usize,
    pub(crate) vectors: u16,
}

/// What is measured of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// All devices of a VM restored.
    Restored,
    /// One device after the other brought up by its driver.
    BroughtUp,
    /// See [`bare::per_vector`].
    PerVector,
    /// See [`bare::at_once`].
    AtOnce,
}

/// Brings vectors up without a manager.
type Bare = fn(&dyn VmIrq, u32) -> anyhow::Result<Vec<OwnedFd>>;

impl Load {
    fn vectors_of_a_vm(self) -> anyhow::Result<u32> {
        Ok(u32::from(self.vectors) * u32::try_from(self.devices)?)
    }

    fn vms(self, kvm: &Kvm) -> anyhow::Result<Vec<Vm>> {
        let vm = |_| Vm::new(kvm, self.devices, self.vectors);
        (0..self.vms).map(vm).collect()
    }

    fn measure(self, kvm: &Kvm, way: Way) -> anyhow::Result<Duration> {
        match way {
            Way::Restored => self.restored(kvm),
            Way::BroughtUp => self.brought_up(kvm),
            Way::PerVector => self.bare(kvm, bare::per_vector),
            Way::AtOnce => self.bare(kvm, bare::at_once),
        }
    }

    fn bare(self, kvm: &Kvm, bring_up: Bare) -> anyhow::Result<Duration> {
        let (vms, vectors) = (self.vms(kvm)?, self.vectors_of_a_vm()?);
        let mut up = Vec::new();
        let start = Instant::now();
        for vm in &vms {
            up.push(bring_up(&*vm.seam, vectors)?);
        }
        Ok(start.elapsed())
    }

    fn restored(self, kvm: &Kvm) -> anyhow::Result<Duration> {
        let one = Vm::new(kvm, self.devices, self.vectors)?;
        for (device, first) in one.devices.iter().zip((0..).step_by(self.vectors.into())) {
            enable(device, self.vectors, first);
        }
        let saved = one.manager.save();
        let vms = self.vms(kvm)?;
        let start = Instant::now();
        for vm in &vms {
            vm.manager.restore(&saved)?;
            vm.service()?;
        }
        let elapsed = start.elapsed();
        for vm in &vms {
            self.gate(vm, 1)?;
        }
        Ok(elapsed)
    }

    fn brought_up(self, kvm: &Kvm) -> anyhow::Result<Duration> {
        let vms = self.vms(kvm)?;
        let start = Instant::now();
        for vm in &vms {
            for (device, first) in vm.devices.iter().zip((0..).step_by(self.vectors.into())) {
                enable(device, self.vectors, first);
                vm.service()?;
            }
        }
        let elapsed = start.elapsed();
        for vm in &vms {
            self.gate(vm, u64::try_from(self.devices)?)?;
        }
        Ok(elapsed)
    }

    fn gate(self, vm: &Vm, commits: u64) -> anyhow::Result<()> {
        let made = vm.seam.counts();
        let wanted = (commits, u64::from(self.vectors_of_a_vm()?));
        ensure!(
            (made.commits, made.assigns) == wanted,
            "wanted {commits} tables for {self:?}, counted {made:?}"
        );
        Ok(())
    }
}

/// Ours beside both bare ways, each round in random order.
pub(crate) fn compare(
    name: &str,
    rounds: usize,
    load: Load,
    ours: Way,
    kvm: &Kvm,
) -> anyhow::Result<Value> {
    let (mut own, mut per_vector, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut ways = [ours, Way::PerVector, Way::AtOnce];
        fastrand::shuffle(&mut ways);
        let mut took = BTreeMap::new();
        for way in ways {
            took.insert(way, load.measure(kvm, way)?.as_secs_f64());
        }
        own.push(took[&ours] * 1e3);
        per_vector.push(took[&Way::PerVector] / took[&ours]);
        bare.push(took[&ours] / took[&Way::AtOnce]);
    }
    Ok(json!({
        "name": name,
        "vms": load.vms,
        "devices": load.devices,
        "vectors": load.vectors,
        "ms": median(own),
        "per_vector_ratio": median(per_vector),
        "bare_ratio": median(bare),
    }))
}
