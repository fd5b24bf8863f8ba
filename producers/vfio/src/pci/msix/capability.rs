//! MSI-X: the control word, the table and the pending-bit array.

use irqbroker_core::MsiMessage;

use super::super::access::Window;
use super::super::access::copy_out;
use super::super::access::merge;
use super::super::effect::MessageEffect;
use super::super::effect::VectorIndex;
use super::super::effect::change;
use super::layout::MsixLayout;
use super::layout::MsixLayoutError;
use super::registers::MsixControl;
use super::registers::MsixEntry;

/// MSI-X of a function, without the memory its interrupts are pending in.
///
/// A vector is deliverable while the capability is enabled, the function mask is clear and the
/// vector's own mask is clear. What is pending stays in the vector's source; a read of the
/// pending-bit array asks the source through the caller's probe, and drains nothing.
///
/// Offsets count from the start of the capability, the table or the pending-bit array. Accesses
/// may have any width and alignment; one that spans entries takes effect entry by entry.
#[derive(Debug, Clone)]
pub struct MsixCapability {
    pub(super) layout: MsixLayout,
    pub(super) control: MsixControl,
    pub(super) entries: Box<[MsixEntry]>,
}

impl MsixCapability {
    /// Length in config space, in bytes.
    pub const LEN: u16 = 12;

    /// Disabled, every vector masked: the state after a reset.
    ///
    /// # Errors
    ///
    /// [`MsixLayoutError`] if the specification has no such capability.
    pub fn new(layout: MsixLayout) -> Result<Self, MsixLayoutError> {
        layout.check()?;
        Ok(Self {
            layout,
            control: MsixControl::new().with_size_minus_one(layout.vectors - 1),
            entries: vec![MsixEntry::at_reset(); usize::from(layout.vectors)].into(),
        })
    }

    /// Number of vectors, 1-2048.
    #[must_use]
    pub fn vectors(&self) -> u16 {
        self.layout.vectors
    }

    /// Where the table and the pending-bit array are.
    #[must_use]
    pub fn layout(&self) -> MsixLayout {
        self.layout
    }

    /// Whether the guest has enabled MSI-X (control bit 15).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.control.enabled()
    }

    /// The vector's message, if it is deliverable.
    #[must_use]
    pub fn deliverable(&self, vector: VectorIndex) -> Option<MsiMessage> {
        let entry = self.entries.get(usize::from(vector.0))?;
        entry.unmasked().filter(|_| self.control.delivers())
    }

    /// Reads the capability from byte `at` on.
    ///
    /// Identifier and next pointer (bytes 0 and 1) are the caller's and left as they are, as are
    /// bytes past the capability.
    pub fn read_config(&self, at: u16, data: &mut [u8]) {
        if let Some((at, data)) = Self::own_bytes().part_mut(at.into(), data) {
            copy_out(&self.config_image(), at + Self::HEADER, data);
        }
    }

    /// Writes the capability from byte `at` on; of all its bits only enable and function mask
    /// can be written, whatever else the access covers.
    #[must_use = "effects are to be carried out"]
    pub fn write_config(&mut self, at: u16, data: &[u8]) -> Vec<MessageEffect> {
        const WRITABLE: [u8; MsixCapability::LEN as usize] =
            [0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut image = self.config_image();
        merge(&mut image, &WRITABLE, at.into(), data);
        self.set_control(MsixControl::from_bits(u16::from_le_bytes([
            image[2], image[3],
        ])))
    }

    /// Reads the table; bytes past it read as all-ones.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        for index in self.touched(offset, data.len()) {
            let part = Self::entry_window(index).part_mut(offset, data);
            if let (Some((at, data)), Some(entry)) = (part, self.entries.get(index)) {
                copy_out(&entry.bytes(), at, data);
            }
        }
    }

    /// Writes the table; bytes past it are ignored.
    ///
    /// A message written while the vector is masked takes effect with its unmask. Written while
    /// it is deliverable, which the specification leaves undefined, it is a `Retargeted` each.
    #[must_use = "effects are to be carried out"]
    pub fn write_table(&mut self, offset: u64, data: &[u8]) -> Vec<MessageEffect> {
        let mut effects = Vec::new();
        for index in self.touched(offset, data.len()) {
            let part = Self::entry_window(index).part(offset, data);
            if let (Some((at, data)), Some(entry)) = (part, self.entries.get_mut(index)) {
                let before = entry.unmasked();
                entry.write(at, data);
                if self.control.delivers() {
                    effects.extend(change(vector(index), before, entry.unmasked()));
                }
            }
        }
        effects
    }

    /// Reads the pending-bit array: a bit is set while the vector is not deliverable and
    /// `pending` finds an event in its source. Only vectors the access covers are asked for.
    ///
    /// Bits past the last vector are zero, bytes past the array's last quadword all-ones.
    pub fn read_pba(&self, offset: u64, data: &mut [u8], pending: impl Fn(VectorIndex) -> bool) {
        data.fill(0xff);
        let window = Window::new(0, self.layout.pba_len());
        let Some((at, data)) = window.part_mut(offset, data) else {
            return;
        };
        for (byte, first) in data.iter_mut().zip((at * 8..).step_by(8)) {
            *byte = (0..8)
                .filter(|bit| self.is_pending(vector(first + bit), &pending))
                .fold(0, |byte, bit| byte | 1 << bit);
        }
    }

    /// Back to the state after a reset.
    #[must_use = "effects are to be carried out"]
    pub fn reset(&mut self) -> Vec<MessageEffect> {
        let control = self.control.with_enabled(false).with_function_mask(false);
        let effects = self.set_control(control);
        self.entries.fill(MsixEntry::at_reset());
        effects
    }

    /// Takes over a whole new state, with the effects of the difference.
    pub(super) fn replace(
        &mut self,
        control: MsixControl,
        entries: Box<[MsixEntry]>,
    ) -> Vec<MessageEffect> {
        let entries = std::mem::replace(&mut self.entries, entries);
        let before = std::mem::replace(&mut self.control, control);
        let pairs = entries.iter().zip(&self.entries);
        transition(before, control, pairs)
    }

    fn set_control(&mut self, control: MsixControl) -> Vec<MessageEffect> {
        let before = std::mem::replace(&mut self.control, control);
        if before == control {
            return Vec::new();
        }
        let pairs = self.entries.iter().map(|entry| (entry, entry));
        transition(before, control, pairs)
    }

    fn is_pending(&self, vector: VectorIndex, pending: impl Fn(VectorIndex) -> bool) -> bool {
        vector.0 < self.layout.vectors && self.deliverable(vector).is_none() && pending(vector)
    }

    /// Identifier and next pointer.
    const HEADER: usize = 2;

    fn own_bytes() -> Window {
        Window::new(2, u64::from(Self::LEN) - 2)
    }

    fn config_image(&self) -> [u8; Self::LEN as usize] {
        let [c0, c1] = self.control.into_bits().to_le_bytes();
        let [t0, t1, t2, t3] = self.layout.table.register().to_le_bytes();
        let [p0, p1, p2, p3] = self.layout.pba.register().to_le_bytes();
        [0, 0, c0, c1, t0, t1, t2, t3, p0, p1, p2, p3]
    }

    /// Indexes of the entries an access touches.
    fn touched(&self, offset: u64, len: usize) -> std::ops::Range<usize> {
        let window = Window::new(0, self.layout.table_len());
        window.overlap(offset, len).map_or(0..0, |(at, bytes)| {
            at / MsixEntry::LEN..(at + bytes.len()).div_ceil(MsixEntry::LEN)
        })
    }

    fn entry_window(index: usize) -> Window {
        Window::new((index * MsixEntry::LEN) as u64, MsixEntry::LEN as u64)
    }
}

/// The effects of a new control word, and of each entry's old and new state.
fn transition<'a>(
    before: MsixControl,
    after: MsixControl,
    entries: impl Iterator<Item = (&'a MsixEntry, &'a MsixEntry)>,
) -> Vec<MessageEffect> {
    let mut effects = Vec::new();
    if after.enabled() && !before.enabled() {
        effects.push(MessageEffect::Enabled);
    }
    effects.extend(entries.enumerate().filter_map(|(index, (old, new))| {
        let was = old.unmasked().filter(|_| before.delivers());
        let is = new.unmasked().filter(|_| after.delivers());
        change(vector(index), was, is)
    }));
    if before.enabled() && !after.enabled() {
        effects.push(MessageEffect::Disabled);
    }
    effects
}

/// A place in the table as vector; the table has at most 2048.
fn vector(index: usize) -> VectorIndex {
    VectorIndex(u16::try_from(index).unwrap_or(u16::MAX))
}
