//! A running vGPU moves from one process to another, and its VMM goes on with it.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::Wait;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadEvent;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::Refresh;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::need::Need;
use crate::need::story;

/// The socket a process of this story serves on; it does nothing else.
const SERVE: &str = "IRQBROKER_IT_VGPU";
/// The display's interrupt, here known; a display finds it by its type.
const DISPLAY: IrqIndex = IrqIndex(5);
/// The frame counter of head 0 in the register BAR.
const FRAME: u64 = 0x908;
/// Vblanks on either side of the move. At 5 Hz, so that a busy host is not late for one.
const VBLANKS: u64 = 5;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "running_vgpu_moves_between_processes_with_its_pixels_and_every_vblank",
        Need::Nothing,
        moves,
    )]
}

/// Whether this process serves a vGPU to a story.
pub(crate) fn is_server() -> bool {
    std::env::var_os(SERVE).is_some()
}

/// Serves one until the story's process closes the pipe.
pub(crate) fn serve() -> anyhow::Result<()> {
    let path = PathBuf::from(std::env::var_os(SERVE).context("no socket")?);
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType {
        refresh: Refresh::new(5, 1)?,
        ..VgpuType::find("small").context("no such type")?
    };
    let device = parent.create_device(&vgpu, None)?;
    let mut server = Server::bind(&path, Arc::clone(&device) as _, ServerOptions::default())?;
    let _vblanks = parent.scheduler().spawn()?;
    println!("serving");
    loop {
        let stdin = std::io::stdin();
        let mut fds = [
            PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
        ];
        rustix::event::poll(&mut fds, None)?;
        if !fds[1].revents().is_empty() {
            return Ok(());
        }
        server.service(Wait::No)?;
    }
}

/// A process that serves a vGPU; killed on drop.
struct Serving {
    child: Child,
    client: Client,
}

impl Serving {
    fn spawn(socket: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(SERVE, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 7];
        let stdout = child.stdout.as_mut().context("no pipe")?;
        let ready = stdout.read_exact(&mut said).map_err(anyhow::Error::from);
        let client = ready.and_then(|()| Ok(Client::connect(socket, ClientOptions::default())?));
        match client {
            Ok(client) => Ok(Self { child, client }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn write(&self, region: RegionIndex, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        let written = self.client.region_write(region, offset, data)?;
        ensure!(written == data.len(), "wrote {written} of {}", data.len());
        Ok(())
    }

    fn frame(&self) -> anyhow::Result<u64> {
        let mut frame = [0; 8];
        self.client
            .region_read(RegionIndex::BAR2, FRAME, &mut frame)?;
        Ok(u64::from_le_bytes(frame))
    }

    /// 64x64 at 32 bits, from a line on.
    fn show(&self, line: u16) -> anyhow::Result<()> {
        let words = [(3, 32), (1, 64), (2, 64), (6, 64), (9, line), (4, 0xc1u16)];
        words.iter().try_for_each(|(word, value)| {
            let offset = 0x500 + 2 * word;
            self.write(RegionIndex::BAR2, offset, &value.to_le_bytes())
        })
    }

    fn commit(&self, line: u16) -> anyhow::Result<()> {
        self.write(RegionIndex::BAR2, 0x512, &line.to_le_bytes())
    }

    /// Binds a new eventfd to an event of head 0, in one frame. Returns which that was.
    fn bind(&self, event: HeadEvent) -> anyhow::Result<(OwnedFd, u64)> {
        loop {
            let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let before = self.frame()?;
            let fds = [Some(fd.as_fd())];
            self.client.set_irqs(&IrqSet {
                index: DISPLAY,
                start: event.sub_index(HeadId(0)),
                action: IrqAction::Trigger,
                data: IrqData::Eventfds(&fds),
            })?;
            if self.frame()? == before {
                return Ok((fd, before));
            }
        }
    }

    fn picture(&self) -> anyhow::Result<(GfxPlaneInfo, Vec<u8>)> {
        let plane = self
            .client
            .query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)?;
        let mut pixels = vec![0; 64 * 64 * 4];
        self.client.region_read(RegionIndex(10), 0, &mut pixels)?;
        Ok((plane, pixels))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Gone already, or it goes now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an eventfd has counted, without waiting.
fn drain(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(event, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

/// Waits until an eventfd has counted so many.
fn wait(event: &OwnedFd, until: u64) -> anyhow::Result<u64> {
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut counted = 0;
    while counted < until {
        let mut fds = [PollFd::new(event, PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&limit))?;
        ensure!(ready == 1, "{counted} events of {until} in 20 s");
        counted += drain(event);
    }
    Ok(counted)
}

fn moves() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let from = Serving::spawn(&folder.path().join("from.sock"))?;
    // Two pictures of one byte each, so that every pixel tells which.
    from.write(RegionIndex::BAR0, 0, &vec![0x11; 64 * 64 * 4])?;
    from.write(RegionIndex::BAR0, 64 * 64 * 4, &vec![0x77; 64 * 64 * 4])?;
    from.show(0)?;
    let (vblank, first) = from.bind(HeadEvent::Vblank)?;
    let (flip, _) = from.bind(HeadEvent::Flip)?;
    let mut vblanks = wait(&vblank, VBLANKS)?;
    let mut flips = drain(&flip);
    // Not shown before the next vblank, which the device has elsewhere.
    from.commit(64)?;
    let picture = from.picture()?;
    ensure!(
        picture.1.iter().all(|&byte| byte == 0x77),
        "the second picture"
    );

    let saved = from.client.save()?;
    let left_at = from.frame()?;
    vblanks += drain(&vblank);
    flips += drain(&flip);
    drop(from);

    let to = Serving::spawn(&folder.path().join("to.sock"))?;
    to.client.restore(saved.as_fd())?;
    let resumed_at = to.frame()?;
    // Saving and asking took less than a frame; time stood still in between.
    ensure!(
        left_at.abs_diff(resumed_at) <= 1,
        "frame {left_at} before, {resumed_at} after"
    );
    ensure!(to.picture()? == picture, "the picture has changed");
    let (vblank, _) = to.bind(HeadEvent::Vblank)?;
    let (flip, _) = to.bind(HeadEvent::Flip)?;
    vblanks += wait(&vblank, VBLANKS)?;
    let last = to.frame()?;
    vblanks += drain(&vblank);
    ensure!(
        vblanks == last - first,
        "{vblanks} vblanks were told of frames {first} to {last}"
    );
    flips += drain(&flip);
    // Turning it on, and the commit.
    ensure!(flips == 2, "{flips} flips of 2");
    ensure!(to.picture()? == picture, "the picture has changed");
    Ok(())
}
