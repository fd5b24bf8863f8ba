//! The kernel's rules once more, in 64-bit sums and without the types of the decoders.

use super::CAPABILITIES_MAX;
use super::Errno;
use super::IrqLimits;
use super::IrqSetHeader;
use super::RawCapability;
use crate::irq_set::IrqAction;

/// One kind of info structure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// What must be there.
    minimum: u64,
    /// The flag that says there are capabilities.
    caps: u32,
    /// Where the offset of the first is.
    cap_offset: usize,
    /// Where the first may be.
    start: u64,
    /// What offsets are a multiple of.
    alignment: u64,
}

pub(super) const DEVICE: Layout = Layout {
    minimum: 16,
    caps: 1 << 7,
    cap_offset: 16,
    start: 20,
    alignment: 4,
};

pub(super) const REGION: Layout = Layout {
    minimum: 32,
    caps: 1 << 3,
    cap_offset: 12,
    start: 32,
    alignment: 8,
};

pub(super) const IRQ: Layout = Layout {
    minimum: 16,
    caps: 1 << 4,
    cap_offset: 16,
    start: 20,
    alignment: 4,
};

/// Id, version and body.
pub(super) type Summary = (u16, u16, Vec<u8>);

pub(super) fn summary(raw: &RawCapability) -> Summary {
    (raw.id, raw.version, raw.bytes.clone())
}

/// The word at a place, if it is there.
pub(super) fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The capabilities of a well-formed structure.
pub(super) fn capabilities(data: &[u8], layout: Layout) -> Option<Vec<Summary>> {
    let argsz = u64::from(word(data, 0)?);
    let len = argsz.min(data.len() as u64);
    if len < layout.minimum {
        return None;
    }
    if word(data, 4)? & layout.caps == 0 {
        return Some(Vec::new());
    }
    let end = usize::try_from(len).ok()?;
    let mut at = u64::from(word(&data[..end], layout.cap_offset).unwrap_or(0));
    if at == 0 {
        return (argsz <= data.len() as u64).then(Vec::new);
    }
    let mut found = Vec::new();
    while found.len() < CAPABILITIES_MAX {
        if at < layout.start || at % layout.alignment != 0 || at + 8 > len {
            return None;
        }
        let header = usize::try_from(at).ok()?;
        let id = word(data, header)?.to_ne_bytes();
        let next = u64::from(word(data, header + 4)?);
        let body_end = if next == 0 { len } else { next };
        if body_end < at + 8 || body_end > len {
            return None;
        }
        found.push((
            u16::from_ne_bytes([id[0], id[1]]),
            u16::from_ne_bytes([id[2], id[3]]),
            data[header + 8..usize::try_from(body_end).ok()?].to_vec(),
        ));
        if next == 0 {
            return Some(found);
        }
        at = next;
    }
    None
}

/// Whether a region's capability is known but does not hold what it must.
pub(super) fn is_broken_region((id, version, body): &Summary) -> bool {
    match (id, version) {
        (1, 1) => is_broken_array(body),
        (2, 1) => body.len() < 8,
        _ => false,
    }
}

/// Whether an interrupt's capability is known but does not hold what it must.
pub(super) fn is_broken_irq((id, version, body): &Summary, count: u32) -> bool {
    // Where the sub-index is in an element.
    let place = match (id, version) {
        (3, 1) => return body.len() < 8,
        (5, 1) => 0,
        (6, 1) => 12,
        _ => return false,
    };
    if is_broken_array(body) {
        return true;
    }
    let elements = word(body, 0).unwrap_or(0) as usize;
    let sub_indexes: Vec<u32> = (0..elements)
        .filter_map(|element| word(body, 8 + 16 * element + place))
        .collect();
    sub_indexes.windows(2).any(|pair| pair[0] >= pair[1])
        || sub_indexes.last().is_some_and(|&last| last >= count)
}

/// A number, a reserved word, and as many elements of 16 bytes.
fn is_broken_array(body: &[u8]) -> bool {
    body.len() < 8
        || word(body, 0).is_none_or(|count| 8 + 16 * u64::from(count) > body.len() as u64)
}

/// Bytes of payload of a request that passes `vfio_set_irqs_validate_and_prepare`.
pub(super) fn payload_len(header: &IrqSetHeader, limits: IrqLimits) -> Result<u64, Errno> {
    let end = u64::from(header.start) + u64::from(header.count);
    let flags = header.flags.bits();
    let size = match flags & 7 {
        1 => 0,
        2 => 1,
        4 => 4,
        _ => return Err(Errno::EINVAL),
    };
    let payload = u64::from(header.count) * size;
    let fits = u64::from(header.argsz) >= 20 + payload
        && header.index.0 < limits.num_irqs
        && end < u64::from(u32::MAX)
        && flags < 64
        && header.start < limits.count
        && end <= u64::from(limits.count);
    fits.then_some(payload).ok_or(Errno::EINVAL)
}

/// The action of a request.
pub(super) fn action(header: &IrqSetHeader) -> Result<IrqAction, Errno> {
    match header.flags.bits() >> 3 & 7 {
        1 => Ok(IrqAction::Mask),
        2 => Ok(IrqAction::Unmask),
        4 => Ok(IrqAction::Trigger),
        _ => Err(Errno::ENOTTY),
    }
}

/// The error of a plane request, if it has one.
pub(super) fn gfx_request(data: &[u8]) -> Option<Errno> {
    if data.len() < 60 {
        return Some(Errno::EFAULT);
    }
    let argsz = word(data, 0).unwrap_or(0);
    let flags = word(data, 4).unwrap_or(0);
    (argsz < 60 || ![2, 4, 3, 5].contains(&flags)).then_some(Errno::EINVAL)
}
