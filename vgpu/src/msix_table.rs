//! The MSI-X BAR: table and pending bits.
//!
//! A VMM that keeps the table itself never accesses it. For one that does not, the device stores
//! what the guest writes, and nothing more: what a vector signals is the eventfd bound to it, and
//! whoever binds it is the one who masks. So no pending bit is ever set.

/// Bytes of the BAR.
pub(crate) const SIZE: usize = 0x1000;
/// Where the pending bits are.
pub(crate) const PBA: usize = 0x800;
/// Bytes of a table entry: address, upper address, data, control.
const ENTRY: usize = 16;
/// Offset of the control word, of which bit 0 masks.
const CONTROL: usize = 12;

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MsixTable {
    entries: Vec<u8>,
}

impl MsixTable {
    /// A table of `vectors` entries, all masked. They must fit before the pending bits.
    pub(crate) fn new(vectors: usize) -> Self {
        let mut table = Self {
            entries: vec![0; vectors * ENTRY],
        };
        table.reset();
        table
    }

    /// As it was in the beginning.
    pub(crate) fn reset(&mut self) {
        self.entries.fill(0);
        for entry in self.entries.chunks_exact_mut(ENTRY) {
            entry[CONTROL] = 1;
        }
    }

    /// The entries, as they are saved.
    pub(crate) fn save(&self) -> Vec<u8> {
        self.entries.clone()
    }

    /// Takes back what was saved of a table of as many vectors. Returns whether it is; if not,
    /// nothing is taken.
    #[must_use]
    pub(crate) fn restore(&mut self, saved: &[u8]) -> bool {
        if saved.len() != self.entries.len() {
            return false;
        }
        let mut restored = self.clone();
        restored.write(0, saved);
        // Reserved bits that are set are none that were saved.
        let same = restored.entries == saved;
        if same {
            *self = restored;
        }
        same
    }

    /// Reads `data.len()` bytes at `offset`, both within the BAR.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.entries.get(at).copied().unwrap_or(0);
        }
    }

    /// Writes `data` at `offset`, both within the BAR. Reserved bits stay 0.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            let writable = match at % ENTRY {
                // The address is a multiple of 4.
                0 => !0b11,
                CONTROL => 0b1,
                13..ENTRY => 0,
                _ => !0,
            };
            if let Some(stored) = self.entries.get_mut(at) {
                *stored = byte & writable;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_keeps_what_is_written_but_for_its_reserved_bits() {
        let mut table = MsixTable::new(3);
        table.write(16, &[0xff; 16]);
        let mut entry = [0; 16];
        table.read(16, &mut entry);
        let mut expected = [0xff; 16];
        expected[0] = 0xfc;
        expected[12..].copy_from_slice(&[1, 0, 0, 0]);
        assert_eq!(entry, expected);
        table.reset();
        assert_eq!(table, MsixTable::new(3));
    }

    #[test]
    fn entries_begin_masked_and_pending_bits_are_none() {
        let mut table = MsixTable::new(3);
        let mut control = [0; 4];
        table.read(2 * 16 + 12, &mut control);
        assert_eq!(control, [1, 0, 0, 0]);
        table.write(PBA, &[0xff; 8]);
        let mut pending = [0xff; 8];
        table.read(PBA, &mut pending);
        assert_eq!(pending, [0; 8]);
    }
}
