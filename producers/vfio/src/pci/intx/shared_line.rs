//! A line that several functions share: high while one of them asserts it.

use super::super::effect::Level;

/// A function on a [`SharedLine`], numbered by the embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineMember(pub u8);

/// The functions on a line, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineMembers([u64; 4]);

impl LineMembers {
    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = LineMember> {
        (0..=u8::MAX)
            .map(LineMember)
            .filter(move |member| self.contains(*member))
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether the member is in it.
    #[must_use]
    pub fn contains(self, member: LineMember) -> bool {
        let (word, bit) = Self::place(member);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn set(&mut self, member: LineMember, level: Level) {
        let (word, bit) = Self::place(member);
        if let Some(bits) = self.0.get_mut(word) {
            match level {
                Level::Asserted => *bits |= bit,
                Level::Deasserted => *bits &= !bit,
            }
        }
    }

    fn place(LineMember(member): LineMember) -> (usize, u64) {
        (usize::from(member / 64), 1 << (member % 64))
    }
}

/// The level of an input of the interrupt controller that up to 256 functions are wired to.
///
/// Each function's [`Assert`] and [`Deassert`] go to [`set`], the guest's EOI to [`eoi`]. After
/// an EOI the line is low and every function that asserted it is asked again
/// ([`Intx::eoi`](super::Intx::eoi)): those that are not served assert it anew. This is what the
/// kernel does with a resample irqfd.
///
/// [`Assert`]: crate::pci::IntxEffect::Assert
/// [`Deassert`]: crate::pci::IntxEffect::Deassert
/// [`set`]: Self::set
/// [`eoi`]: Self::eoi
#[derive(Debug, Clone, Default)]
pub struct SharedLine {
    asserters: LineMembers,
}

impl SharedLine {
    /// A line nobody asserts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The line's level.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.asserters.is_empty() {
            true => Level::Deasserted,
            false => Level::Asserted,
        }
    }

    /// One function's level; the line's new level if that changes it.
    pub fn set(&mut self, member: LineMember, level: Level) -> Option<Level> {
        let before = self.level();
        self.asserters.set(member, level);
        Some(self.level()).filter(|after| *after != before)
    }

    /// The guest has served the line, which is low now: whom to ask whether it asserts still.
    ///
    /// Empty if nobody asserted it; otherwise the caller drives the line low once, then passes
    /// the EOI on to each.
    #[must_use = "those that are not asked again lose their interrupts"]
    pub fn eoi(&mut self) -> LineMembers {
        std::mem::take(&mut self.asserters)
    }
}
