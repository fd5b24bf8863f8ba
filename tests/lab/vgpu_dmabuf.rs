//! Pictures of our vGPU as the kernel's own dma-bufs, with udmabuf and without.
//!
//! The vGPU is served in here; `irqbroker vfio probe` and a display of our own look at it.

use std::io::BufRead;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use irqbroker_display::read_dmabuf;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DmabufId;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::GfxSurface;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio::abi::PlaneType;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use rustix::fs::OFlags;
use serde_json::Value;
use serde_json::json;

use crate::command::IRQBROKER;
use crate::command::irqbroker;
use crate::findings::Findings;
use crate::machine::Machine;
use crate::vgpu_dmabuf_display;

pub(crate) const SOCKET: &str = "/tmp/vgpu.sock";
pub(crate) const HEAD: &str = "/tmp/vgpu.sock.head0";
const UDMABUF: &str = "/dev/udmabuf";

/// A picture that does not end with a page, and bytes from line to line.
pub(crate) const WIDTH: u16 = 100;
pub(crate) const HEIGHT: u16 = 50;
const STRIDE: u64 = 400;
/// The first line but 0 that begins with a page: of 4096 bytes, 25 times.
pub(crate) const PAGE_LINE: u16 = 256;
/// A line that begins within a page.
const WITHIN_PAGE: u16 = 1;
/// Where the cursor's picture is: behind the others.
const CURSOR: u32 = 1 << 20;

/// Words of the display interface, as `design/vgpu-registers.md` has them.
const DISPLAY: u64 = 0x500;
const XRES: u64 = 1;
const YRES: u64 = 2;
const BPP: u64 = 3;
const ENABLE: u64 = 4;
const VIRT_WIDTH: u64 = 6;
const Y_OFFSET: u64 = 9;
/// Registers of head 0: its frame counter, the cursor's offset and what takes it over.
const FRAME: u64 = 0x908;
const CURSOR_OFFSET: u64 = 0x930;
const CURSOR_CONTROL: u64 = 0x93c;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let serving = Serving::start()?;
    let guest = serving.connect(SOCKET)?;
    let display = serving.connect(HEAD)?;
    ensure!(buffer(&display)?.is_none(), "a dark head has a buffer");

    set_mode(&guest)?;
    draw(&guest, 0, 1)?;
    draw(&guest, PAGE_LINE, 2)?;
    show_line(&guest, 0)?;
    let (front, first) = buffer(&display)?.context("no buffer")?;
    check(&first, 1)?;
    // udmabuf makes no others; who is to look and no more is given the region.
    let access = rustix::fs::fcntl_getfl(&first)? & OFlags::RWMODE;
    ensure!(access == OFlags::RDWR, "opened for {access:?}");
    show_line(&guest, PAGE_LINE)?;
    let (back, second) = buffer(&display)?.context("no second buffer")?;
    check(&second, 2)?;
    ensure!(front != back, "one id for two pictures");
    // What is drawn later is in a buffer that somebody has already, whatever is shown meanwhile.
    draw(&guest, 0, 3)?;
    check(&first, 3)?;
    check(&second, 2)?;
    show_line(&guest, 0)?;
    let (again, _) = buffer(&display)?.context("no buffer")?;
    ensure!(again == front, "another id for the same picture");

    show_line(&guest, WITHIN_PAGE)?;
    let within = display.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY);
    ensure!(within == Err(Errno::EINVAL), "within a page: {within:?}");
    // A mode set clears the memory.
    set_mode(&guest)?;
    let gone = display.gfx_dmabuf(front).map(drop);
    ensure!(gone == Err(Errno::ENOENT), "a cleared buffer: {gone:?}");
    draw(&guest, 0, 4)?;
    check(&buffer(&display)?.context("no buffer")?.1, 4)?;
    drop(display);

    let without_cursor = probed()?;
    expect(&without_cursor, "dmabuf", "primary", &json!("same"))?;
    expect(&without_cursor, "dmabuf", "cursor", &Value::Null)?;
    show_cursor(&guest)?;
    let planes = probed()?;
    expect(&planes, "dmabuf", "primary", &json!("same"))?;
    expect(&planes, "dmabuf", "cursor", &json!("same"))?;
    Ok(Findings::default().fact("planes", planes))
}

/// The same on a machine that has no udmabuf: the region is all there is, and says so.
pub(crate) fn none(_machine: &Machine) -> anyhow::Result<Findings> {
    ensure!(!Path::new(UDMABUF).exists(), "this machine has {UDMABUF}");
    let serving = Serving::start()?;
    let guest = serving.connect(SOCKET)?;
    set_mode(&guest)?;
    draw(&guest, 0, 1)?;
    let display = serving.connect(HEAD)?;
    let offered = display.probe_gfx(GfxTransport::Dmabuf);
    ensure!(offered == Err(Errno::EINVAL), "probe: {offered:?}");
    let asked = display.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY);
    ensure!(asked == Err(Errno::EINVAL), "query: {asked:?}");
    drop(display);
    let planes = probed()?;
    ensure!(
        planes.iter().all(|plane| plane["transport"] == "region"),
        "{planes:?}"
    );
    expect(&planes, "region", "primary", &Value::Null)?;
    vgpu_dmabuf_display::refused(&serving, 1)?;
    Ok(Findings::default().fact("planes", planes))
}

/// A serving process, which ends with this.
#[derive(Debug)]
pub(crate) struct Serving(Child);

impl Serving {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(IRQBROKER)
            .args(["vgpu", "serve", "--json", "--type", "small"])
            .args(["--socket", SOCKET])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("no stdout")?;
        let serving = Self(process);
        // It tells of itself once the sockets are there.
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "it does not serve");
        Ok(serving)
    }

    pub(crate) fn connect(&self, socket: &str) -> anyhow::Result<Client> {
        let client = Client::connect(Path::new(socket), ClientOptions::default());
        client.with_context(|| format!("{socket} of process {}", self.0.id()))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn word(guest: &Client, word: u64, value: u16) -> anyhow::Result<()> {
    let (at, value) = (DISPLAY + 2 * word, value.to_le_bytes());
    guest.region_write(RegionIndex::BAR2, at, &value)?;
    Ok(())
}

/// Off and on, which clears the memory and shows it from line 0 on.
pub(crate) fn set_mode(guest: &Client) -> anyhow::Result<()> {
    let values = [
        (ENABLE, 0),
        (BPP, 32),
        (XRES, WIDTH),
        (YRES, HEIGHT),
        (VIRT_WIDTH, WIDTH),
        (Y_OFFSET, 0),
        (ENABLE, 0x41),
    ];
    values
        .into_iter()
        .try_for_each(|(at, value)| word(guest, at, value))
}

/// Flips to what begins at a line of the memory, and waits for the vblank that shows it.
pub(crate) fn show_line(guest: &Client, line: u16) -> anyhow::Result<()> {
    word(guest, Y_OFFSET, line)?;
    let committed_in = frame(guest)?;
    while frame(guest)? == committed_in {
        std::thread::yield_now();
    }
    Ok(())
}

fn frame(guest: &Client) -> anyhow::Result<u64> {
    let mut frame = [0; 8];
    guest.region_read(RegionIndex::BAR2, FRAME, &mut frame)?;
    Ok(u64::from_le_bytes(frame))
}

/// A picture of which no two pixels are the same, nor two of different numbers.
pub(crate) fn picture(number: u8) -> Vec<u8> {
    let pixels = 0..u32::from(WIDTH) * u32::from(HEIGHT);
    pixels
        .flat_map(|pixel| (u32::from(number) << 16 | pixel).to_le_bytes())
        .collect()
}

pub(crate) fn draw(guest: &Client, line: u16, number: u8) -> anyhow::Result<()> {
    let at = u64::from(line) * STRIDE;
    guest.region_write(RegionIndex::BAR0, at, &picture(number))?;
    Ok(())
}

/// An opaque square.
pub(crate) fn show_cursor(guest: &Client) -> anyhow::Result<()> {
    let pixels = [0x33, 0x22, 0x11, 0xff].repeat(64 * 64);
    guest.region_write(RegionIndex::BAR0, CURSOR.into(), &pixels)?;
    for (at, value) in [(CURSOR_OFFSET, CURSOR), (CURSOR_CONTROL, 1)] {
        guest.region_write(RegionIndex::BAR2, at, &value.to_le_bytes())?;
    }
    Ok(())
}

/// The dma-buf of what the head shows, and its id; none if that is nothing.
fn buffer(display: &Client) -> anyhow::Result<Option<(DmabufId, OwnedFd)>> {
    let info = display
        .query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY)
        .context("cannot ask for a dma-buf")?;
    if info.is_disabled() {
        return Ok(None);
    }
    let GfxSurface::Dmabuf(id) = info.surface else {
        bail!("{info:?}");
    };
    ensure!(
        info.size.is_multiple_of(4096)
            && (info.width, info.height) == (WIDTH.into(), HEIGHT.into()),
        "{info:?}"
    );
    let dmabuf = display.gfx_dmabuf(id).context("cannot fetch it")?;
    Ok(Some((id, dmabuf)))
}

/// Whether a dma-buf has the picture of that number.
fn check(dmabuf: &OwnedFd, number: u8) -> anyhow::Result<()> {
    let expected = picture(number);
    let bytes = read_dmabuf(dmabuf.as_fd(), expected.len()).context("cannot read it")?;
    let differs = expected
        .iter()
        .zip(&bytes)
        .position(|(one, other)| one != other);
    ensure!(
        differs.is_none(),
        "not picture {number}, first at {differs:?}"
    );
    Ok(())
}

/// The planes that our command finds.
fn probed() -> anyhow::Result<Vec<Value>> {
    let report = irqbroker(&["vfio", "probe", HEAD])?;
    report["planes"].as_array().cloned().context("no planes")
}

/// One row of it: a plane is shown if there is something to compare, or it is the primary one.
fn expect(planes: &[Value], transport: &str, plane: &str, same: &Value) -> anyhow::Result<()> {
    let mut rows = planes.iter();
    let row = rows.find(|row| row["transport"] == transport && row["plane"] == plane);
    let row = row.with_context(|| format!("no {transport} of {plane}: {planes:?}"))?;
    let enabled = !same.is_null() || plane == "primary";
    ensure!(
        row["enabled"] == enabled && row["same_pixels"] == *same,
        "{row}"
    );
    ensure!(row["error"].is_null(), "{row}");
    Ok(())
}
