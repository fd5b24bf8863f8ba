//! What one user of the graphics ioctls was told last, and may still fetch.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::HOTSPOT_UNKNOWN;
use irqbroker_vfio_abi::PlaneType;

use crate::cursor::Cursor;
use crate::scanout::Scanout;

/// What the size of a picture is rounded up to, and what one that is mapped must begin on.
pub(crate) const PAGE: u64 = 4096;

/// Buffers kept for a user: enough for a guest with three buffers and a few cursors. Another one
/// takes the place of the one asked for least recently.
const BUFFERS_MAX: usize = 8;

/// DRM's `AR24`: 32 bits with alpha, blue first.
const ARGB8888: u32 = u32::from_le_bytes(*b"AR24");

/// A plane of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    Primary,
    Cursor,
}

impl Plane {
    pub(crate) const fn of(plane: PlaneType) -> Option<Self> {
        match plane {
            PlaneType::PRIMARY => Some(Self::Primary),
            PlaneType::CURSOR => Some(Self::Cursor),
            _ => None,
        }
    }
}

/// A part of the VRAM as a region or a dma-buf of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Where it begins in the VRAM, bytes.
    pub(crate) offset: u64,
    /// Bytes, whole pages.
    pub(crate) size: u64,
}

impl Window {
    fn new(offset: u64, len: u64) -> Self {
        Self {
            offset,
            size: len.next_multiple_of(PAGE),
        }
    }

    /// Whether it begins with a page: only such a one can be mapped or exported.
    pub(crate) const fn is_aligned(self) -> bool {
        self.offset.is_multiple_of(PAGE)
    }
}

/// What a plane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) window: Window,
    format: u32,
    size: (u32, u32),
    stride: u32,
    position: (u32, u32),
    hotspot: (u32, u32),
}

impl From<Scanout> for Shown {
    fn from(picture: Scanout) -> Self {
        Self {
            window: Window::new(picture.offset, picture.len()),
            format: picture.format.fourcc(),
            size: (picture.width, picture.height),
            stride: picture.stride,
            position: (0, 0),
            hotspot: (HOTSPOT_UNKNOWN, HOTSPOT_UNKNOWN),
        }
    }
}

impl From<Cursor> for Shown {
    fn from(cursor: Cursor) -> Self {
        let hotspot = (u32::from(cursor.x_hot), u32::from(cursor.y_hot));
        Self {
            window: Window::new(cursor.offset, Cursor::BYTES),
            format: ARGB8888,
            size: (Cursor::SIDE, Cursor::SIDE),
            stride: Cursor::STRIDE,
            position: (
                i32::from(cursor.x).cast_unsigned(),
                i32::from(cursor.y).cast_unsigned(),
            ),
            // A pixel outside of the picture is none that points.
            hotspot: if hotspot.0.max(hotspot.1) < Cursor::SIDE {
                hotspot
            } else {
                (HOTSPOT_UNKNOWN, HOTSPOT_UNKNOWN)
            },
        }
    }
}

impl Shown {
    /// The answer to a query.
    pub(crate) fn describe(
        self,
        plane: PlaneType,
        surface: GfxSurface,
    ) -> Result<GfxPlaneInfo, Errno> {
        Ok(GfxPlaneInfo {
            format: self.format,
            width: self.size.0,
            height: self.size.1,
            stride: self.stride,
            size: u32::try_from(self.window.size).map_err(|_| Errno::EOVERFLOW)?,
            x_pos: self.position.0,
            y_pos: self.position.1,
            x_hot: self.hotspot.0,
            y_hot: self.hotspot.1,
            surface,
            ..GfxPlaneInfo::disabled(plane, GfxTransport::Region)
        })
    }
}

/// A picture that was exported.
#[derive(Debug)]
struct Buffer {
    id: DmabufId,
    window: Window,
    /// When: see `State::cleared`.
    cleared: u64,
    dmabuf: OwnedFd,
}

/// A user's regions and buffers.
#[derive(Debug, Default)]
pub(crate) struct GfxUser {
    primary: Option<Window>,
    cursor: Option<Window>,
    /// The one asked for least recently first.
    buffers: Vec<Buffer>,
    next_id: u32,
}

impl GfxUser {
    /// Where the region of a plane lies; none before the first query, or when that found nothing.
    pub(crate) const fn window(&self, plane: Plane) -> Option<Window> {
        match plane {
            Plane::Primary => self.primary,
            Plane::Cursor => self.cursor,
        }
    }

    pub(crate) const fn set_window(&mut self, plane: Plane, window: Option<Window>) {
        match plane {
            Plane::Primary => self.primary = window,
            Plane::Cursor => self.cursor = window,
        }
    }

    /// The id of a picture that is exported already, and still is what the VRAM holds.
    pub(crate) fn find(&mut self, window: Window, cleared: u64) -> Option<DmabufId> {
        self.buffers.retain(|buffer| buffer.cleared == cleared);
        let place = self
            .buffers
            .iter()
            .position(|buffer| buffer.window == window)?;
        let found = self.buffers.remove(place);
        let id = found.id;
        self.buffers.push(found);
        Some(id)
    }

    /// Keeps a picture that was exported, and gives it an id: never 0, and not soon one that was.
    pub(crate) fn keep(&mut self, window: Window, cleared: u64, dmabuf: OwnedFd) -> DmabufId {
        if self.buffers.len() == BUFFERS_MAX {
            self.buffers.remove(0);
        }
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let id = DmabufId(self.next_id);
        self.buffers.push(Buffer {
            id,
            window,
            cleared,
            dmabuf,
        });
        id
    }

    /// The buffer of an id, as the caller's own.
    ///
    /// # Errors
    ///
    /// ENOENT if it is gone or never was, EMFILE if the process has no fd for it.
    pub(crate) fn fetch(&self, id: DmabufId, cleared: u64) -> Result<OwnedFd, Errno> {
        let mut buffers = self.buffers.iter();
        let buffer = buffers
            .find(|buffer| buffer.id == id && buffer.cleared == cleared)
            .ok_or(Errno::ENOENT)?;
        Ok(rustix::io::fcntl_dupfd_cloexec(buffer.dmabuf.as_fd(), 0)?)
    }

    /// As in the beginning, but that no id is given again.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            next_id: self.next_id,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        offset: 0,
        size: PAGE,
    };

    fn file() -> OwnedFd {
        rustix::fs::memfd_create("buffer", rustix::fs::MemfdFlags::CLOEXEC).unwrap()
    }

    fn window(page: u64) -> Window {
        Window {
            offset: page * PAGE,
            ..WINDOW
        }
    }

    #[test]
    fn buffers_are_bounded_and_the_one_asked_for_least_recently_goes() {
        let mut user = GfxUser::default();
        let ids: Vec<_> = (0..8)
            .map(|page| user.keep(window(page), 0, file()))
            .collect();
        assert_eq!(user.find(window(0), 0), Some(ids[0]));
        user.keep(window(8), 0, file());
        assert_eq!(user.buffers.len(), BUFFERS_MAX);
        assert_eq!(user.fetch(ids[1], 0).unwrap_err(), Errno::ENOENT);
        user.fetch(ids[0], 0).unwrap();
        user.fetch(ids[7], 0).unwrap();
    }

    #[test]
    fn buffer_of_memory_that_was_cleared_is_gone() {
        let mut user = GfxUser::default();
        let before = user.keep(WINDOW, 0, file());
        assert_eq!(user.fetch(before, 1).unwrap_err(), Errno::ENOENT);
        assert_eq!(user.find(WINDOW, 1), None);
        assert!(user.buffers.is_empty());
        assert_ne!(user.keep(WINDOW, 1, file()), before);
    }

    #[test]
    fn reset_forgets_everything_and_gives_no_id_again() {
        let mut user = GfxUser::default();
        let before = user.keep(WINDOW, 0, file());
        user.set_window(Plane::Cursor, Some(WINDOW));
        user.reset();
        assert_eq!(user.window(Plane::Cursor), None);
        assert_eq!(user.fetch(before, 0).unwrap_err(), Errno::ENOENT);
        assert_ne!(user.keep(WINDOW, 0, file()), before);
    }

    #[test]
    fn cursor_left_of_the_head_is_told_in_twos_complement() {
        let cursor = Cursor {
            offset: 0,
            x: -3,
            y: 5,
            x_hot: 64,
            y_hot: 0,
        };
        let surface = GfxSurface::Dmabuf(DmabufId(1));
        let info = Shown::from(cursor).describe(PlaneType::CURSOR, surface);
        let info = info.unwrap();
        assert_eq!((info.x_pos, info.y_pos), (0xffff_fffd, 5));
        assert_eq!(info.hotspot(), None, "64 is outside of 0 to 63");
        assert_eq!((info.width, info.size), (64, 16384));
    }
}
