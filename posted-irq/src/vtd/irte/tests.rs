use super::*;

#[test]
fn vtd_remapped_fields_one_hot_are_where_the_spec_puts_them() {
    let zero = VtdRemapped::from_bits(0);
    assert_eq!(zero.with_p(true).into_bits(), 1);
    assert_eq!(zero.with_fpd(true).into_bits(), 1 << 1);
    assert_eq!(zero.with_dm(true).into_bits(), 1 << 2);
    assert_eq!(zero.with_rh(true).into_bits(), 1 << 3);
    assert_eq!(zero.with_tm(true).into_bits(), 1 << 4);
    let every_mode_bit = DeliveryMode::from_bits(7);
    assert_eq!(zero.with_dlm(every_mode_bit).into_bits(), 7 << 5);
    assert_eq!(zero.with_avail(0xf).into_bits(), 0xf << 8);
    assert_eq!(zero.with_reserved_14_12(7).into_bits(), 7 << 12);
    assert_eq!(zero.with_im(true).into_bits(), 1 << 15);
    assert_eq!(zero.with_vector(0xff).into_bits(), 0xff << 16);
    assert_eq!(zero.with_reserved_31_24(0xff).into_bits(), 0xff << 24);
    assert_eq!(zero.with_dst(u32::MAX).into_bits(), 0xffff_ffff << 32);
    assert_eq!(zero.with_sid(0xffff).into_bits(), 0xffff << 64);
    let sq = zero.with_sq(SourceQualifier::IgnoreBits2To0);
    assert_eq!(sq.into_bits(), 3 << 80);
    let svt = zero.with_svt(SourceValidation::Reserved);
    assert_eq!(svt.into_bits(), 3 << 82);
    assert_eq!(zero.with_reserved_95_84(0xfff).into_bits(), 0xfff << 84);
    let top = zero.with_reserved_127_96(u32::MAX);
    assert_eq!(top.into_bits(), 0xffff_ffff << 96);
}

#[test]
fn vtd_posted_fields_one_hot_are_where_the_spec_puts_them() {
    let zero = VtdPosted::from_bits(0);
    assert_eq!(zero.with_p(true).into_bits(), 1);
    assert_eq!(zero.with_fpd(true).into_bits(), 1 << 1);
    assert_eq!(zero.with_reserved_7_2(0x3f).into_bits(), 0x3f << 2);
    assert_eq!(zero.with_avail(0xf).into_bits(), 0xf << 8);
    assert_eq!(zero.with_reserved_13_12(3).into_bits(), 3 << 12);
    assert_eq!(zero.with_urg(true).into_bits(), 1 << 14);
    assert_eq!(zero.with_im(true).into_bits(), 1 << 15);
    assert_eq!(zero.with_vector(0xff).into_bits(), 0xff << 16);
    assert_eq!(zero.with_reserved_37_24(0x3fff).into_bits(), 0x3fff << 24);
    assert_eq!(zero.with_pda_low(0x3ff_ffff).into_bits(), 0x3ff_ffff << 38);
    assert_eq!(zero.with_sid(0xffff).into_bits(), 0xffff << 64);
    let sq = zero.with_sq(SourceQualifier::IgnoreBits2To0);
    assert_eq!(sq.into_bits(), 3 << 80);
    let svt = zero.with_svt(SourceValidation::Reserved);
    assert_eq!(svt.into_bits(), 3 << 82);
    assert_eq!(zero.with_reserved_95_84(0xfff).into_bits(), 0xfff << 84);
    assert_eq!(zero.with_pda_high(u32::MAX).into_bits(), 0xffff_ffff << 96);
    assert_eq!(VtdPosted::new().into_bits(), 1 << 15);
}

#[test]
fn posting_keeps_the_shared_fields_and_drops_the_rest() {
    // Every bit that a remapped entry may have set.
    let host = VtdIrte::from_bits(0xd_abcd << 64 | 0xffff_ffff << 32 | 0xee << 16 | 0xfff);
    let target = VtdPostTarget {
        descriptor: PiDescAddress::new(0x1234_5678_9abc_def0 & !0x3f).unwrap(),
        vector: 0x41,
        urgency: Urgency::Normal,
    };
    let posted = VtdPosted::from_bits(host.posting_to(target).into_bits());
    assert!(posted.p() && posted.fpd() && posted.im() && !posted.urg());
    assert_eq!(posted.avail(), 0xf);
    assert_eq!(posted.vector(), 0x41);
    assert_eq!(posted.descriptor(), target.descriptor);
    assert_eq!(posted.sid(), 0xabcd);
    assert_eq!(posted.sq(), SourceQualifier::IgnoreBit2);
    assert_eq!(posted.svt(), SourceValidation::Reserved);
    assert_eq!(posted.reserved_7_2(), 0);
    assert_eq!(posted.reserved_37_24(), 0);
    let urgent = VtdPostTarget {
        urgency: Urgency::Urgent,
        ..target
    };
    let difference = host.posting_to(target).into_bits() ^ host.posting_to(urgent).into_bits();
    assert_eq!(difference, 1 << 14);
}

#[test]
fn validate_of_every_single_bit_refuses_exactly_the_reserved_ones() {
    use PostedInterrupts::Offered;
    for bit in 1..128 {
        let remapped = VtdIrte::from_bits(1 | 1 << bit);
        let refused = match bit {
            12..15 | 24..32 | 84..128 => true,
            // Destination bits that an 8-bit id does not reach are not reserved with 32 bits.
            _ => false,
        };
        if bit != 15 {
            let outcome = remapped.validate(ApicIdFormat::X2Apic, Offered);
            assert_eq!(outcome.is_err(), refused, "remapped, bit {bit}");
            let narrow = refused || (32..40).contains(&bit) || (48..64).contains(&bit);
            let outcome = remapped.validate(ApicIdFormat::XApic, Offered);
            assert_eq!(outcome.is_err(), narrow, "remapped, 8-bit ids, bit {bit}");
        }
        let posted = VtdIrte::from_bits(1 | 1 << 15 | 1 << bit);
        let refused = matches!(bit, 2..8 | 12..14 | 24..38 | 84..96);
        let outcome = posted.validate(ApicIdFormat::XApic, Offered);
        assert_eq!(outcome.is_err(), refused, "posted, bit {bit}");
    }
}

#[test]
fn validate_names_not_present_before_reserved() {
    let garbage = VtdIrte::from_bits(!1);
    let outcome = garbage.validate(ApicIdFormat::X2Apic, PostedInterrupts::Offered);
    assert_eq!(outcome, Err(VtdFaultReason::NotPresent));
}

#[test]
fn validate_refuses_posted_format_where_it_is_not_offered() {
    let posted = VtdIrte::from(VtdPosted::new().with_p(true));
    let outcome = posted.validate(ApicIdFormat::X2Apic, PostedInterrupts::NotOffered);
    assert_eq!(outcome, Err(VtdFaultReason::EntryReserved));
}

#[test]
fn validate_refuses_reserved_delivery_modes_and_validation_type() {
    let validate = |entry: VtdRemapped| {
        VtdIrte::from(entry.with_p(true))
            .validate(ApicIdFormat::X2Apic, PostedInterrupts::NotOffered)
    };
    for mode in 0..8 {
        let entry = VtdRemapped::new().with_dlm(DeliveryMode::from_bits(mode));
        assert_eq!(
            validate(entry).is_err(),
            matches!(mode, 3 | 6),
            "mode {mode}"
        );
    }
    let entry = VtdRemapped::new().with_svt(SourceValidation::Reserved);
    assert_eq!(validate(entry), Err(VtdFaultReason::EntryReserved));
}

#[test]
fn source_check_ignores_the_function_bits_that_sq_names() {
    let device = SourceId(0x1238);
    for (sq, ignored) in [
        (SourceQualifier::All, 0),
        (SourceQualifier::IgnoreBit2, 0b100),
        (SourceQualifier::IgnoreBits2To1, 0b110),
        (SourceQualifier::IgnoreBits2To0, 0b111),
    ] {
        let entry = VtdRemapped::new()
            .with_svt(SourceValidation::Source)
            .with_sq(sq)
            .with_sid(device.0);
        for bit in 0..16 {
            let other = SourceId(device.0 ^ 1 << bit);
            let accepted = VtdIrte::from(entry).accepts(other);
            assert_eq!(accepted, ignored & 1 << bit != 0, "{sq:?}, bit {bit}");
        }
    }
}

#[test]
fn source_check_by_bus_takes_the_range_and_no_more() {
    // Buses 0x10 to 0x12.
    let entry = VtdRemapped::new()
        .with_svt(SourceValidation::Bus)
        .with_sid(0x1012);
    for (bus, accepted) in [(0x0f, false), (0x10, true), (0x12, true), (0x13, false)] {
        assert_eq!(
            VtdIrte::from(entry).accepts(SourceId(bus << 8 | 0x55)),
            accepted
        );
    }
}
