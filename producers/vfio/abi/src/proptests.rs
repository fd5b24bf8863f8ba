//! Whatever is encoded decodes to itself, and whatever comes is answered without a panic.

use proptest::collection::btree_set;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::capability::RawCapability;
use crate::device_info::DeviceInfo;
use crate::flags::DeviceFlags;
use crate::flags::IrqFlags;
use crate::flags::IrqSetFlags;
use crate::flags::PlaneMask;
use crate::flags::RegionFlags;
use crate::fuzz::TARGETS;
use crate::gfx::DmabufId;
use crate::gfx::GfxPlaneInfo;
use crate::gfx::GfxSurface;
use crate::gfx::PlaneType;
use crate::gfx_edid::GfxEdid;
use crate::gfx_edid::LinkState;
use crate::index::IrqIndex;
use crate::index::RegionIndex;
use crate::info_error::InfoError;
use crate::irq_capability::DisplayEvent;
use crate::irq_capability::DisplayEventKind;
use crate::irq_capability::IrqCapability;
use crate::irq_capability::IrqType;
use crate::irq_capability::MsiDescriptor;
use crate::irq_info::IrqInfo;
use crate::irq_set_header::IrqSetHeader;
use crate::region_capability::RegionCapability;
use crate::region_capability::RegionType;
use crate::region_capability::SparseArea;
use crate::region_info::RegionInfo;

/// Sub-indexes of the indexes made here; small, so that some are adjacent.
const COUNT: u32 = 40;

/// A capability whose id nothing is known of, in whole multiples of 8 bytes: others are padded.
fn unknown() -> impl Strategy<Value = RawCapability> {
    let bytes = vec(any::<[u8; 8]>(), 0..4).prop_map(|words| words.concat());
    (16u16.., any::<u16>(), bytes).prop_map(|(id, version, bytes)| RawCapability {
        id,
        version,
        bytes,
    })
}

fn region_capability() -> impl Strategy<Value = RegionCapability> {
    let area = any::<(u64, u64)>().prop_map(|(offset, size)| SparseArea { offset, size });
    let kind = any::<(u32, u32)>().prop_map(|(type_, subtype)| RegionType { type_, subtype });
    prop_oneof![
        vec(area, 0..5).prop_map(RegionCapability::SparseMmap),
        kind.prop_map(RegionCapability::Type),
        Just(RegionCapability::MsixMappable),
        unknown().prop_map(RegionCapability::Unknown),
    ]
}

fn irq_capability() -> impl Strategy<Value = IrqCapability> {
    let kind = any::<(u32, u32)>().prop_map(|(type_, subtype)| IrqType { type_, subtype });
    let events =
        (btree_set(0..COUNT, 0..6), any::<[u32; 3]>()).prop_map(|(all, [kind, head, planes])| {
            let event = |sub_index| DisplayEvent {
                sub_index,
                kind: DisplayEventKind(kind),
                head,
                planes: PlaneMask::from_bits_retain(planes),
            };
            IrqCapability::Display(all.into_iter().map(event).collect())
        });
    let messages =
        (btree_set(0..COUNT, 0..6), any::<(u64, u32)>()).prop_map(|(all, (address, data))| {
            let message = |sub_index| MsiDescriptor {
                sub_index,
                address,
                data,
            };
            IrqCapability::MsiDescriptors(all.into_iter().map(message).collect())
        });
    prop_oneof![
        kind.prop_map(IrqCapability::Type),
        events,
        messages,
        unknown().prop_map(IrqCapability::Unknown),
    ]
}

proptest! {
    #[test]
    fn device_info_is_decoded_as_it_was_encoded(
        [flags, num_regions, num_irqs] in any::<[u32; 3]>(),
        capabilities in vec(unknown(), 0..5),
    ) {
        let flags = DeviceFlags::from_bits_retain(flags) - DeviceFlags::CAPS;
        let info = DeviceInfo { flags, num_regions, num_irqs, capabilities };

        let bytes = info.encode(u32::MAX)?;

        prop_assert_eq!(DeviceInfo::decode(&bytes), Ok(info));
    }

    #[test]
    fn region_info_is_decoded_as_it_was_encoded(
        [flags, index] in any::<[u32; 2]>(),
        [size, offset] in any::<[u64; 2]>(),
        capabilities in vec(region_capability(), 0..5),
        argsz in 32u32..300,
    ) {
        let info = RegionInfo {
            index: RegionIndex(index),
            flags: RegionFlags::from_bits_retain(flags) - RegionFlags::CAPS,
            size,
            offset,
            capabilities,
        };

        let bytes = info.encode(argsz)?;

        prop_assert!(bytes.len() <= argsz as usize);
        match RegionInfo::decode(&bytes) {
            Err(InfoError::BufferTooSmall { needed }) => {
                prop_assert!(needed > argsz);
                prop_assert_eq!(RegionInfo::decode(&info.encode(needed)?), Ok(info));
            }
            decoded => prop_assert_eq!(decoded, Ok(info)),
        }
    }

    #[test]
    fn irq_info_is_decoded_as_it_was_encoded(
        [flags, index] in any::<[u32; 2]>(),
        capabilities in vec(irq_capability(), 0..5),
        argsz in 16u32..300,
    ) {
        let info = IrqInfo {
            index: IrqIndex(index),
            flags: IrqFlags::from_bits_retain(flags) - IrqFlags::CAPS,
            count: COUNT,
            capabilities,
        };

        let bytes = info.encode(argsz)?;

        prop_assert!(bytes.len() <= argsz as usize);
        match IrqInfo::decode(&bytes) {
            Err(InfoError::BufferTooSmall { needed }) => {
                prop_assert!(needed > argsz);
                prop_assert_eq!(IrqInfo::decode(&info.encode(needed)?), Ok(info));
            }
            decoded => prop_assert_eq!(decoded, Ok(info)),
        }
    }

    #[test]
    fn irq_set_header_is_decoded_as_it_was_encoded(words in any::<[u32; 5]>()) {
        let [argsz, flags, index, start, count] = words;
        let flags = IrqSetFlags::from_bits_retain(flags);
        let header = IrqSetHeader { argsz, flags, index: IrqIndex(index), start, count };

        prop_assert_eq!(IrqSetHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn gfx_plane_is_decoded_as_it_was_encoded(
        [plane, format, width, height, stride, size] in any::<[u32; 6]>(),
        [x_pos, y_pos, x_hot, y_hot, surface] in any::<[u32; 5]>(),
        modifier: u64,
        region: bool,
    ) {
        let info = GfxPlaneInfo {
            plane: PlaneType(plane),
            format,
            modifier,
            width,
            height,
            stride,
            size,
            x_pos,
            y_pos,
            x_hot,
            y_hot,
            surface: if region {
                GfxSurface::Region(RegionIndex(surface))
            } else {
                GfxSurface::Dmabuf(DmabufId(surface))
            },
        };

        prop_assert_eq!(GfxPlaneInfo::decode(&info.encode(64)?), Ok(info));
    }

    #[test]
    fn edid_is_decoded_as_it_was_encoded(words in any::<[u32; 6]>()) {
        let [edid_offset, edid_max_size, edid_size, max_xres, max_yres, link_state] = words;
        let edid = GfxEdid {
            edid_offset,
            edid_max_size,
            edid_size,
            max_xres,
            max_yres,
            link_state: LinkState(link_state),
        };

        prop_assert_eq!(GfxEdid::decode(&edid.encode()), Ok(edid));
    }

    #[test]
    fn random_bytes_hold_all_properties(bytes in vec(any::<u8>(), 0..256)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }
}
