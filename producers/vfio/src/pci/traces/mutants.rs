//! Traces find the bugs they are there for: each is put into the model and has to be found.

use std::collections::BTreeSet;

use super::super::model::Fault;
use super::super::model::Model;
use super::Outcome;
use super::all;

fn failed(fault: Option<Fault>) -> BTreeSet<&'static str> {
    all()
        .filter(|trace| trace.run(&mut Model::new(&trace.shape, fault)).is_err())
        .map(|trace| trace.name)
        .collect()
}

/// A bug, and a trace that must find it.
const FOUND_BY: &[(Fault, &str)] = &[
    (Fault::IgnoresVectorMask, "msix_masked_vector_does_not_fire"),
    (
        Fault::IgnoresFunctionMask,
        "msix_function_mask_holds_every_vector",
    ),
    (Fault::IgnoresMsiMask, "msi_mask_bit_holds_its_vector_only"),
    (
        Fault::DropsMaskedEvents,
        "msix_unmask_delivers_what_was_pending_once",
    ),
    (
        Fault::CountsMaskedEvents,
        "msix_events_while_masked_are_one_interrupt",
    ),
    (
        Fault::FiresAtUnmask,
        "msix_unmask_delivers_what_was_pending_once",
    ),
    (Fault::PbaIsZero, "msix_masked_event_is_in_the_pba"),
    (Fault::PbaReadDrains, "msix_pba_read_drains_nothing"),
    (
        Fault::PbaOfFirst64Only,
        "msix_pba_bit_of_a_vector_beyond_64_is_in_the_second_quadword",
    ),
    (
        Fault::ControlTakesWordsOnly,
        "msix_control_dword_write_across_the_header_enables",
    ),
    (
        Fault::ControlTakesWordsOnly,
        "msi_control_dword_write_across_the_header_enables",
    ),
    (Fault::IgnoresByteWrites, "msix_control_byte_write_enables"),
    (Fault::IgnoresByteWrites, "msi_byte_writes_take_effect"),
    (
        Fault::DropsMessageWrittenWhileMasked,
        "msix_message_written_while_masked_counts_from_the_unmask",
    ),
    (
        Fault::IgnoresUpperAddress,
        "msix_upper_address_is_part_of_the_message",
    ),
    (
        Fault::IgnoresUpperAddress,
        "msi_upper_address_is_part_of_the_message",
    ),
    (Fault::DisableDoesNothing, "msix_disable_stops_delivery"),
    (
        Fault::OneMessageForAll,
        "msi_vectors_differ_in_the_low_bits_of_the_data",
    ),
    (
        Fault::AllocatesBeyondCapable,
        "msi_more_vectors_than_capable_are_not_allocated",
    ),
    (Fault::SizeIsWritable, "msix_size_and_places_are_read_only"),
    (
        Fault::UpdatesEverythingEachTime,
        "msix_enable_updates_each_vector_once",
    ),
    (
        Fault::UpdatesEverythingEachTime,
        "msix_write_of_the_same_updates_nothing",
    ),
    (
        Fault::IntxUnmasksAtBarAccess,
        "intx_is_unmasked_by_the_eoi_and_not_by_bar_accesses",
    ),
    (Fault::IntxIgnoresEoi, "intx_comes_again_after_each_eoi"),
    (Fault::IntxIgnoresDisable, "intx_disable_holds_the_line"),
    (
        Fault::IntxBesidesMessages,
        "intx_gives_way_to_msix_and_returns",
    ),
    (
        Fault::IntxStatusHidden,
        "intx_status_tells_the_level_while_disabled",
    ),
    (
        Fault::IntxPinIsFixed,
        "intx_asserted_moves_to_another_input",
    ),
    (
        Fault::RestoreDropsPending,
        "saved_msix_keeps_what_is_pending_under_a_mask",
    ),
    (
        Fault::RestoreDropsFunctionMask,
        "saved_msix_keeps_the_function_mask",
    ),
    (
        Fault::RestoreDoesNotArm,
        "saved_msix_delivers_after_restore",
    ),
    (
        Fault::RestoreDropsLine,
        "saved_intx_in_service_comes_again_after_the_eoi",
    ),
    (Fault::ResetDoesNothing, "msix_reset_masks_and_disables"),
];

#[test]
fn traces_pass_on_an_implementation_that_is_not_ours() {
    assert_eq!(failed(None), BTreeSet::new());
    let passed_over = all().filter(|trace| {
        let outcome = trace.run(&mut Model::new(&trace.shape, None));
        outcome != Ok(Outcome::Passed)
    });
    assert_eq!(passed_over.count(), 0);
}

#[test]
fn traces_find_each_bug_they_are_there_for() {
    for (fault, trace) in FOUND_BY {
        let failed = failed(Some(*fault));
        assert!(failed.contains(trace), "{fault:?} gets past {trace}");
    }
}
