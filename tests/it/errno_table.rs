//! VFIO's errno table on each kind of device that needs no kernel driver.
//!
//! The rules and their bodies are those of `irqbroker_vfio::conformance`, which the lab runs on
//! vfio-pci. A rule that a device is known not to keep has to fail there, or it is known no more.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use irqbroker_vfio::RawDevice;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::conformance;
use irqbroker_vfio::conformance::DeviceShape;
use irqbroker_vfio::conformance::KernelProfile;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::ServerThread;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;

use crate::ioctl_face::InProcess;
use crate::ioctl_face::OverVfioUser;
use crate::need::Need;
use crate::need::story;

/// Has no known differences.
const SIMULATOR: &str = "simulator";

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story("errno_table_holds_on_the_simulator", Need::Nothing, || {
            for device in simulators() {
                check(SIMULATOR, &device)?;
            }
            Ok(())
        }),
        story(
            "errno_table_holds_on_the_simulator_over_vfio_user",
            Need::Nothing,
            || {
                for device in simulators() {
                    over_vfio_user(conformance::VFIO_USER, device)?;
                }
                Ok(())
            },
        ),
        story("errno_table_holds_on_the_vgpu", Need::Nothing, || {
            check(conformance::VGPU, &InProcess(&*vgpu()?))
        }),
        story(
            "errno_table_holds_on_the_vgpu_over_vfio_user",
            Need::Nothing,
            || over_vfio_user(conformance::VGPU, vgpu()?),
        ),
    ]
}

/// Devices with all of vfio-pci between them.
fn simulators() -> [Arc<SimDevice>; 2] {
    [
        SimDevice::pci().intx().msi(1).msix(5).express().build(),
        SimDevice::pci().not_resettable().build(),
    ]
}

fn vgpu() -> anyhow::Result<Arc<VgpuDevice>> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("dual").ok_or_else(|| anyhow::anyhow!("no such type"))?;
    Ok(parent.create_device(&vgpu, None)?)
}

fn over_vfio_user(name: &str, device: Arc<dyn Device>) -> anyhow::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let server = Server::with_stream(theirs, device, ServerOptions::default())?;
    let _thread = ServerThread::spawn(server, || {})?;
    let client = Client::with_stream(ours, ClientOptions::default())?;
    check(name, &OverVfioUser(&client))
}

/// Runs every rule that the device has the means for.
fn check(name: &str, device: &dyn RawDevice) -> anyhow::Result<()> {
    let shape = DeviceShape::of(device)?;
    let mut wrong = Vec::new();
    let mut ran = 0;
    for case in conformance::all() {
        if !case.runs_on(&shape) {
            continue;
        }
        ran += 1;
        let verdict = conformance::run(case, device, &shape, KernelProfile::default());
        match (verdict, conformance::known_difference(case, name)) {
            (Err(mismatch), None) => wrong.push(format!("{}: {mismatch}", case.name)),
            (Ok(()), Some(known)) => {
                wrong.push(format!("{}: holds, though it {}", case.name, known.reason));
            }
            _ => {}
        }
    }
    // The least of these devices, the bare simulator, has the means for 41.
    anyhow::ensure!(ran >= 41, "{ran} rules ran on {name}");
    anyhow::ensure!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    Ok(())
}
