//! The EDID region of a head: link down, write, link up (`vfio_region_gfx_edid`).
//!
//! The head of the region can be read in any way and is written word by word. The EDID can be
//! written while the link is down, in pieces; the guest sees it once the link is up again, which
//! is refused as long as it is none.

use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxEdid;
use irqbroker_vfio_abi::GfxEdidField;
use irqbroker_vfio_abi::LinkState;

use crate::registers::Monitor;

/// Where the EDID is in the region.
const OFFSET: usize = 0x800;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EdidEffect {
    /// Something was stored.
    Stored,
    /// The link is to be as it says, and was not.
    Link(Monitor),
}

/// What is kept of a head's EDID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EdidRegion {
    /// What the device was created with.
    built: Edid,
    /// The largest picture, pixels and lines.
    max: (u32, u32),
    /// As user space has written it.
    blob: Vec<u8>,
    /// How much of it counts; at most [`Edid::MAX_LEN`].
    size: usize,
}

impl EdidRegion {
    /// Bytes of the region.
    pub(crate) const SIZE: usize = 0x1000;

    /// The region of a head whose pictures are at most `max` pixels and lines.
    pub(crate) fn new(built: Edid, max: (u32, u32)) -> Self {
        let mut region = Self {
            built,
            max,
            blob: Vec::new(),
            size: 0,
        };
        region.reset();
        region
    }

    /// As in the beginning.
    pub(crate) fn reset(&mut self) {
        let built = self.built.clone();
        self.set(&built);
    }

    /// Takes an EDID over.
    pub(crate) fn set(&mut self, edid: &Edid) {
        let bytes = edid.as_bytes();
        self.blob = vec![0; Edid::MAX_LEN];
        self.blob[..bytes.len()].copy_from_slice(bytes);
        self.size = bytes.len();
    }

    /// All that was written, and how much of it counts, as it is saved.
    pub(crate) fn save(&self) -> (Vec<u8>, usize) {
        (self.blob.clone(), self.size)
    }

    /// Takes that back. Returns whether it fits; if not, nothing is taken.
    #[must_use]
    pub(crate) fn restore(&mut self, blob: &[u8], size: usize) -> bool {
        let fits = blob.len() == Edid::MAX_LEN && size <= blob.len();
        if fits {
            blob.clone_into(&mut self.blob);
            self.size = size;
        }
        fits
    }

    /// What is written there, if it is an EDID.
    pub(crate) fn edid(&self) -> Option<Edid> {
        Edid::parse(&self.blob[..self.size]).ok()
    }

    /// Reads `data.len()` bytes at `offset`, both within the region.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8], monitor: Monitor) {
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let head = GfxEdid {
            edid_offset: narrow(OFFSET),
            edid_max_size: narrow(Edid::MAX_LEN),
            edid_size: narrow(self.size),
            max_xres: self.max.0,
            max_yres: self.max.1,
            link_state: link(monitor),
        };
        let head = head.encode();
        for (at, byte) in (offset..).zip(data) {
            let blob = at.checked_sub(OFFSET).and_then(|at| self.blob.get(at));
            *byte = head.get(at).or(blob).copied().unwrap_or(0);
        }
    }

    /// Writes `data` at `offset`, both within the region.
    ///
    /// # Errors
    ///
    /// EINVAL: not a word of the head and not within the room of the EDID; a size beyond that room;
    /// a link state there is not; a link up with no EDID. EPERM: a word that is read-only. EBUSY:
    /// EDID or its size while the link is up.
    pub(crate) fn write(
        &mut self,
        offset: usize,
        data: &[u8],
        monitor: Monitor,
    ) -> Result<EdidEffect, Errno> {
        if let Some(at) = offset.checked_sub(OFFSET) {
            let end = at.checked_add(data.len()).ok_or(Errno::EINVAL)?;
            let room = self.blob.get_mut(at..end).ok_or(Errno::EINVAL)?;
            must_be_down(monitor)?;
            room.copy_from_slice(data);
            return Ok(EdidEffect::Stored);
        }
        let field = GfxEdidField::at(offset as u64).ok_or(Errno::EINVAL)?;
        let word = data.try_into().map_err(|_| Errno::EINVAL)?;
        let value = u32::from_ne_bytes(word);
        match field {
            GfxEdidField::EdidSize => {
                must_be_down(monitor)?;
                let size = usize::try_from(value).map_err(|_| Errno::EINVAL)?;
                if size > Edid::MAX_LEN {
                    return Err(Errno::EINVAL);
                }
                self.size = size;
                Ok(EdidEffect::Stored)
            }
            GfxEdidField::LinkState => {
                let asked = match LinkState(value) {
                    LinkState::UP => Monitor::Plugged,
                    LinkState::DOWN => Monitor::Unplugged,
                    _ => return Err(Errno::EINVAL),
                };
                if asked == monitor {
                    return Ok(EdidEffect::Stored);
                }
                if asked == Monitor::Plugged && self.edid().is_none() {
                    return Err(Errno::EINVAL);
                }
                Ok(EdidEffect::Link(asked))
            }
            _ => Err(Errno::EPERM),
        }
    }
}

const fn link(monitor: Monitor) -> LinkState {
    match monitor {
        Monitor::Plugged => LinkState::UP,
        Monitor::Unplugged => LinkState::DOWN,
    }
}

fn must_be_down(monitor: Monitor) -> Result<(), Errno> {
    match monitor {
        Monitor::Plugged => Err(Errno::EBUSY),
        Monitor::Unplugged => Ok(()),
    }
}
