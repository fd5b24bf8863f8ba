//! Registers of a device behind VFIO: one of its BARs.

use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::enable_bus_master;

/// A BAR as 32-bit registers.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    device: Arc<dyn Device>,
    bar: RegionIndex,
}

impl Registers {
    /// The registers of a device in its BAR 0. It may send messages from here on.
    pub(crate) fn of(device: Arc<dyn Device>) -> anyhow::Result<Self> {
        Self::in_bar(device, RegionIndex::BAR0)
    }

    /// The same in another BAR.
    pub(crate) fn in_bar(device: Arc<dyn Device>, bar: RegionIndex) -> anyhow::Result<Self> {
        enable_bus_master(&*device).context("cannot enable bus mastering")?;
        Ok(Self { device, bar })
    }

    pub(crate) fn read(&self, offset: u64) -> anyhow::Result<u32> {
        let mut value = [0; 4];
        let told = || format!("read of register {offset:#x}");
        let length = self.device.region_read(self.bar, offset, &mut value);
        ensure!(length.with_context(told)? == 4, "short {}", told());
        Ok(u32::from_le_bytes(value))
    }

    pub(crate) fn write(&self, offset: u64, value: u32) -> anyhow::Result<()> {
        let told = || format!("write of register {offset:#x}");
        let value = value.to_le_bytes();
        let length = self.device.region_write(self.bar, offset, &value);
        ensure!(length.with_context(told)? == 4, "short {}", told());
        Ok(())
    }
}
