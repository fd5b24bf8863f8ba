//! An array that grows by chunks, never moves an element and never shrinks.

use std::sync::OnceLock;

/// `chunks * len` elements, made a chunk at a time on first use.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
    /// Elements in a chunk, a power of two.
    len: usize,
}

impl<T> Chunked<T> {
    pub(crate) fn new(chunks: usize, len: usize) -> Self {
        debug_assert!(len.is_power_of_two());
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            len,
        }
    }

    /// The element at `at`, if its chunk is there.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.chunks
            .get(at / self.len)?
            .get()?
            .get(at & (self.len - 1))
    }

    /// The element at `at`, whose chunk is made if need be; `None` beyond the end.
    pub(crate) fn get_or_grow(&self, at: usize, mut make: impl FnMut() -> T) -> Option<&T> {
        self.chunks
            .get(at / self.len)?
            .get_or_init(|| (0..self.len).map(|_| make()).collect())
            .get(at & (self.len - 1))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn get_or_grow_makes_one_chunk_and_keeps_it() {
        let array = Chunked::new(2, 4);
        let mut made = 0;
        let first = array.get_or_grow(5, || {
            made += 1;
            made
        });
        assert_eq!(first, Some(&2));
        assert_eq!(array.get(4), Some(&1));
        assert_eq!(array.get(0), None);
        assert_eq!(array.get_or_grow(5, || 9), Some(&2));
    }

    #[test]
    fn get_or_grow_beyond_the_end_is_none() {
        let array = Chunked::new(2, 4);
        assert_eq!(array.get_or_grow(8, || 0), None);
        assert_eq!(array.get(8), None);
    }
}
