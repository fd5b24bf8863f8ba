//! The kernel's rules on the simulator and, through a vCPU that never runs, on the running kernel.

use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;

use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IrqchipMode;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrqFd;
use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::LapicRig;
use irqbroker_kvm::conformance::SimRig;
use irqbroker_kvm::conformance::all;
use kvm_ioctls::Kvm;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::PidfdGetfdFlags;

/// Kinds of tests that must run, separated by commas: what this machine is known to have.
const REQUIRE: &str = "IRQBROKER_REQUIRE";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let profile = KernelProfile::default();
    let required = std::env::var(REQUIRE).is_ok_and(|kinds| kinds.split(',').any(|k| k == "kvm"));
    let kernel = LapicRig::new(profile);
    if let Err(error) = &kernel {
        eprintln!("kernel/*: {error}");
    }
    let runs = kernel.is_ok() || required;
    let missing = if kernel.is_ok() { "" } else { "needs /dev/kvm" };
    let mut trials = vec![
        Trial::test("kernel/vm_fd_that_was_passed_on_drives_the_vm", passed_fd)
            .with_kind(missing)
            .with_ignored_flag(!runs),
    ];
    for body in all() {
        trials.push(Trial::test(format!("sim/{}", body.name), move || {
            (body.run)(&SimRig::new(profile));
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn passed_fd() -> Result<(), Failed> {
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    vm.create_irq_chip()?;
    let this = rustix::process::getpid();
    let duplicate = duplicate_of(this, vm.as_raw_fd())?;
    let seam = Arc::new(VmIrqFd::from_owned_fd(&kvm, duplicate)?);
    let domain = VmDomain::new(seam, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    assert_eq!(domain.capabilities().irqchip, IrqchipMode::Full);
    domain.commit_routes()?;
    Ok(())
}

/// What arrives when the fd is passed over a socket.
fn duplicate_of(process: Pid, fd: i32) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    rustix::process::pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
}
