//! Reads and writes of regions: one at a time, and several small writes at once.

use zerocopy::FromBytes;
use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionIndex;

use crate::wire::RegionAccessWire;
use crate::wire::SingleWriteWire;

/// A read or a write, without its data; in a reply, what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionAccess {
    /// Where in the region.
    pub offset: u64,
    /// Which region.
    pub region: RegionIndex,
    /// Bytes.
    pub count: u32,
}

/// The writes of a `VFIO_USER_REGION_WRITE_MULTI`, all of them well formed.
#[derive(Debug, Clone, Copy)]
pub struct RegionWrites<'a>(&'a [u8]);

/// Bytes of the number that comes before the writes.
const WRITES_HEAD: usize = size_of::<u64>();

impl RegionAccess {
    /// Bytes before the data.
    pub const SIZE: usize = size_of::<RegionAccessWire>();

    fn of(wire: RegionAccessWire) -> Self {
        Self {
            offset: wire.offset,
            region: RegionIndex(wire.region),
            count: wire.count,
        }
    }

    fn wire(self) -> RegionAccessWire {
        RegionAccessWire {
            offset: self.offset,
            region: self.region.0,
            count: self.count,
        }
    }

    /// Reads what comes before the data, and the data, which may be of another length than the
    /// count says.
    fn split(payload: &[u8]) -> Result<(Self, &[u8]), Errno> {
        let (wire, data) =
            RegionAccessWire::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
        Ok((Self::of(wire), data))
    }

    /// Reads a request to read, or a reply to a write.
    ///
    /// # Errors
    ///
    /// EINVAL if the payload is of another size.
    pub fn decode(payload: &[u8]) -> Result<Self, Errno> {
        match Self::split(payload)? {
            (access, []) => Ok(access),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Reads a request to write, or a reply to a read.
    ///
    /// # Errors
    ///
    /// EINVAL if there is not as much data as the count says.
    pub fn decode_with_data(payload: &[u8]) -> Result<(Self, &[u8]), Errno> {
        let (access, data) = Self::split(payload)?;
        match usize::try_from(access.count) {
            Ok(count) if count == data.len() => Ok((access, data)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// What comes before the data.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        zerocopy::transmute!(self.wire())
    }
}

impl<'a> RegionWrites<'a> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// EINVAL if the payload is of another size than the number of writes says, or if one is of
    /// more than eight bytes.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Errno> {
        let (number, entries) = u64::read_from_prefix(payload).map_err(|_| Errno::EINVAL)?;
        let whole = entries.len().is_multiple_of(size_of::<SingleWriteWire>());
        let there = entries.len() / size_of::<SingleWriteWire>();
        if !whole || u64::try_from(there) != Ok(number) {
            return Err(Errno::EINVAL);
        }
        let writes = Self(entries);
        if writes.wires().any(|write| data_len(&write).is_none()) {
            return Err(Errno::EINVAL);
        }
        Ok(writes)
    }

    /// The writes, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (RegionAccess, [u8; 8], usize)> + '_ {
        self.wires().filter_map(|write| {
            let len = data_len(&write)?;
            Some((RegionAccess::of(write.access), write.data, len))
        })
    }

    fn wires(&self) -> impl Iterator<Item = SingleWriteWire> + '_ {
        self.0
            .chunks_exact(size_of::<SingleWriteWire>())
            .filter_map(|bytes| SingleWriteWire::read_from_bytes(bytes).ok())
    }

    /// The payload of the reply: how many were done.
    #[must_use]
    pub fn encode_reply(done: u64) -> [u8; WRITES_HEAD] {
        done.to_ne_bytes()
    }

    /// The payload of a request.
    #[must_use]
    pub fn encode(writes: &[(RegionAccess, [u8; 8])]) -> Vec<u8> {
        let mut payload = writes.len().as_bytes().to_vec();
        for &(access, data) in writes {
            let wire = SingleWriteWire {
                access: access.wire(),
                data,
            };
            payload.extend_from_slice(wire.as_bytes());
        }
        payload
    }
}

/// How much of the eight bytes is to be written.
fn data_len(write: &SingleWriteWire) -> Option<usize> {
    usize::try_from(write.access.count)
        .ok()
        .filter(|&len| len <= write.data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dword of configuration space.
    const BAR0: RegionAccess = RegionAccess {
        offset: 0x10,
        region: RegionIndex::CONFIG,
        count: 4,
    };

    #[test]
    fn access_survives_the_wire() {
        let mut write = BAR0.encode().to_vec();
        write.extend_from_slice(&[1, 2, 3, 4]);

        assert_eq!(RegionAccess::decode(&BAR0.encode()), Ok(BAR0));
        assert_eq!(
            RegionAccess::decode_with_data(&write),
            Ok((BAR0, &[1, 2, 3, 4][..]))
        );
    }

    #[test]
    fn access_of_another_size_than_its_count_is_refused() {
        let head = BAR0.encode();
        let mut long = head.to_vec();
        long.extend_from_slice(&[0; 5]);

        assert_eq!(RegionAccess::decode(&head[..15]), Err(Errno::EINVAL));
        assert_eq!(RegionAccess::decode(&long), Err(Errno::EINVAL));
        assert_eq!(RegionAccess::decode_with_data(&head), Err(Errno::EINVAL));
        assert_eq!(RegionAccess::decode_with_data(&long), Err(Errno::EINVAL));
    }

    #[test]
    fn writes_survive_the_wire() {
        let payload = RegionWrites::encode(&[(BAR0, [9; 8]), (BAR0, [7; 8])]);

        let writes = RegionWrites::decode(&payload).expect("our own");

        assert_eq!(
            writes.iter().collect::<Vec<_>>(),
            [(BAR0, [9; 8], 4), (BAR0, [7; 8], 4)]
        );
    }

    #[test]
    fn writes_of_another_number_or_more_than_eight_bytes_are_refused() {
        let good = RegionWrites::encode(&[(BAR0, [9; 8])]);
        let wide = RegionWrites::encode(&[(RegionAccess { count: 9, ..BAR0 }, [9; 8])]);
        let mut number = good.clone();
        number[0] = 2;
        let mut overflow = good.clone();
        overflow[..8].fill(0xff);

        for payload in [&good[..31], &good[..7], &wide, &number, &overflow] {
            assert_eq!(
                RegionWrites::decode(payload).map(|_| ()),
                Err(Errno::EINVAL)
            );
        }
    }
}
