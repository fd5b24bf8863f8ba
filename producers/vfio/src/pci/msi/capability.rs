//! MSI: up to 32 messages that differ in the low bits of their data.

use irqbroker_core::MsiMessage;

use super::super::access::Window;
use super::super::access::copy_out;
use super::super::effect::MessageEffect;
use super::super::effect::VectorIndex;
use super::super::effect::change;
use super::layout::MsiLayout;
use super::layout::MsiLayoutError;
use super::registers::MsiRegisters;

/// MSI of a function, without the memory its interrupts are pending in.
///
/// A vector is deliverable while the capability is enabled and not [suppressed], the vector is
/// one of those the guest allocated, and its mask bit (if there are any) is clear. Of `n`
/// allocated vectors, each has its own number in the low log2(n) bits of the message data.
///
/// [suppressed]: Self::set_suppressed
#[derive(Debug, Clone)]
pub struct MsiCapability {
    pub(super) layout: MsiLayout,
    pub(super) registers: MsiRegisters,
    suppressed: bool,
}

/// Messages of the deliverable vectors.
type Messages = [Option<MsiMessage>; 32];

impl MsiCapability {
    /// Disabled, one vector allocated, nothing masked: the state after a reset.
    ///
    /// # Errors
    ///
    /// [`MsiLayoutError`] if the specification has no such capability.
    pub fn new(layout: MsiLayout) -> Result<Self, MsiLayoutError> {
        layout.check()?;
        Ok(Self {
            layout,
            registers: MsiRegisters::at_reset(&layout),
            suppressed: false,
        })
    }

    /// Which registers there are.
    #[must_use]
    pub fn layout(&self) -> MsiLayout {
        self.layout
    }

    /// Number of vectors the guest has allocated, at most [`MsiLayout::vectors`].
    #[must_use]
    pub fn allocated(&self) -> u16 {
        1 << self.registers.control.multiple_enable()
    }

    /// Whether the guest has enabled MSI (control bit 0).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.registers.control.enabled()
    }

    /// Whether something of higher rank, MSI-X, delivers in its place.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        self.suppressed
    }

    /// The vector's message, if it is deliverable.
    #[must_use]
    pub fn deliverable(&self, vector: VectorIndex) -> Option<MsiMessage> {
        let masked = self
            .registers
            .mask
            .checked_shr(vector.0.into())
            .is_none_or(|mask| mask & 1 != 0);
        if !self.is_active() || vector.0 >= self.allocated() || masked {
            return None;
        }
        let data = match self.registers.control.extended_data_enable() {
            true => self.registers.data,
            false => self.registers.data & 0xffff,
        };
        let own_bits = u32::from(self.allocated() - 1);
        Some(MsiMessage {
            address: self.registers.address,
            data: data & !own_bits | u32::from(vector.0),
        })
    }

    /// Reads the capability from byte `at` on.
    ///
    /// A pending bit is set while the vector is not deliverable and `pending` finds an event in
    /// its source, which is asked only if the access covers pending bits. Identifier and next
    /// pointer (bytes 0 and 1) are the caller's and left as they are, as are bytes past the
    /// capability.
    pub fn read_config(&self, at: u16, data: &mut [u8], pending: impl Fn(VectorIndex) -> bool) {
        let len = self.layout.len();
        let reads_pending = self.layout.per_vector_masking
            && Window::new(u64::from(len) - 4, 4)
                .part(at.into(), data)
                .is_some();
        let pending = match reads_pending {
            true => self.pending_bits(pending),
            false => 0,
        };
        let own_bytes = Window::new(2, u64::from(len) - 2);
        if let Some((at, data)) = own_bytes.part_mut(at.into(), data) {
            let image = self.registers.image(&self.layout, pending);
            copy_out(&image, at + 2, data);
        }
    }

    /// Writes the capability from byte `at` on, with any width.
    ///
    /// More vectors than the function can have are not allocated: the field reads back as the
    /// largest number there is.
    #[must_use = "effects are to be carried out"]
    pub fn write_config(&mut self, at: u16, data: &[u8]) -> Vec<MessageEffect> {
        let written = self.registers.written(&self.layout, at.into(), data);
        self.change(|msi| msi.registers = written)
    }

    /// Has another capability deliver in place of this one, or no longer.
    #[must_use = "effects are to be carried out"]
    pub fn set_suppressed(&mut self, suppressed: bool) -> Vec<MessageEffect> {
        self.change(|msi| msi.suppressed = suppressed)
    }

    /// Back to the state after a reset.
    #[must_use = "effects are to be carried out"]
    pub fn reset(&mut self) -> Vec<MessageEffect> {
        let registers = MsiRegisters::at_reset(&self.layout);
        self.change(|msi| msi.registers = registers)
    }

    /// Takes over a whole new state, with the effects of the difference.
    pub(super) fn replace(
        &mut self,
        registers: MsiRegisters,
        suppressed: bool,
    ) -> Vec<MessageEffect> {
        self.change(|msi| {
            msi.registers = registers;
            msi.suppressed = suppressed;
        })
    }

    fn is_active(&self) -> bool {
        self.is_enabled() && !self.suppressed
    }

    fn change(&mut self, change_state: impl FnOnce(&mut Self)) -> Vec<MessageEffect> {
        let (was_active, before) = (self.is_active(), self.messages());
        change_state(self);
        let mut effects = Vec::new();
        if self.is_active() && !was_active {
            effects.push(MessageEffect::Enabled);
        }
        let pairs = (0..)
            .map(VectorIndex)
            .zip(before.iter().zip(self.messages()));
        effects.extend(pairs.filter_map(|(vector, (old, new))| change(vector, *old, new)));
        if was_active && !self.is_active() {
            effects.push(MessageEffect::Disabled);
        }
        effects
    }

    fn messages(&self) -> Messages {
        let mut messages = [None; 32];
        if self.is_active() {
            for (vector, message) in (0..).map(VectorIndex).zip(&mut messages) {
                *message = self.deliverable(vector);
            }
        }
        messages
    }

    fn pending_bits(&self, pending: impl Fn(VectorIndex) -> bool) -> u32 {
        (0..u16::from(self.layout.vectors))
            .map(VectorIndex)
            .filter(|vector| self.deliverable(*vector).is_none() && pending(*vector))
            .fold(0, |bits, vector| bits | 1 << vector.0)
    }
}
