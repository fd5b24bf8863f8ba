//! KVM's interrupt rules, on the nested KVM of this kernel.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_kvm::conformance;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::Needs;
use irqbroker_kvm::conformance::Rig;

use crate::findings::Findings;
use crate::guest_rig::GuestRig;
use crate::machine::Machine;

pub(crate) fn run(machine: &Machine) -> anyhow::Result<Findings> {
    let profile = KernelProfile::of_release(machine.release()).context("no release")?;
    let mut broken = Vec::new();
    for body in conformance::all() {
        // On a vCPU that never runs where that will do: there an interrupt is counted exactly when
        // it arrives.
        let rig: Box<dyn Rig> = match body.needs {
            Needs::Nothing => Box::new(LapicRig::new(profile)?),
            Needs::Eoi | Needs::EoiWhenTold => Box::new(GuestRig::new(profile)?),
        };
        ensure!(body.runs_on(&*rig), "{} cannot run", body.name);
        if catch_unwind(AssertUnwindSafe(|| (body.run)(&*rig))).is_err() {
            broken.push(body.name);
        }
    }
    ensure!(broken.is_empty(), "not so here: {}", broken.join(", "));
    Ok(Findings::default()
        .fact("rules", conformance::all().len())
        .fact("global_irqfd", profile.global_irqfd))
}
