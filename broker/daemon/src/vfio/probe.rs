//! Opens a device and asks it everything it answers without being set up.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio_user::Client;

use super::VfioArgs;
use super::args::ProbeArgs;
use super::args::Target;
use super::args::VfioCommand;
use super::device::DeviceRow;
use super::irq::IrqRow;
use super::patience::patient;
use super::plane::PlaneRow;
use super::region::RegionRow;
use super::report::ProbeReport;
use crate::output::Output;

/// More of either than any driver has: a device's word is not taken for how often to ask it.
const INDEXES_MAX: u32 = 256;

/// Runs a command of `irqbroker vfio`.
///
/// # Errors
///
/// The device could not be opened or does not tell what it is.
pub(crate) fn run(args: &VfioArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        VfioCommand::Probe(args) => probe(args, output),
    }
}

fn probe(args: &ProbeArgs, output: &Output) -> anyhow::Result<()> {
    let report = match &args.device {
        Target::Host(address) => {
            let opened = irqbroker_vfio::open(address)?;
            let node = opened.node.display().to_string();
            ask(&opened.name, &node, &*opened.device)?
        }
        Target::Socket(path) => {
            let client = Client::connect(path, patient())?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            ask(&name, &path.display().to_string(), &client)?
        }
    };
    output.print(&report)
}

/// Everything that `device`, called `name` and reached through `node`, tells.
pub(super) fn ask(name: &str, node: &str, device: &dyn Device) -> anyhow::Result<ProbeReport> {
    let info = device.info()?;
    let regions = (0..info.num_regions.min(INDEXES_MAX))
        .filter_map(|index| RegionRow::of(device, &info, index))
        .collect();
    let irqs = (0..info.num_irqs.min(INDEXES_MAX))
        .filter_map(|index| IrqRow::of(device, &info, index))
        .collect();
    Ok(ProbeReport {
        device: DeviceRow::of(name, node, device, &info),
        regions,
        irqs,
        planes: PlaneRow::all(device),
    })
}
