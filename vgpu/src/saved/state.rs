//! What is saved of a vGPU beside its VRAM.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::device::SavedSlot;
use crate::head_events::SavedEvents;
use crate::refresh::Refresh;
use crate::registers::Monitor;
use crate::registers::Registers;
use crate::vgpu_type::VgpuType;

/// All but the VRAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedVgpu {
    /// What it was created as.
    pub(crate) vgpu: SavedType,
    pub(crate) config: Vec<u8>,
    pub(crate) msix_table: Vec<u8>,
    pub(crate) registers: Registers,
    /// By sub-index of the display's interrupt.
    pub(crate) display: Vec<SavedSlot>,
    pub(crate) heads: Vec<SavedHead>,
}

/// A type, by what a device is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedType {
    name: String,
    width: u16,
    height: u16,
    heads: usize,
    vram: u64,
    /// Refresh rate: upper and lower half of the ratio.
    refresh: (u32, u32),
}

/// A head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedHead {
    /// Refresh rate at present: upper and lower half of the ratio.
    pub(crate) refresh: (u32, u32),
    /// Nanoseconds since the vblank of the frame counter.
    pub(crate) since_vblank: u64,
    pub(crate) events: SavedEvents,
    /// Where the picture is in the VRAM that is shown until the next vblank, if a page flip waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown_offset: Option<u64>,
    /// By event: whether the guest's vector listened.
    pub(crate) guest_listens: Vec<bool>,
    pub(crate) monitor: Monitor,
    pub(crate) edid: Vec<u8>,
    pub(crate) edid_size: usize,
}

impl SavedHead {
    /// The rate, if it is one.
    pub(crate) fn refresh(&self) -> Option<Refresh> {
        Refresh::new(self.refresh.0, self.refresh.1).ok()
    }
}

/// The ratio of a rate.
pub(crate) const fn ratio(refresh: Refresh) -> (u32, u32) {
    (refresh.numerator(), refresh.denominator())
}

impl From<&VgpuType> for SavedType {
    fn from(vgpu: &VgpuType) -> Self {
        Self {
            name: vgpu.name.to_string(),
            width: vgpu.width,
            height: vgpu.height,
            heads: vgpu.heads,
            vram: vgpu.vram,
            refresh: ratio(vgpu.refresh),
        }
    }
}

impl SavedType {
    /// Bytes of VRAM.
    pub(crate) const fn vram(&self) -> u64 {
        self.vram
    }

    /// The type to create, if its rate is one.
    pub(crate) fn to_type(&self) -> Option<VgpuType> {
        Some(VgpuType {
            name: self.name.clone().into(),
            width: self.width,
            height: self.height,
            heads: self.heads,
            vram: self.vram,
            refresh: Refresh::new(self.refresh.0, self.refresh.1).ok()?,
        })
    }

    /// Whether a device of one can become one of the other. Names are for people.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let Self {
            name: _,
            width,
            height,
            heads,
            vram,
            refresh,
        } = self;
        (*width, *height, *heads, *vram, *refresh)
            == (
                other.width,
                other.height,
                other.heads,
                other.vram,
                other.refresh,
            )
    }
}

impl fmt::Display for SavedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            height,
            heads,
            vram,
            refresh,
            ..
        } = self;
        let (upper, lower) = refresh;
        write!(
            f,
            "{width}x{height}, {upper}/{lower} hz, heads {heads}, vram {vram}"
        )
    }
}
