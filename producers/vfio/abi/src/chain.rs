//! Capability chains, read and written.
//!
//! A chain is a list of capabilities behind an info structure, each with an 8-byte header of id,
//! version and the offset of the next from the start of the structure, 0 in the last
//! (`vfio_info_cap_add`, `drivers/vfio/vfio_main.c`). The kernel appends, so offsets ascend; a
//! chain that does not is refused, and with that every loop.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::Unalign;

use crate::capability::RawCapability;
use crate::errno::Errno;
use crate::info_error::InfoError;
use crate::wire::ArrayHeadWire;
use crate::wire::CapHeaderWire;

/// The most capabilities read from, or written to, one chain. The longest known, of s390 PCI, has
/// five.
pub const CAPABILITIES_MAX: usize = 32;

/// The most bytes an info structure takes with its capabilities. The largest there could be, the
/// messages of 2048 vectors, takes half of it.
pub const ARGSZ_MAX: u32 = 1 << 16;

/// Capabilities are written at multiples of this.
const ALIGNMENT: usize = 8;

/// Version of all capabilities this crate knows.
pub(crate) const VERSION: u16 = 1;

/// One capability of a chain being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) id: u16,
    pub(crate) version: u16,
    /// All behind the header, up to the next capability or the end of the buffer.
    pub(crate) body: &'a [u8],
}

impl Entry<'_> {
    /// The id, if this crate knows the version.
    pub(crate) fn known_id(&self) -> Option<u16> {
        (self.version == VERSION).then_some(self.id)
    }

    pub(crate) fn to_raw(self) -> RawCapability {
        RawCapability {
            id: self.id,
            version: self.version,
            bytes: self.body.to_vec(),
        }
    }

    /// The fixed beginning of the body.
    pub(crate) fn fixed<T: FromBytes>(&self) -> Result<T, InfoError> {
        T::read_from_prefix(self.body)
            .map(|(fixed, _)| fixed)
            .map_err(|_| self.truncated(size_of::<T>() as u64))
    }

    /// The elements of a body that begins with their number. What is allocated for them is bounded
    /// by bytes that are there, never by that number.
    pub(crate) fn array<T>(&self) -> Result<impl Iterator<Item = T> + '_, InfoError>
    where
        T: Copy + FromBytes + Immutable + 'static,
    {
        let head: ArrayHeadWire = self.fixed()?;
        let rest = &self.body[size_of::<ArrayHeadWire>()..];
        let elements = usize::try_from(head.count)
            .ok()
            .and_then(|count| <[Unalign<T>]>::ref_from_prefix_with_elems(rest, count).ok());
        match elements {
            Some((elements, _)) => Ok(elements.iter().map(|element| element.get())),
            None => {
                let elements = u64::from(head.count) * size_of::<T>() as u64;
                Err(self.truncated(elements + size_of::<ArrayHeadWire>() as u64))
            }
        }
    }

    fn truncated(&self, needed: u64) -> InfoError {
        InfoError::Truncated {
            id: self.id,
            len: self.body.len(),
            needed,
        }
    }
}

/// Where a chain may be, for one kind of info structure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Where the first capability may begin.
    pub(crate) start: usize,
    /// What each offset is a multiple of.
    pub(crate) alignment: usize,
}

/// Reads the chain that begins at `first`.
pub(crate) fn read(bytes: &[u8], first: u32, bounds: Bounds) -> Result<Vec<Entry<'_>>, InfoError> {
    let mut entries = Vec::new();
    let mut offset = first;
    loop {
        if entries.len() == CAPABILITIES_MAX {
            return Err(InfoError::TooMany {
                limit: CAPABILITIES_MAX,
            });
        }
        let outside = InfoError::Outside {
            offset,
            start: bounds.start,
            end: bytes.len(),
        };
        let at = usize::try_from(offset).map_err(|_| outside)?;
        if at < bounds.start {
            return Err(outside);
        }
        if !at.is_multiple_of(bounds.alignment) {
            return Err(InfoError::Misaligned {
                offset,
                alignment: bounds.alignment,
            });
        }
        let (header, rest) = bytes
            .get(at..)
            .and_then(|tail| CapHeaderWire::read_from_prefix(tail).ok())
            .ok_or(outside)?;
        let next = header.next;
        let body = if next == 0 {
            rest
        } else {
            // Less than a header ahead is no way forward either.
            let len = next
                .checked_sub(offset)
                .and_then(|step| usize::try_from(step).ok())
                .and_then(|step| step.checked_sub(size_of::<CapHeaderWire>()))
                .ok_or(InfoError::Backwards { offset, next })?;
            rest.get(..len).ok_or(InfoError::Outside {
                offset: next,
                start: bounds.start,
                end: bytes.len(),
            })?
        };
        entries.push(Entry {
            id: header.id,
            version: header.version,
            body,
        });
        if next == 0 {
            return Ok(entries);
        }
        offset = next;
    }
}

/// Copies the fixed part of an answer into `fixed`, whose rest stays zero, and returns the bytes
/// that belong to the structure: `argsz` of them, or fewer if the slice ends first.
pub(crate) fn fixed_part<'a>(
    bytes: &'a [u8],
    minimum: usize,
    fixed: &mut [u8],
) -> Result<&'a [u8], InfoError> {
    let argsz = argsz(bytes).unwrap_or(0);
    let len = usize::try_from(argsz).map_or(bytes.len(), |argsz| argsz.min(bytes.len()));
    if len < minimum {
        return Err(InfoError::Short { len, minimum });
    }
    // A word of which only a part was written says nothing.
    let known = (len - len % size_of::<u32>()).min(fixed.len());
    fixed[..known].copy_from_slice(&bytes[..known]);
    Ok(&bytes[..len])
}

/// The capabilities of an answer whose flags say it has some.
pub(crate) fn entries(
    bytes: &[u8],
    argsz: u32,
    cap_offset: u32,
    bounds: Bounds,
) -> Result<Vec<Entry<'_>>, InfoError> {
    if cap_offset != 0 {
        return read(bytes, cap_offset, bounds);
    }
    if usize::try_from(argsz).is_ok_and(|argsz| argsz <= bytes.len()) {
        return Ok(Vec::new());
    }
    if argsz > ARGSZ_MAX {
        return Err(InfoError::TooLarge {
            needed: argsz,
            limit: ARGSZ_MAX,
        });
    }
    Err(InfoError::BufferTooSmall { needed: argsz })
}

/// Copies the part of a request that a driver reads.
pub(crate) fn request(bytes: &[u8], minimum: usize, fixed: &mut [u8]) -> Result<(), Errno> {
    let bytes = bytes.get(..minimum).ok_or(Errno::EFAULT)?;
    fixed[..minimum].copy_from_slice(bytes);
    Ok(())
}

/// The bytes a caller offers, if they are enough for the fixed part.
pub(crate) fn room(argsz: u32, minimum: usize) -> Result<usize, Errno> {
    match usize::try_from(argsz) {
        Ok(room) if room < minimum => Err(Errno::EINVAL),
        Ok(room) => Ok(room),
        Err(_) => Ok(usize::MAX),
    }
}

/// The first word of every structure.
fn argsz(bytes: &[u8]) -> Option<u32> {
    u32::read_from_prefix(bytes).ok().map(|(argsz, _)| argsz)
}

/// What the kernel makes of a caller's `argsz` and a chain.
#[derive(Debug)]
pub(crate) struct Fit {
    /// As the caller gave it, or what it would have to be.
    pub(crate) argsz: u32,
    /// Where the chain begins; 0 if there is none or it does not fit.
    pub(crate) cap_offset: u32,
    /// The chain, if it fits.
    pub(crate) chain: Vec<u8>,
}

/// Lays the chain out behind a structure of `fixed` bytes, if `argsz` has room for it.
///
/// Too little room is a success: the answer says how much it takes and has no chain.
pub(crate) fn fit(argsz: u32, fixed: usize, capabilities: &[RawCapability]) -> Result<Fit, Errno> {
    let chain = write(fixed, capabilities)?;
    let needed = u32::try_from(fixed + chain.len()).map_err(|_| Errno::ENOMEM)?;
    if needed > ARGSZ_MAX {
        return Err(Errno::ENOMEM);
    }
    if chain.is_empty() {
        return Ok(Fit {
            argsz,
            cap_offset: 0,
            chain,
        });
    }
    if argsz < needed {
        return Ok(Fit {
            argsz: needed,
            cap_offset: 0,
            chain: Vec::new(),
        });
    }
    let cap_offset = u32::try_from(fixed).map_err(|_| Errno::ENOMEM)?;
    Ok(Fit {
        argsz,
        cap_offset,
        chain,
    })
}

/// The bytes of a chain that begins `base` bytes into its structure.
fn write(base: usize, capabilities: &[RawCapability]) -> Result<Vec<u8>, Errno> {
    if capabilities.len() > CAPABILITIES_MAX {
        return Err(Errno::ENOMEM);
    }
    let mut chain: Vec<u8> = Vec::new();
    for (position, capability) in capabilities.iter().enumerate() {
        let body = capability.bytes.len().next_multiple_of(ALIGNMENT);
        let end = base + chain.len() + size_of::<CapHeaderWire>() + body;
        let next = if position + 1 == capabilities.len() {
            0
        } else {
            u32::try_from(end).map_err(|_| Errno::ENOMEM)?
        };
        let header = CapHeaderWire {
            id: capability.id,
            version: capability.version,
            next,
        };
        chain.extend_from_slice(header.as_bytes());
        chain.extend_from_slice(&capability.bytes);
        chain.resize(end - base, 0);
    }
    Ok(chain)
}

/// A capability of this crate's making whose body is `bytes`.
pub(crate) fn capability(id: u16, bytes: Vec<u8>) -> RawCapability {
    RawCapability {
        id,
        version: VERSION,
        bytes,
    }
}

/// A body that is a number and as many elements.
pub(crate) fn array_body<T: IntoBytes + Immutable>(
    elements: impl ExactSizeIterator<Item = T>,
) -> Vec<u8> {
    // More than 2^32 elements of 16 bytes do not fit what `argsz` can say; `fit` refuses them.
    let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
    let mut body = ArrayHeadWire { count, reserved: 0 }.as_bytes().to_vec();
    for element in elements {
        body.extend_from_slice(element.as_bytes());
    }
    body
}

#[cfg(test)]
mod tests;
