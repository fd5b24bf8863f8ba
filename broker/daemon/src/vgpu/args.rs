//! What `irqbroker vgpu` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use clap::builder::ArgPredicate;
use irqbroker::vgpu::VgpuType;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio_user::SocketMode;

use crate::operator::ControlArgs;
use crate::vgpu_host::HostedArgs;
use crate::vgpu_host::SpawnerArgs;

/// Options of `irqbroker vgpu`.
#[derive(Debug, Args)]
pub(crate) struct VgpuArgs {
    #[command(subcommand)]
    pub(crate) command: VgpuCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VgpuCommand {
    /// Show the types a vGPU can have, and how many more a daemon has room for if one answers
    Types(TypesArgs),
    /// Offer one vGPU on a vfio-user socket, until a signal ends it
    Serve(ServeArgs),
    /// Save what a vGPU shows that `serve` offers, whoever uses it
    Screenshot(ScreenshotArgs),
    /// List the vGPUs the daemon hosts
    List(ListArgs),
    /// Have the daemon host a vGPU, in a process that outlives it
    Create(CreateArgs),
    /// End a vGPU the daemon hosts, unless it is in use
    Destroy(DestroyArgs),
    /// Start and end vGPUs for a daemon, which runs this itself
    #[command(hide = true)]
    Spawner(SpawnerArgs),
}

/// Options of `irqbroker vgpu serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Its type, as `irqbroker vgpu types` lists them; small if there is to be a test card
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_parser = vgpu_type,
        required = false,
        required_unless_present = "test_card",
        default_value_if("test_card", ArgPredicate::IsPresent, "small")
    )]
    pub(crate) vgpu_type: VgpuType,
    /// The socket file to make, and one for the picture of each head beside it (PATH.head0); QEMU takes it as
    /// -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'. With a test card it may be left
    /// out, and is in a new folder of this user, whose name is printed
    #[arg(long, value_name = "PATH", required_unless_present = "test_card")]
    pub(crate) socket: Option<PathBuf>,
    /// The permission bits of the socket files, in octal: whoever may write one has what it offers
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = socket_mode)]
    pub(crate) socket_mode: SocketMode,
    /// Have each head show a moving test card, drawn by the device itself, for want of a guest
    #[arg(long)]
    pub(crate) test_card: bool,
    #[command(flatten)]
    pub(crate) vnc: VncArgs,
    #[command(flatten)]
    pub(crate) hosted: HostedArgs,
}

/// How `irqbroker vgpu serve` shows a head over VNC.
#[derive(Debug, Args)]
pub(crate) struct VncArgs {
    /// Show a head to VNC viewers on this address, such as 127.0.0.1:5900; port 0 takes a free one. The password
    /// is made anew and printed once
    #[arg(long = "vnc", value_name = "ADDR")]
    pub(crate) address: Option<SocketAddr>,
    /// Which head
    #[arg(
        long = "vnc-head",
        value_name = "N",
        default_value_t = 0,
        requires = "address"
    )]
    pub(crate) head: u8,
    /// Take the password from the first line of a regular file: 1 to 8 bytes
    #[arg(long = "vnc-password-file", value_name = "FILE", requires = "address")]
    pub(crate) password_file: Option<PathBuf>,
    /// Ask for no password; only on a loopback address
    #[arg(
        long = "vnc-no-password",
        requires = "address",
        conflicts_with = "password_file"
    )]
    pub(crate) no_password: bool,
    /// Let a viewer that asks for another size, as when its window is resized, have the head's monitor prefer that
    /// size; the guest is told and sets the mode if it wants
    #[arg(long = "vnc-resize", requires = "address")]
    pub(crate) resize: bool,
    /// Allow an address that other hosts can reach; nothing that is sent is encrypted
    #[arg(long = "vnc-allow-remote", requires = "address")]
    pub(crate) allow_remote: bool,
}

/// Options of `irqbroker vgpu screenshot`.
#[derive(Debug, Args)]
pub(crate) struct ScreenshotArgs {
    /// The socket file that `irqbroker vgpu serve` was given
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "id",
        conflicts_with = "id"
    )]
    pub(crate) socket: Option<PathBuf>,
    /// The UUID of a vGPU the daemon hosts
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<String>,
    /// The control socket of that daemon; see `irqbroker status --help`
    #[arg(long, value_name = "PATH", requires = "id")]
    pub(crate) control: Option<PathBuf>,
    /// Which head
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) head: u8,
    /// How to have the picture from the vGPU: in a region, or as a dma-buf, which it makes where its host has
    /// /dev/udmabuf. The region if this is not given, or the dma-buf where there is no region
    #[arg(long, value_name = "TRANSPORT")]
    pub(crate) transport: Option<Transport>,
    /// The PNG to write; one that is there is replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// How a device hands out a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Region,
    Dmabuf,
}

impl From<Transport> for GfxTransport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Region => Self::Region,
            Transport::Dmabuf => Self::Dmabuf,
        }
    }
}

/// Options of `irqbroker vgpu types`.
#[derive(Debug, Args)]
pub(crate) struct TypesArgs {
    #[command(flatten)]
    pub(crate) control: ControlArgs,
}

/// Options of `irqbroker vgpu list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) control: ControlArgs,
}

/// Options of `irqbroker vgpu create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    /// Its type, as `irqbroker vgpu types` lists them
    #[arg(long = "type", value_name = "TYPE", value_parser = vgpu_type)]
    pub(crate) vgpu_type: VgpuType,
    /// Its UUID; made up if none is given
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<String>,
    /// Show its first head to VNC viewers on this address, such as 127.0.0.1:5900; the password is made anew,
    /// and is in a file beside the socket
    #[arg(long, value_name = "ADDR")]
    pub(crate) vnc: Option<String>,
}

/// Options of `irqbroker vgpu destroy`.
#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    /// Its UUID
    #[arg(value_name = "UUID")]
    pub(crate) id: String,
    /// Also if it is in use: its user is asked to give it back, and after ten seconds it ends
    #[arg(long)]
    pub(crate) force: bool,
}

fn vgpu_type(text: &str) -> Result<VgpuType, String> {
    VgpuType::find(text).ok_or_else(|| {
        let names: Vec<String> = VgpuType::ALL.map(|known| known.name.to_string()).to_vec();
        format!("the types are {}", names.join(", "))
    })
}

fn socket_mode(text: &str) -> Result<SocketMode, &'static str> {
    let bits = u32::from_str_radix(text, 8).ok();
    bits.and_then(SocketMode::new)
        .ok_or("must be permission bits in octal, as 0660")
}
