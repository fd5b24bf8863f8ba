use super::*;
use crate::amd::GaTag;

const DEVICE: SourceId = SourceId(2);
/// The device table's 8 entries lie at 0, the device's interrupt table here.
const TABLE: usize = 0x1000;
const DOMAIN: u16 = 0xd0;

const WIDE: AmdIrteLayout = AmdIrteLayout::Wide {
    apic_ids: ApicIdFormat::X2Apic,
    guest_mode: GuestMode::Offered,
};

fn unit(layout: AmdIrteLayout) -> AmdRemapper {
    let table = AmdDeviceTable {
        base: 0,
        devices: 8,
    };
    AmdRemapper {
        table: Some(table),
        layout,
    }
}

fn dte() -> DteInterrupt {
    DteInterrupt::new()
        .with_iv(true)
        // 256 entries.
        .with_int_tab_len(8)
        .with_int_table(TABLE as u64 >> 6)
        .with_int_ctl(IntCtl::Remap)
}

/// Memory with the device's table entry, and this as its interrupt table.
fn memory(dte: DteInterrupt, entries: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; TABLE];
    let at = 32 * usize::from(DEVICE.0);
    memory[at + 8..at + 10].copy_from_slice(&DOMAIN.to_le_bytes());
    memory[at + 16..at + 24].copy_from_slice(&dte.into_bits().to_le_bytes());
    memory.extend_from_slice(entries);
    memory
}

fn wide(entry: impl Into<AmdIrte>) -> [u8; 16] {
    entry.into().into_bits().to_le_bytes()
}

/// A fixed interrupt for entry 0.
const FIRST: Msi = Msi {
    address: 0xfee0_0000,
    data: 0,
};

fn translate(layout: AmdIrteLayout, memory: &[u8], msi: Msi) -> Result<Translation, AmdFault> {
    let outcome = unit(layout).translate(memory, DEVICE, msi);
    outcome.map(|(key, translation)| {
        assert_eq!(key, CacheKey::amd(DEVICE, msi.amd_index()));
        translation
    })
}

fn logged(outcome: Result<Translation, AmdFault>) -> AmdEvent {
    let event = outcome.unwrap_err().event.expect("an event");
    assert_eq!(event.device_id(), DEVICE.0);
    assert!(event.i());
    event
}

fn enabled() -> AmdRemapped {
    AmdRemapped::new().with_remap_en(true)
}

#[test]
fn amd_interrupt_takes_vector_type_and_destination_from_a_wide_entry() {
    let entry = enabled()
        .with_int_type(1)
        .with_dm(true)
        .with_vector(0x41)
        .with_destination(ApicId(0x1234_5678));
    let outcome = translate(WIDE, &memory(dte(), &wide(entry)), FIRST);
    let Ok(Translation::Remapped(request)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(request.vector, 0x41);
    assert_eq!(request.delivery_mode, DeliveryMode::LOWEST_PRIORITY);
    assert_eq!(request.destination_mode, DestinationMode::Logical);
    assert_eq!(request.destination, ApicId(0x1234_5678));
    assert_eq!(request.trigger, TriggerMode::Edge);
}

#[test]
fn amd_interrupt_takes_the_same_from_a_legacy_entry_and_the_trigger_from_the_message() {
    let entry = AmdLegacy::new()
        .with_remap_en(true)
        .with_vector(0x41)
        .with_destination(0x12);
    let mut entries = [0; 16];
    entries[12..].copy_from_slice(&entry.into_bits().to_le_bytes());
    let msi = Msi {
        data: 1 << 15 | 3,
        ..FIRST
    };
    let outcome = translate(AmdIrteLayout::Legacy, &memory(dte(), &entries), msi);
    let Ok(Translation::Remapped(request)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((request.vector, request.destination), (0x41, ApicId(0x12)));
    assert_eq!(request.trigger, TriggerMode::Level);
}

#[test]
fn amd_guest_mode_entry_leads_to_the_backing_page_where_it_is_offered() {
    let entry = AmdGuest::new()
        .with_remap_en(true)
        .with_vector(0x41)
        .with_ga_tag(GaTag::from_bits(7))
        .with_ga_root(0x1234);
    let memory = memory(dte(), &wide(entry));
    let posted = Translation::GuestMode {
        backing_page: 0x123_4000,
        vector: 0x41,
        ga_tag: GaTag::from_bits(7),
    };
    assert_eq!(translate(WIDE, &memory, FIRST), Ok(posted));
    let not_offered = AmdIrteLayout::Wide {
        apic_ids: ApicIdFormat::X2Apic,
        guest_mode: GuestMode::NotOffered,
    };
    let event = logged(translate(not_offered, &memory, FIRST));
    assert!(event.rz() && event.pr());
}

#[test]
fn amd_unmapped_device_and_unit_that_is_off_pass_everything() {
    let passed = Translation::Passed(FIRST);
    let iv_clear = memory(dte().with_iv(false), &[]);
    assert_eq!(translate(WIDE, &iv_clear, FIRST), Ok(passed));
    let off = AmdRemapper {
        table: None,
        layout: WIDE,
    };
    let outcome = off.translate([].as_slice(), DEVICE, FIRST);
    assert_eq!(outcome, Ok((CacheKey::NONE, passed)));
}

#[test]
fn amd_int_ctl_aborts_forwards_or_is_illegal() {
    let with = |int_ctl| translate(WIDE, &memory(dte().with_int_ctl(int_ctl), &[]), FIRST);
    let aborted = AmdFault {
        source_id: DEVICE,
        event: None,
    };
    assert_eq!(with(IntCtl::Abort), Err(aborted));
    assert_eq!(with(IntCtl::Forward), Ok(Translation::Passed(FIRST)));
    let event = logged(with(IntCtl::Reserved));
    assert_eq!(event.code(), AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY);
    assert!(event.rz());
}

#[test]
fn amd_other_delivery_modes_go_by_the_pass_bits() {
    let none = dte();
    for (mode, dte, passes) in [
        (DeliveryMode::SMI, none, true),
        (DeliveryMode::NMI, none, false),
        (DeliveryMode::NMI, none.with_nmi_pass(true), true),
        (DeliveryMode::INIT, none, false),
        (DeliveryMode::INIT, none.with_init_pass(true), true),
        (DeliveryMode::EXT_INT, none, false),
        (DeliveryMode::EXT_INT, none.with_eint_pass(true), true),
        (DeliveryMode::from_bits(3), none, false),
        (DeliveryMode::from_bits(6), none, false),
    ] {
        let data = MsiData::new().with_delivery_mode(mode).into_bits();
        let msi = Msi { data, ..FIRST };
        let outcome = translate(WIDE, &memory(dte, &[]), msi);
        assert_eq!(outcome.is_ok(), passes, "{mode:?}");
        assert!(outcome.is_ok() || outcome.is_err_and(|fault| fault.event.is_none()));
    }
}

#[test]
fn amd_io_page_fault_for_an_entry_that_is_not_enabled_unless_suppressed() {
    let memory = memory(dte(), &wide(AmdRemapped::new()));
    let event = logged(translate(WIDE, &memory, FIRST));
    assert_eq!(event.code(), AmdEventCode::IO_PAGE_FAULT);
    assert!(!event.pr() && !event.rz());
    assert_eq!(
        (event.domain_id(), event.address()),
        (DOMAIN, FIRST.address)
    );
}

#[test]
fn amd_io_page_fault_is_suppressed_by_sup_iopf_and_by_ig() {
    let silent = AmdRemapped::new().with_sup_iopf(true);
    for memory in [
        memory(dte(), &wide(silent)),
        memory(dte(), &wide(silent.with_remap_en(true).with_int_type(2))),
        memory(dte().with_ig(true), &wide(AmdRemapped::new())),
    ] {
        let fault = translate(WIDE, &memory, FIRST).unwrap_err();
        assert_eq!(fault.event, None);
    }
}

#[test]
fn amd_ig_suppresses_no_other_event() {
    let ig = dte().with_ig(true);
    let event = logged(translate(
        WIDE,
        &memory(ig.with_int_tab_len(12), &[]),
        FIRST,
    ));
    assert_eq!(event.code(), AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY);
    let event = logged(translate(WIDE, &memory(ig, &[]), FIRST));
    assert_eq!(event.code(), AmdEventCode::PAGE_TAB_HARDWARE_ERROR);
}

#[test]
fn amd_io_page_fault_with_rz_for_reserved_bits_of_the_entry() {
    let reserved = [
        wide(enabled().with_int_type(2)),
        wide(enabled().with_reserved_75_72(1)),
        wide(enabled().with_reserved_119_116(1)),
        wide(AmdGuest::new().with_remap_en(true).with_reserved_5_3(1)),
        wide(AmdGuest::new().with_remap_en(true).with_reserved_75_72(1)),
    ];
    for entry in reserved {
        let event = logged(translate(WIDE, &memory(dte(), &entry), FIRST));
        assert_eq!(event.code(), AmdEventCode::IO_PAGE_FAULT);
        assert!(event.pr() && event.rz());
    }
    let legacy = AmdLegacy::new().with_remap_en(true);
    for entry in [legacy.with_reserved_31_24(1), legacy.with_guest_mode(true)] {
        let entries = entry.into_bits().to_le_bytes();
        let memory = memory(dte(), &entries);
        let event = logged(translate(AmdIrteLayout::Legacy, &memory, FIRST));
        assert!(event.pr() && event.rz());
    }
}

#[test]
fn amd_destination_beyond_8_bits_is_reserved_without_x2apic() {
    let narrow = AmdIrteLayout::Wide {
        apic_ids: ApicIdFormat::XApic,
        guest_mode: GuestMode::Offered,
    };
    let entry = enabled().with_destination(ApicId(0x100));
    let event = logged(translate(narrow, &memory(dte(), &wide(entry)), FIRST));
    assert!(event.rz());
}

#[test]
fn amd_io_page_fault_for_an_index_beyond_the_table() {
    let msi = Msi { data: 256, ..FIRST };
    let event = logged(translate(WIDE, &memory(dte(), &[0; 8192]), msi));
    assert_eq!(event.code(), AmdEventCode::IO_PAGE_FAULT);
}

#[test]
fn amd_illegal_entry_for_a_reserved_length_reserved_bits_or_a_device_beyond_the_table() {
    for dte in [dte().with_int_tab_len(12), dte().with_reserved_55_52(1)] {
        let event = logged(translate(WIDE, &memory(dte, &[]), FIRST));
        assert_eq!(event.code(), AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY);
    }
    let outcome = unit(WIDE).translate([].as_slice(), SourceId(8), FIRST);
    let event = outcome.unwrap_err().event.unwrap();
    assert_eq!(event.code(), AmdEventCode::ILLEGAL_DEV_TABLE_ENTRY);
    assert_eq!(event.device_id(), 8);
}

#[test]
fn amd_hardware_errors_for_tables_in_unmapped_memory() {
    let event = logged(translate(WIDE, &[], FIRST));
    assert_eq!(event.code(), AmdEventCode::DEV_TAB_HARDWARE_ERROR);
    assert_eq!(event.address(), 64);
    let event = logged(translate(WIDE, &memory(dte(), &[]), FIRST));
    assert_eq!(event.code(), AmdEventCode::PAGE_TAB_HARDWARE_ERROR);
    assert_eq!(event.address(), TABLE as u64);
}

#[test]
fn amd_hardware_errors_for_tables_at_the_end_of_the_address_space() {
    let table = AmdDeviceTable {
        base: !0xfff,
        devices: 0x1_0000,
    };
    let unit = AmdRemapper {
        table: Some(table),
        layout: WIDE,
    };
    for device in [SourceId(0), SourceId(0x7f), SourceId(0xffff)] {
        let outcome = unit.translate([].as_slice(), device, FIRST);
        let event = outcome.unwrap_err().event.unwrap();
        assert_eq!(event.code(), AmdEventCode::DEV_TAB_HARDWARE_ERROR);
    }
    // All bits of the entry's address field.
    let last = dte().with_int_table((1 << 46) - 1);
    let msi = Msi { data: 255, ..FIRST };
    let event = logged(translate(WIDE, &memory(last, &[]), msi));
    assert_eq!(event.code(), AmdEventCode::PAGE_TAB_HARDWARE_ERROR);
}
