//! The monitor that the guest of a device sees, changed through the device's EDID region.
//!
//! Link down, size and EDID, link up, as `VFIO_REGION_SUBTYPE_GFX_EDID` asks for: the guest is told
//! that its monitor is gone and that there is one, reads the new EDID and sets a mode if it wants.

use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxEdid;
use irqbroker_vfio_abi::GfxEdidField;
use irqbroker_vfio_abi::LinkState;
use irqbroker_vfio_abi::Mode;
use irqbroker_vfio_abi::MonitorDescription;
use irqbroker_vfio_abi::Refresh;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionType;

use crate::monitor_error::FindMonitorError;
use crate::monitor_error::PreferError;

/// How many regions a device is asked about, whatever it claims to have.
const REGIONS_MAX: u32 = 256;
/// The least side that is asked of a guest, pixels: that of its cursor.
const SIDE_MIN: u16 = 64;

/// The monitor of a device with an EDID region: a kernel's device, a peer, or a vGPU's.
#[derive(Debug)]
pub struct Monitor {
    device: Arc<dyn Device>,
    region: RegionIndex,
    changed: Option<Changed>,
}

/// What was done so far.
#[derive(Debug)]
struct Changed {
    /// The EDID that somebody else had put there.
    from: Option<Edid>,
    /// And what it was changed to.
    to: Edid,
}

/// What came of a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The monitor preferred that already. Nobody was told.
    AsBefore,
    /// It does now, and the guest is told.
    Changed,
}

impl Monitor {
    /// Looks for the EDID region of a device.
    ///
    /// # Errors
    ///
    /// See [`FindMonitorError`].
    pub fn find(device: Arc<dyn Device>) -> Result<Self, FindMonitorError> {
        let info = device.info();
        let info = info.map_err(|source| FindMonitorError::Info { source })?;
        let regions = (0..info.num_regions.min(REGIONS_MAX)).map(RegionIndex);
        let region = regions
            // One that does not answer is no EDID.
            .filter_map(|index| device.region_info(index).ok())
            .find(|region| region.region_type() == Some(RegionType::GFX_EDID))
            .ok_or(FindMonitorError::NoRegion)?;
        let index = region.index;
        if !region
            .flags
            .contains(RegionFlags::READ | RegionFlags::WRITE)
        {
            return Err(FindMonitorError::ReadOnly { index });
        }
        Ok(Self {
            device,
            region: index,
            changed: None,
        })
    }

    /// Whether the monitor can prefer this size.
    ///
    /// # Errors
    ///
    /// [`PreferError::Read`], [`PreferError::Unplugged`] or [`PreferError::Size`].
    pub fn allows(&self, width: u16, height: u16) -> Result<(), PreferError> {
        self.head_for(width, height).map(drop)
    }

    /// Has the monitor prefer a size, at the rate it prefers so far; its name, its serial number and
    /// the modes that somebody else has given it stay. A guest that is told of hotplugs is told twice.
    ///
    /// # Errors
    ///
    /// See [`PreferError`]. The monitor is as before, as far as the device lets that be put right.
    pub fn prefer(&mut self, width: u16, height: u16) -> Result<Preference, PreferError> {
        let head = self.head_for(width, height)?;
        let before = self.edid(&head)?;
        if before.as_ref().and_then(Edid::preferred) == Some((width, height)) {
            return Ok(Preference::AsBefore);
        }
        let ours = self.changed.as_ref();
        let ours = ours.filter(|changed| Some(&changed.to) == before.as_ref());
        // Not what was asked for before this: a window that is dragged leaves no trail of modes.
        let from = match ours {
            Some(changed) => changed.from.clone(),
            None => before.clone(),
        };
        let room = usize::try_from(head.edid_max_size).unwrap_or(usize::MAX);
        let to = build(from.as_ref(), width, height, room)?;
        if let Err(source) = self.write(&head, &to) {
            self.undo(&head, before.as_ref());
            return Err(PreferError::Write { source });
        }
        self.changed = Some(Changed { from, to });
        Ok(Preference::Changed)
    }

    /// The words at the beginning of the region, if the size is within what they allow.
    fn head_for(&self, width: u16, height: u16) -> Result<GfxEdid, PreferError> {
        let mut bytes = [0; GfxEdid::SIZE];
        self.read(0, &mut bytes)?;
        let head = GfxEdid::decode(&bytes).map_err(|_| PreferError::Read {
            source: Errno::EPROTO,
        })?;
        // Some kernel's devices say neither up nor down until it is written.
        if head.link_state == LinkState::DOWN {
            return Err(PreferError::Unplugged);
        }
        let fits = |side: u16, most: u32| {
            (SIDE_MIN..=Mode::MAX_SIDE).contains(&side) && u32::from(side) <= most
        };
        if !fits(width, head.max_xres) || !fits(height, head.max_yres) {
            return Err(PreferError::Size {
                width,
                height,
                max: (head.max_xres, head.max_yres),
            });
        }
        Ok(head)
    }

    /// What is in the region, if it is an EDID.
    fn edid(&self, head: &GfxEdid) -> Result<Option<Edid>, PreferError> {
        let size = usize::try_from(head.edid_size).unwrap_or(usize::MAX);
        if head.edid_size > head.edid_max_size || size > Edid::MAX_LEN {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        self.read(head.edid_offset.into(), &mut bytes)?;
        Ok(Edid::parse(&bytes).ok())
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), PreferError> {
        let len = data.len();
        let read = self.device.region_read(self.region, offset, data);
        match read {
            Ok(count) if count == len => Ok(()),
            Ok(_) => Err(Errno::EIO),
            Err(source) => Err(source),
        }
        .map_err(|source| PreferError::Read { source })
    }

    fn write(&self, head: &GfxEdid, edid: &Edid) -> Result<(), Errno> {
        self.set_word(GfxEdidField::LinkState, LinkState::DOWN.0)?;
        let bytes = edid.as_bytes();
        // At most 1024.
        let size = u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)?;
        self.set_word(GfxEdidField::EdidSize, size)?;
        self.put(head.edid_offset.into(), bytes)?;
        self.set_word(GfxEdidField::LinkState, LinkState::UP.0)
    }

    /// Has the guest find again what was there, whatever the device takes of it.
    fn undo(&self, head: &GfxEdid, before: Option<&Edid>) {
        let undone = match before {
            Some(edid) => self.write(head, edid),
            None => self.set_word(GfxEdidField::LinkState, LinkState::UP.0),
        };
        if let Err(error) = undone {
            tracing::warn!(%error, "the monitor is unplugged");
        }
    }

    fn set_word(&self, field: GfxEdidField, value: u32) -> Result<(), Errno> {
        self.put(field.offset(), &value.to_ne_bytes())
    }

    fn put(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let written = self.device.region_write(self.region, offset, data)?;
        if written == data.len() {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }
}

/// An EDID of the monitor that was there, or of one that tells nothing else.
fn build(from: Option<&Edid>, width: u16, height: u16, room: usize) -> Result<Edid, PreferError> {
    let nameless = || {
        let mode = Mode {
            width,
            height,
            refresh: Refresh::HZ_60,
        };
        let monitor = MonitorDescription {
            name: "",
            serial: 0,
            modes: &[mode],
        };
        monitor.to_edid()
    };
    let known = from.cloned().map_or_else(nameless, Ok);
    known
        .and_then(|known| known.preferring(width, height, room))
        .map_err(|source| PreferError::Build { source })
}

#[cfg(test)]
mod tests;
