//! A head of a served vGPU over VNC, on a thread of its own.
//!
//! What is encoded for a viewer holds up no access of the guest.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use irqbroker::Wait;
use irqbroker::vgpu::HeadId;
use irqbroker::vgpu::VgpuDevice;
use irqbroker_display::BindError;
use irqbroker_display::Exposure;
use irqbroker_display::Password;
use irqbroker_display::Resize;
use irqbroker_display::Security;
use irqbroker_display::VncOptions;
use irqbroker_display::VncServer;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use serde::Serialize;

use super::args::VncArgs;

/// How long nothing is tried again that has failed: what it needs may be free again by then.
const PAUSE: Duration = Duration::from_millis(100);

/// How much of a password's file is read: more than its first line may have.
const PASSWORD_FILE: u64 = 256;

/// Where a head is shown, and what a viewer has to know.
#[derive(Debug, Serialize)]
pub(super) struct Vnc {
    address: SocketAddr,
    head: u8,
    /// If it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Vnc {
    /// The address, and the password if it was made here.
    pub(super) fn told(&self) -> (SocketAddr, Option<&str>) {
        (self.address, self.password.as_deref())
    }
}

/// Starts to show a head, if that is asked for; until the process ends.
///
/// # Errors
///
/// The address cannot be listened on.
pub(super) fn start(
    args: &VncArgs,
    security: Option<(Security, Option<String>)>,
    device: &Arc<VgpuDevice>,
) -> anyhow::Result<Option<Vnc>> {
    let (Some(address), Some((security, password))) = (args.address, security) else {
        return Ok(None);
    };
    let view = device.head_view(HeadId(args.head))?;
    let (view, resize) = match args.resize {
        false => (view, Resize::Refused),
        true => (view.with_monitor(), Resize::Monitor),
    };
    let options = VncOptions {
        // The head that the view tells of.
        head: args.head.into(),
        name: format!("{} head {}", device.instance().name(), args.head),
        resize,
        exposure: if args.allow_remote {
            Exposure::Anywhere
        } else {
            Exposure::Loopback
        },
        ..VncOptions::new(security)
    };
    let server = VncServer::bind(address, Arc::new(view), options).map_err(remedied)?;
    let vnc = Vnc {
        address: server.address(),
        head: args.head,
        password,
    };
    std::thread::Builder::new()
        .name("vnc".to_owned())
        .spawn(move || serve(server))
        .context("cannot start the thread for vnc")?;
    Ok(Some(vnc))
}

fn serve(mut server: VncServer) {
    loop {
        if let Err(error) = server.service(Wait::Forever) {
            // Too many open files, or a device that is gone.
            tracing::warn!(%error, "vnc");
            std::thread::sleep(PAUSE);
        }
    }
}

/// What viewers have to know if there are to be any, and the text of a password that was made here.
///
/// # Errors
///
/// The password is none, or cannot be read or made.
pub(super) fn security(args: &VncArgs) -> anyhow::Result<Option<(Security, Option<String>)>> {
    if args.address.is_none() {
        return Ok(None);
    }
    if args.no_password {
        return Ok(Some((Security::None, None)));
    }
    if let Some(file) = &args.password_file {
        return Ok(Some((Security::Password(read_password(file)?), None)));
    }
    let (password, text) = Password::generate().context("the kernel has no random bytes")?;
    Ok(Some((Security::Password(password), Some(text))))
}

fn read_password(file: &Path) -> anyhow::Result<Password> {
    let cannot = || format!("cannot read {}", file.display());
    // A pipe that nobody writes to would have this wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(file, flags, Mode::empty()).with_context(cannot)?;
    let opened = File::from(opened);
    if !opened.metadata().with_context(cannot)?.is_file() {
        bail!("{} is no regular file", file.display());
    }
    let mut bytes = Vec::new();
    // A password is all that is looked at.
    let mut opened = opened.take(PASSWORD_FILE);
    opened.read_to_end(&mut bytes).with_context(cannot)?;
    let line = bytes.split(|&byte| byte == b'\n').next();
    let line = std::str::from_utf8(line.unwrap_or_default())
        .with_context(|| format!("the first line of {} is no text", file.display()))?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    Password::new(line)
        .map_err(|error| anyhow::anyhow!("the first line of {}: {error}", file.display()))
}

/// Names the option that would allow what was refused.
fn remedied(error: BindError) -> anyhow::Error {
    let remedy = match error {
        BindError::Exposed { .. } => "; give --vnc-allow-remote",
        BindError::Open { .. } => "; leave --vnc-no-password out",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}{remedy}")
}

impl fmt::Display for Vnc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head {} over vnc on {}", self.head, self.address)?;
        match &self.password {
            Some(password) => writeln!(f, ", password {password}"),
            None => writeln!(f),
        }
    }
}
