//! What VT-d makes of raw bytes, told from the specification's bit numbers alone.
//!
//! Nothing of the code under test is used, neither its layouts nor its checks.

/// What the guest and the device have written.
pub(super) struct Vtd<'a> {
    /// IRTA_REG.
    pub(super) irta: u64,
    /// Compatibility format is blocked.
    pub(super) blocked: bool,
    /// Posting is offered.
    pub(super) posting: bool,
    /// The device.
    pub(super) source: u16,
    /// Where it wrote.
    pub(super) address: u64,
    /// What it wrote.
    pub(super) data: u32,
    /// Memory from address 0 on.
    pub(super) memory: &'a [u8],
}

impl Vtd<'_> {
    /// The fault code, if the interrupt is refused.
    pub(super) fn fault(&self) -> Option<u8> {
        let (address, data) = (u128::from(self.address), u128::from(self.data));
        if address >> 20 != 0xfee {
            return None;
        }
        let wide_ids = self.irta & 1 << 11 != 0;
        if address & 1 << 4 == 0 {
            return (self.blocked || wide_ids).then_some(0x25);
        }
        let subhandle = match (address & 1 << 3 != 0, data >> 16) {
            (false, _) => 0,
            (true, 0) => data,
            (true, _) => return Some(0x20),
        };
        let index = (address >> 5 & 0x7fff) + ((address >> 2 & 1) << 15) + subhandle;
        if index >= 2 << (self.irta & 0xf) {
            return Some(0x21);
        }
        let table = u128::from(self.irta & !0xfff);
        match self.bits(table + 16 * index) {
            Some(entry) => self.fault_of(entry, wide_ids),
            None => Some(0x23),
        }
    }

    fn fault_of(&self, entry: u128, wide_ids: bool) -> Option<u8> {
        if entry & 1 == 0 {
            return Some(0x22);
        }
        if is_reserved(entry, wide_ids, self.posting) {
            return Some(0x24);
        }
        let (sid, source) = (entry >> 64 & 0xffff, u128::from(self.source));
        let accepted = match (entry >> 82 & 3, entry >> 80 & 3) {
            (0, _) => true,
            (1, 0) => sid == source,
            (1, 1) => sid & !4 == source & !4,
            (1, 2) => sid & !6 == source & !6,
            (1, _) => sid & !7 == source & !7,
            _ => (sid >> 8..=sid & 0xff).contains(&(source >> 8)),
        };
        if !accepted {
            return Some(0x26);
        }
        if entry & 1 << 15 == 0 {
            return None;
        }
        let descriptor = (entry >> 96 << 32) + (entry >> 38 & 0x3ff_ffff) * 64;
        let quarter = |nth: u128| self.bits(descriptor + 16 * nth);
        let (Some(_), Some(_), Some(control), Some(rest)) =
            (quarter(0), quarter(1), quarter(2), quarter(3))
        else {
            return Some(0x27);
        };
        // Bits 271:258, 287:280 and 511:320 of the descriptor.
        let reserved = 0xfffc | 0xff << 24 | u128::from(u64::MAX) << 64;
        (control & reserved != 0 || rest != 0).then_some(0x28)
    }

    /// 128 bits of memory.
    fn bits(&self, address: u128) -> Option<u128> {
        let start = usize::try_from(address).ok()?;
        let bytes = self.memory.get(start..)?.first_chunk()?;
        Some(u128::from_le_bytes(*bytes))
    }
}

/// Whether an entry that is present has bits set, or fields of values, that are reserved.
pub(super) fn is_reserved(entry: u128, wide_ids: bool, posting: bool) -> bool {
    if entry >> 82 & 3 == 3 {
        return true;
    }
    if entry & 1 << 15 != 0 {
        return !posting || entry & (0xfff << 84 | 0x3fff << 24 | 3 << 12 | 0x3f << 2) != 0;
    }
    let destination = if wide_ids { 0 } else { 0xffff_00ff << 32 };
    entry & (0xffff_ffff_fff0 << 80 | destination | 0xff << 24 | 7 << 12) != 0
        || matches!(entry >> 5 & 7, 3 | 6)
}
