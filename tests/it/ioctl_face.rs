//! A device of this process, or one over vfio-user, as the ioctls it stands in for.
//!
//! What the kernel does before a driver is asked, the header's checks and looking fds up by their
//! numbers, is done here with the same code that a server or a simulator does it with.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio::RawDevice;
use irqbroker_vfio::Request;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqDataKind;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqPayload;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqSetHeader;
use irqbroker_vfio_abi::RawFds;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::UNSUPPORTED_REQUEST;
use irqbroker_vfio_abi::ValidatedHeader;
use irqbroker_vfio_user::Client;
use rustix::process::PidfdFlags;
use rustix::process::PidfdGetfdFlags;

/// A device of this process.
#[derive(Debug)]
pub(crate) struct InProcess<'a>(pub(crate) &'a dyn Device);

/// A device at the other end of a socket. What is well formed goes through the client's methods,
/// what is not to the server as it is.
#[derive(Debug)]
pub(crate) struct OverVfioUser<'a>(pub(crate) &'a Client);

impl RawDevice for InProcess<'_> {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        let device = self.0;
        if !request.is_covered_by(argument) {
            return Err(Errno::EFAULT);
        }
        match request {
            Request::GetInfo => {
                let argsz = DeviceInfo::decode_request(argument)?;
                write_back(argument, &device.info()?.encode(argsz)?)
            }
            Request::GetRegionInfo => {
                let (index, argsz) = RegionInfo::decode_request(argument)?;
                write_back(argument, &device.region_info(index)?.encode(argsz)?)
            }
            Request::GetIrqInfo => {
                let (index, argsz) = IrqInfo::decode_request(argument)?;
                write_back(argument, &device.irq_info(index)?.encode(argsz)?)
            }
            Request::SetIrqs => set_irqs(device, &well_formed(device, argument)?, argument),
            Request::Reset => device.reset().map(|()| 0),
            Request::QueryGfxPlane => query_plane(device, argument),
            Request::GetGfxDmabuf => dmabuf(device, argument),
            Request::Ioeventfd | Request::Unknown => Err(UNSUPPORTED_REQUEST),
        }
    }
}

impl RawDevice for OverVfioUser<'_> {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        let client = self.0;
        if !request.is_covered_by(argument) {
            return Err(Errno::EFAULT);
        }
        match request {
            Request::GetInfo => self.info(4, request, argument),
            Request::GetRegionInfo => self.info(5, request, argument),
            Request::GetIrqInfo => self.info(7, request, argument),
            Request::SetIrqs => match well_formed(client, argument) {
                Ok(valid) => set_irqs(client, &valid, argument),
                Err(refusal) if wants_room_for_fds(argument) => Err(refusal),
                Err(_) => client.send_raw(8, argument).map(|_| 0),
            },
            Request::Reset => client.reset().map(|()| 0),
            Request::QueryGfxPlane if client.has_gfx() => self.info(0x8001, request, argument),
            Request::QueryGfxPlane => query_plane(client, argument),
            Request::GetGfxDmabuf => dmabuf(client, argument),
            // Numbers of nobody's: the protocol has no ioeventfds.
            Request::Ioeventfd | Request::Unknown => match client.send_raw(0x7fff, &[]) {
                Err(Errno::EOPNOTSUPP) => Err(UNSUPPORTED_REQUEST),
                answer => answer.map(|_| 0),
            },
        }
    }
}

impl OverVfioUser<'_> {
    /// A structure that is sent and comes back. A reply states its own size, where the kernel
    /// leaves a sufficient `argsz` as it was.
    fn info(&self, command: u16, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        let reply = self
            .0
            .send_raw(command, &argument[..request.fixed_size()])?;
        let argsz = |bytes: &[u8]| bytes.first_chunk().map(|size| u32::from_ne_bytes(*size));
        let asked = argsz(argument);
        write_back(argument, &reply)?;
        if argsz(&reply) < asked
            && let (Some(asked), Some(room)) = (asked, argument.first_chunk_mut())
        {
            *room = asked.to_ne_bytes();
        }
        Ok(0)
    }
}

/// The header of a request that the device is to be asked, and not the kernel's core alone.
fn well_formed(device: &dyn Device, argument: &[u8]) -> Result<ValidatedHeader, Errno> {
    let header = IrqSetHeader::decode(argument)?;
    let valid = header.validate(IrqLimits {
        num_irqs: device.info()?.num_irqs,
        count: device.irq_info(header.index)?.count,
    })?;
    valid.action().map(|_| valid)
}

/// Whether all that is wrong is that `argsz` leaves no room for fds. That cannot be said over a
/// socket, where these are beside the message.
fn wants_room_for_fds(argument: &[u8]) -> bool {
    IrqSetHeader::decode(argument).is_ok_and(|header| {
        let roomy = IrqSetHeader {
            argsz: u32::MAX,
            ..header
        };
        let limits = IrqLimits {
            num_irqs: u32::MAX,
            count: u32::MAX,
        };
        let kind = roomy.validate(limits).map(|valid| valid.data());
        kind == Ok(IrqDataKind::Eventfd) && header.validate(limits).is_err()
    })
}

fn set_irqs(device: &dyn Device, valid: &ValidatedHeader, argument: &[u8]) -> Result<u32, Errno> {
    let ask = |data: IrqData<'_>| {
        let answer = device.set_irqs(&IrqSet {
            index: valid.index(),
            start: valid.start(),
            action: valid.action()?,
            data,
        })?;
        Ok(match answer {
            IrqSetAnswer::Done => 0,
            IrqSetAnswer::Fewer(available) => available,
        })
    };
    match valid.payload(argument)? {
        IrqPayload::None => ask(IrqData::None {
            count: valid.count(),
        }),
        IrqPayload::Bool(bytes) => {
            let bools: Vec<bool> = bytes.iter().map(|&byte| byte != 0).collect();
            ask(IrqData::Bool(&bools))
        }
        IrqPayload::Eventfds(numbers) => bind(numbers, ask),
    }
}

/// Types know no closed fd. The device is given a file that is no eventfd in its place, so that it
/// does what it does on meeting one that is bad, and the answer is changed to the kernel's.
fn bind(
    numbers: RawFds<'_>,
    ask: impl FnOnce(IrqData<'_>) -> Result<u32, Errno>,
) -> Result<u32, Errno> {
    let process = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let null = OwnedFd::from(File::open("/dev/null").map_err(|_| Errno::EMFILE)?);
    let found: Vec<Option<Option<OwnedFd>>> = numbers
        .iter()
        .map(|number| {
            let held = || rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty());
            (number >= 0).then(|| held().ok())
        })
        .collect();
    let fds: Vec<Option<BorrowedFd<'_>>> = found
        .iter()
        .map(|fd| fd.as_ref().map(|fd| fd.as_ref().unwrap_or(&null).as_fd()))
        .collect();
    let closed = found.iter().any(|fd| matches!(fd, Some(None)));
    match ask(IrqData::Eventfds(&fds)) {
        Err(Errno::EINVAL) if closed => Err(Errno::EBADF),
        answer => answer,
    }
}

fn query_plane(device: &dyn Device, argument: &mut [u8]) -> Result<u32, Errno> {
    let (transport, plane) = match GfxRequest::decode(argument)? {
        GfxRequest::Probe(transport) => return device.probe_gfx(transport).map(|()| 0),
        GfxRequest::Query { transport, plane } => (transport, plane),
    };
    let argsz = argument.first_chunk().ok_or(Errno::EFAULT)?;
    let answer = device.query_gfx_plane(transport, plane)?;
    write_back(argument, &answer.encode(u32::from_ne_bytes(*argsz))?)
}

fn dmabuf(device: &dyn Device, argument: &[u8]) -> Result<u32, Errno> {
    let id = argument.first_chunk().ok_or(Errno::EFAULT)?;
    let picture = device.gfx_dmabuf(DmabufId(u32::from_ne_bytes(*id)))?;
    u32::try_from(picture.into_raw_fd()).map_err(|_| Errno::EBADF)
}

fn write_back(argument: &mut [u8], answer: &[u8]) -> Result<u32, Errno> {
    let room = argument.get_mut(..answer.len()).ok_or(Errno::EFAULT)?;
    room.copy_from_slice(answer);
    Ok(0)
}
