//! The file of a saved vGPU.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::saved::RestoreError;
use crate::saved::SAVED_VERSION;
use crate::saved::SavedPart;
use crate::saved::SavedVgpu;
use crate::vram::Vram;

const MAGIC: [u8; 8] = *b"IRQBVGPU";
const HEADER: usize = 40;
const PAGE: u64 = 4096;
/// More than the state of 16 heads takes.
const STATE_MAX: u64 = 1 << 20;
/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Writes a file of `state` and all of `vram`.
pub(crate) fn write(state: &[u8], vram: &Vram) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("irqbroker-saved-vgpu", flags)?;
    let vram_at = (HEADER as u64 + state.len() as u64).next_multiple_of(PAGE);
    rustix::fs::ftruncate(&file, vram_at + vram.size())?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&SAVED_VERSION.to_le_bytes());
    let state_len = u32::try_from(state.len()).map_err(|_| Errno::FBIG)?;
    header.extend_from_slice(&state_len.to_le_bytes());
    for word in [vram_at, vram.size(), checksum(state)] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    write_at(file.as_fd(), &header, 0)?;
    write_at(file.as_fd(), state, HEADER as u64)?;
    copy((vram.fd(), 0), (file.as_fd(), vram_at), vram.size())?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// A file that has been read as far as the VRAM.
#[derive(Debug)]
pub(crate) struct SavedFile<'a> {
    file: BorrowedFd<'a>,
    vram_at: u64,
    pub(crate) state: SavedVgpu,
}

impl<'a> SavedFile<'a> {
    /// Reads all but the VRAM, whose length is right then.
    pub(crate) fn read(file: BorrowedFd<'a>) -> Result<Self, RestoreError> {
        let unsound = |part| RestoreError::Unsound { part };
        let mut header = [0; HEADER];
        let short = |error| match error {
            Errno::NODATA => RestoreError::Foreign,
            source => RestoreError::Read { source },
        };
        read_at(file, &mut header, 0).map_err(short)?;
        let (magic, words) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(RestoreError::Foreign);
        }
        let (halves, _) = words.as_chunks::<4>();
        let half = |place: usize| u32::from_le_bytes(halves[place]);
        let whole = |place: usize| u64::from(half(place)) | u64::from(half(place + 1)) << 32;
        let (found, state_len) = (half(0), u64::from(half(1)));
        let (vram_at, vram_len, sum) = (whole(2), whole(4), whole(6));
        if found != SAVED_VERSION {
            return Err(RestoreError::Version { found });
        }
        let size = rustix::fs::fstat(file).map_err(|source| RestoreError::Read { source })?;
        let size = u64::try_from(size.st_size).unwrap_or(0);
        let right = state_len <= STATE_MAX
            && vram_at == (HEADER as u64 + state_len).next_multiple_of(PAGE)
            && vram_at.checked_add(vram_len) == Some(size);
        if !right {
            return Err(unsound(SavedPart::Layout));
        }
        let mut text = vec![0; usize::try_from(state_len).unwrap_or(0)];
        read_at(file, &mut text, HEADER as u64).map_err(|source| RestoreError::Read { source })?;
        if checksum(&text) != sum {
            return Err(unsound(SavedPart::Checksum));
        }
        let state: SavedVgpu =
            serde_json::from_slice(&text).map_err(|source| RestoreError::Decode { source })?;
        if state.vgpu.vram() != vram_len {
            return Err(unsound(SavedPart::Layout));
        }
        Ok(Self {
            file,
            vram_at,
            state,
        })
    }

    /// Fills `vram`, which is of the right size.
    pub(crate) fn read_vram(&self, vram: &Vram) -> Result<(), Errno> {
        vram.clear(vram.size())?;
        copy((self.file, self.vram_at), (vram.fd(), 0), vram.size())
    }
}

/// Copies `len` bytes from one file and place to another, which is empty there, but for the holes.
fn copy(
    (from, start): (BorrowedFd<'_>, u64),
    (to, there): (BorrowedFd<'_>, u64),
    len: u64,
) -> Result<(), Errno> {
    let mut buffer = vec![0; CHUNK];
    let end = start + len;
    let mut at = start;
    while at < end {
        at = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(at))?.min(end);
        while at < hole {
            let left = usize::try_from(hole - at).unwrap_or(CHUNK);
            let chunk = &mut buffer[..left.min(CHUNK)];
            read_at(from, chunk, at)?;
            write_at(to, chunk, there + (at - start))?;
            at += chunk.len() as u64;
        }
    }
    Ok(())
}

/// Fills `data`; ENODATA if the file ends before.
fn read_at(file: BorrowedFd<'_>, mut data: &mut [u8], mut at: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::pread(file, &mut *data, at) {
            Ok(0) => return Err(Errno::NODATA),
            Ok(count) => {
                data = &mut data[count..];
                at += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_at(file: BorrowedFd<'_>, mut data: &[u8], mut at: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::pwrite(file, data, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                data = &data[count..];
                at += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// FNV-1a: against damage, not against intent.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
