//! Registers of a device behind VFIO: its BAR 0.

use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::enable_bus_master;

/// BAR 0 as 32-bit registers.
#[derive(Debug, Clone)]
pub(crate) struct Registers(Arc<dyn Device>);

impl Registers {
    /// The registers of a device, which may send messages from here on.
    pub(crate) fn of(device: Arc<dyn Device>) -> anyhow::Result<Self> {
        enable_bus_master(&*device).context("cannot enable bus mastering")?;
        Ok(Self(device))
    }

    pub(crate) fn read(&self, offset: u64) -> anyhow::Result<u32> {
        let mut value = [0; 4];
        let told = || format!("read of register {offset:#x}");
        let length = self.0.region_read(RegionIndex::BAR0, offset, &mut value);
        ensure!(length.with_context(told)? == 4, "short {}", told());
        Ok(u32::from_le_bytes(value))
    }

    pub(crate) fn write(&self, offset: u64, value: u32) -> anyhow::Result<()> {
        let told = || format!("write of register {offset:#x}");
        let value = value.to_le_bytes();
        let length = self.0.region_write(RegionIndex::BAR0, offset, &value);
        ensure!(length.with_context(told)? == 4, "short {}", told());
        Ok(())
    }
}
