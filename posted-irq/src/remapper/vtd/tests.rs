use super::*;
use crate::ids::ApicId;
use crate::msi::DeliveryMode;
use crate::vtd::PiControl;
use crate::vtd::SourceQualifier;
use crate::vtd::SourceValidation;

const DEVICE: SourceId = SourceId(0x0308);
/// The table's 16 entries lie here, descriptors before it.
const TABLE: u64 = 0x1000;
const MEMORY: usize = 0x1100;

fn unit() -> VtdRemapper {
    VtdRemapper {
        table: Some(Irta::from_bits(TABLE).with_s(3).with_eime(true)),
        compatibility: CompatibilityFormat::Blocked,
        posting: PostedInterrupts::Offered,
    }
}

fn memory_with(index: usize, entry: impl Into<VtdIrte>) -> Vec<u8> {
    let mut memory = vec![0; MEMORY];
    let bytes = entry.into().into_bits().to_le_bytes();
    memory[0x1000 + 16 * index..][..16].copy_from_slice(&bytes);
    memory
}

fn remappable(handle: u16) -> Msi {
    let subhandle = None;
    RemappableMsi { handle, subhandle }.encode()
}

fn refused(unit: &VtdRemapper, memory: &[u8], msi: Msi) -> VtdFault {
    unit.translate(memory, DEVICE, msi).unwrap_err()
}

fn present() -> VtdRemapped {
    VtdRemapped::new().with_p(true)
}

#[test]
fn remapped_interrupt_takes_everything_from_the_entry() {
    let entry = present()
        .with_dm(true)
        .with_rh(true)
        .with_tm(true)
        .with_dlm(DeliveryMode::LOWEST_PRIORITY)
        .with_vector(0x41)
        .with_dst(0x0001_0002)
        .with_svt(SourceValidation::Source)
        .with_sq(SourceQualifier::All)
        .with_sid(DEVICE.0);
    let memory = memory_with(3, entry);
    let request = ApicRequest {
        vector: 0x41,
        delivery_mode: DeliveryMode::LOWEST_PRIORITY,
        destination_mode: DestinationMode::Logical,
        destination: ApicId(0x0001_0002),
        redirection_hint: true,
        shorthand: Shorthand::None,
        trigger: TriggerMode::Level,
    };
    let translated = Ok((CacheKey::vtd(3), Translation::Remapped(request)));
    let memory = memory.as_slice();
    assert_eq!(unit().translate(memory, DEVICE, remappable(3)), translated);
}

#[test]
fn subhandle_is_added_to_the_handle() {
    let memory = memory_with(6, present());
    let msi = RemappableMsi {
        handle: 4,
        subhandle: Some(2),
    };
    let (key, _) = unit()
        .translate(memory.as_slice(), DEVICE, msi.encode())
        .unwrap();
    assert_eq!(key, CacheKey::vtd(6));
}

#[test]
fn destination_of_8_bits_is_in_bits_15_8_of_the_field() {
    let mut unit = unit();
    unit.table = unit.table.map(|table| table.with_eime(false));
    let memory = memory_with(0, present().with_dst(0x1200));
    let outcome = unit.translate(memory.as_slice(), DEVICE, remappable(0));
    let Ok((_, Translation::Remapped(request))) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(request.destination, ApicId(0x12));
}

#[test]
fn fault_20h_for_reserved_bits_of_the_request() {
    let msi = Msi {
        address: 0xfee0_0018,
        data: 1 << 16,
    };
    let fault = refused(&unit(), &memory_with(0, present()), msi);
    assert_eq!(fault.reason, VtdFaultReason::RequestReserved);
    assert_eq!(fault.index, None);
}

#[test]
fn fault_21h_for_an_index_beyond_the_table() {
    let memory = memory_with(0, present());
    for (handle, subhandle) in [(16, None), (15, Some(1)), (0xffff, Some(0xffff))] {
        let msi = RemappableMsi { handle, subhandle };
        let fault = refused(&unit(), &memory, msi.encode());
        assert_eq!(fault.reason, VtdFaultReason::IndexOutOfRange);
        assert_eq!(fault.index, Some(msi.index()));
    }
}

#[test]
fn fault_22h_for_an_entry_not_present_honours_fpd() {
    for fpd in [false, true] {
        let memory = memory_with(1, VtdRemapped::new().with_fpd(fpd));
        let fault = refused(&unit(), &memory, remappable(1));
        assert_eq!(fault.reason, VtdFaultReason::NotPresent);
        assert_eq!(fault.record().is_none(), fpd);
    }
}

#[test]
fn fault_23h_for_a_table_in_unmapped_memory() {
    // Nowhere, at the end of the address space, and with its last entry outside.
    for base in [0x10_0000, !0xfff, 0x1000] {
        let mut unit = unit();
        unit.table = Some(Irta::from_bits(base).with_s(4).with_eime(true));
        let fault = refused(&unit, &memory_with(0, present()), remappable(31));
        assert_eq!(fault.reason, VtdFaultReason::TableAccess);
    }
}

#[test]
fn fault_24h_for_reserved_bits_of_the_entry_honours_fpd() {
    for fpd in [false, true] {
        let entry = present().with_fpd(fpd).with_reserved_31_24(1);
        let fault = refused(&unit(), &memory_with(1, entry), remappable(1));
        assert_eq!(fault.reason, VtdFaultReason::EntryReserved);
        assert_eq!(fault.record().is_none(), fpd);
    }
}

#[test]
fn fault_25h_for_compatibility_format_where_it_is_blocked() {
    let compatibility = Msi {
        address: 0xfee0_0000,
        data: 0x41,
    };
    let memory = memory_with(0, present());
    let mut unit = unit();
    let fault = refused(&unit, &memory, compatibility);
    assert_eq!(fault.reason, VtdFaultReason::CompatibilityBlocked);
    // Also where it would pass, but for the 32-bit ids.
    unit.compatibility = CompatibilityFormat::Passed;
    let fault = refused(&unit, &memory, compatibility);
    assert_eq!(fault.reason, VtdFaultReason::CompatibilityBlocked);
    unit.table = unit.table.map(|table| table.with_eime(false));
    let passed = Ok((CacheKey::NONE, Translation::Passed(compatibility)));
    let outcome = unit.translate(memory.as_slice(), DEVICE, compatibility);
    assert_eq!(outcome, passed);
}

#[test]
fn fault_26h_for_another_source_honours_fpd() {
    for fpd in [false, true] {
        let entry = present()
            .with_fpd(fpd)
            .with_svt(SourceValidation::Source)
            .with_sid(DEVICE.0 ^ 1);
        let fault = refused(&unit(), &memory_with(1, entry), remappable(1));
        assert_eq!(fault.reason, VtdFaultReason::SourceId);
        assert_eq!(fault.record().is_none(), fpd);
    }
}

fn posted(address: u64) -> VtdPosted {
    let descriptor = crate::vtd::PiDescAddress::new(address).unwrap();
    VtdPosted::new()
        .with_p(true)
        .with_vector(0x41)
        .with_pda_low(descriptor.low())
        .with_pda_high(descriptor.high())
}

#[test]
fn posted_interrupt_leads_to_the_descriptor() {
    let memory = memory_with(1, posted(0x40).with_urg(true));
    let outcome = unit().translate(memory.as_slice(), DEVICE, remappable(1));
    let posted = Translation::Posted {
        descriptor: crate::vtd::PiDescAddress::new(0x40).unwrap(),
        vector: 0x41,
        urgency: Urgency::Urgent,
    };
    assert_eq!(outcome, Ok((CacheKey::vtd(1), posted)));
}

#[test]
fn fault_27h_for_a_descriptor_in_unmapped_memory() {
    for address in [0x1_0000, 1 << 40, !0x3f] {
        let fault = refused(&unit(), &memory_with(1, posted(address)), remappable(1));
        assert_eq!(fault.reason, VtdFaultReason::DescriptorAccess);
    }
}

#[test]
fn fault_28h_for_reserved_bits_of_the_descriptor_honours_fpd() {
    for fpd in [false, true] {
        let mut memory = memory_with(1, posted(0x40).with_fpd(fpd));
        let control = PiControl::new().with_reserved_15_2(1).into_bits();
        memory[0x40 + 32..0x40 + 40].copy_from_slice(&control.to_le_bytes());
        let fault = refused(&unit(), &memory, remappable(1));
        assert_eq!(fault.reason, VtdFaultReason::DescriptorReserved);
        assert_eq!(fault.record().is_none(), fpd);
    }
}

#[test]
fn unit_that_is_off_passes_everything() {
    let unit = VtdRemapper {
        table: None,
        ..unit()
    };
    for address in [0xfee0_0018, 0xfee0_0000, 0x8000_0000] {
        let msi = Msi { address, data: 0 };
        let passed = Ok((CacheKey::NONE, Translation::Passed(msi)));
        assert_eq!(unit.translate([].as_slice(), DEVICE, msi), passed);
    }
}

#[test]
fn fault_record_names_reason_source_and_index() {
    let fault = refused(&unit(), &memory_with(0, present()), remappable(5));
    let record = fault.record().unwrap();
    assert!(record.f());
    assert_eq!((record.fr(), record.sid()), (0x22, DEVICE.0));
    assert_eq!(record.interrupt_index(), 5);
}

#[test]
fn fault_log_raises_one_event_until_cleared_and_then_overflows() {
    let fault = refused(&unit(), &memory_with(0, present()), remappable(5));
    let register = |at, interrupt| VtdRecorded::Register { at, interrupt };
    let mut log = VtdFaultLog::new(2);
    assert_eq!(log.record(&fault), register(0, true));
    assert_eq!(log.record(&fault), register(1, false));
    assert_eq!(log.record(&fault), VtdRecorded::Overflow);
    assert!(log.has_overflowed());
    log.clear(0);
    // The overflow stands until it is cleared too.
    assert_eq!(log.record(&fault), VtdRecorded::Overflow);
    log.clear_overflow();
    assert_eq!(log.record(&fault), register(0, false));
    log.clear(0);
    log.clear(1);
    log.clear(99);
    assert!(!log.is_pending());
    assert_eq!(log.record(&fault), register(1, true));
}

#[test]
fn fault_with_fpd_is_not_logged() {
    let memory = memory_with(1, VtdRemapped::new().with_fpd(true));
    let mut log = VtdFaultLog::new(1);
    let fault = refused(&unit(), &memory, remappable(1));
    assert_eq!(log.record(&fault), VtdRecorded::Disabled);
    assert!(!log.is_pending());
}

/// Whatever the check: the fault is 26h where SID, SQ and SVT refuse, and 24h where SVT is 3.
#[test]
fn fault_26h_or_24h_for_every_kind_of_source_check() {
    let check = |svt, sq, sid| {
        let entry = present().with_svt(svt).with_sq(sq).with_sid(sid);
        let memory = memory_with(1, entry);
        let outcome = unit().translate(memory.as_slice(), DEVICE, remappable(1));
        outcome.map(|_| ()).map_err(|fault| fault.reason)
    };
    let refused = Err(VtdFaultReason::SourceId);
    let qualifiers = [
        (SourceQualifier::All, 0b000),
        (SourceQualifier::IgnoreBit2, 0b100),
        (SourceQualifier::IgnoreBits2To1, 0b110),
        (SourceQualifier::IgnoreBits2To0, 0b111),
    ];
    for (sq, ignored) in qualifiers {
        for other in 0..=0xffff_u16 {
            let accepted = (other ^ DEVICE.0) & !ignored == 0;
            let expected = if accepted { Ok(()) } else { refused };
            assert_eq!(check(SourceValidation::Source, sq, other), expected);
        }
        // The device's bus is 3; of a range the other way round nobody is.
        for (sid, expected) in [
            (0x0303, Ok(())),
            (0x0204, Ok(())),
            (0x0404, refused),
            (0x0002, refused),
            (0x0402, refused),
        ] {
            assert_eq!(check(SourceValidation::Bus, sq, sid), expected);
        }
        assert_eq!(check(SourceValidation::None, sq, !DEVICE.0), Ok(()));
        let reserved = check(SourceValidation::Reserved, sq, DEVICE.0);
        assert_eq!(reserved, Err(VtdFaultReason::EntryReserved));
    }
}

/// A posted entry has no room for bits 5:0 of the address; what it names is aligned or nowhere.
#[test]
fn posted_entry_of_any_bits_names_an_aligned_descriptor_or_faults() {
    // Arbitrary, but the same in each run.
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..10_000 {
        // The reserved bits clear, so that the descriptor is what decides.
        let bits = random.u128(..) & !(0xfff << 84 | 0x3fff << 24 | 3 << 12 | 0x3f << 2);
        let entry = VtdPosted::from_bits(bits & !(3 << 82) | 1 << 15 | 1);
        let memory = memory_with(1, entry);
        match unit().translate(memory.as_slice(), DEVICE, remappable(1)) {
            Ok((_, Translation::Posted { descriptor, .. })) => {
                assert_eq!(descriptor.get() % 64, 0);
            }
            outcome => {
                let reason = outcome.unwrap_err().reason;
                assert_eq!(reason, VtdFaultReason::DescriptorAccess);
            }
        }
    }
}
