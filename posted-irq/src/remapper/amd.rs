//! Interrupt remapping of a guest's AMD IOMMU.
//!
//! ```text
//!   message ─► device table entry read ─► IV clear ──► passed
//!      fixed, arbitrated ── IntCtl ──► aborted, passed, or
//!                                      remapped: index ─► entry read ─► RemapEn ─► reserved
//!      SMI ──► passed;  NMI, INIT, ExtInt ── pass bits ──► passed or aborted
//! ```
//!
//! The specification names the events `ILLEGAL_DEV_TABLE_ENTRY`, `IO_PAGE_FAULT` and the hardware
//! errors of either table, but not for each case which. Where it leaves that open this is how it
//! is read here: a device beyond the device table is an illegal entry, an index beyond the
//! interrupt table an I/O page fault. Bits 255:192 of the device table entry, whose meaning
//! differs between revisions, are not checked. The 2048-interrupt mode (`NumIntRemapMode`) is not
//! offered: bits 10:8 of the data are delivery mode and index at once, so that 512 entries are
//! within reach.

use crate::amd::AmdEvent;
use crate::amd::AmdEventCode;
use crate::amd::AmdGuest;
use crate::amd::AmdInvalidation;
use crate::amd::AmdIrte;
use crate::amd::AmdIrteFormat;
use crate::amd::AmdLegacy;
use crate::amd::AmdRemapped;
use crate::amd::DteInterrupt;
use crate::amd::IntCtl;
use crate::guest_memory::GuestMemory;
use crate::ids::ApicId;
use crate::ids::ApicIdFormat;
use crate::ids::SourceId;
use crate::message::Msi;
use crate::msi::DeliveryMode;
use crate::msi::MsiData;
use crate::request::ApicRequest;
use crate::request::DestinationMode;
use crate::request::Shorthand;
use crate::request::TriggerMode;

use super::CacheKey;
use super::Remapper;
use super::Translation;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

const DTE_BYTES: usize = 32;

/// Where the device table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmdDeviceTable {
    /// Guest-physical address.
    pub base: u64,
    /// How many devices it has entries for.
    pub devices: u32,
}

/// What entries look like: `GAEn`, `XTEn` and guest virtual APIC as the guest has set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AmdIrteLayout {
    /// 32 bits each.
    Legacy,
    /// 128 bits each.
    Wide {
        /// How many bits of the destination count.
        apic_ids: ApicIdFormat,
        /// Whether entries may have GuestMode set.
        guest_mode: GuestMode,
    },
}

/// Whether the unit was given out as one that posts to virtual APICs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestMode {
    /// It was.
    Offered,
    /// It was not; GuestMode is one more reserved bit.
    NotOffered,
}

/// What the guest has written to its unit's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmdRemapper {
    /// The device table, once the unit is enabled.
    pub table: Option<AmdDeviceTable>,
    /// The entries.
    pub layout: AmdIrteLayout,
}

/// An interrupt that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupt of {source_id} refused")]
pub struct AmdFault {
    /// Whose it was.
    pub source_id: SourceId,
    /// What is to be logged at the time the interrupt is refused; nothing where the guest has
    /// said so (IG, SupIOPF) or the specification has no event for it.
    pub event: Option<AmdEvent>,
}

/// An entry of either width, with what is common to both.
struct Found {
    remap_en: bool,
    sup_iopf: bool,
    /// `None` if reserved bits are set.
    translation: Option<Translation>,
}

impl Remapper for AmdRemapper {
    type Fault = AmdFault;
    type Invalidation = AmdInvalidation;

    fn translate<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        source: SourceId,
        msi: Msi,
    ) -> Result<(CacheKey, Translation), AmdFault> {
        let passed = Translation::Passed(msi);
        let (Some(table), true) = (self.table, msi.is_interrupt()) else {
            return Ok((CacheKey::NONE, passed));
        };
        let refused = |event| AmdFault {
            source_id: source,
            event,
        };
        let log = |code, address| event(code, source, address);
        let at = u64::from(source.0) * DTE_BYTES as u64;
        if u32::from(source.0) >= table.devices {
            let event = log(AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY, msi.address);
            return Err(refused(Some(event)));
        }
        let address = table.base.saturating_add(at);
        let mut bytes = [0; DTE_BYTES];
        if memory.read(address, &mut bytes).is_err() {
            let event = log(AmdEventCode::DEV_TAB_HARDWARE_ERROR, address);
            return Err(refused(Some(event)));
        }
        let [_, domain, interrupt, _] = words(bytes);
        let dte = DteInterrupt::from_bits(interrupt);
        // Bits 79:64 of the entry.
        let [low, high, ..] = domain.to_le_bytes();
        let domain = u16::from_le_bytes([low, high]);
        let log = |code, address| event(code, source, address).with_domain_id(domain);
        let key = CacheKey::amd(source, msi.amd_index());
        if !dte.iv() {
            return Ok((key, passed));
        }
        if dte.reserved_55_52() != 0 {
            let event = log(AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY, msi.address).with_rz(true);
            return Err(refused(Some(event)));
        }
        let passes = match MsiData::from_bits(msi.data).delivery_mode() {
            DeliveryMode::FIXED | DeliveryMode::LOWEST_PRIORITY => match dte.int_ctl() {
                IntCtl::Abort => false,
                IntCtl::Forward => true,
                IntCtl::Remap => {
                    return self
                        .remap(memory, dte, msi, log)
                        .map(|translation| (key, translation))
                        .map_err(|event| refused(event.filter(|event| is_logged(*event, dte))));
                }
                IntCtl::Reserved => {
                    let event = log(AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY, msi.address);
                    return Err(refused(Some(event.with_rz(true))));
                }
            },
            DeliveryMode::SMI => true,
            DeliveryMode::NMI => dte.nmi_pass(),
            DeliveryMode::INIT => dte.init_pass(),
            DeliveryMode::EXT_INT => dte.eint_pass(),
            _ => false,
        };
        if passes {
            Ok((key, passed))
        } else {
            // A target abort, which is not logged.
            Err(refused(None))
        }
    }

    fn keys(invalidation: AmdInvalidation) -> Option<(CacheKey, CacheKey)> {
        match invalidation {
            AmdInvalidation::InterruptTable(device) | AmdInvalidation::DeviceTableEntry(device) => {
                Some((CacheKey::amd(device, 0), CacheKey::amd(device, u16::MAX)))
            }
            AmdInvalidation::All => None,
        }
    }
}

impl AmdRemapper {
    /// A fixed or arbitrated interrupt by the device's table, or the event to log.
    fn remap<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        dte: DteInterrupt,
        msi: Msi,
        log: impl Fn(AmdEventCode, u64) -> AmdEvent,
    ) -> Result<Translation, Option<AmdEvent>> {
        let Some(entries) = dte.entries() else {
            return Err(Some(log(
                AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY,
                msi.address,
            )));
        };
        let page_fault = log(AmdEventCode::IO_PAGE_FAULT, msi.address);
        let index = msi.amd_index();
        if index >= entries {
            return Err(Some(page_fault));
        }
        let size = match self.layout {
            AmdIrteLayout::Legacy => 4,
            AmdIrteLayout::Wide { .. } => 16,
        };
        let mut bytes = [0; 16];
        let address = dte.base().saturating_add(u64::from(index) * size as u64);
        if memory.read(address, &mut bytes[..size]).is_err() {
            return Err(Some(log(AmdEventCode::PAGE_TAB_HARDWARE_ERROR, address)));
        }
        let found = self.entry(bytes, msi);
        let unless_suppressed = |event| (!found.sup_iopf).then_some(event);
        if !found.remap_en {
            return Err(unless_suppressed(page_fault));
        }
        let reserved = page_fault.with_pr(true).with_rz(true);
        found.translation.ok_or(unless_suppressed(reserved))
    }

    fn entry(&self, bytes: [u8; 16], msi: Msi) -> Found {
        let wide = AmdIrte::from_bits(u128::from_le_bytes(bytes));
        match (self.layout, wide.format()) {
            (AmdIrteLayout::Legacy, _) => {
                let [a, b, c, d, ..] = bytes;
                let entry = AmdLegacy::from_bits(u32::from_le_bytes([a, b, c, d]));
                let reserved = entry.reserved_31_24() != 0 || entry.guest_mode();
                let same = AmdRemapped::new()
                    .with_int_type(entry.int_type())
                    .with_dm(entry.dm())
                    .with_destination(ApicId(entry.destination().into()))
                    .with_vector(entry.vector());
                Found {
                    remap_en: entry.remap_en(),
                    sup_iopf: entry.sup_iopf(),
                    translation: request(same, ApicIdFormat::XApic, msi).filter(|_| !reserved),
                }
            }
            (AmdIrteLayout::Wide { apic_ids, .. }, AmdIrteFormat::Remapped(entry)) => Found {
                remap_en: entry.remap_en(),
                sup_iopf: entry.sup_iopf(),
                translation: request(entry, apic_ids, msi),
            },
            (AmdIrteLayout::Wide { guest_mode, .. }, AmdIrteFormat::Guest(entry)) => Found {
                remap_en: entry.remap_en(),
                sup_iopf: entry.sup_iopf(),
                translation: guest_post(entry).filter(|_| guest_mode == GuestMode::Offered),
            },
        }
    }
}

fn guest_post(entry: AmdGuest) -> Option<Translation> {
    let reserved =
        entry.reserved_5_3() != 0 || entry.reserved_75_72() != 0 || entry.reserved_119_116() != 0;
    let translation = Translation::GuestMode {
        backing_page: entry.ga_root() << 12,
        vector: entry.vector(),
        ga_tag: entry.ga_tag(),
    };
    (!reserved).then_some(translation)
}

/// What the entry makes of a message; the trigger mode is the message's. `None` if the entry has
/// reserved bits set.
fn request(entry: AmdRemapped, ids: ApicIdFormat, msi: Msi) -> Option<Translation> {
    let destination = entry.destination();
    let reserved = entry.reserved_75_72() != 0
        || entry.reserved_119_116() != 0
        || ids == ApicIdFormat::XApic && destination.0 > 0xff;
    let delivery_mode = match entry.int_type() {
        0 => DeliveryMode::FIXED,
        1 => DeliveryMode::LOWEST_PRIORITY,
        _ => return None,
    };
    let request = ApicRequest {
        vector: entry.vector(),
        delivery_mode,
        destination_mode: if entry.dm() {
            DestinationMode::Logical
        } else {
            DestinationMode::Physical
        },
        destination,
        redirection_hint: false,
        shorthand: Shorthand::None,
        trigger: if MsiData::from_bits(msi.data).trigger() {
            TriggerMode::Level
        } else {
            TriggerMode::Edge
        },
    };
    (!reserved).then_some(Translation::Remapped(request))
}

/// IG is about page faults of interrupts only.
fn is_logged(event: AmdEvent, dte: DteInterrupt) -> bool {
    !dte.ig() || event.code() != AmdEventCode::IO_PAGE_FAULT
}

fn event(code: AmdEventCode, source: SourceId, address: u64) -> AmdEvent {
    AmdEvent::new()
        .with_code(code)
        .with_device_id(source.0)
        .with_i(true)
        .with_address(address)
}

fn words(bytes: [u8; DTE_BYTES]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}
