//! Requests as bytes, answered as the kernel answers them.

use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::RegionInfo;

use super::state::Bus;
use super::state::State;
use crate::raw::Request;

impl State {
    pub(super) fn answer(
        &mut self,
        process: &OwnedFd,
        request: Request,
        argument: &mut [u8],
    ) -> Result<u32, Errno> {
        if self.gone {
            return Err(Errno::ENODEV);
        }
        // `vfio_device_fops_unl_ioctl`: nothing goes before the node is bound to an iommufd.
        if self.unbound {
            return Err(Errno::EINVAL);
        }
        match request {
            Request::GetInfo => {
                let argsz = DeviceInfo::decode_request(argument)?;
                write_back(argument, &self.info.encode(argsz)?)
            }
            Request::GetRegionInfo => {
                let (index, argsz) = RegionInfo::decode_request(argument)?;
                let mut regions = self.regions.iter();
                let region = regions.find(|region| region.index == index);
                let absent = || match self.bus {
                    Bus::Pci => RegionInfo::absent_pci(index, u64::from(index.0) << 40),
                    Bus::Platform => Err(Errno::EINVAL),
                };
                let info = region.cloned().map_or_else(absent, Ok)?;
                write_back(argument, &info.encode(argsz)?)
            }
            Request::GetIrqInfo => {
                let (index, argsz) = IrqInfo::decode_request(argument)?;
                let absent = || match self.bus {
                    Bus::Pci => IrqInfo::absent_pci(index),
                    Bus::Platform => Err(Errno::EINVAL),
                };
                let info = self.irq(index).cloned().map_or_else(absent, Ok)?;
                write_back(argument, &info.encode(argsz)?)
            }
            Request::SetIrqs => self.set_irqs(process, argument),
            Request::Reset => self.reset(),
            Request::QueryGfxPlane => self.query_plane(argument),
            Request::GetGfxDmabuf => {
                let id = argument.first_chunk().ok_or(Errno::EFAULT)?;
                let picture = self.dmabuf(DmabufId(u32::from_ne_bytes(*id)))?;
                u32::try_from(picture.into_raw_fd()).map_err(|_| Errno::EBADF)
            }
            Request::Ioeventfd => self.ioeventfd(argument),
            Request::Unknown => Err(Errno::ENOTTY),
        }
    }

    fn reset(&mut self) -> Result<u32, Errno> {
        if !self.info.flags.contains(DeviceFlags::RESET) {
            return Err(Errno::EINVAL);
        }
        // Interrupts stay as they are set up.
        self.config.reset();
        self.bar.fill(0);
        Ok(0)
    }

    /// What `vfio_pci_ioctl_ioeventfd` refuses, and the removal of one that is not there.
    fn ioeventfd(&self, argument: &[u8]) -> Result<u32, Errno> {
        if self.bus != Bus::Pci {
            return Err(Errno::ENOTTY);
        }
        let word = |at: usize| {
            let bytes = argument.get(at..).and_then(|rest| rest.first_chunk());
            bytes
                .map(|bytes| u32::from_ne_bytes(*bytes))
                .ok_or(Errno::EFAULT)
        };
        let (argsz, flags, fd) = (word(0)?, word(4)?, word(24)?.cast_signed());
        let one_size = (flags & 0xf).count_ones() == 1;
        if argsz < 28 || flags & !0xf != 0 || !one_size || fd < -1 {
            return Err(Errno::EINVAL);
        }
        Err(Errno::ENODEV)
    }
}

/// Writes what the kernel copies to the user.
fn write_back(argument: &mut [u8], answer: &[u8]) -> Result<u32, Errno> {
    let room = argument.get_mut(..answer.len()).ok_or(Errno::EFAULT)?;
    room.copy_from_slice(answer);
    Ok(0)
}
