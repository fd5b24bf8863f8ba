//! The EDID region of a display in memory, as strict as a vGPU's.

use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxEdid;
use irqbroker_vfio_abi::GfxEdidField;
use irqbroker_vfio_abi::LinkState;

/// Where the EDID is.
const OFFSET: usize = 0x200;

/// What is in the region, and what was done to it.
#[derive(Debug, Clone)]
pub(crate) struct FakeEdid {
    pub(crate) head: GfxEdid,
    blob: Vec<u8>,
    /// The link as it was set, again and again.
    pub(crate) links: Vec<LinkState>,
    /// How many writes are still taken before one is refused; none are unless it is set.
    pub(crate) refuses_after: Option<u32>,
}

impl FakeEdid {
    /// A monitor with this EDID, on a device that shows so much.
    pub(crate) fn new(edid: &Edid, max: (u32, u32)) -> Self {
        let mut blob = vec![0; Edid::MAX_LEN];
        let bytes = edid.as_bytes();
        blob[..bytes.len()].copy_from_slice(bytes);
        Self {
            head: GfxEdid {
                edid_offset: u32::try_from(OFFSET).unwrap(),
                edid_max_size: u32::try_from(Edid::MAX_LEN).unwrap(),
                edid_size: u32::try_from(bytes.len()).unwrap(),
                max_xres: max.0,
                max_yres: max.1,
                link_state: LinkState::UP,
            },
            blob,
            links: Vec::new(),
            refuses_after: None,
        }
    }

    /// What the guest finds, if the link is up.
    pub(crate) fn seen(&self) -> Option<Edid> {
        let is_up = self.head.link_state != LinkState::DOWN;
        is_up.then(|| self.edid()).flatten()
    }

    fn edid(&self) -> Option<Edid> {
        Edid::parse(&self.blob[..self.head.edid_size as usize]).ok()
    }

    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> usize {
        let head = self.head.encode();
        for (at, byte) in (usize::try_from(offset).unwrap()..).zip(&mut *data) {
            let blob = at.checked_sub(OFFSET).and_then(|at| self.blob.get(at));
            *byte = head.get(at).or(blob).copied().unwrap_or(0);
        }
        data.len()
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        match self.refuses_after {
            // One is refused, and those behind it are taken.
            Some(0) => {
                self.refuses_after = None;
                return Err(Errno::EIO);
            }
            left => self.refuses_after = left.map(|left| left - 1),
        }
        let is_up = self.head.link_state != LinkState::DOWN;
        if let Some(at) = usize::try_from(offset).unwrap().checked_sub(OFFSET) {
            let room = self.blob.get_mut(at..at + data.len());
            let room = room.ok_or(Errno::EINVAL)?;
            if is_up {
                return Err(Errno::EBUSY);
            }
            room.copy_from_slice(data);
            return Ok(data.len());
        }
        let value = u32::from_ne_bytes(data.try_into().map_err(|_| Errno::EINVAL)?);
        match GfxEdidField::at(offset) {
            Some(GfxEdidField::EdidSize) if is_up => return Err(Errno::EBUSY),
            Some(GfxEdidField::EdidSize) if value <= self.head.edid_max_size => {
                self.head.edid_size = value;
            }
            Some(GfxEdidField::LinkState) => {
                let link = LinkState(value);
                if link == LinkState::UP && self.edid().is_none() {
                    return Err(Errno::EINVAL);
                }
                self.head.link_state = link;
                self.links.push(link);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(data.len())
    }
}
