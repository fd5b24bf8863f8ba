//! Which of its optional registers an MSI capability has.

/// Shape of an MSI capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::len_without_is_empty,
    reason = "a length in config space, never zero"
)]
pub struct MsiLayout {
    /// Number of vectors the function can have: 1, 2, 4, 8, 16 or 32 (Multiple Message Capable).
    pub vectors: u8,
    /// The message address has an upper half.
    pub address_64: bool,
    /// There are mask and pending bits.
    pub per_vector_masking: bool,
    /// The guest can enable message data of 32 bits.
    pub extended_data: bool,
}

/// The specification has no such MSI capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsiLayoutError {
    /// Not 1, 2, 4, 8, 16 or 32.
    #[error("{0} msi vectors, a function has a power of two up to 32")]
    Vectors(u8),
}

impl MsiLayout {
    pub(super) fn check(&self) -> Result<(), MsiLayoutError> {
        if !self.vectors.is_power_of_two() || self.vectors > 32 {
            return Err(MsiLayoutError::Vectors(self.vectors));
        }
        Ok(())
    }
}
