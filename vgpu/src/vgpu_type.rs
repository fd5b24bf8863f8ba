//! vGPU types: what a parent offers to create devices of.

use std::borrow::Cow;

use irqbroker_vfio_abi::Mode;

use crate::instance::MAX_HEADS;
use crate::refresh::Refresh;

const MIB: u64 = 1 << 20;

/// What a vGPU is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VgpuType {
    /// Its name, by which it is chosen.
    pub name: Cow<'static, str>,
    /// Preferred mode of each head, pixels: 64 to 4095.
    pub width: u16,
    /// Preferred mode of each head, lines: 64 to 4095.
    pub height: u16,
    /// Heads, 1 to [`MAX_HEADS`].
    pub heads: usize,
    /// Bytes of VRAM: a power of two from 1 MiB to 1 GiB that holds the preferred mode of all
    /// heads at 32 bits.
    pub vram: u64,
    /// Refresh rate of each head.
    pub refresh: Refresh,
}

/// Why a type cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// The preferred mode is too small or too large to be told in an EDID.
    #[error("a preferred mode is 64 to 4095 pixels wide and high, not {width}x{height}")]
    Mode {
        /// As it was asked for.
        width: u16,
        /// As it was asked for.
        height: u16,
    },
    /// None, or too many.
    #[error("a vgpu has 1 to {MAX_HEADS} heads, not {heads}")]
    Heads {
        /// As it was asked for.
        heads: usize,
    },
    /// A BAR cannot have that size.
    #[error("vram of {vram} bytes is no power of two from 1 mib to 1 gib")]
    VramSize {
        /// As it was asked for.
        vram: u64,
    },
    /// The pictures do not fit.
    #[error("pictures of all heads take {needed} bytes of {vram}")]
    VramTooSmall {
        /// Bytes of all heads.
        needed: u64,
        /// Bytes there would be.
        vram: u64,
    },
}

impl VgpuType {
    /// The types every parent offers, by size.
    pub const ALL: [Self; 5] = [
        Self::of("small", 1024, 768, 1, 8 * MIB),
        Self::of("medium", 1280, 800, 1, 16 * MIB),
        Self::of("large", 1920, 1080, 1, 32 * MIB),
        Self::of("dual", 1920, 1080, 2, 64 * MIB),
        Self::of("uhd", 3840, 2160, 1, 128 * MIB),
    ];

    const fn of(name: &'static str, width: u16, height: u16, heads: usize, vram: u64) -> Self {
        Self {
            name: Cow::Borrowed(name),
            width,
            height,
            heads,
            vram,
            refresh: Refresh::HZ_60,
        }
    }

    /// The type of that name, if it is one of [`ALL`](Self::ALL).
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vgpu| vgpu.name == name)
    }

    pub(crate) fn check(&self) -> Result<(), TypeError> {
        let (width, height, vram) = (self.width, self.height, self.vram);
        if ![width, height]
            .iter()
            .all(|size| (64..=Mode::MAX_SIDE).contains(size))
        {
            return Err(TypeError::Mode { width, height });
        }
        if !(1..=MAX_HEADS).contains(&self.heads) {
            return Err(TypeError::Heads { heads: self.heads });
        }
        if !vram.is_power_of_two() || !(MIB..=1024 * MIB).contains(&vram) {
            return Err(TypeError::VramSize { vram });
        }
        let needed = u64::from(width) * u64::from(height) * 4 * self.heads as u64;
        if needed > vram {
            return Err(TypeError::VramTooSmall { needed, vram });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_table_can_be_and_is_found_by_its_name() {
        for vgpu in VgpuType::ALL {
            assert_eq!(vgpu.check(), Ok(()), "{}", vgpu.name);
            assert_eq!(VgpuType::find(&vgpu.name), Some(vgpu));
        }
        assert_eq!(VgpuType::find("none"), None);
    }

    #[test]
    fn type_is_refused_on_each_side_of_its_limits() {
        let with = |change: fn(&mut VgpuType)| {
            let mut vgpu = VgpuType::ALL[1].clone();
            change(&mut vgpu);
            vgpu.check()
        };
        let mode = |width, height| Err(TypeError::Mode { width, height });
        assert_eq!(with(|vgpu| vgpu.width = 63), mode(63, 800));
        assert_eq!(with(|vgpu| vgpu.height = 4096), mode(1280, 4096));
        assert_eq!(with(|vgpu| vgpu.width = 64), Ok(()));
        assert_eq!(
            with(|vgpu| vgpu.heads = 0),
            Err(TypeError::Heads { heads: 0 })
        );
        assert_eq!(
            with(|vgpu| vgpu.heads = 17),
            Err(TypeError::Heads { heads: 17 })
        );
        for vram in [0, MIB / 2, 3 * MIB, 2048 * MIB] {
            let mut vgpu = VgpuType::ALL[1].clone();
            vgpu.vram = vram;
            assert_eq!(vgpu.check(), Err(TypeError::VramSize { vram }));
        }
        let needed = 5 * 1280 * 800 * 4;
        let small = TypeError::VramTooSmall {
            needed,
            vram: 16 * MIB,
        };
        assert_eq!(with(|vgpu| vgpu.heads = 5), Err(small));
        assert_eq!(with(|vgpu| vgpu.heads = 4), Ok(()));
    }
}
