//! A running vGPU moves from one process to another, and its VMM goes on with it.

use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::task::Waker;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_abi::Device;
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
use irqbroker_vgpu::Clock;
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

use crate::display_overtaken::SteppedClock;
use crate::need::Need;
use crate::need::story;

/// The socket a process of this story serves on; it does nothing else.
const SERVE: &str = "IRQBROKER_IT_VGPU";
/// The display's interrupt, here known; a display finds it by its type.
const DISPLAY: IrqIndex = IrqIndex(5);
/// The frame counter of head 0 in the register BAR.
const FRAME: u64 = 0x908;
/// Vblanks on either side of the move.
const VBLANKS: u64 = 5;
/// Of the vGPU's 5 Hz: the time that a process of this story lets pass for each byte it is sent.
const PERIOD: u64 = 200_000_000;

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

/// Serves one until the story's process closes the pipe. Time passes as it says, a period for each
/// byte, so that no vblank is missed on a slow machine.
pub(crate) fn serve() -> anyhow::Result<()> {
    let path = PathBuf::from(std::env::var_os(SERVE).context("no socket")?);
    let clock = Arc::new(SteppedClock::default());
    let scheduler = VblankScheduler::with_clock(Granularity::Exact, Arc::clone(&clock) as _);
    let mut driver = scheduler.drive(Waker::noop().clone())?;
    let parent = VgpuParent::new(scheduler);
    let vgpu = VgpuType {
        refresh: Refresh::new(5, 1)?,
        ..VgpuType::find("small").context("no such type")?
    };
    let device = parent.create_device(&vgpu, None)?;
    let mut server = Server::bind(&path, Arc::clone(&device) as _, ServerOptions::default())?;
    println!("serving");
    loop {
        let mut stdin = std::io::stdin();
        let mut fds = [
            PollFd::from_borrowed_fd(server.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
        ];
        rustix::event::poll(&mut fds, None)?;
        if !fds[1].revents().is_empty() {
            if stdin.read(&mut [0])? == 0 {
                return Ok(());
            }
            clock.step(PERIOD);
            driver.run_due(clock.now());
            print!(".");
            std::io::stdout().flush()?;
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
        // The line "serving".
        let mut said = [0; 8];
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

    /// Lets a vblank come.
    fn vblank(&mut self) -> anyhow::Result<()> {
        let pipes = (self.child.stdin.as_mut(), self.child.stdout.as_mut());
        let (stdin, stdout) = (pipes.0.context("no pipe")?, pipes.1.context("no pipe")?);
        stdin.write_all(b".")?;
        stdout.read_exact(&mut [0])?;
        Ok(())
    }

    /// Binds a new eventfd to an event of head 0.
    fn bind(&self, event: HeadEvent) -> anyhow::Result<OwnedFd> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let fds = [Some(fd.as_fd())];
        self.client.set_irqs(&IrqSet {
            index: DISPLAY,
            start: event.sub_index(HeadId(0)),
            action: IrqAction::Trigger,
            data: IrqData::Eventfds(&fds),
        })?;
        Ok(fd)
    }

    /// What is shown as of the latest vblank.
    fn picture(&self) -> anyhow::Result<Vec<u8>> {
        self.client
            .query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)?;
        let mut pixels = vec![0; 64 * 64 * 4];
        self.client.region_read(RegionIndex(10), 0, &mut pixels)?;
        Ok(pixels)
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

fn moves() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut from = Serving::spawn(&folder.path().join("from.sock"))?;
    // Two pictures of one byte each, so that every pixel tells which.
    from.write(RegionIndex::BAR0, 0, &vec![0x11; 64 * 64 * 4])?;
    from.write(RegionIndex::BAR0, 64 * 64 * 4, &vec![0x77; 64 * 64 * 4])?;
    from.show(0)?;
    let first = from.frame()?;
    let (vblank, flip) = (from.bind(HeadEvent::Vblank)?, from.bind(HeadEvent::Flip)?);
    (0..VBLANKS).try_for_each(|_| from.vblank())?;
    // Turning it on.
    let counted = (drain(&vblank), drain(&flip));
    ensure!(counted == (VBLANKS, 1), "{counted:?} before");
    // Not shown before the next vblank, which the device has elsewhere.
    from.commit(64)?;
    let pixels = from.picture()?;
    ensure!(pixels.iter().all(|&byte| byte == 0x11), "the first picture");

    let saved = from.client.save()?;
    let left_at = from.frame()?;
    ensure!(left_at == first + VBLANKS, "frame {left_at}");
    // It is stopped: time goes by without it.
    from.vblank()?;
    let counted = (drain(&vblank), drain(&flip));
    ensure!(counted == (0, 0), "{counted:?} of the saved device");
    drop(from);

    let mut to = Serving::spawn(&folder.path().join("to.sock"))?;
    // Another process, another time.
    (0..3).try_for_each(|_| to.vblank())?;
    to.client.restore(saved.as_fd())?;
    let resumed_at = to.frame()?;
    ensure!(
        resumed_at == left_at,
        "frame {left_at} before, {resumed_at} after"
    );
    let (vblank, flip) = (to.bind(HeadEvent::Vblank)?, to.bind(HeadEvent::Flip)?);
    (0..VBLANKS).try_for_each(|_| to.vblank())?;
    let counted = (drain(&vblank), drain(&flip));
    ensure!(counted == (VBLANKS, 1), "{counted:?} after");
    ensure!(to.frame()? == left_at + VBLANKS, "frame {}", to.frame()?);
    let pixels = to.picture()?;
    ensure!(
        pixels.iter().all(|&byte| byte == 0x77),
        "the second picture"
    );
    Ok(())
}
