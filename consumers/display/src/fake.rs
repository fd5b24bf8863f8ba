//! A display in memory, for tests: what it shows is set, and its events are signalled by hand.

mod device;

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;

use crate::fake_edid::FakeEdid;

/// Events of the one head.
pub(crate) const REFRESH: usize = 0;
pub(crate) const CURSOR: usize = 1;
pub(crate) const HOTPLUG: usize = 2;

/// Bytes of each plane's region.
pub(crate) const SIZE: usize = 1 << 20;
const XR24: u32 = u32::from_le_bytes(*b"XR24");
const AR24: u32 = u32::from_le_bytes(*b"AR24");

#[derive(Debug)]
struct State {
    primary: Option<GfxPlaneInfo>,
    cursor: Option<GfxPlaneInfo>,
    bound: [Option<OwnedFd>; 3],
    /// Sub-index that refuses to be bound.
    refuses: Option<u32>,
    mappable: bool,
    /// Flips while a picture is being read.
    overtaking: u32,
    queries: u32,
    transports: Vec<GfxTransport>,
    /// Of the picture, and of all before it.
    id: u32,
    /// How often the picture's buffer is another by the time that it is fetched.
    flips_before_fetch: u32,
    fetches: u32,
    edid: Option<FakeEdid>,
    /// Whether its monitor is not to be changed.
    is_fixed: bool,
}

/// Region 0 is the primary plane's and has a file, region 1 the cursor's and has none; region 2 is the monitor's
/// if there is one.
#[derive(Debug)]
pub(crate) struct FakeDisplay {
    file: OwnedFd,
    cursor: Mutex<Vec<u8>>,
    state: Mutex<State>,
}

impl FakeDisplay {
    /// It shows nothing.
    pub(crate) fn new() -> Self {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fake", flags).unwrap();
        rustix::fs::ftruncate(&file, SIZE as u64).unwrap();
        Self {
            file,
            cursor: Mutex::new(vec![0; SIZE]),
            state: Mutex::new(State {
                primary: None,
                cursor: None,
                bound: [const { None }; 3],
                refuses: None,
                mappable: true,
                overtaking: 0,
                queries: 0,
                transports: vec![GfxTransport::Region],
                id: 1,
                flips_before_fetch: 0,
                fetches: 0,
                edid: None,
                is_fixed: false,
            }),
        }
    }

    /// Shows a picture in which pixel (x, y) is `color(x, y)`; tells nobody.
    pub(crate) fn show(&self, width: u32, height: u32, color: impl Fn(u32, u32) -> u32) {
        // A gap of two pixels between the lines.
        let stride = (width + 2) * 4;
        for y in 0..height {
            let line: Vec<u8> = (0..width).flat_map(|x| color(x, y).to_le_bytes()).collect();
            rustix::io::pwrite(&self.file, &line, u64::from(y * stride)).unwrap();
        }
        self.state().primary = Some(GfxPlaneInfo {
            format: XR24,
            width,
            height,
            stride,
            size: stride * height,
            surface: GfxSurface::Region(RegionIndex(0)),
            ..GfxPlaneInfo::disabled(PlaneType::PRIMARY, GfxTransport::Region)
        });
    }

    /// Changes one pixel of the picture; tells nobody.
    pub(crate) fn draw(&self, x: u32, y: u32, color: u32) {
        let stride = self.state().primary.unwrap().stride;
        let at = u64::from(y * stride + x * 4);
        rustix::io::pwrite(&self.file, &color.to_le_bytes(), at).unwrap();
    }

    /// Changes what is told of the primary plane.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut GfxPlaneInfo)) {
        change(self.state().primary.as_mut().unwrap());
    }

    /// Shows nothing.
    pub(crate) fn hide(&self) {
        self.state().primary = None;
    }

    /// Shows a cursor of one color with alpha, whose edge is at (x, y).
    pub(crate) fn point(&self, x: i32, y: i32, side: u32, argb: u32) {
        let mut memory = self.cursor.lock().unwrap();
        for pixel in memory.chunks_exact_mut(4) {
            pixel.copy_from_slice(&argb.to_le_bytes());
        }
        self.state().cursor = Some(GfxPlaneInfo {
            format: AR24,
            width: side,
            height: side,
            stride: side * 4,
            size: side * side * 4,
            x_pos: x.cast_unsigned(),
            y_pos: y.cast_unsigned(),
            x_hot: 1,
            y_hot: 2,
            surface: GfxSurface::Region(RegionIndex(1)),
            ..GfxPlaneInfo::disabled(PlaneType::CURSOR, GfxTransport::Region)
        });
    }

    /// Hides the cursor.
    pub(crate) fn hide_cursor(&self) {
        self.state().cursor = None;
    }

    /// Refuses to bind this sub-index.
    pub(crate) fn refuse(&self, sub_index: u32) {
        self.state().refuses = Some(sub_index);
    }

    /// Has its regions read, not mapped.
    pub(crate) fn forbid_mapping(&self) {
        self.state().mappable = false;
    }

    /// Has its regions mapped again.
    pub(crate) fn allow_mapping(&self) {
        self.state().mappable = true;
    }

    /// Has its file such as can be mapped without danger.
    pub(crate) fn seal(&self) {
        rustix::fs::fcntl_add_seals(&self.file, SealFlags::SHRINK).unwrap();
    }

    /// Hands out its pictures by these alone. What it hands out as a dma-buf is a sealed memfd.
    pub(crate) fn offer(&self, transports: &[GfxTransport]) {
        self.seal();
        self.state().transports = transports.to_vec();
    }

    /// Shows the same picture in another buffer, or one of before.
    pub(crate) fn show_buffer(&self, id: u32) {
        self.state().id = id;
    }

    /// Flips before each of the next fetches of the picture's buffer, which is gone by then.
    pub(crate) fn flip_before_fetch(&self, times: u32) {
        self.state().flips_before_fetch = times;
    }

    /// How often a buffer was fetched, or tried to be.
    pub(crate) fn fetches(&self) -> u32 {
        self.state().fetches
    }

    /// Flips once in each of the next queries' pictures while they are being read.
    pub(crate) fn overtake(&self, times: u32) {
        self.state().overtaking = times;
    }

    /// Plugs a monitor in; tells nobody.
    pub(crate) fn plug(&self, edid: FakeEdid) {
        self.state().edid = Some(edid);
    }

    /// Has the monitor's EDID read and not written.
    pub(crate) fn fix_monitor(&self) {
        self.state().is_fixed = true;
    }

    /// Looks at the monitor.
    pub(crate) fn edid<T>(&self, look: impl FnOnce(&FakeEdid) -> T) -> T {
        look(self.state().edid.as_ref().unwrap())
    }

    /// Changes it past its rules.
    pub(crate) fn change_edid(&self, change: impl FnOnce(&mut FakeEdid)) {
        change(self.state().edid.as_mut().unwrap());
    }

    /// Signals an event.
    pub(crate) fn signal(&self, event: usize) {
        if let Some(bound) = &self.state().bound[event] {
            rustix::io::write(bound, &1u64.to_ne_bytes()).unwrap();
        }
    }

    /// How many events are bound.
    pub(crate) fn bound(&self) -> usize {
        self.state().bound.iter().flatten().count()
    }

    /// How often a plane was asked for.
    pub(crate) fn queries(&self) -> u32 {
        self.state().queries
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
