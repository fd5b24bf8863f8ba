//! The dma-bufs of a device that are mapped already.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DmabufId;

use crate::dmabuf_fd::Dmabuf;
use crate::import_error::ImportError;
use crate::screenshot_error::ScreenshotError;

/// How many: a guest's three buffers and a few cursors. A device that tells of ever new ones gets no more
/// memory held than that.
pub(crate) const KEPT_MAX: usize = 8;

/// How a file becomes a dma-buf.
pub(crate) type Import = fn(OwnedFd) -> Result<Dmabuf, ImportError>;

/// Buffers by their ids. As long as one is held, its id is that of no other.
#[derive(Debug)]
pub(crate) struct Dmabufs {
    import: Import,
    /// The one asked for least recently first.
    kept: Vec<(DmabufId, Dmabuf)>,
}

impl Dmabufs {
    pub(crate) const fn new(import: Import) -> Self {
        let kept = Vec::new();
        Self { import, kept }
    }

    /// Has a buffer mapped that the device has just told of.
    pub(crate) fn keep(
        &mut self,
        device: &dyn Device,
        id: DmabufId,
    ) -> Result<(), ScreenshotError> {
        let known = self.kept.iter().position(|&(kept, _)| kept == id);
        let buffer = match known {
            Some(at) => self.kept.remove(at).1,
            None => {
                let file = device
                    .gfx_dmabuf(id)
                    .map_err(|source| ScreenshotError::Fetch { id, source })?;
                (self.import)(file).map_err(|source| ScreenshotError::Import { id, source })?
            }
        };
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push((id, buffer));
        Ok(())
    }

    /// The buffer of an id, if it is mapped.
    pub(crate) fn get(&self, id: DmabufId) -> Option<&Dmabuf> {
        let mut latest_first = self.kept.iter().rev();
        latest_first
            .find(|(kept, _)| *kept == id)
            .map(|(_, buffer)| buffer)
    }

    /// How many are mapped.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.kept.len()
    }

    /// Gives all of them back: those that are still shown are told of again.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }
}
