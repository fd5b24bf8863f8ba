//! A guest flips two colours: no picture of a display and none of a VNC viewer has both.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Wait;
use irqbroker_display::Display;
use irqbroker_display::Frame;
use irqbroker_display::PictureChange;
use irqbroker_display::Security;
use irqbroker_display::VncOptions;
use irqbroker_display::VncServer;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuDevice;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::need::Need;
use crate::need::story;

/// Pictures of the guest: 640x480 at 32 bits, one behind the other.
const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;
const PICTURE: usize = 640 * 480 * 4;
/// Pictures of the display: 17 seconds of 60 Hz.
pub(crate) const CAPTURES: usize = 1000;
/// Of the viewer.
const UPDATES: usize = 200;
/// The vector of head 0's flips.
const FLIP_VECTOR: u32 = 1;
/// How many fetches a service call has at most, each but the last of a picture that a flip overtook.
const FETCHES_MAX: u64 = 4;
/// How often a loop looks whether it is over.
const CHECK: Duration = Duration::from_millis(100);
/// How long nothing may come before a story fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "thousand_pictures_of_a_display_are_none_mixed_while_a_guest_flips_at_60_hz",
            Need::Nothing,
            || beside_a_guest(look),
        ),
        story(
            "pictures_of_a_vnc_viewer_are_none_mixed_while_a_guest_flips_at_60_hz",
            Need::Nothing,
            || beside_a_guest(view),
        ),
    ]
}

/// A guest with two buffers.
#[derive(Debug)]
pub(crate) struct Guest {
    device: Arc<VgpuDevice>,
    /// The one that is not shown.
    back: usize,
    pub(crate) colour: u8,
}

impl Guest {
    pub(crate) fn new(device: Arc<VgpuDevice>) -> Result<Self, Errno> {
        let guest = Self {
            device,
            back: 1,
            colour: 0,
        };
        for (at, value) in [(3, 32), (1, WIDTH), (2, HEIGHT), (6, WIDTH), (4, 0xc1)] {
            guest.word(at, value)?;
        }
        Ok(guest)
    }

    fn word(&self, word: u64, value: u16) -> Result<(), Errno> {
        let bytes = value.to_le_bytes();
        let written = self
            .device
            .region_write(RegionIndex::BAR2, 0x500 + 2 * word, &bytes);
        written.map(drop)
    }

    /// Draws half number `half` of the picture that is not shown.
    pub(crate) fn draw(&self, half: usize) -> Result<(), Errno> {
        let offset = self.back * PICTURE + half * PICTURE / 2;
        let pixels = vec![self.colour; PICTURE / 2];
        let drawn = self
            .device
            .region_write(RegionIndex::BAR0, offset as u64, &pixels);
        drawn.map(drop)
    }

    /// Has what was drawn shown from the next vblank on.
    pub(crate) fn commit(&self) -> Result<(), Errno> {
        self.word(9, if self.back == 0 { 0 } else { HEIGHT })
    }

    /// It was told of the flip.
    pub(crate) fn flipped(&mut self) {
        self.back = 1 - self.back;
        self.colour = self.colour.wrapping_add(1);
    }
}

/// The one colour of a frame, or none if it has several.
pub(crate) fn colour(frame: &Frame) -> Option<u32> {
    let first = frame.line(0).first()?;
    let line = vec![*first; frame.width().into()];
    let mut lines = (0..frame.height()).map(|y| frame.line(y));
    lines.all(|other| other == line).then_some(*first)
}

/// Waits for an event, or until the story is over.
pub(crate) fn wait(event: &OwnedFd, done: &AtomicBool) -> anyhow::Result<()> {
    let check = Timespec::try_from(CHECK)?;
    // Relaxed: it only ends the story; nothing is published by it.
    while rustix::io::read(event, &mut [0; 8]).is_err() && !done.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(event, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&check))?;
    }
    Ok(())
}

/// Draws into the buffer that is not shown and flips, as soon as it is told that it may.
fn flip(device: &Arc<VgpuDevice>, vector: &OwnedFd, done: &AtomicBool) -> anyhow::Result<()> {
    let mut guest = Guest::new(Arc::clone(device))?;
    // Flip done.
    device.region_write(RegionIndex::BAR2, 0x900, &2u32.to_le_bytes())?;
    // Relaxed: it only ends the story; nothing is published by it.
    while !done.load(Ordering::Relaxed) {
        guest.draw(0)?;
        guest.draw(1)?;
        guest.commit()?;
        wait(vector, done)?;
        guest.flipped();
    }
    Ok(())
}

/// Runs a story while a guest flips.
fn beside_a_guest(story: fn(&Arc<VgpuDevice>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let medium = VgpuType::find("medium").context("no such type")?;
    let device = parent.create_device(&medium, None)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let vector = rustix::event::eventfd(0, flags)?;
    let fds = [Some(vector.as_fd())];
    device.set_irqs(&IrqSet::bind(IrqIndex::MSIX, FLIP_VECTOR, &fds))?;
    let _vblanks = parent.scheduler().spawn()?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let guest = scope.spawn(|| flip(&device, &vector, &done));
        let seen = story(&device);
        done.store(true, Ordering::Relaxed);
        let drawn = guest.join();
        seen?;
        drawn.map_err(|_| anyhow::anyhow!("the guest has panicked"))?
    })
}

fn look(device: &Arc<VgpuDevice>) -> anyhow::Result<()> {
    let mut display = Display::open(Arc::new(device.head_view(HeadId(0))?), 0)?;
    let mut captures = 0;
    while captures < CAPTURES {
        let before = display.counters().fetches;
        let change = display.service(Wait::For(PATIENCE))?;
        let fetches = display.counters().fetches - before;
        ensure!(fetches > 0, "no flip in {PATIENCE:?}");
        // Without a core for so long that each try was late, it may be any, and the next is due.
        if change.picture == PictureChange::None || fetches == FETCHES_MAX {
            continue;
        }
        let frame = display.frame().context("no picture")?;
        if frame.width() == WIDTH {
            ensure!(colour(frame).is_some(), "picture {captures} is mixed");
            captures += 1;
        }
    }
    Ok(())
}

fn view(device: &Arc<VgpuDevice>) -> anyhow::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let view = Arc::new(device.head_view(HeadId(0))?);
    let mut server = VncServer::bind(address, view, VncOptions::new(Security::None))?;
    let address = server.address();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| -> anyhow::Result<()> {
            // Relaxed: it only ends the story; nothing is published by it.
            while !done.load(Ordering::Relaxed) {
                server.service(Wait::For(CHECK))?;
            }
            Ok(())
        });
        let seen = read_updates(address);
        done.store(true, Ordering::Relaxed);
        let served = serving.join();
        seen?;
        served.map_err(|_| anyhow::anyhow!("the server has panicked"))?
    })
}

/// A viewer of raw pixels. Each update is one frame's, and all of the picture changes with each.
fn read_updates(address: SocketAddr) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"RFB 003.008\n\x01\x01")?;
    // Version, one security type, that all is well; then size, format and a name of 9 bytes.
    let mut handshake = [0; 12 + 2 + 4 + 24 + 9];
    socket.read_exact(&mut handshake)?;
    let mut request = vec![3, 0, 0, 0, 0, 0];
    request.extend([WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat());
    let mut pixels = vec![0; PICTURE];
    for update in 0..UPDATES {
        socket.write_all(&request)?;
        request[1] = 1;
        let mut header = [0; 4];
        socket.read_exact(&mut header)?;
        let mut seen = 0;
        let mut first: Option<[u8; 4]> = None;
        for _ in 0..u16::from_be_bytes([header[2], header[3]]) {
            let mut rect = [0; 12];
            socket.read_exact(&mut rect)?;
            let side = |at: usize| usize::from(u16::from_be_bytes([rect[at], rect[at + 1]]));
            let area = pixels
                .get_mut(..side(4) * side(6) * 4)
                .context("too large")?;
            socket.read_exact(area)?;
            seen += area.len();
            let pixel = *area.first_chunk().context("no pixel")?;
            let first = first.get_or_insert(pixel);
            let expected = first.repeat(area.len() / first.len());
            ensure!(area == expected, "update {update} is mixed");
        }
        ensure!(seen == PICTURE, "{seen} bytes of update {update}");
    }
    Ok(())
}
