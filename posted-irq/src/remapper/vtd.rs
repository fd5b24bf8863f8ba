//! Interrupt remapping of a guest's VT-d unit.
//!
//! ```text
//!   message ── compatibility ──► passed, or 25h
//!      └─ remappable (20h) ─► index (21h) ─► entry read (23h) ─► P (22h) ─► reserved (24h)
//!                           ─► SID, SQ, SVT (26h) ─► remapped
//!                                                └─► descriptor (27h, 28h) ─► posted
//! ```

use crate::guest_memory::GuestMemory;
use crate::ids::ApicIdFormat;
use crate::ids::SourceId;
use crate::message::Msi;
use crate::message::RemappableMsi;
use crate::request::ApicRequest;
use crate::request::DestinationMode;
use crate::request::Shorthand;
use crate::request::TriggerMode;
use crate::vtd::IecInvalidation;
use crate::vtd::Irta;
use crate::vtd::PID_BYTES;
use crate::vtd::PiDescImage;
use crate::vtd::PostedInterrupts;
use crate::vtd::Urgency;
use crate::vtd::VtdFaultReason;
use crate::vtd::VtdFaultRecord;
use crate::vtd::VtdIrte;
use crate::vtd::VtdIrteFormat;
use crate::vtd::VtdPosted;
use crate::vtd::VtdRemapped;

use super::CacheKey;
use super::Remapper;
use super::Translation;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

/// `GCMD_REG.CFI`: what becomes of messages in compatibility format while remapping is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompatibilityFormat {
    /// They pass, unless APIC ids have 32 bits.
    Passed,
    /// They are blocked.
    Blocked,
}

/// What the guest has written to its unit's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VtdRemapper {
    /// The table, once the guest has both set its address and enabled remapping.
    pub table: Option<Irta>,
    /// Messages in compatibility format.
    pub compatibility: CompatibilityFormat,
    /// Whether the unit was given out as one that posts.
    pub posting: PostedInterrupts,
}

/// An interrupt that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupt of {source_id} refused: {reason}")]
pub struct VtdFault {
    /// Why.
    pub reason: VtdFaultReason,
    /// Whose it was.
    pub source_id: SourceId,
    /// The index, where one could be computed. 16 bits of it are recorded.
    pub index: Option<u32>,
    /// FPD of the entry, which keeps qualified faults from being recorded.
    pub fpd: bool,
}

impl VtdFault {
    /// The record, if the fault is one to be recorded.
    #[must_use]
    pub fn record(&self) -> Option<VtdFaultRecord> {
        if self.fpd && self.reason.is_qualified() {
            return None;
        }
        let [low, high, ..] = self.index.unwrap_or(0).to_le_bytes();
        let record = VtdFaultRecord::new()
            .with_f(true)
            .with_fr(self.reason.code())
            .with_sid(self.source_id.0)
            .with_interrupt_index(u16::from_le_bytes([low, high]));
        Some(record)
    }
}

impl Remapper for VtdRemapper {
    type Fault = VtdFault;
    type Invalidation = IecInvalidation;

    fn translate<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Result<(CacheKey, Translation), VtdFault> {
        let fault = |reason, index| VtdFault {
            reason,
            source_id: source,
            index,
            fpd: false,
        };
        let Some(table) = self.table else {
            return Ok((CacheKey::NONE, Translation::Passed(msi)));
        };
        let request =
            RemappableMsi::decode(msi).map_err(|_| fault(VtdFaultReason::RequestReserved, None))?;
        let Some(request) = request else {
            let blocked = self.compatibility == CompatibilityFormat::Blocked || table.eime();
            return if blocked && msi.is_interrupt() {
                Err(fault(VtdFaultReason::CompatibilityBlocked, None))
            } else {
                Ok((CacheKey::NONE, Translation::Passed(msi)))
            };
        };
        let wide = request.index();
        let index = u16::try_from(wide).ok().filter(|_| wide < table.entries());
        let index = index.ok_or(fault(VtdFaultReason::IndexOutOfRange, Some(wide)))?;
        let entry = read_entry(memory, table, index)
            .ok_or(fault(VtdFaultReason::TableAccess, Some(wide)))?;
        let translation = self.follow(memory, table, entry, source);
        let translation = translation.map_err(|reason| VtdFault {
            fpd: entry.is_fault_processing_disabled(),
            ..fault(reason, Some(wide))
        })?;
        Ok((CacheKey::vtd(index), translation))
    }

    fn keys(invalidation: IecInvalidation) -> Option<(CacheKey, CacheKey)> {
        if invalidation == IecInvalidation::Global {
            return None;
        }
        let (first, last) = invalidation.range();
        Some((CacheKey::vtd(first), CacheKey::vtd(last)))
    }
}

impl VtdRemapper {
    fn follow<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        table: Irta,
        entry: VtdIrte,
        source: SourceId,
    ) -> Result<Translation, VtdFaultReason> {
        let format = entry.validate(table.apic_ids(), self.posting)?;
        if !entry.accepts(source) {
            return Err(VtdFaultReason::SourceId);
        }
        match format {
            VtdIrteFormat::Remapped(entry) => {
                Ok(Translation::Remapped(request_of(entry, table.apic_ids())))
            }
            VtdIrteFormat::Posted(entry) => post_of(memory, entry),
        }
    }
}

fn read_entry<M: GuestMemory + ?Sized>(memory: &M, table: Irta, index: u16) -> Option<VtdIrte> {
    let mut bytes = [0; 16];
    let address = table.base().checked_add(u64::from(index) * 16)?;
    memory.read(address, &mut bytes).ok()?;
    Some(VtdIrte::from_bits(u128::from_le_bytes(bytes)))
}

const fn request_of(entry: VtdRemapped, ids: ApicIdFormat) -> ApicRequest {
    ApicRequest {
        vector: entry.vector(),
        delivery_mode: entry.dlm(),
        destination_mode: if entry.dm() {
            DestinationMode::Logical
        } else {
            DestinationMode::Physical
        },
        destination: ids.decode_vtd(entry.dst()),
        redirection_hint: entry.rh(),
        shorthand: Shorthand::None,
        trigger: if entry.tm() {
            TriggerMode::Level
        } else {
            TriggerMode::Edge
        },
    }
}

fn post_of<M: GuestMemory + ?Sized>(
    memory: &M,
    entry: VtdPosted,
) -> Result<Translation, VtdFaultReason> {
    let mut bytes = [0; PID_BYTES];
    memory
        .read(entry.descriptor().get(), &mut bytes)
        .map_err(|_| VtdFaultReason::DescriptorAccess)?;
    if !PiDescImage::from_bytes(&bytes).is_valid() {
        return Err(VtdFaultReason::DescriptorReserved);
    }
    Ok(Translation::Posted {
        descriptor: entry.descriptor(),
        vector: entry.vector(),
        urgency: if entry.urg() {
            Urgency::Urgent
        } else {
            Urgency::Normal
        },
    })
}

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VtdRecorded {
    /// It is in this fault recording register. `interrupt` says whether the fault event is to be
    /// raised, which it is when the first of pending faults comes.
    Register {
        /// Which.
        at: usize,
        /// Whether to raise the fault event.
        interrupt: bool,
    },
    /// It is lost; `FSTS_REG.PFO` is set.
    Overflow,
    /// FPD says that nobody wants to know.
    Disabled,
}

/// The fault recording registers of a unit.
#[derive(Debug, Clone)]
pub struct VtdFaultLog {
    registers: Vec<VtdFaultRecord>,
    next: usize,
    overflow: bool,
}

impl VtdFaultLog {
    /// Registers with no fault in them; `CAP_REG.NFR` is one less than their number, which is at
    /// least 1 and at most 256.
    #[must_use]
    pub fn new(registers: u8) -> Self {
        Self {
            registers: vec![VtdFaultRecord::new(); usize::from(registers).max(1)],
            next: 0,
            overflow: false,
        }
    }

    /// Records a fault, at the time an interrupt is refused.
    pub fn record(&mut self, fault: &VtdFault) -> VtdRecorded {
        let Some(record) = fault.record() else {
            return VtdRecorded::Disabled;
        };
        let at = self.next;
        // Once it has overflowed nothing is recorded until software has cleared that.
        if self.overflow || self.registers[at].f() {
            self.overflow = true;
            return VtdRecorded::Overflow;
        }
        let interrupt = !self.is_pending();
        self.registers[at] = record;
        self.next = (at + 1) % self.registers.len();
        VtdRecorded::Register { at, interrupt }
    }

    /// The guest writes one to F of a register; others than those there are, are ignored.
    pub fn clear(&mut self, at: usize) {
        if let Some(register) = self.registers.get_mut(at) {
            register.set_f(false);
        }
    }

    /// The guest writes one to `FSTS_REG.PFO`.
    pub const fn clear_overflow(&mut self) {
        self.overflow = false;
    }

    /// `FSTS_REG.PFO`.
    #[must_use]
    pub const fn has_overflowed(&self) -> bool {
        self.overflow
    }

    /// `FSTS_REG.PPF`: a register has F set.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.registers.iter().any(|register| register.f())
    }

    /// The registers, as the guest reads them.
    #[must_use]
    pub fn registers(&self) -> &[VtdFaultRecord] {
        &self.registers
    }
}
