//! What a server does for each command.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use zerocopy::FromBytes;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionInfo;

use crate::command::Command;
use crate::dma::DmaFlags;
use crate::dma::DmaRegion;
use crate::dma::DmaSpace;
use crate::dma::DmaUnmap;
use crate::dma_table::DmaTable;
use crate::header::HeaderFlags;
use crate::header::MessageType;
use crate::inbox::Message;
use crate::irq_bindings::IrqBindings;
use crate::limits::Limits;
use crate::negotiation;
use crate::negotiation::Agreed;
use crate::negotiation::Extension;
use crate::outbox::Outbox;
use crate::outbox::Payload;
use crate::region_access::RegionAccess;
use crate::region_access::RegionWrites;
use crate::saved_device;
use crate::version::Version;

/// Bytes of a `vfio_user_device_info`, which is that of VFIO without capabilities.
const DEVICE_INFO_SIZE: u32 = 16;

/// A device, and what one client has of it.
#[derive(Debug)]
pub(crate) struct Dispatch {
    device: Arc<dyn Device>,
    dma_space: Option<Arc<dyn DmaSpace>>,
    limits: Limits,
    /// Nothing before the client's version.
    agreed: Option<Agreed>,
    dma: DmaTable,
    irqs: IrqBindings,
    /// Whether the device is stopped because this client has saved it.
    saved: bool,
}

impl Dispatch {
    pub(crate) fn new(
        device: Arc<dyn Device>,
        dma_space: Option<Arc<dyn DmaSpace>>,
        limits: Limits,
    ) -> Self {
        let limits = limits.clamped();
        Self {
            device,
            dma_space,
            limits,
            agreed: None,
            dma: DmaTable::new(limits.max_dma_maps),
            irqs: IrqBindings::default(),
            saved: false,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether the client's version has been answered.
    pub(crate) const fn has_agreed(&self) -> bool {
        self.agreed.is_some()
    }

    /// Serves one message, and puts the reply, if there is to be one, into the outbox.
    pub(crate) fn answer(&mut self, message: Message<'_>, outbox: &mut Outbox) {
        let header = message.header;
        if header.message_type() == MessageType::Reply {
            // This server asks for nothing, and a reply to a reply would have no end.
            tracing::debug!(command = %header.command, "reply to nothing");
            return;
        }
        let serve = |reply: &mut Payload<'_>| {
            self.serve(message, reply).inspect_err(|error| {
                tracing::debug!(command = %header.command, ?error, "request refused");
            })
        };
        if header.flags.contains(HeaderFlags::NO_REPLY) {
            // Refused or not, nobody wants to know.
            outbox.discard(|reply| {
                let _ = serve(reply);
            });
        } else {
            outbox.reply(&header, serve);
        }
    }

    fn serve(&mut self, message: Message<'_>, reply: &mut Payload<'_>) -> Result<(), Errno> {
        let Message {
            header,
            payload,
            fds,
        } = message;
        let fds = fds?;
        if header.message_type() != MessageType::Command {
            return Err(Errno::EINVAL);
        }
        let takes_fds = [
            Command::DMA_MAP,
            Command::DEVICE_SET_IRQS,
            Command::RESTORE_DEVICE,
        ]
        .contains(&header.command);
        if !takes_fds && !fds.is_empty() {
            return Err(Errno::EINVAL);
        }
        let Some(agreed) = self.agreed else {
            return match header.command {
                Command::VERSION => self.version(payload, reply),
                _ => Err(Errno::EINVAL),
            };
        };
        match header.command {
            // Once a connection.
            Command::VERSION => Err(Errno::EINVAL),
            Command::REGION_READ => self.region_read(payload, reply),
            Command::REGION_WRITE => self.region_write(payload, reply),
            Command::REGION_WRITE_MULTI => self.region_write_multi(payload, reply),
            Command::DMA_MAP => self.dma_map(payload, fds),
            Command::DMA_UNMAP => self.dma_unmap(payload, reply),
            Command::DEVICE_GET_INFO => self.device_info(payload, reply),
            Command::DEVICE_GET_REGION_INFO => self.region_info(agreed, payload, reply),
            Command::DEVICE_GET_IRQ_INFO => self.irq_info(payload, reply),
            Command::DEVICE_SET_IRQS => self.irqs.set(&*self.device, payload, fds),
            Command::DEVICE_RESET if payload.is_empty() => {
                self.device.reset()?;
                self.saved = false;
                Ok(())
            }
            Command::DEVICE_RESET => Err(Errno::EINVAL),
            Command::QUERY_GFX_PLANE if agreed.gfx == Extension::Agreed => {
                self.query_gfx_plane(payload, reply)
            }
            Command::GET_GFX_DMABUF if agreed.gfx == Extension::Agreed => {
                self.gfx_dmabuf(payload, reply)
            }
            Command::SAVE_DEVICE if agreed.save == Extension::Agreed => {
                saved_device::save(&*self.device, payload, reply)?;
                self.saved = true;
                Ok(())
            }
            Command::RESTORE_DEVICE if agreed.save == Extension::Agreed => {
                saved_device::restore(&*self.device, payload, fds)?;
                self.saved = false;
                Ok(())
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn version(&mut self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let proposed = Version::decode(payload).map_err(|error| {
            tracing::warn!(%error, "version of a client refused");
            Errno::from(error)
        })?;
        let (version, agreed) = negotiation::answer(&self.limits, &proposed);
        reply.push(&version.encode()?);
        self.agreed = Some(agreed);
        Ok(())
    }

    /// The count of an access, if it is not more than was agreed on.
    fn count(&self, access: &RegionAccess) -> Result<usize, Errno> {
        if access.count > self.limits.max_data_xfer_size {
            return Err(Errno::EINVAL);
        }
        usize::try_from(access.count).map_err(|_| Errno::EINVAL)
    }

    fn region_read(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let access = RegionAccess::decode(payload)?;
        let count = self.count(&access)?;
        reply.push(&access.encode());
        let data = reply.zeros(count);
        let read = self
            .device
            .region_read(access.region, access.offset, data)?;
        if read < count {
            let access = RegionAccess {
                count: u32::try_from(read).map_err(|_| Errno::EOVERFLOW)?,
                ..access
            };
            reply.truncate(RegionAccess::SIZE + read);
            reply.written()[..RegionAccess::SIZE].copy_from_slice(&access.encode());
        }
        Ok(())
    }

    fn region_write(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let (access, data) = RegionAccess::decode_with_data(payload)?;
        self.count(&access)?;
        let written = self
            .device
            .region_write(access.region, access.offset, data)?;
        let access = RegionAccess {
            count: u32::try_from(written.min(data.len())).map_err(|_| Errno::EOVERFLOW)?,
            ..access
        };
        reply.push(&access.encode());
        Ok(())
    }

    /// Stops at the first that fails; that is an error only if none was done before it.
    fn region_write_multi(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let writes = RegionWrites::decode(payload)?;
        let mut done = 0;
        for (access, data, len) in writes.iter() {
            let data = &data[..len];
            match self.device.region_write(access.region, access.offset, data) {
                Ok(_) => done += 1,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        reply.push(&RegionWrites::encode_reply(done));
        Ok(())
    }

    fn dma_map(&mut self, payload: &[u8], mut fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let region = DmaRegion::decode(payload)?;
        if fds.len() > 1 {
            return Err(Errno::EINVAL);
        }
        let file = fds.pop();
        let needs_file = region.flags.intersects(DmaFlags::MMAP | DmaFlags::FILE_IO);
        if needs_file && file.is_none() {
            return Err(Errno::EINVAL);
        }
        let dma_space = self.dma_space.as_deref();
        self.dma.map(region, || match dma_space {
            Some(dma_space) => dma_space.map(&region, file),
            None => Ok(()),
        })
    }

    fn dma_unmap(&mut self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let unmap = DmaUnmap::decode(payload)?;
        let dma_space = self.dma_space.as_deref();
        let tell = |region: &DmaRegion| {
            if let Some(dma_space) = dma_space {
                dma_space.unmap(region);
            }
        };
        match unmap {
            DmaUnmap::All => self.dma.unmap_all(tell),
            DmaUnmap::Range(range) => self.dma.unmap(range, tell)?,
        }
        reply.push(&unmap.encode());
        Ok(())
    }

    fn device_info(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        DeviceInfo::decode_request(payload).map_err(cut_off)?;
        let info = DeviceInfo {
            capabilities: Vec::new(),
            ..self.device.info()?
        };
        reply.push(&info.encode(DEVICE_INFO_SIZE)?);
        Ok(())
    }

    /// The file goes with the answer that is complete, not with one that is to be asked for again.
    fn region_info(
        &self,
        agreed: Agreed,
        payload: &[u8],
        reply: &mut Payload<'_>,
    ) -> Result<(), Errno> {
        let (index, argsz) = RegionInfo::decode_request(payload).map_err(cut_off)?;
        let mut info = self.device.region_info(index)?;
        let file = self
            .device
            .region_fd(index)
            .filter(|_| info.flags.contains(RegionFlags::MMAP) && agreed.client_max_msg_fds > 0);
        if file.is_none() {
            info.flags.remove(RegionFlags::MMAP);
        }
        reply.push(&info.encode(argsz)?);
        let chain_fits = reply.written().len() > RegionInfo::SIZE;
        if info.capabilities.is_empty() || chain_fits {
            state_size(reply)?;
            if let Some(file) = file {
                let file = file.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
                reply.attach(file);
            }
        }
        Ok(())
    }

    fn irq_info(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let (index, argsz) = IrqInfo::decode_request(payload).map_err(cut_off)?;
        let info = self.device.irq_info(index)?;
        reply.push(&info.encode(argsz)?);
        let chain_fits = reply.written().len() > IrqInfo::SIZE_WITH_CAPABILITIES;
        if info.capabilities.is_empty() || chain_fits {
            state_size(reply)?;
        }
        Ok(())
    }

    fn query_gfx_plane(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        match GfxRequest::decode(payload).map_err(cut_off)? {
            GfxRequest::Probe(transport) => self.device.probe_gfx(transport),
            GfxRequest::Query { transport, plane } => {
                let info = self.device.query_gfx_plane(transport, plane)?;
                let argsz = u32::try_from(GfxPlaneInfo::SIZE).map_err(|_| Errno::EOVERFLOW)?;
                reply.push(&info.encode(argsz)?);
                Ok(())
            }
        }
    }

    fn gfx_dmabuf(&self, payload: &[u8], reply: &mut Payload<'_>) -> Result<(), Errno> {
        let id = u32::read_from_bytes(payload).map_err(|_| Errno::EINVAL)?;
        reply.attach(self.device.gfx_dmabuf(DmabufId(id))?);
        Ok(())
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.irqs.release(&*self.device);
        if self.saved {
            // Nobody is left who could restore it, and the next client is to find one that works.
            self.device.resume();
        }
        let dma_space = self.dma_space.as_deref();
        self.dma.unmap_all(|region| {
            if let Some(dma_space) = dma_space {
                dma_space.unmap(region);
            }
        });
    }
}

/// The kernel cannot read beyond the caller's memory; here the caller's memory is the message.
fn cut_off(errno: Errno) -> Errno {
    if errno == Errno::EFAULT {
        Errno::EINVAL
    } else {
        errno
    }
}

/// `argsz` of a complete answer is its size, where the kernel leaves it as the caller had it.
fn state_size(reply: &mut Payload<'_>) -> Result<(), Errno> {
    let written = reply.written();
    let size = u32::try_from(written.len()).map_err(|_| Errno::EOVERFLOW)?;
    if let Some(argsz) = written.first_chunk_mut() {
        *argsz = size.to_ne_bytes();
    }
    Ok(())
}
