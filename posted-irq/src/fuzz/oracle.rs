//! What either make of unit says to raw bytes, told from the specification's bit numbers alone.
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

    fn bits(&self, address: u128) -> Option<u128> {
        read(self.memory, address).map(u128::from_le_bytes)
    }
}

fn read<const N: usize>(memory: &[u8], address: u128) -> Option<[u8; N]> {
    let start = usize::try_from(address).ok()?;
    memory.get(start..)?.first_chunk().copied()
}

/// What the guest and the device have written, behind an AMD IOMMU.
pub(super) struct Amd<'a> {
    /// The device table.
    pub(super) base: u64,
    /// Its length.
    pub(super) devices: u32,
    /// Entries have 128 bits.
    pub(super) wide: bool,
    /// APIC ids have 32 bits; of wide entries only.
    pub(super) wide_ids: bool,
    /// GuestMode is offered; of wide entries only.
    pub(super) guest_mode: bool,
    /// The device.
    pub(super) source: u16,
    /// Where it wrote.
    pub(super) address: u64,
    /// What it wrote.
    pub(super) data: u32,
    /// Memory from address 0 on.
    pub(super) memory: &'a [u8],
}

/// Codes of the events that are logged; none for a target abort or a suppressed event.
type Refused = Option<u8>;

impl Amd<'_> {
    /// Whether the interrupt is refused, and what is logged then.
    pub(super) fn outcome(&self) -> Result<(), Refused> {
        if self.address >> 20 != 0xfee {
            return Ok(());
        }
        if u32::from(self.source) >= self.devices {
            return Err(Some(1));
        }
        let entry = u128::from(self.base) + 32 * u128::from(self.source);
        let entry: [u8; 32] = read(self.memory, entry).ok_or(Some(3))?;
        let [.., third, _] = entry.as_chunks().0 else {
            return Ok(());
        };
        // Bits 191:128 of the entry.
        let dte = u64::from_le_bytes(*third);
        if dte & 1 == 0 {
            return Ok(());
        }
        if dte & 0xf << 52 != 0 {
            return Err(Some(1));
        }
        let pass = |bit: u32| (dte & 1 << bit != 0).then_some(()).ok_or(None);
        match (self.data >> 8 & 7, dte >> 60 & 3) {
            (0 | 1, 0) => Err(None),
            (0 | 1, 2) => self.remap(dte),
            (0 | 1, 3) => Err(Some(1)),
            (0 | 1, _) | (2, _) => Ok(()),
            (4, _) => pass(58),
            (5, _) => pass(56),
            (7, _) => pass(57),
            _ => Err(None),
        }
    }

    fn remap(&self, dte: u64) -> Result<(), Refused> {
        let page_fault = (dte & 1 << 5 == 0).then_some(2);
        let length = dte >> 1 & 0xf;
        if length > 11 {
            return Err(Some(1));
        }
        let index = self.data & 0x7ff;
        if index >= 1 << length {
            return Err(page_fault);
        }
        let table = u128::from(dte & 0x000f_ffff_ffff_ffc0);
        let entry = if self.wide {
            read(self.memory, table + 16 * u128::from(index)).map(u128::from_le_bytes)
        } else {
            let entry = read(self.memory, table + 4 * u128::from(index));
            entry.map(|bytes| u32::from_le_bytes(bytes).into())
        };
        let entry = entry.ok_or(Some(4))?;
        if entry & 1 != 0 && !self.is_reserved(entry) {
            return Ok(());
        }
        Err(page_fault.filter(|_| entry & 2 == 0))
    }

    fn is_reserved(&self, entry: u128) -> bool {
        let mode = entry >> 2 & 7;
        let guest = entry & 1 << 7 != 0;
        if !self.wide {
            return guest || mode > 1 || entry >> 24 != 0;
        }
        if entry & (0xf << 72 | 0xf << 116) != 0 {
            return true;
        }
        if guest {
            return !self.guest_mode || entry & 7 << 3 != 0;
        }
        let wide_destination = entry & (0xff << 120 | 0xffff << 16) != 0;
        mode > 1 || !self.wide_ids && wide_destination
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
