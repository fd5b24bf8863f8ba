//! The kernel's rules, on the simulator and on the running kernel, and the guest's own checks.

use anyhow::Context;
use anyhow::ensure;
use irqbroker_guest::selfcheck;
use irqbroker_kvm::conformance;
use irqbroker_kvm::conformance::Body;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::Needs;
use irqbroker_kvm::conformance::Rig;
use irqbroker_kvm::conformance::SimRig;
use libtest_mimic::Trial;

use crate::guest_rig::GuestRig;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    let simulated = conformance::all().iter().copied().map(simulated);
    let kernel = conformance::all().iter().copied().map(kernel);
    simulated.chain(kernel).chain(guest()).collect()
}

fn simulated(body: Body) -> Trial {
    story(format!("sim/{}", body.name), Need::Nothing, move || {
        run(body, &SimRig::new(KernelProfile::default()))
    })
}

/// On a vCPU that never runs where that will do: there an interrupt is counted exactly when it
/// arrives.
fn kernel(body: Body) -> Trial {
    let name = format!("kernel/{}", body.name);
    match body.needs {
        Needs::Nothing => story(name, Need::Kvm, move || {
            run(body, &LapicRig::new(running_kernel()?)?)
        }),
        Needs::Eoi => story(name, Need::Kvm, move || {
            run(body, &GuestRig::new(running_kernel()?)?)
        }),
        Needs::EoiWhenTold => story(name, Need::GuestEoi, move || {
            run(body, &GuestRig::new(running_kernel()?)?)
        }),
    }
}

fn guest() -> impl Iterator<Item = Trial> {
    selfcheck::all()
        .iter()
        .map(|&(name, check)| story(format!("guest/{name}"), Need::Kvm, move || Ok(check()?)))
}

fn run(body: Body, rig: &dyn Rig) -> anyhow::Result<()> {
    ensure!(body.runs_on(rig), "the rig does not do what the body needs");
    (body.run)(rig);
    Ok(())
}

/// The rules of the kernel this runs on.
fn running_kernel() -> anyhow::Result<KernelProfile> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    KernelProfile::of_release(&release).with_context(|| format!("no release: {release}"))
}
