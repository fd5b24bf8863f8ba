//! How this crate looks into a guest's memory.

/// A guest's physical memory. The embedder has it; this crate only reads.
pub trait GuestMemory {
    /// Fills `bytes` from this address on.
    ///
    /// What the guest writes at the same time may be seen in part, as it may by hardware.
    ///
    /// # Errors
    ///
    /// [`Unmapped`] if any of it is not memory; `bytes` are not looked at then.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Unmapped>;
}

/// There is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no guest memory at {address:#x}")]
pub struct Unmapped {
    /// Where.
    pub address: u64,
}

impl<M: GuestMemory + ?Sized> GuestMemory for &M {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Unmapped> {
        (**self).read(address, bytes)
    }
}

/// Memory from address 0 on.
impl GuestMemory for [u8] {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Unmapped> {
        let unmapped = Unmapped { address };
        let start = usize::try_from(address).map_err(|_| unmapped)?;
        let end = start.checked_add(bytes.len()).ok_or(unmapped)?;
        bytes.copy_from_slice(self.get(start..end).ok_or(unmapped)?);
        Ok(())
    }
}
