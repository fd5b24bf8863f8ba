//! Which guest memory is lent, without its files.

use std::collections::BTreeMap;

use irqbroker_vfio_abi::Errno;

use crate::dma::DmaRange;
use crate::dma::DmaRegion;

/// What is mapped; no two regions overlap.
#[derive(Debug)]
pub(crate) struct DmaTable {
    /// By first address.
    regions: BTreeMap<u64, DmaRegion>,
    max: usize,
}

impl DmaTable {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            regions: BTreeMap::new(),
            max,
        }
    }

    /// Enters a region if `map` agrees.
    ///
    /// # Errors
    ///
    /// EEXIST if it overlaps one that is there, ENOSPC if there are as many as there may be, and
    /// those of `map`.
    pub(crate) fn map(
        &mut self,
        region: DmaRegion,
        map: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let range = region.range()?;
        if self.overlapping(range).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.regions.len() >= self.max {
            return Err(Errno::ENOSPC);
        }
        map()?;
        self.regions.insert(region.address, region);
        Ok(())
    }

    /// Takes out what is within the range, which may be nothing.
    ///
    /// # Errors
    ///
    /// EINVAL if a region is partly outside, as with the kernel's; then all stay.
    pub(crate) fn unmap(
        &mut self,
        range: DmaRange,
        mut unmap: impl FnMut(&DmaRegion),
    ) -> Result<(), Errno> {
        let cut =
            |region: &DmaRegion| region.address < range.first() || last(region) > range.last();
        // Only the first and the last of those that overlap can reach beyond the range.
        let first = self.overlapping_from_below(range.first());
        if first.is_some_and(cut) || self.overlapping(range).is_some_and(cut) {
            return Err(Errno::EINVAL);
        }
        while let Some(&DmaRegion { address, .. }) = self.overlapping(range) {
            if let Some(region) = self.regions.remove(&address) {
                unmap(&region);
            }
        }
        Ok(())
    }

    pub(crate) fn unmap_all(&mut self, mut unmap: impl FnMut(&DmaRegion)) {
        while let Some((_, region)) = self.regions.pop_first() {
            unmap(&region);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.regions.len()
    }

    /// The last region that begins in or before the range, if it overlaps it.
    fn overlapping(&self, range: DmaRange) -> Option<&DmaRegion> {
        let (_, region) = self.regions.range(..=range.last()).next_back()?;
        (last(region) >= range.first()).then_some(region)
    }

    /// The region that begins before an address and holds it.
    fn overlapping_from_below(&self, address: u64) -> Option<&DmaRegion> {
        let (_, region) = self.regions.range(..address).next_back()?;
        (last(region) >= address).then_some(region)
    }
}

/// Regions in the table are not empty and do not wrap around.
fn last(region: &DmaRegion) -> u64 {
    region.address + (region.size - 1)
}

#[cfg(test)]
mod tests;
