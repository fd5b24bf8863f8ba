//! A graphics card's node, as far as showing pictures of one's own takes it.
#![expect(unsafe_code, reason = "ioctls that no crate here wraps, and a mapping")]
// UNSAFETY: DRM's ioctls, whose structures point to lists, and the memory of a buffer.

use std::ffi::c_void;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use anyhow::ensure;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::io::Result;
use rustix::ioctl::Ioctl;
use rustix::ioctl::IoctlOutput;
use rustix::ioctl::Opcode;
use rustix::ioctl::opcode;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

use crate::drm_layout::AddFramebuffer;
use crate::drm_layout::Connector;
use crate::drm_layout::CreateDumb;
use crate::drm_layout::Crtc;
use crate::drm_layout::MapDumb;
use crate::drm_layout::Mode;
use crate::drm_layout::PageFlip;
use crate::drm_layout::Request;
use crate::drm_layout::Resources;
use crate::machine::PATIENCE;

/// Bits of a pixel in memory, and of its colours.
const BITS: u32 = 32;
const DEPTH: u32 = 24;
/// `DRM_MODE_PAGE_FLIP_EVENT`.
const FLIP_EVENT: u32 = 1;
/// `DRM_EVENT_FLIP_COMPLETE`.
const FLIP_COMPLETE: u32 = 2;

/// One call.
struct Call<'a, T>(&'a mut T);

// SAFETY: the opcode holds the size of `T`, of which the kernel reads and writes no more; the
// pointer is to a `T` that is borrowed for the call.
unsafe impl<T: Request> Ioctl for Call<'_, T> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<T>(b'd', T::NUMBER)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

/// A card whose mode is ours to set while it is open.
#[derive(Debug)]
pub(crate) struct Card(File);

/// What is shown where.
#[derive(Debug)]
pub(crate) struct Output {
    crtc: u32,
    connector: u32,
    mode: Mode,
}

/// A picture in memory that a card can show.
#[derive(Debug)]
pub(crate) struct Buffer {
    framebuffer: u32,
    width: u32,
    height: u32,
    /// Bytes from line to line.
    pitch: usize,
    memory: *mut u8,
    len: usize,
}

impl Card {
    pub(crate) fn open(node: &Path) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open(node);
        Ok(Self(file.with_context(|| node.display().to_string())?))
    }

    /// Issues a request.
    ///
    /// # Safety
    ///
    /// Each list that the structure points to has room for as many elements as it says.
    unsafe fn request<T: Request>(&self, structure: &mut T) -> anyhow::Result<()> {
        // SAFETY: the structure is the number's, and its lists are as the caller has promised.
        unsafe { rustix::ioctl::ioctl(&self.0, Call(structure)) }
            .with_context(|| format!("drm ioctl {:#x}", T::NUMBER))
    }

    /// The first connector with a monitor, in that one's preferred mode.
    pub(crate) fn output(&self) -> anyhow::Result<Output> {
        // More than a card of one head has.
        let (mut crtcs, mut connectors) = ([0u32; 8], [0u32; 8]);
        let mut resources = Resources {
            crtcs: address(&mut crtcs),
            connectors: address(&mut connectors),
            count_crtcs: 8,
            count_connectors: 8,
            ..Resources::default()
        };
        // SAFETY: two lists of eight; the others have no element.
        unsafe { self.request(&mut resources) }?;
        for connector in connectors.into_iter().filter(|&id| id != 0) {
            // The first is the preferred one; the kernel fills the list only if all fit.
            let mut modes = [Mode::default(); 128];
            let mut told = Connector {
                connector,
                ..Connector::default()
            };
            // SAFETY: lists of no element: how many modes there are is asked first, which looks
            // for a monitor too.
            unsafe { self.request(&mut told) }?;
            if told.count_modes == 0 {
                continue;
            }
            let mut told = Connector {
                connector,
                modes: address(&mut modes),
                count_modes: 128,
                ..Connector::default()
            };
            // SAFETY: a list of 128 modes; the others have no element.
            unsafe { self.request(&mut told) }?;
            return Ok(Output {
                crtc: crtcs[0],
                connector,
                mode: modes[0],
            });
        }
        anyhow::bail!("no monitor")
    }

    /// A black picture of a mode's size.
    pub(crate) fn buffer(&self, mode: &Mode) -> anyhow::Result<Buffer> {
        let (width, height) = mode.size();
        let mut dumb = CreateDumb {
            width,
            height,
            bits: BITS,
            ..CreateDumb::default()
        };
        // SAFETY: no lists.
        unsafe { self.request(&mut dumb) }?;
        let mut framebuffer = AddFramebuffer {
            width,
            height,
            pitch: dumb.pitch,
            bits: BITS,
            depth: DEPTH,
            handle: dumb.handle,
            ..AddFramebuffer::default()
        };
        // SAFETY: no lists.
        unsafe { self.request(&mut framebuffer) }?;
        let mut map = MapDumb {
            handle: dumb.handle,
            ..MapDumb::default()
        };
        // SAFETY: no lists.
        unsafe { self.request(&mut map) }?;
        let len = usize::try_from(dumb.size)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping where there is none; the card gave size and offset.
        let memory =
            unsafe { rustix::mm::mmap(anywhere, len, access, flags, &self.0, map.offset) }?;
        Ok(Buffer {
            framebuffer: framebuffer.framebuffer,
            width,
            height,
            pitch: usize::try_from(dumb.pitch)?,
            memory: memory.cast(),
            len,
        })
    }

    /// Sets the mode with this picture.
    pub(crate) fn set_mode(&self, output: &Output, buffer: &Buffer) -> anyhow::Result<()> {
        let mut connectors = [output.connector];
        let mut crtc = Crtc {
            connectors: address(&mut connectors),
            count_connectors: 1,
            crtc: output.crtc,
            framebuffer: buffer.framebuffer,
            mode_valid: 1,
            mode: output.mode,
            ..Crtc::default()
        };
        // SAFETY: a list of one connector.
        unsafe { self.request(&mut crtc) }
    }

    /// Flips to this picture, and returns once the driver says that it is shown.
    pub(crate) fn flip(&mut self, output: &Output, buffer: &Buffer) -> anyhow::Result<()> {
        let mut flip = PageFlip {
            crtc: output.crtc,
            framebuffer: buffer.framebuffer,
            flags: FLIP_EVENT,
            user_data: u64::from(buffer.framebuffer),
            ..PageFlip::default()
        };
        // SAFETY: no lists.
        unsafe { self.request(&mut flip) }?;
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut ready, Some(&PATIENCE.try_into()?))?;
        ensure!(!ready[0].revents().is_empty(), "the flip does not end");
        // `drm_event_vblank`: type, length, user data, time, count, crtc.
        let mut event = [0; 32];
        self.0.read_exact(&mut event)?;
        ensure!(
            event[..4] == FLIP_COMPLETE.to_ne_bytes(),
            "no flip: {event:?}"
        );
        ensure!(event[8..16] == flip.user_data.to_ne_bytes(), "another flip");
        Ok(())
    }
}

/// Where a list is, as DRM's structures have it.
fn address<T>(list: &mut [T]) -> u64 {
    list.as_mut_ptr().expose_provenance() as u64
}

impl Output {
    /// What is or is to be set.
    pub(crate) fn mode(&self) -> &Mode {
        &self.mode
    }
}

impl Buffer {
    /// Fills it with a picture: red, green and blue of each pixel.
    pub(crate) fn draw(&mut self, pixel: impl Fn(u32, u32) -> [u8; 3]) -> anyhow::Result<()> {
        let mut bytes = vec![0; self.len];
        for (y, line) in (0..self.height).zip(bytes.chunks_mut(self.pitch)) {
            let (pixels, _) = line.as_chunks_mut();
            for (x, to) in (0..self.width).zip(pixels) {
                let [red, green, blue] = pixel(x, y);
                *to = [blue, green, red, 0];
            }
        }
        // SAFETY: both are `len` bytes, and a mapping and a new list do not overlap. Whoever else
        // reads the memory takes it for bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory, self.len) };
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped in `Card::buffer`, and nothing borrowed from it outlives a call.
        let unmapped = unsafe { rustix::mm::munmap(self.memory.cast(), self.len) };
        // The rest of the buffer goes with its card.
        debug_assert_eq!(unmapped, Ok(()));
    }
}
