//! Which bytes of an access are ours, and which of their bits can be written.

use std::ops::Range;

/// How much of an access belongs to the interrupt registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: not mine, the caller serves it.
    None,
    /// Some bits: the caller serves the rest. What it does with ours has no effect, since reads
    /// lay ours over its own.
    Part,
    /// Every bit: nothing is left for the caller.
    All,
}

impl Claim {
    /// The claim of a whole access of which `taken` out of `len` bytes are ours entirely.
    pub(super) fn of(taken: usize, len: usize) -> Self {
        match taken {
            0 => Self::None,
            _ if taken == len => Self::All,
            _ => Self::Part,
        }
    }

    /// The same, if there may also be bits of ours that share their byte with the caller's.
    pub(super) fn and_bits(self, some: bool) -> Self {
        match self {
            Self::None if some => Self::Part,
            claim => claim,
        }
    }
}

/// A range of bytes in some address space, at least for as long as one access is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    start: u64,
    len: u64,
}

impl Window {
    pub(super) const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    pub(super) fn intersects(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Where in the window the access begins to touch it, and which of its bytes do.
    pub(super) fn overlap(self, offset: u64, len: usize) -> Option<(usize, Range<usize>)> {
        let access_end = offset.saturating_add(u64::try_from(len).ok()?);
        let first = offset.max(self.start);
        let last = access_end.min(self.end());
        let bytes = last.checked_sub(first).filter(|bytes| *bytes > 0)?;
        let skipped = usize::try_from(first - offset).ok()?;
        let at = usize::try_from(first - self.start).ok()?;
        Some((at, skipped..skipped + usize::try_from(bytes).ok()?))
    }

    /// The bytes of a write that fall into the window, with their place in it.
    pub(super) fn part(self, offset: u64, data: &[u8]) -> Option<(usize, &[u8])> {
        let (at, bytes) = self.overlap(offset, data.len())?;
        Some((at, data.get(bytes)?))
    }

    /// The bytes of a read that fall into the window, with their place in it.
    pub(super) fn part_mut(self, offset: u64, data: &mut [u8]) -> Option<(usize, &mut [u8])> {
        let (at, bytes) = self.overlap(offset, data.len())?;
        Some((at, data.get_mut(bytes)?))
    }
}

/// Writes `data` into a register image from byte `at` on, the `writable` bits only.
///
/// Bytes past the image are ignored.
pub(super) fn merge<const N: usize>(
    image: &mut [u8; N],
    writable: &[u8; N],
    at: usize,
    data: &[u8],
) {
    let bytes = image.iter_mut().zip(writable).skip(at);
    for ((byte, writable), new) in bytes.zip(data) {
        *byte = (*byte & !writable) | (new & writable);
    }
}

/// Reads a register image from byte `at` on; bytes past the image are left as they are.
pub(super) fn copy_out(image: &[u8], at: usize, data: &mut [u8]) {
    for (byte, held) in data.iter_mut().zip(image.iter().skip(at)) {
        *byte = *held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_part_is_cut_at_both_ends() {
        let window = Window::new(8, 4);
        let data: Vec<u8> = (0..12).collect();
        assert_eq!(window.part(0, &data), Some((0, &data[8..12])));
        assert_eq!(window.part(10, &data), Some((2, &data[..2])));
        assert_eq!(window.part(12, &data), None);
        assert_eq!(window.part(0, &data[..8]), None);
        assert_eq!(window.part(8, &[]), None);
        assert_eq!(window.part(u64::MAX, &data), None);
    }

    #[test]
    fn merge_keeps_bits_that_cannot_be_written_and_ignores_the_overhang() {
        let mut image = [0xaa, 0xaa];
        merge(&mut image, &[0xff, 0x0f], 0, &[0x55, 0x55, 0x55]);
        assert_eq!(image, [0x55, 0xa5]);
        merge(&mut image, &[0xff, 0xff], 2, &[0]);
        assert_eq!(image, [0x55, 0xa5]);
    }
}
