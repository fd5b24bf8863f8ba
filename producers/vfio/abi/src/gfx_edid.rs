//! The EDID region of a vGPU: which monitor the guest sees.
//!
//! The region ([`RegionType::GFX_EDID`](crate::RegionType::GFX_EDID)) begins with these six words;
//! the EDID itself is at `edid_offset`. To change it: link down, EDID and size, link up.

use zerocopy::FromBytes;

use crate::info_error::InfoError;
use crate::wire::GfxEdidWire;

/// The head of an EDID region (`vfio_region_gfx_edid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GfxEdid {
    /// Where the EDID is in the region, bytes. Read-only.
    pub edid_offset: u32,
    /// The largest EDID there is room for, bytes. Read-only.
    pub edid_max_size: u32,
    /// Bytes of the EDID that is there.
    pub edid_size: u32,
    /// The widest picture the vGPU can show, pixels. Read-only.
    pub max_xres: u32,
    /// The highest picture the vGPU can show, pixels. Read-only.
    pub max_yres: u32,
    /// Whether the monitor is on.
    pub link_state: LinkState,
}

/// Whether a monitor is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkState(pub u32);

impl LinkState {
    /// It is; the guest sees the EDID.
    pub const UP: Self = Self(1);
    /// It is not; the EDID may be changed.
    pub const DOWN: Self = Self(2);
}

/// One word of the head. Each is read and written alone and in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GfxEdidField {
    /// [`GfxEdid::edid_offset`].
    EdidOffset,
    /// [`GfxEdid::edid_max_size`].
    EdidMaxSize,
    /// [`GfxEdid::edid_size`].
    EdidSize,
    /// [`GfxEdid::max_xres`].
    MaxXres,
    /// [`GfxEdid::max_yres`].
    MaxYres,
    /// [`GfxEdid::link_state`].
    LinkState,
}

impl GfxEdidField {
    /// All of them, in the order in which they lie in the region.
    pub const ALL: [Self; 6] = [
        Self::EdidOffset,
        Self::EdidMaxSize,
        Self::EdidSize,
        Self::MaxXres,
        Self::MaxYres,
        Self::LinkState,
    ];

    /// The word at an offset into the region, if one begins there.
    #[must_use]
    pub fn at(offset: u64) -> Option<Self> {
        let word = usize::try_from(offset / 4).ok()?;
        offset
            .is_multiple_of(4)
            .then(|| Self::ALL.get(word).copied())
            .flatten()
    }

    /// Where it is in the region, bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        // In the order of `ALL`.
        self as u64 * 4
    }

    /// Whether user space may write it. A write to another is ignored by some drivers and EPERM
    /// with others.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::EdidSize | Self::LinkState)
    }
}

impl GfxEdid {
    /// Bytes of the head.
    pub const SIZE: usize = size_of::<GfxEdidWire>();

    /// Reads the head of a region.
    ///
    /// # Errors
    ///
    /// [`InfoError::Short`] if the slice ends within it.
    pub fn decode(bytes: &[u8]) -> Result<Self, InfoError> {
        let (wire, _) = GfxEdidWire::read_from_prefix(bytes).map_err(|_| InfoError::Short {
            len: bytes.len(),
            minimum: Self::SIZE,
        })?;
        Ok(Self {
            edid_offset: wire.edid_offset,
            edid_max_size: wire.edid_max_size,
            edid_size: wire.edid_size,
            max_xres: wire.max_xres,
            max_yres: wire.max_yres,
            link_state: LinkState(wire.link_state),
        })
    }

    /// The bytes of the head.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        zerocopy::transmute!(GfxEdidWire {
            edid_offset: self.edid_offset,
            edid_max_size: self.edid_max_size,
            edid_size: self.edid_size,
            max_xres: self.max_xres,
            max_yres: self.max_yres,
            link_state: self.link_state.0,
        })
    }
}

#[cfg(test)]
mod tests;
