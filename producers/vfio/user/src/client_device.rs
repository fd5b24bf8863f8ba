//! The device trait, request by request.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use zerocopy::FromBytes;
use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::InfoError;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::UNSUPPORTED_REQUEST;

use crate::channel::INFO_MAX;
use crate::client::Client;
use crate::client::device_info;
use crate::client::empty;
use crate::client_irqs;
use crate::command::Command;
use crate::negotiation::Extension;
use crate::region_access::RegionAccess;

/// An answer, or the room that it takes.
enum Answered<T> {
    Whole(T),
    Needs(u32),
}

/// Asks with `argsz` for what `request` encodes, and once more if that is too little.
fn ask<T>(
    argsz: usize,
    mut request: impl FnMut(u32) -> Result<Answered<T>, Errno>,
) -> Result<T, Errno> {
    let mut argsz = u32::try_from(argsz).map_err(|_| Errno::EINVAL)?;
    // Twice, as the answer may have grown meanwhile.
    for _ in 0..3 {
        match request(argsz)? {
            Answered::Whole(answer) => return Ok(answer),
            Answered::Needs(needed) if needed > argsz && needed <= INFO_MAX => argsz = needed,
            Answered::Needs(_) => break,
        }
    }
    Err(Errno::EPROTO)
}

/// Reads an answer that had room for `argsz` bytes.
///
/// Whether that was enough is said by the answer's `argsz` alone: libvfio-user does not set the
/// flag for capabilities in one that has no room for them, and the vfio_user crate says where they
/// would be.
fn answered<T>(
    payload: &[u8],
    argsz: u32,
    decode: impl FnOnce(&[u8]) -> Result<T, InfoError>,
) -> Result<Answered<T>, Errno> {
    match u32::read_from_prefix(payload) {
        Ok((needed, _)) if needed > argsz => Ok(Answered::Needs(needed)),
        _ => Ok(Answered::Whole(decode(payload)?)),
    }
}

impl Client {
    /// A region and its file, which comes with the answer that is whole.
    fn region(&self, index: RegionIndex) -> Result<(RegionInfo, Option<OwnedFd>), Errno> {
        let blank = RegionInfo {
            index,
            flags: RegionFlags::empty(),
            size: 0,
            offset: 0,
            capabilities: Vec::new(),
        };
        let (info, mut files) = ask(RegionInfo::SIZE, |argsz| {
            let request = blank.encode(argsz)?;
            self.call(Command::DEVICE_GET_REGION_INFO, &request, |payload, fds| {
                answered(payload, argsz, |payload| {
                    Ok((RegionInfo::decode(payload)?, fds))
                })
            })
        })?;
        if info.index != index || files.len() > 1 {
            return Err(Errno::EPROTO);
        }
        Ok((info, files.pop()))
    }

    /// One request to read, of at most what the server takes.
    fn read_once(&self, access: RegionAccess, data: &mut [u8]) -> Result<usize, Errno> {
        self.call(Command::REGION_READ, &access.encode(), |payload, _| {
            let (reply, read) =
                RegionAccess::decode_with_data(payload).map_err(|_| Errno::EPROTO)?;
            let same = (reply.region, reply.offset) == (access.region, access.offset);
            match data.get_mut(..read.len()) {
                Some(data) if same => data.copy_from_slice(read),
                _ => return Err(Errno::EPROTO),
            }
            Ok(read.len())
        })
    }

    /// One request to write, of at most what the server takes.
    fn write_once(&self, access: RegionAccess, data: &[u8]) -> Result<usize, Errno> {
        let parts = [&access.encode(), data];
        self.state()
            .channel
            .call(Command::REGION_WRITE, parts, &[], |payload, _| {
                let reply = RegionAccess::decode(payload).map_err(|_| Errno::EPROTO)?;
                match usize::try_from(reply.count) {
                    Ok(written) if written <= data.len() => Ok(written),
                    _ => Err(Errno::EPROTO),
                }
            })
    }

    /// Splits an access of `len` bytes into those that the server takes, until one is short. An
    /// error after the first is a short access, as with the kernel's.
    fn split(
        &self,
        region: RegionIndex,
        offset: u64,
        len: usize,
        mut once: impl FnMut(RegionAccess, std::ops::Range<usize>) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut done = 0usize;
        loop {
            let part = done..len.min(done.saturating_add(self.server.max_data_xfer_size));
            let access = RegionAccess {
                offset: offset.checked_add(done as u64).ok_or(Errno::EINVAL)?,
                region,
                count: u32::try_from(part.len()).map_err(|_| Errno::EINVAL)?,
            };
            match once(access, part.clone()) {
                Ok(count) => {
                    done += count;
                    if done == len || count < part.len() {
                        return Ok(done);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Device for Client {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        device_info(&mut self.state().channel)
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        let (info, file) = self.region(index)?;
        let slot = usize::try_from(index.0)
            .ok()
            .and_then(|index| self.region_files.get(index));
        if let (Some(slot), Some(file)) = (slot, file) {
            // The first one stays: it may have been lent.
            let _ = slot.set(file);
        }
        Ok(info)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        let blank = IrqInfo {
            index,
            flags: IrqFlags::empty(),
            count: 0,
            capabilities: Vec::new(),
        };
        let info = ask(IrqInfo::SIZE, |argsz| {
            // Only the first 16 bytes are a request.
            let mut request = blank.encode(argsz)?;
            request.truncate(IrqInfo::SIZE);
            self.call(Command::DEVICE_GET_IRQ_INFO, &request, |payload, _| {
                answered(payload, argsz, IrqInfo::decode)
            })
        })?;
        if info.index != index {
            return Err(Errno::EPROTO);
        }
        Ok(info)
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        client_irqs::set(&mut self.state(), self.server.max_msg_fds, request)?;
        Ok(IrqSetAnswer::Done)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        self.split(index, offset, data.len(), |access, part| {
            self.read_once(access, data.get_mut(part).unwrap_or_default())
        })
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.split(index, offset, data.len(), |access, part| {
            self.write_once(access, data.get(part).unwrap_or_default())
        })
    }

    fn reset(&self) -> Result<(), Errno> {
        self.call(Command::DEVICE_RESET, &[], empty)
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        let slot = self.region_files.get(usize::try_from(index.0).ok()?)?;
        if slot.get().is_none() {
            self.region_info(index).ok()?;
        }
        slot.get().map(AsFd::as_fd)
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        if self.server.gfx == Extension::Absent {
            return Err(UNSUPPORTED_REQUEST);
        }
        let request = GfxRequest::Probe(transport).encode();
        self.call(Command::QUERY_GFX_PLANE, &request, empty)
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        if self.server.gfx == Extension::Absent {
            return Err(UNSUPPORTED_REQUEST);
        }
        let request = GfxRequest::Query { transport, plane }.encode();
        let info = self.call(Command::QUERY_GFX_PLANE, &request, |payload, _| {
            Ok(GfxPlaneInfo::decode(payload)?)
        })?;
        if info.plane != plane || info.surface.transport() != transport {
            return Err(Errno::EPROTO);
        }
        Ok(info)
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        if self.server.gfx == Extension::Absent {
            return Err(UNSUPPORTED_REQUEST);
        }
        self.call(Command::GET_GFX_DMABUF, id.0.as_bytes(), |payload, fds| {
            let mut fds = fds.into_iter();
            match (payload, fds.next(), fds.next()) {
                ([], Some(fd), None) => Ok(fd),
                _ => Err(Errno::EPROTO),
            }
        })
    }

    fn save(&self) -> Result<OwnedFd, Errno> {
        if self.server.save == Extension::Absent {
            return Err(UNSUPPORTED_REQUEST);
        }
        self.ask_for_saved()
    }

    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.server.save == Extension::Absent {
            return Err(UNSUPPORTED_REQUEST);
        }
        self.send_saved(saved)
    }
}
