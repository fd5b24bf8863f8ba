//! The bodies, by name.

use super::irqfd;
use super::pin;
use super::rig::Rig;
use super::rig::Serving;
use super::table;

/// What a body needs of a rig's guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// That it counts.
    Nothing,
    /// That it serves level interrupts.
    Eoi,
    /// That it serves them when told, and not before.
    EoiWhenTold,
}

/// One rule of the kernel, and its test.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    /// The rule in short, usable as the name of a test.
    pub name: &'static str,
    /// What it needs of the guest.
    pub needs: Needs,
    /// Asserts the rule on a fresh rig; panics where it does not hold.
    pub run: fn(&dyn Rig),
}

impl Body {
    /// Whether the rig's guest does what the body needs.
    #[must_use]
    pub fn runs_on(&self, rig: &dyn Rig) -> bool {
        match (self.needs, rig.serving()) {
            (Needs::Nothing, _) | (_, Serving::OnEoi) => true,
            (Needs::Eoi, Serving::AtOnce) => true,
            (Needs::Eoi, Serving::Never) | (Needs::EoiWhenTold, _) => false,
        }
    }
}

macro_rules! bodies {
    ($($module:ident::$name:ident $needs:ident,)*) => {
        &[$(Body {
            name: stringify!($name),
            needs: Needs::$needs,
            run: $module::$name,
        },)*]
    };
}

/// Every body.
#[must_use]
pub fn all() -> &'static [Body] {
    bodies![
        irqfd::write_is_delivered_and_drained Nothing,
        irqfd::write_of_a_thousand_is_one_interrupt Nothing,
        irqfd::count_at_assign_is_injected_once_and_stays Nothing,
        irqfd::count_at_assign_is_swallowed_by_the_next_write Nothing,
        irqfd::count_read_after_assign_injects_nothing Nothing,
        irqfd::deassign_drains_the_counter Nothing,
        irqfd::writes_while_unbound_are_one_interrupt Nothing,
        irqfd::eventfd_twice_in_one_vm_is_busy Nothing,
        irqfd::eventfd_in_another_vm_is_busy_where_global Nothing,
        irqfd::eventfd_is_free_again_after_deassign Nothing,
        irqfd::deassign_with_wrong_gsi_does_nothing Nothing,
        irqfd::unrouted_gsi_swallows_events Nothing,
        irqfd::gsi_of_an_irqfd_is_not_checked Nothing,
        irqfd::many_eventfds_share_a_gsi Nothing,
        irqfd::file_that_is_no_eventfd_is_refused Nothing,
        irqfd::vm_without_irqchip_takes_nothing Nothing,
        irqfd::split_irqchip_takes_plain_irqfds_only Nothing,
        irqfd::message_is_signalled_without_a_route Nothing,
        table::write_replaces_the_whole_table Nothing,
        table::empty_table_is_legal Nothing,
        table::write_under_a_live_irqfd_moves_it Nothing,
        table::equal_table_is_accepted Nothing,
        table::gsi_beyond_the_table_is_refused Nothing,
        table::full_table_is_accepted_and_one_more_refused Nothing,
        table::two_messages_on_a_gsi_are_refused Nothing,
        table::message_and_pin_on_a_gsi_are_refused Nothing,
        table::two_pins_of_one_chip_on_a_gsi_are_refused Nothing,
        table::pins_of_two_chips_on_a_gsi_are_accepted Nothing,
        table::pin_the_chip_lacks_is_refused Nothing,
        table::pin_with_split_irqchip_is_refused Nothing,
        table::reserved_address_bits_are_refused_with_32_bit_ids Nothing,
        table::refused_table_leaves_the_old_one Nothing,
        pin::edge_irqfd_pulses_the_pin Nothing,
        pin::pin_is_dead_after_a_table_without_it Nothing,
        pin::pin_interrupts_after_a_message_commit Nothing,
        pin::line_reaches_the_pin Nothing,
        pin::resample_irqfds_and_a_plain_one_share_a_gsi Nothing,
        pin::eoi_signals_resample_and_lowers_the_line Eoi,
        pin::eoi_signals_every_resample_event_once Eoi,
        pin::line_stays_asserted_until_eoi EoiWhenTold,
        pin::last_resample_deassign_lowers_the_line EoiWhenTold,
        pin::other_resample_irqfd_keeps_the_line EoiWhenTold,
    ]
}
