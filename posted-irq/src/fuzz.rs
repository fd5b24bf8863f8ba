//! The fuzz targets as plain functions: each checks properties, and panics if one does not hold.

use crate::amd::AmdInvalidation;
use crate::apic::ApicMap;
use crate::apic::ApicMode;
use crate::apic::ApicOptions;
use crate::apic::BroadcastQuirk;
use crate::apic::LocalApic;
use crate::apic::LogicalModel;
use crate::apic::LowestPriority;
use crate::apic::WideIds;
use crate::decision::Irqchip;
use crate::decision::Posting;
use crate::decision::PostingHardware;
use crate::decision::PostingVm;
use crate::decision::RouteTarget;
use crate::guest_memory::GuestMemory;
use crate::ids::ApicIdFormat;
use crate::ids::LinkKey;
use crate::ids::SourceId;
use crate::ids::VcpuId;
use crate::message::Msi;
use crate::message::RemappableMsi;
use crate::msi::MsiData;
use crate::remapper::AmdDeviceTable;
use crate::remapper::AmdIrteLayout;
use crate::remapper::AmdRemapper;
use crate::remapper::CompatibilityFormat;
use crate::remapper::GuestMode;
use crate::remapper::Remapper;
use crate::remapper::VtdRemapper;
use crate::remapping::Delivery;
use crate::remapping::Remapping;
use crate::request::ApicRequest;
use crate::request::MessageIds;
use crate::vtd::IecInvalidation;
use crate::vtd::Irta;
use crate::vtd::PostedInterrupts;
use crate::vtd::VtdFaultReason;
use crate::vtd::VtdIrte;

mod oracle;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

/// Takes an input apart from the front; what is not there is zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (front, rest) = self.0.split_at(N.min(self.0.len()));
        bytes[..front.len()].copy_from_slice(front);
        self.0 = rest;
        bytes
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    fn source(&mut self) -> SourceId {
        SourceId(u16::from_le_bytes(self.bytes()))
    }

    /// Any bytes at an interrupt's address, or now and then anywhere.
    fn msi(&mut self) -> Msi {
        let address = u64::from_le_bytes(self.bytes());
        let data = u32::from_le_bytes(self.bytes());
        let address = if self.byte() < 0xf0 {
            0xfee0_0000 | address & 0xf_ffff
        } else {
            address
        };
        Msi { address, data }
    }

    const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A VT-d entry of any bits: hardware's opinion of it is one mask for each format.
pub fn vtd_entry(input: &[u8]) {
    let mut input = Input(input);
    let bits = u128::from_le_bytes(input.bytes());
    let source = input.source();
    let (ids, posting) = (ids(input.flag()), posting(input.flag()));
    let entry = VtdIrte::from_bits(bits);

    let wide_ids = ids == ApicIdFormat::X2Apic;
    let offered = posting == PostedInterrupts::Offered;
    let reserved = oracle::is_reserved(bits, wide_ids, offered);
    let expected = match (bits & 1 != 0, reserved) {
        (false, _) => Err(VtdFaultReason::NotPresent),
        (true, true) => Err(VtdFaultReason::EntryReserved),
        (true, false) => Ok(entry.format()),
    };
    assert_eq!(entry.validate(ids, posting), expected);
    let reserved_svt = bits >> 82 & 3 == 3;
    assert!(!reserved_svt || !entry.accepts(source));
}

/// A VT-d unit, a device and memory of any bytes: the very fault that hardware names.
pub fn vtd_translate(input: &[u8]) {
    let _ = vtd_fault(input);
}

/// The code of the fault, if the interrupt is refused.
fn vtd_fault(input: &[u8]) -> Option<u8> {
    let mut input = Input(input);
    let irta = u64::from_le_bytes(input.bytes());
    let (blocked, offered) = (!input.flag(), input.flag());
    let unit = VtdRemapper {
        table: Some(Irta::from_bits(irta)),
        compatibility: if blocked {
            CompatibilityFormat::Blocked
        } else {
            CompatibilityFormat::Passed
        },
        posting: posting(offered),
    };
    let (source, msi) = (input.source(), input.msi());
    let memory = input.rest();
    let expected = oracle::Vtd {
        irta,
        blocked,
        posting: offered,
        source: source.0,
        address: msi.address,
        data: msi.data,
        memory,
    };
    let fault = unit.translate(memory, source, msi).err();
    assert_eq!(fault.map(|fault| fault.reason.code()), expected.fault());
    if let Some(fault) = fault {
        assert_eq!(fault.source_id, source);
        let silent = fault.fpd && fault.reason.is_qualified();
        assert_eq!(fault.record().is_none(), silent);
    }
    let named = RemappableMsi::decode(msi).ok().flatten();
    let invalidation = named
        .and_then(|named| u16::try_from(named.index()).ok())
        .map_or(IecInvalidation::Global, |index| IecInvalidation::Index {
            index,
            mask: 0,
        });
    agrees_with_itself(unit, memory, source, msi, invalidation);
    expected.fault()
}

/// An AMD IOMMU, a device and memory of any bytes: the very event that hardware logs.
pub fn amd_translate(input: &[u8]) {
    let _ = amd_refusal(input);
}

/// Whether the interrupt is refused, and the code of the event that is logged then.
fn amd_refusal(input: &[u8]) -> Result<(), Option<u8>> {
    let mut input = Input(input);
    let table = AmdDeviceTable {
        base: u64::from_le_bytes(input.bytes()),
        devices: u32::from_le_bytes(input.bytes()),
    };
    let (wide_ids, offered, wide) = (input.flag(), input.flag(), input.flag());
    let guest_mode = if offered {
        GuestMode::Offered
    } else {
        GuestMode::NotOffered
    };
    let unit = AmdRemapper {
        table: Some(table),
        layout: if wide {
            AmdIrteLayout::Wide {
                apic_ids: ids(wide_ids),
                guest_mode,
            }
        } else {
            AmdIrteLayout::Legacy
        },
    };
    let (source, msi) = (input.source(), input.msi());
    let memory = input.rest();
    let expected = oracle::Amd {
        base: table.base,
        devices: table.devices,
        wide,
        wide_ids,
        guest_mode: offered,
        source: source.0,
        address: msi.address,
        data: msi.data,
        memory,
    };
    let outcome = unit.translate(memory, source, msi).map(|_| ());
    let outcome = outcome.map_err(|fault| {
        assert_eq!(fault.source_id, source);
        assert!(fault.event.is_none_or(|event| event.i()));
        fault.event.map(|event| event.code().into_bits())
    });
    assert_eq!(outcome, expected.outcome());
    let invalidation = if msi.is_interrupt() {
        AmdInvalidation::InterruptTable(source)
    } else {
        AmdInvalidation::All
    };
    agrees_with_itself(unit, memory, source, msi, invalidation);
    outcome
}

/// A link is cached exactly where its interrupt is not refused, and the invalidation of what it
/// goes by names it.
fn agrees_with_itself<R: Remapper>(
    unit: R,
    memory: &(impl GuestMemory + ?Sized),
    source: SourceId,
    msi: Msi,
    invalidation: R::Invalidation,
) {
    let link = LinkKey(1);
    let mut unit = Remapping::new(unit);
    let prepared = unit.prepare(link, memory, source, msi);
    match (prepared, unit.deliver(link, memory, source, msi)) {
        (Some(first), Ok(Delivery::Cached(second))) => assert_eq!(first, second),
        (None, Err(_)) => {}
        _ => panic!("prepared and delivered differ"),
    }
    assert_eq!(unit.cached(), usize::from(prepared.is_some()));
    assert_eq!(
        unit.invalidate(invalidation).len(),
        usize::from(prepared.is_some())
    );
}

/// Invalidations as a guest queues them: what is taken says what it said.
pub fn invalidations(input: &[u8]) {
    let bits = u128::from_le_bytes(Input(input).bytes());
    if let Ok(invalidation) = IecInvalidation::decode(bits) {
        let (first, last) = invalidation.range();
        assert!(first <= last);
        let encoded = invalidation.encode().into_bits();
        let global = invalidation == IecInvalidation::Global;
        // A global one says nothing by its index.
        let ignored = if global { 0xffff << 32 | 0x1f << 27 } else { 0 };
        assert_eq!(encoded, bits & !ignored);
    }
    if let Ok(invalidation) = AmdInvalidation::decode(bits) {
        assert_eq!(invalidation.encode().into_bits(), bits);
    }
}

/// A guest's APICs and a message of any bytes.
pub fn posting_decision(input: &[u8]) {
    let mut input = Input(input);
    let msi = input.msi();
    let options = ApicOptions {
        wide_ids: if input.flag() {
            WideIds::Enabled
        } else {
            WideIds::Disabled
        },
        broadcast: if input.flag() {
            BroadcastQuirk::Enabled
        } else {
            BroadcastQuirk::Disabled
        },
        choice: if input.flag() {
            LowestPriority::VectorHashing
        } else {
            LowestPriority::ApicPriority
        },
    };
    let message_ids = if input.flag() {
        MessageIds::Bits32
    } else {
        MessageIds::Bits8
    };
    let mut apics = Vec::new();
    while !input.0.is_empty() && apics.len() < 32 {
        apics.push(apic(&mut input));
    }
    let vm = PostingVm {
        irqchip: Irqchip::Split,
        hardware: PostingHardware::Present,
        message_ids,
    };
    let map = ApicMap::new(apics, options);
    if let Posting::Post { vcpu, vector, .. } = vm.decide(RouteTarget::Msi(msi), &map) {
        assert!(map.apics().iter().any(|apic| apic.vcpu == vcpu));
        let data = MsiData::from_bits(msi.data);
        assert_eq!(vector, data.vector());
        assert!(matches!(data.delivery_mode().into_bits(), 0 | 1));
    }
    let request = ApicRequest::from_msi(msi, message_ids);
    let again = request
        .to_msi(message_ids)
        .map(|msi| ApicRequest::from_msi(msi, message_ids));
    assert_eq!(again, Ok(request));
}

fn apic(input: &mut Input<'_>) -> LocalApic {
    let [kind, id, logical_id, flags, a, b, c, d] = input.bytes();
    let x2apic_id = u32::from_le_bytes([a, b, c, d]);
    let model = match kind >> 1 & 3 {
        0 => LogicalModel::Other,
        1 => LogicalModel::Cluster,
        _ => LogicalModel::Flat,
    };
    LocalApic {
        vcpu: VcpuId(x2apic_id),
        x2apic_id,
        mode: if kind & 1 == 0 {
            ApicMode::X2Apic
        } else {
            ApicMode::XApic {
                id,
                logical_id,
                model,
            }
        },
        software_enabled: flags & 1 == 0,
        priority: i32::from(flags),
    }
}

const fn ids(wide: bool) -> ApicIdFormat {
    if wide {
        ApicIdFormat::X2Apic
    } else {
        ApicIdFormat::XApic
    }
}

const fn posting(offered: bool) -> PostedInterrupts {
    if offered {
        PostedInterrupts::Offered
    } else {
        PostedInterrupts::NotOffered
    }
}
