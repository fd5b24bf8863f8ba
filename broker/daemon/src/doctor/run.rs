//! Asks this host everything and prints the answers.

use super::DoctorArgs;
use super::devices;
use super::events;
use super::host::Host;
use super::kvm;
use super::limits;
use super::posting;
use super::report::DoctorReport;
use super::this_host::ThisHost;
use crate::output::Output;

/// Examines this host and prints the report; what is missing is in it and no failure.
///
/// # Errors
///
/// The report could not be printed.
pub(crate) fn run(args: &DoctorArgs, output: &Output) -> anyhow::Result<()> {
    output.print(&examine(&ThisHost::new(&args.kvm)))
}

/// Asks a host everything.
pub(crate) fn examine(host: &dyn Host) -> DoctorReport {
    let groups = [
        kvm::checks(host),
        posting::checks(host),
        devices::checks(host),
        events::checks(host),
        limits::checks(host),
    ];
    DoctorReport::new(groups.into_iter().flatten().collect())
}
