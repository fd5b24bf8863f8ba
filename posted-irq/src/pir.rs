//! A set of vectors, as the posted-interrupt request register has it.

/// One bit for each of the 256 vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pir([u64; 4]);

impl Pir {
    /// Which word a vector is in, and its bit there.
    pub(crate) const fn place(vector: u8) -> (usize, u64) {
        ((vector >> 6) as usize, 1 << (vector & 63))
    }

    pub(crate) const fn words_mut(&mut self) -> &mut [u64; 4] {
        &mut self.0
    }

    /// The four words, vectors 63:0 first.
    #[must_use]
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// Whether no vector is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }

    /// Whether the vector is in it.
    #[must_use]
    pub const fn contains(self, vector: u8) -> bool {
        let (word, bit) = Self::place(vector);
        self.0[word] & bit != 0
    }

    /// The vectors in it, lowest first.
    pub fn vectors(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |vector| self.contains(*vector))
    }
}

impl FromIterator<u8> for Pir {
    fn from_iter<I: IntoIterator<Item = u8>>(vectors: I) -> Self {
        let mut pir = Self::default();
        for vector in vectors {
            let (word, bit) = Self::place(vector);
            pir.0[word] |= bit;
        }
        pir
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pir_of_every_vector_has_its_bit_where_the_spec_puts_it() {
        for vector in 0..=u8::MAX {
            let pir = Pir::from_iter([vector]);
            let mut words = [0; 4];
            words[usize::from(vector) / 64] = 1 << (vector % 64);
            assert_eq!(pir.words(), words);
            assert!(pir.contains(vector) && !pir.is_empty());
            assert_eq!(pir.vectors().collect::<Vec<_>>(), [vector]);
        }
        assert!(Pir::default().is_empty());
    }
}
