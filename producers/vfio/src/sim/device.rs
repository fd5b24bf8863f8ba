//! The simulator behind the trait that all devices share.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use super::SimDevice;
use super::state::Bus;
use super::state::State;
use crate::query;
use crate::window::Window;

impl Device for SimDevice {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        query::device_info(self)
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        query::region_info(self, index)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        query::irq_info(self, index)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        query::set_irqs(self, request)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        let state = self.pumped();
        let (at, len) = state.place(index, offset, data.len())?;
        let data = &mut data[..len];
        if index == RegionIndex::CONFIG {
            let intx = state.lines.get(&IrqIndex::INTX);
            let asserted = intx.is_some_and(|line| line.asserted);
            state.config.read(at, data, asserted);
        } else {
            data.copy_from_slice(&state.bar[at..at + len]);
        }
        Ok(len)
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let mut state = self.pumped();
        let (at, len) = state.place(index, offset, data.len())?;
        let data = &data[..len];
        if index == RegionIndex::CONFIG {
            state.write_config(at, data);
        } else {
            state.bar[at..at + len].copy_from_slice(data);
        }
        Ok(len)
    }

    fn reset(&self) -> Result<(), Errno> {
        query::reset(self)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        query::probe_gfx(self, transport)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        query::gfx_plane(self, transport, plane)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        self.pumped().dmabuf(id)
    }
}

impl State {
    /// Where in the region's bytes, and how many of them.
    fn place(&self, index: RegionIndex, offset: u64, len: usize) -> Result<(usize, usize), Errno> {
        if self.gone {
            return Err(Errno::ENODEV);
        }
        let region = self.regions.iter().find(|region| region.index == index);
        let region = region.ok_or(Errno::EINVAL)?;
        let (_, len) = Window::of(region).place(offset, len)?;
        let at = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        Ok((at, len))
    }

    /// The guest's own DisINTx masks too, and its clearing unmasks (`vfio_basic_config_write`).
    fn write_config(&mut self, at: usize, data: &[u8]) {
        let before = self.config.disables_intx();
        self.config.write(at, data);
        let after = self.config.disables_intx();
        if self.bus == Bus::Pci && self.active == Some(IrqIndex::INTX) {
            match (before, after) {
                (false, true) => self.lines.entry(IrqIndex::INTX).or_default().masked = true,
                (true, false) => self.unmask_line(IrqIndex::INTX),
                _ => {}
            }
        }
    }
}
