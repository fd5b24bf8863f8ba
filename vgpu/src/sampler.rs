//! Whether a picture has changed that the guest draws into without telling.
//!
//! The lines of the picture are dealt out to shares of at most [`SHARE_BYTES`]: line `n` belongs
//! to share `n % shares`. Each look reads and hashes one share, so what a look costs does not grow
//! with the picture; a change as high as there are shares is in all of them and found at the next
//! look, a lower one after as many looks as there are shares.

use rustix::io::Errno;

use crate::scanout::Scanout;
use crate::vram::Vram;

/// Bytes read in one look, but for the rounding to whole lines. Read and hashed in about a fifth
/// of a millisecond.
pub(crate) const SHARE_BYTES: u64 = 1 << 20;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A share was seen for the first time, and there are others.
    First,
    /// The last share was seen for the first time: from now on changes are found.
    Complete,
    /// As it was.
    Same,
    /// Not as it was.
    Changed,
}

/// What is known of a picture's contents.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    picture: Scanout,
    /// The hash of each share that has been seen.
    shares: Vec<Option<u64>>,
    next: usize,
    line: Vec<u8>,
}

impl Sampler {
    /// Nothing is known of `picture` yet. It must lie within the VRAM it is looked at in.
    pub(crate) fn new(picture: Scanout) -> Self {
        let bytes = picture.line() * u64::from(picture.height);
        // No more shares than lines.
        let shares = bytes
            .div_ceil(SHARE_BYTES)
            .clamp(1, u64::from(picture.height.max(1)));
        let line = usize::try_from(picture.line()).unwrap_or(0);
        Self {
            picture,
            shares: vec![None; usize::try_from(shares).unwrap_or(1)],
            next: 0,
            line: vec![0; line],
        }
    }

    /// Looks at the next share. On an error nothing is known but what was before.
    pub(crate) fn look(&mut self, vram: &Vram) -> Result<Look, Errno> {
        let hash = self.hash_share(vram)?;
        let seen = self.shares[self.next].replace(hash);
        self.next = (self.next + 1) % self.shares.len();
        Ok(match seen {
            Some(before) if before == hash => Look::Same,
            Some(_) => Look::Changed,
            None if self.shares.iter().all(Option::is_some) => Look::Complete,
            None => Look::First,
        })
    }

    fn hash_share(&mut self, vram: &Vram) -> Result<u64, Errno> {
        let mut hash = Hash::default();
        let lines = (0..u64::from(self.picture.height))
            .skip(self.next)
            .step_by(self.shares.len());
        for line in lines {
            let offset = self.picture.offset + line * u64::from(self.picture.stride);
            vram.read(offset, &mut self.line)?;
            hash.write(&self.line);
        }
        Ok(hash.finish())
    }
}

/// A fast hash, four words of eight bytes a step. Not for adversaries: a guest that finds two
/// pictures of one hash keeps the change from its own display, and from nobody else's.
#[derive(Debug, Clone, Copy)]
struct Hash([u64; Self::LANES]);

impl Default for Hash {
    fn default() -> Self {
        // Not 0, which a black picture would never leave; and each lane another.
        Self([1, 2, 3, 4].map(|lane| Self::FACTOR.wrapping_mul(lane)))
    }
}

impl Hash {
    /// Independent sums, so that no multiplication waits for the one before.
    const LANES: usize = 4;
    /// Odd, with ones and zeros in no order: the golden ratio in 64 bits.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn write(&mut self, bytes: &[u8]) {
        let (steps, rest) = bytes.as_chunks::<32>();
        for step in steps {
            self.step(step);
        }
        let mut last = [0; 32];
        last[..rest.len()].copy_from_slice(rest);
        self.step(&last);
    }

    fn step(&mut self, bytes: &[u8; 32]) {
        let (words, _) = bytes.as_chunks();
        for (lane, &word) in self.0.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(word));
        }
    }

    fn finish(self) -> u64 {
        self.0.into_iter().fold(Self::FACTOR, mix)
    }
}

fn mix(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(Hash::FACTOR).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanout::PixelFormat;

    const PICTURE: Scanout = Scanout {
        offset: 4096,
        stride: 5120,
        width: 1280,
        height: 800,
        format: PixelFormat::Xrgb8888,
    };

    fn settled(vram: &Vram) -> Sampler {
        let mut sampler = Sampler::new(PICTURE);
        // 1280 x 800 x 4 bytes are just below four shares.
        let looks: Vec<_> = (0..4).map(|_| sampler.look(vram).unwrap()).collect();
        assert_eq!(
            looks,
            [Look::First, Look::First, Look::First, Look::Complete]
        );
        sampler
    }

    #[test]
    fn one_changed_byte_is_found_within_as_many_looks_as_shares() {
        let vram = Vram::new(16 << 20).unwrap();
        // The first and the last byte of the picture, and one of each share between.
        let last = PICTURE.offset + PICTURE.len() - 1;
        for offset in [
            4096,
            4096 + 5120,
            4096 + 2 * 5120 + 77,
            4096 + 403 * 5120,
            last,
        ] {
            let mut sampler = settled(&vram);
            vram.write(offset, &[0x5a]).unwrap();
            let looks: Vec<_> = (0..4).map(|_| sampler.look(&vram).unwrap()).collect();
            let changed = looks.iter().filter(|&&look| look == Look::Changed).count();
            assert_eq!(changed, 1, "{offset}");
            vram.write(offset, &[0]).unwrap();
        }
    }

    #[test]
    fn change_as_high_as_there_are_shares_is_found_at_the_next_look() {
        let vram = Vram::new(16 << 20).unwrap();
        let mut sampler = settled(&vram);
        for line in 100..104 {
            vram.write(PICTURE.offset + line * 5120, &[1]).unwrap();
        }
        let looks: Vec<_> = (0..5).map(|_| sampler.look(&vram).unwrap()).collect();
        assert_eq!(
            looks,
            [
                Look::Changed,
                Look::Changed,
                Look::Changed,
                Look::Changed,
                Look::Same
            ]
        );
    }

    #[test]
    fn change_beside_the_picture_is_not_found() {
        let vram = Vram::new(16 << 20).unwrap();
        let mut sampler = settled(&vram);
        vram.write(PICTURE.offset - 1, &[1]).unwrap();
        vram.write(PICTURE.offset + PICTURE.len(), &[1]).unwrap();
        for _ in 0..4 {
            assert_eq!(sampler.look(&vram).unwrap(), Look::Same);
        }
    }

    #[test]
    fn small_or_long_picture_has_one_share_at_least_and_no_more_than_lines() {
        let shares = |width, height| {
            Sampler::new(Scanout {
                width,
                height,
                ..PICTURE
            })
            .shares
            .len()
        };
        assert_eq!(shares(1, 1), 1);
        // 16 MiB in 3 lines.
        assert_eq!(shares(0x15_5555, 3), 3);
    }
}
