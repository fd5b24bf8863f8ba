//! vGPUs that nobody looks at cost nothing, whatever their guests do.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;

/// How long nothing is to happen.
const QUIET: Duration = Duration::from_secs(10);
/// One guest commits so often meanwhile.
const COMMIT: Duration = Duration::from_millis(16);

pub(crate) fn stories() -> Vec<Trial> {
    [1, 1000]
        .map(|instances| {
            let name = format!("vgpus_nobody_looks_at_wake_nobody_for_ten_seconds_of_{instances}");
            story(name, Need::Nothing, move || idle(instances))
        })
        .into()
}

/// Turns a 64x64 picture on, as a guest does.
fn show(device: &VgpuDevice) -> anyhow::Result<()> {
    let words = [(3, 32), (1, 64), (2, 64), (6, 64), (4, 0xc1u16)];
    words.iter().try_for_each(|(word, value)| {
        let offset = 0x500 + 2 * word;
        device.region_write(RegionIndex::BAR2, offset, &value.to_le_bytes())?;
        Ok(())
    })
}

/// Half of the guests commit with registers all the time, the other half show a still picture.
fn idle(instances: usize) -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let small = VgpuType::find("small").context("no such type")?;
    let devices = (0..instances)
        .map(|_| Ok(parent.create_device(&small, None)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    devices.iter().try_for_each(|device| show(device))?;
    let _vblanks = parent.scheduler().spawn()?;
    let first = devices.first().context("no device")?;
    let frame = || first.instance().heads().first().map(|head| head.frame());
    let (before, frames, start) = (parent.scheduler().counters(), frame(), Instant::now());
    let mut next = start;
    while start.elapsed() < QUIET {
        for device in devices.iter().step_by(2) {
            device.region_write(RegionIndex::BAR2, 0x512, &0u16.to_le_bytes())?;
        }
        next += COMMIT;
        // The guests' own time: what is counted is what the scheduler does meanwhile.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let after = parent.scheduler().counters();
    ensure!(
        after == before,
        "{before:?} before ten quiet seconds, {after:?} after"
    );
    ensure!(frame() > frames, "time has not passed");
    Ok(())
}
