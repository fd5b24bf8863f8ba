//! The fuzz targets as plain functions: each panics where a property does not hold.
//!
//! `fuzz/` hands them to `cargo fuzz`; the tests of this module replay its corpora, mutated. The
//! properties: what was decoded is what its encoding decodes to; no more is allocated than bytes
//! came; what is accepted and refused is what the models of [`model`] say, which are written from
//! the kernel's rules in another way than the decoders.

mod model;

use crate::capability::RawCapability;
use crate::chain::CAPABILITIES_MAX;
use crate::device_info::DeviceInfo;
use crate::errno::Errno;
use crate::flags::IrqFlags;
use crate::gfx::GfxPlaneInfo;
use crate::gfx::GfxRequest;
use crate::index::IrqIndex;
use crate::info_error::InfoError;
use crate::irq_capability::IrqCapability;
use crate::irq_info::IrqInfo;
use crate::irq_operation::IrqOperation;
use crate::irq_operation::block_set_irqs;
use crate::irq_set_header::IrqLimits;
use crate::irq_set_header::IrqPayload;
use crate::irq_set_header::IrqSetHeader;
use crate::pci_irqs::PciIrqState;
use crate::pci_irqs::VectorGrowth;
use crate::pci_irqs::pci_set_irqs;
use crate::platform_irqs::PlatformIrqState;
use crate::platform_irqs::platform_set_irqs;
use crate::region_capability::RegionCapability;
use crate::region_info::RegionInfo;

/// An entry point.
pub type Target = fn(&[u8]);

/// All entry points, by the names of their corpora.
pub const TARGETS: [(&str, Target); 5] = [
    ("device_info", device_info),
    ("region_info", region_info),
    ("irq_info", irq_info),
    ("irq_set", irq_set),
    ("gfx_plane", gfx_plane),
];

/// What is longer says nothing new, and padded could be more than an encoding may have.
const LEN_MAX: usize = 4096;

/// The answer to `VFIO_DEVICE_GET_INFO`.
pub fn device_info(data: &[u8]) {
    let data = &data[..data.len().min(LEN_MAX)];
    let decoded = DeviceInfo::decode(data);
    let modelled = model::capabilities(data, model::DEVICE);
    let Ok(mut info) = decoded else {
        assert_eq!(modelled, None);
        return;
    };
    let raw: Vec<_> = info.capabilities.iter().map(model::summary).collect();
    assert_eq!(modelled, Some(raw));
    info.capabilities.iter_mut().for_each(pad);
    check_allocation(data, info.capabilities.len(), 0);
    check_encoding(
        &info,
        16,
        !info.capabilities.is_empty(),
        DeviceInfo::encode,
        DeviceInfo::decode,
    );
}

/// The answer to `VFIO_DEVICE_GET_REGION_INFO`.
pub fn region_info(data: &[u8]) {
    let data = &data[..data.len().min(LEN_MAX)];
    let decoded = RegionInfo::decode(data);
    let modelled = model::capabilities(data, model::REGION);
    let Ok(mut info) = decoded else {
        assert!(modelled.is_none_or(|chain| chain.iter().any(model::is_broken_region)));
        return;
    };
    assert_eq!(
        modelled.map(|chain| chain.len()),
        Some(info.capabilities.len())
    );
    let mut elements = 0;
    for capability in &mut info.capabilities {
        match capability {
            RegionCapability::SparseMmap(areas) => elements += size_of_val(areas.as_slice()),
            RegionCapability::Unknown(raw) => pad(raw),
            RegionCapability::Type(_) | RegionCapability::MsixMappable => {}
        }
    }
    check_allocation(data, info.capabilities.len(), elements);
    check_encoding(
        &info,
        32,
        !info.capabilities.is_empty(),
        RegionInfo::encode,
        RegionInfo::decode,
    );
}

/// The answer to `VFIO_DEVICE_GET_IRQ_INFO`.
pub fn irq_info(data: &[u8]) {
    let data = &data[..data.len().min(LEN_MAX)];
    let decoded = IrqInfo::decode(data);
    let modelled = model::capabilities(data, model::IRQ);
    let Ok(mut info) = decoded else {
        let count = model::word(data, 12).unwrap_or(0);
        assert!(
            modelled.is_none_or(|chain| chain.iter().any(|one| model::is_broken_irq(one, count)))
        );
        return;
    };
    assert_eq!(
        modelled.map(|chain| chain.len()),
        Some(info.capabilities.len())
    );
    let mut elements = 0;
    for capability in &mut info.capabilities {
        let sub_indexes: Vec<u32> = match capability {
            IrqCapability::Display(events) => {
                elements += size_of_val(events.as_slice());
                events.iter().map(|event| event.sub_index).collect()
            }
            IrqCapability::MsiDescriptors(messages) => {
                elements += size_of_val(messages.as_slice());
                messages.iter().map(|message| message.sub_index).collect()
            }
            IrqCapability::Unknown(raw) => {
                pad(raw);
                Vec::new()
            }
            IrqCapability::Type(_) => Vec::new(),
        };
        assert!(sub_indexes.is_sorted_by(|one, next| one < next));
        assert!(sub_indexes.iter().all(|&sub_index| sub_index < info.count));
    }
    check_allocation(data, info.capabilities.len(), elements);
    check_encoding(
        &info,
        16,
        !info.capabilities.is_empty(),
        IrqInfo::encode,
        IrqInfo::decode,
    );
}

/// A request of `VFIO_DEVICE_SET_IRQS`, behind a byte for the number of indexes, one for that of
/// sub-indexes and one for the state of the device.
pub fn irq_set(data: &[u8]) {
    let Some((&[num_irqs, count, state], request)) = data.split_first_chunk() else {
        return;
    };
    let limits = IrqLimits {
        num_irqs: u32::from(num_irqs),
        // The top bit makes it the most there can be, for sums that overflow.
        count: if count & 0x80 == 0 {
            u32::from(count)
        } else {
            u32::MAX
        },
    };
    let header = match IrqSetHeader::decode(request) {
        Ok(header) => header,
        Err(error) => {
            assert_eq!((error, request.len() < 20), (Errno::EFAULT, true));
            return;
        }
    };
    assert_eq!(request[..20], header.encode());
    let valid = header.validate(limits);
    assert_eq!(
        valid.map(|valid| valid.payload_len() as u64),
        model::payload_len(&header, limits)
    );
    let Ok(valid) = valid else {
        return;
    };
    assert_eq!(valid.action(), model::action(&header));
    let expected = valid.payload_len();
    match valid.payload(request) {
        Ok(IrqPayload::None) => assert_eq!(expected, 0),
        Ok(IrqPayload::Bool(bytes)) => assert_eq!(bytes, &request[20..20 + expected]),
        Ok(IrqPayload::Eventfds(fds)) => {
            let bytes: Vec<u8> = fds.iter().flat_map(i32::to_ne_bytes).collect();
            assert_eq!(bytes, request[20..20 + expected]);
        }
        Err(error) => assert_eq!(
            (error, request.len() < 20 + expected),
            (Errno::EFAULT, true)
        ),
    }
    let pci = pci_state(state);
    let answer = pci_set_irqs(&valid, &pci);
    assert!(!matches!(answer, Ok(IrqOperation::Enable { vectors: 0 })));
    let flags = IrqFlags::from_bits_retain(u32::from(state));
    let block = block_set_irqs(&valid, flags);
    let platform = platform_set_irqs(
        &valid,
        &PlatformIrqState {
            flags,
            requested: Ok(()),
        },
    );
    if valid.action().is_err() {
        assert_eq!([answer, block, platform], [Err(Errno::ENOTTY); 3]);
    }
}

/// A request of `VFIO_DEVICE_QUERY_GFX_PLANE`, and its answer.
pub fn gfx_plane(data: &[u8]) {
    let request = GfxRequest::decode(data);
    let modelled = model::gfx_request(data);
    assert_eq!(request.err(), modelled);
    if let Ok(request) = request {
        assert_eq!(GfxRequest::decode(&request.encode()), Ok(request));
    }
    if let Ok(info) = GfxPlaneInfo::decode(data) {
        let bytes = info.encode(64);
        assert_eq!(bytes.as_ref().map(|bytes| bytes.len()), Ok(60));
        assert_eq!(
            bytes.map(|bytes| GfxPlaneInfo::decode(&bytes)),
            Ok(Ok(info))
        );
    }
}

/// A state made of a byte.
fn pci_state(byte: u8) -> PciIrqState {
    PciIrqState {
        active: (byte & 3 != 0).then(|| IrqIndex(u32::from(byte & 3) - 1)),
        vectors: u32::from(byte >> 4),
        growth: if byte & 4 == 0 {
            VectorGrowth::BindRefused
        } else {
            VectorGrowth::RequestRefused
        },
        ..PciIrqState::default()
    }
}

/// Encoding pads, and the padding is read as part of what is not known.
fn pad(raw: &mut RawCapability) {
    raw.bytes.resize(raw.bytes.len().next_multiple_of(8), 0);
}

/// Each capability takes a header of 8 bytes, and elements are no larger than on the wire.
fn check_allocation(data: &[u8], capabilities: usize, elements: usize) {
    assert!(capabilities <= CAPABILITIES_MAX);
    assert!(capabilities * 8 + elements <= data.len());
}

/// With room for all of it, an encoding decodes to what was encoded; with less, to how much it
/// takes.
fn check_encoding<T: PartialEq + std::fmt::Debug>(
    info: &T,
    minimum: u32,
    has_capabilities: bool,
    encode: fn(&T, u32) -> Result<Vec<u8>, Errno>,
    decode: fn(&[u8]) -> Result<T, InfoError>,
) {
    let Ok(whole) = encode(info, u32::MAX) else {
        panic!("{info:?} cannot be encoded");
    };
    let needed = u32::try_from(whole.len()).unwrap_or(u32::MAX);
    for argsz in [needed, u32::MAX] {
        let decoded = encode(info, argsz).map(|bytes| decode(&bytes));
        assert_eq!(decoded.as_ref().map(Result::as_ref), Ok(Ok(info)));
    }
    // One less, and the least there may be, where that leaves something out.
    for argsz in [minimum, needed - 1] {
        if argsz < minimum || argsz == needed {
            continue;
        }
        let answer = encode(info, argsz);
        assert!(
            answer
                .as_ref()
                .is_ok_and(|bytes| bytes.len() <= argsz as usize)
        );
        let decoded = answer.map(|bytes| decode(&bytes));
        if has_capabilities {
            assert_eq!(decoded, Ok(Err(InfoError::BufferTooSmall { needed })));
        } else {
            assert_eq!(decoded.as_ref().map(Result::as_ref), Ok(Ok(info)));
        }
    }
    assert_eq!(encode(info, minimum - 1), Err(Errno::EINVAL));
}

#[cfg(test)]
mod tests;
