//! What a plane shows and where to read it, by region or by dma-buf.

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

use crate::dmabuf_fd::Dmabuf;
use crate::dmabufs::Dmabufs;
use crate::dmabufs::Import;
use crate::plane::Plane;
use crate::screenshot_error::ScreenshotError;
use crate::surface::Surface;

/// How often a plane is asked for again because its dma-buf was gone before it was fetched.
const GONE_MAX: u32 = 3;

/// The pictures of a device, by one transport.
#[derive(Debug)]
pub(crate) struct Source {
    transport: GfxTransport,
    dmabufs: Dmabufs,
    /// Width, height and stride of the primary plane.
    mode: (u32, u32, u32),
}

/// What a plane shows.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) info: GfxPlaneInfo,
    pub(crate) plane: Plane,
    pub(crate) surface: Surface<'a>,
}

impl Source {
    pub(crate) const fn new(transport: GfxTransport) -> Self {
        Self::importing(transport, Dmabuf::import)
    }

    /// With another way to take dma-bufs.
    pub(crate) const fn importing(transport: GfxTransport, import: Import) -> Self {
        Self {
            transport,
            dmabufs: Dmabufs::new(import),
            mode: (0, 0, 0),
        }
    }

    pub(crate) const fn transport(&self) -> GfxTransport {
        self.transport
    }

    /// What a plane shows; none if that is nothing.
    pub(crate) fn shown<'a>(
        &'a mut self,
        device: &'a dyn Device,
        of: PlaneType,
    ) -> Result<Option<Shown<'a>>, ScreenshotError> {
        let mut gone = 0;
        let (info, plane) = loop {
            let info = device
                .query_gfx_plane(self.transport, of)
                .map_err(|source| ScreenshotError::Query { source })?;
            if of == PlaneType::PRIMARY {
                self.note_mode(&info);
            }
            if info.is_disabled() {
                return Ok(None);
            }
            let plane = Plane::of(&info)?;
            match self.hold(device, &info) {
                // The guest flipped, or cleared its memory, after the query: there is another picture now.
                Err(ScreenshotError::Fetch {
                    source: Errno::ENOENT,
                    ..
                }) if gone < GONE_MAX => gone += 1,
                held => {
                    held?;
                    break (info, plane);
                }
            }
        };
        let surface = self.surface(device, info.surface, &plane)?;
        Ok(Some(Shown {
            info,
            plane,
            surface,
        }))
    }

    /// A guest that sets another mode, or none, has other buffers: those of before would be held for nothing.
    fn note_mode(&mut self, info: &GfxPlaneInfo) {
        let mode = (info.width, info.height, info.stride);
        if mode != self.mode {
            self.dmabufs.forget();
            self.mode = mode;
        }
    }

    /// Sees to it that the picture can be read.
    fn hold(&mut self, device: &dyn Device, info: &GfxPlaneInfo) -> Result<(), ScreenshotError> {
        match info.surface {
            GfxSurface::Dmabuf(id) if self.transport == GfxTransport::Dmabuf => {
                let held = self.dmabufs.keep(device, id);
                if let Err(ScreenshotError::Fetch { .. }) = held {
                    // Where one is gone, others may be.
                    self.dmabufs.forget();
                }
                held
            }
            GfxSurface::Region(_) if self.transport == GfxTransport::Region => Ok(()),
            GfxSurface::Dmabuf(_) | GfxSurface::Region(_) => Err(ScreenshotError::Surface),
        }
    }

    fn surface<'a>(
        &'a self,
        device: &'a dyn Device,
        surface: GfxSurface,
        plane: &Plane,
    ) -> Result<Surface<'a>, ScreenshotError> {
        // Before anybody makes room for a picture that is not there.
        let has_room = |bytes| match plane.line_beyond(bytes) {
            Some(line) => Err(ScreenshotError::Short { line: line.into() }),
            None => Ok(()),
        };
        match surface {
            GfxSurface::Region(region) => {
                let (surface, bytes) = Surface::of_region(device, region)
                    .map_err(|source| ScreenshotError::Read { line: 0, source })?;
                has_room(bytes)?;
                Ok(surface)
            }
            GfxSurface::Dmabuf(id) => {
                let dmabuf = self.dmabufs.get(id).ok_or(ScreenshotError::Surface)?;
                has_room(dmabuf.len() as u64)?;
                let access = dmabuf.access();
                access
                    .map(Surface::Dmabuf)
                    .map_err(|source| ScreenshotError::Import { id, source })
            }
        }
    }
}

#[cfg(test)]
mod tests;
