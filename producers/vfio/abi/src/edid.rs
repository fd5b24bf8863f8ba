//! EDIDs: what a monitor says it can show, built here or checked before a guest reads it (VESA E-EDID 1.4).

mod build;
mod read;

pub use build::Mode;
pub use build::MonitorDescription;
pub use build::MonitorError;

/// Bytes of a block.
const BLOCK: usize = 128;
/// What the first block begins with.
const HEADER: [u8; 8] = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];

/// An EDID whose header, length and checksums are right. What it says of the monitor is not
/// looked at: that is the guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edid {
    bytes: Vec<u8>,
}

/// Why bytes are no EDID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EdidError {
    /// Not one to eight whole blocks.
    #[error("an edid is 1 to 8 blocks of 128 bytes, not {len} bytes")]
    Length {
        /// Bytes there are.
        len: usize,
    },
    /// It does not begin as an EDID does.
    #[error("no edid begins with {found:02x?}")]
    Header {
        /// What is there.
        found: [u8; 8],
    },
    /// The bytes of a block do not add up to 0.
    #[error("checksum of edid block {block} is wrong")]
    Checksum {
        /// Which, from 0 on.
        block: usize,
    },
    /// It says another number of extension blocks than there are.
    #[error("the edid tells of {told} extension blocks and has {found}")]
    Extensions {
        /// What the base block says.
        told: usize,
        /// Blocks behind it.
        found: usize,
    },
}

impl Edid {
    /// The longest there is room for, bytes.
    pub const MAX_LEN: usize = 8 * BLOCK;

    /// Takes the bytes of an EDID.
    ///
    /// # Errors
    ///
    /// See [`EdidError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EdidError> {
        let len = bytes.len();
        if len > Self::MAX_LEN || !len.is_multiple_of(BLOCK) {
            return Err(EdidError::Length { len });
        }
        let &found = bytes.first_chunk().ok_or(EdidError::Length { len })?;
        if found != HEADER {
            return Err(EdidError::Header { found });
        }
        let wrong = bytes
            .chunks_exact(BLOCK)
            .position(|block| block[BLOCK - 1] != checksum(&block[..BLOCK - 1]));
        if let Some(block) = wrong {
            return Err(EdidError::Checksum { block });
        }
        let (told, found) = (usize::from(bytes[126]), len / BLOCK - 1);
        if told != found {
            return Err(EdidError::Extensions { told, found });
        }
        Ok(Self {
            bytes: bytes.to_vec(),
        })
    }

    /// One that was built right.
    fn built(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Its bytes, whole blocks.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Width and height of the first detailed timing, if it begins with one: the mode a guest sets.
    #[must_use]
    pub fn preferred(&self) -> Option<(u16, u16)> {
        let timing = self.bytes.get(54..72)?;
        let wide = |low: u8, high: u8| u16::from(low) | u16::from(high >> 4) << 8;
        // A pixel clock of 0 says that it is another descriptor.
        (timing[0] != 0 || timing[1] != 0)
            .then(|| (wide(timing[2], timing[4]), wide(timing[5], timing[7])))
    }
}

/// What makes the sum of all bytes 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::Refresh;

    /// Two blocks: three modes.
    fn edid() -> Vec<u8> {
        let mode = |width, height| Mode {
            width,
            height,
            refresh: Refresh::HZ_60,
        };
        let modes = [mode(800, 600), mode(640, 480), mode(1024, 768)];
        let monitor = MonitorDescription {
            name: "test",
            serial: 0,
            modes: &modes,
        };
        monitor.to_edid().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn edid_with_any_one_byte_changed_is_refused() {
        let edid = edid();
        assert_eq!(edid.len(), 256);
        for place in 0..256 {
            let mut bad = edid.clone();
            bad[place] ^= 0x10;
            let error = Edid::parse(&bad).unwrap_err();
            let expected = match place {
                0..8 => matches!(error, EdidError::Header { .. }),
                _ => error == EdidError::Checksum { block: place / 128 },
            };
            assert!(expected, "{place}: {error}");
        }
    }

    #[test]
    fn edid_of_another_length_than_it_says_or_than_there_is_room_for_is_refused() {
        let edid = edid();
        for len in [0, 1, 127, 129, 255] {
            assert_eq!(Edid::parse(&edid[..len]), Err(EdidError::Length { len }));
        }
        let (told, found) = (1, 0);
        let short = Edid::parse(&edid[..128]);
        assert_eq!(short, Err(EdidError::Extensions { told, found }));
        let long = vec![0; 9 * 128];
        assert_eq!(Edid::parse(&long), Err(EdidError::Length { len: 1152 }));
    }
}
