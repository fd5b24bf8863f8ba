//! A device at the other end of a socket.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt::Timeout;

use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;

use crate::channel::Channel;
use crate::command::Command;
use crate::dma::DmaRegion;
use crate::dma::DmaUnmap;
use crate::error::ConnectError;
use crate::limits::Limits;
use crate::limits::SCM_MAX_FD;
use crate::negotiation::Extension;
use crate::version::Capabilities;
use crate::version::GFX_REVISION;
use crate::version::Irqbroker;
use crate::version::PROTOCOL_MAJOR;
use crate::version::PROTOCOL_MINOR;
use crate::version::SAVE_REVISION;
use crate::version::Version;

/// More regions than any device has.
const REGIONS_MAX: u32 = 256;

/// What a client does its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long a request may take. The connection is over after one that takes longer.
    pub timeout: Duration,
    /// Bytes of data that are asked for with one request; more are asked for with several.
    pub max_data_xfer_size: u32,
}

impl Default for ClientOptions {
    /// A minute, since on a busy machine a server may get no processor for seconds; 1 MiB.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            max_data_xfer_size: Limits::default().max_data_xfer_size,
        }
    }
}

/// A device at the other end of a socket: a [`Device`](irqbroker_vfio_abi::Device) whose every
/// call is a request and its reply.
///
/// Requests of several threads wait for each other; interrupts do not, since they are eventfds.
/// Beside the device's own errors a call fails with ETIMEDOUT if the server does not answer,
/// EPROTO if it answers nonsense, and ENODEV once it is gone. What a server answers out of step,
/// or late, ends the connection; connect anew, and bind and map all again.
#[derive(Debug)]
pub struct Client {
    /// Held for a request, or for the several that one call takes; no other lock is taken under it.
    state: Mutex<ClientState>,
    pub(crate) server: ServerLimits,
    /// The files of regions, as they came first.
    pub(crate) region_files: Vec<OnceLock<OwnedFd>>,
}

/// What a request needs of the client.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) channel: Channel,
    /// How many vectors of an index the server has been told of since it was disabled last.
    pub(crate) enabled: BTreeMap<IrqIndex, u32>,
}

/// What the server takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerLimits {
    /// Fds with one message.
    pub(crate) max_msg_fds: usize,
    /// Bytes of data with one message, on both sides; not 0.
    pub(crate) max_data_xfer_size: usize,
    pub(crate) gfx: Extension,
    pub(crate) save: Extension,
}

impl Client {
    /// Connects to a server's socket file.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the handshake fails; see [`ConnectError`].
    pub fn connect(path: &Path, options: ClientOptions) -> Result<Self, ConnectError> {
        let refused = |source| ConnectError::Connect {
            path: path.to_owned(),
            source,
        };
        let address = SocketAddrUnix::new(path).map_err(refused)?;
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|source| ConnectError::Socket { source })?;
        // A server that does not accept lets its clients wait here.
        rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(options.timeout))
            .map_err(|source| ConnectError::Socket { source })?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address)).map_err(refused)?;
        Self::with_socket(socket, options)
    }

    /// Takes a socket that is connected to a server.
    ///
    /// # Errors
    ///
    /// The handshake fails; see [`ConnectError`].
    pub fn with_stream(stream: UnixStream, options: ClientOptions) -> Result<Self, ConnectError> {
        Self::with_socket(stream.into(), options)
    }

    fn with_socket(socket: OwnedFd, options: ClientOptions) -> Result<Self, ConnectError> {
        let limits = Limits {
            max_data_xfer_size: options.max_data_xfer_size,
            ..Limits::default()
        };
        let mut channel = Channel::new(socket, options.timeout, &limits)
            .map_err(|source| ConnectError::Socket { source })?;
        let server = negotiate(&mut channel, &limits)?;
        let info = device_info(&mut channel).map_err(handshake(Command::DEVICE_GET_INFO))?;
        let regions = usize::try_from(info.num_regions).unwrap_or(usize::MAX);
        if info.num_regions > REGIONS_MAX {
            return Err(ConnectError::TooManyRegions {
                num_regions: info.num_regions,
                max: REGIONS_MAX,
            });
        }
        Ok(Self {
            state: Mutex::new(ClientState {
                channel,
                enabled: BTreeMap::new(),
            }),
            server,
            region_files: (0..regions).map(|_| OnceLock::new()).collect(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ClientState> {
        // What a panicking thread leaves is a reply that was not taken: out of step, and found out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call<T>(
        &self,
        command: Command,
        payload: &[u8],
        read: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.state()
            .channel
            .call(command, [payload, &[]], &[], read)
    }

    /// Lends memory to the device, which accesses it in `file`.
    ///
    /// # Errors
    ///
    /// EEXIST if some of it is mapped already, EINVAL for an empty region; else as the server
    /// and [`Client`] have it.
    pub fn dma_map(&self, region: &DmaRegion, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.state()
            .channel
            .call(Command::DMA_MAP, [&region.encode(), &[]], &[file], empty)
    }

    /// Takes memory back. The device does not access it once this returns.
    ///
    /// # Errors
    ///
    /// EINVAL if a region is partly outside of the range; else as the server and [`Client`] have
    /// it.
    pub fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno> {
        // What is answered is what was asked.
        self.call(Command::DMA_UNMAP, &unmap.encode(), |_, _| Ok(()))
    }

    /// Sends a request as it is, right or wrong, and returns the payload of its reply: for tests of
    /// what a server makes of what no method of a client's would say.
    ///
    /// # Errors
    ///
    /// As the server and [`Client`] have it.
    #[cfg(any(test, feature = "testing"))]
    pub fn send_raw(&self, command: u16, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        self.call(Command(command), payload, |payload, _| Ok(payload.to_vec()))
    }

    /// Whether both sides know the graphics commands, without which the device shows nothing.
    #[must_use]
    pub fn has_gfx(&self) -> bool {
        self.server.gfx == Extension::Agreed
    }
}

fn handshake(request: Command) -> impl FnOnce(Errno) -> ConnectError {
    move |source| ConnectError::Handshake { request, source }
}

fn negotiate(channel: &mut Channel, limits: &Limits) -> Result<ServerLimits, ConnectError> {
    let proposed = Version {
        major: PROTOCOL_MAJOR,
        minor: PROTOCOL_MINOR,
        capabilities: Capabilities {
            max_msg_fds: Some(Limits::default().max_msg_fds as u64),
            max_data_xfer_size: Some(u64::from(limits.max_data_xfer_size)),
            irqbroker: Some(Irqbroker {
                gfx: Some(GFX_REVISION),
                save: Some(SAVE_REVISION),
            }),
            ..Capabilities::default()
        },
    };
    let payload = proposed.encode().map_err(ConnectError::Version)?;
    let answer = channel
        .call(Command::VERSION, [&payload, &[]], &[], |payload, _| {
            Ok(Version::decode(payload))
        })
        .map_err(handshake(Command::VERSION))?
        .map_err(ConnectError::Version)?;
    let capabilities = &answer.capabilities;
    let ours = usize::try_from(limits.max_data_xfer_size).unwrap_or(usize::MAX);
    let max_data_xfer_size = capabilities.max_data_xfer_size().min(ours);
    if max_data_xfer_size == 0 {
        return Err(ConnectError::NoData { max_data_xfer_size });
    }
    Ok(ServerLimits {
        max_msg_fds: capabilities.max_msg_fds().min(SCM_MAX_FD),
        max_data_xfer_size,
        // Another revision than was proposed is none that could be spoken.
        gfx: match capabilities.gfx() {
            GFX_REVISION => Extension::Agreed,
            _ => Extension::Absent,
        },
        save: match capabilities.save() {
            SAVE_REVISION => Extension::Agreed,
            _ => Extension::Absent,
        },
    })
}

/// All of a device's description that this protocol has.
const DEVICE_INFO_ARGSZ: u32 = 16;

pub(crate) fn device_info(channel: &mut Channel) -> Result<DeviceInfo, Errno> {
    let request = DeviceInfo {
        flags: DeviceFlags::empty(),
        num_regions: 0,
        num_irqs: 0,
        capabilities: Vec::new(),
    };
    let request = request.encode(DEVICE_INFO_ARGSZ)?;
    channel.call(
        Command::DEVICE_GET_INFO,
        [&request, &[]],
        &[],
        |payload, _| Ok(DeviceInfo::decode(payload)?),
    )
}

/// A reply without payload.
pub(crate) fn empty(payload: &[u8], _: Vec<OwnedFd>) -> Result<(), Errno> {
    if payload.is_empty() {
        Ok(())
    } else {
        Err(Errno::EPROTO)
    }
}

#[cfg(test)]
mod tests;
