//! A device that answers at once, lest its time be measured.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqInfo;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::IrqSetAnswer;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::abi::RegionInfo;

/// A device that does whatever it is asked to, at once.
#[derive(Debug)]
pub(crate) struct Obedient {
    pub(crate) vectors: u16,
}

impl Device for Obedient {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::PCI,
            num_regions: RegionIndex::PCI_NUM,
            num_irqs: IrqIndex::PCI_NUM,
            capabilities: Vec::new(),
        })
    }
    fn region_info(&self, _index: RegionIndex) -> Result<RegionInfo, Errno> {
        Err(Errno::EINVAL)
    }
    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        Ok(IrqInfo {
            index,
            flags: IrqFlags::EVENTFD,
            count: self.vectors.into(),
            capabilities: Vec::new(),
        })
    }
    fn set_irqs(&self, _request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Ok(IrqSetAnswer::Done)
    }
    fn region_read(&self, _: RegionIndex, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    fn reset(&self) -> Result<(), Errno> {
        Ok(())
    }
}
