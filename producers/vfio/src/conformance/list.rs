//! The cases, by name.

use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::RegionIndex;

use super::bench::Mismatch;
use super::bench::Probe;
use super::gfx;
use super::info;
use super::intx;
use super::msi;
use super::platform;
use super::profile::KernelProfile;
use super::set_irqs;
use super::shape::DeviceShape;
use super::single;
use crate::raw::RawDevice;

/// What a case needs of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Any device.
    Anything,
    /// A device of vfio-pci.
    Pci,
    /// PCI without a VGA range.
    PciWithoutVga,
    /// PCI that lacks one of INTx, MSI and MSI-X.
    PciThatLacksAnIndex,
    /// PCI that is not Express, so without ERR.
    PciWithoutErr,
    /// PCI Express.
    Err,
    /// INTx.
    Intx,
    /// MSI.
    Msi,
    /// MSI or MSI-X.
    Messages,
    /// MSI-X with so many vectors.
    Msix(u32),
    /// INTx and one of MSI and MSI-X.
    IntxAndMessages,
    /// MSI and MSI-X.
    MsiAndMsix,
    /// A region with a capability.
    RegionCapability,
    /// A device that can be reset.
    Reset,
    /// A device that cannot be reset.
    NoReset,
    /// A display.
    Gfx,
    /// No display.
    NoGfx,
    /// An edge-triggered platform interrupt.
    PlatformEdge,
    /// A level-triggered platform interrupt.
    PlatformLevel,
    /// A device node that is not bound to an iommufd.
    UnboundNode,
}

/// One rule, and its test.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is about, and the rule in short.
    pub name: &'static str,
    /// Where the kernel has it: file, and function where there are several in question.
    pub cites: &'static str,
    /// What it needs of the device.
    pub needs: Needs,
    pub(super) body: fn(&Probe<'_>) -> Result<(), Mismatch>,
}

impl Case {
    /// Whether the device has what the case needs.
    #[must_use]
    pub fn runs_on(&self, shape: &DeviceShape) -> bool {
        let count = |index| shape.count(index);
        let has = |index| count(index) > 0;
        let messages = || has(IrqIndex::MSI) || has(IrqIndex::MSIX);
        let has_vga = || {
            shape
                .regions
                .iter()
                .any(|region| region.index == RegionIndex::VGA)
        };
        let pci = shape.is_pci();
        match self.needs {
            Needs::Anything => shape.info.is_some(),
            Needs::UnboundNode => shape.info.is_none(),
            Needs::Pci => pci,
            Needs::PciWithoutVga => pci && !has_vga(),
            Needs::PciThatLacksAnIndex => {
                let three = [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX];
                pci && three.into_iter().any(|index| count(index) == 0)
            }
            Needs::PciWithoutErr => pci && !has(IrqIndex::ERR),
            Needs::Err => pci && has(IrqIndex::ERR),
            Needs::Intx => pci && has(IrqIndex::INTX),
            Needs::Msi => pci && has(IrqIndex::MSI),
            Needs::Messages => pci && messages(),
            Needs::Msix(vectors) => pci && count(IrqIndex::MSIX) >= vectors,
            Needs::IntxAndMessages => pci && has(IrqIndex::INTX) && messages(),
            Needs::MsiAndMsix => pci && has(IrqIndex::MSI) && has(IrqIndex::MSIX),
            Needs::RegionCapability => {
                let mut regions = shape.regions.iter();
                regions.any(|region| !region.capabilities.is_empty())
            }
            Needs::Reset => shape.has(DeviceFlags::RESET),
            Needs::NoReset => shape.info.is_some() && !shape.has(DeviceFlags::RESET),
            Needs::Gfx => shape.gfx.is_some(),
            Needs::NoGfx => shape.info.is_some() && shape.gfx.is_none(),
            Needs::PlatformEdge => shape.platform_irq(false).is_some(),
            Needs::PlatformLevel => shape.platform_irq(true).is_some(),
        }
    }
}

/// Runs one case. The device is left with no interrupt set up.
///
/// # Errors
///
/// The rule does not hold: see [`Mismatch`], and
/// [`known_difference`](super::known_difference) for whether that is a surprise.
pub fn run(
    case: &Case,
    device: &dyn RawDevice,
    shape: &DeviceShape,
    profile: KernelProfile,
) -> Result<(), Mismatch> {
    let probe = Probe::new(device, shape, profile);
    let verdict = (case.body)(&probe);
    probe.clean_up();
    verdict
}

macro_rules! cases {
    ($($cites:literal { $($module:ident::$name:ident $needs:expr,)* })*) => {
        &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            cites: $cites,
            needs: $needs,
            body: $module::$name,
        },)*)*]
    };
}

/// Every case.
#[must_use]
pub fn all() -> &'static [Case] {
    cases![
        "vfio_main.c, vfio_device_fops_unl_ioctl" {
            info::unbound_node_refuses_everything Needs::UnboundNode,
            info::unknown_request_is_not_a_request Needs::Anything,
        }
        "vfio_pci_core.c, vfio_pci_ioctl_get_info; vfio_platform_common.c" {
            info::device_info_with_short_argsz_is_refused Needs::Anything,
            info::device_info_of_short_memory_faults Needs::Anything,
            info::device_info_with_long_argsz_is_accepted Needs::Anything,
            info::device_info_counts_the_fixed_pci_indexes Needs::Pci,
        }
        "vfio_pci_core.c, vfio_pci_ioctl_get_region_info" {
            info::region_info_with_short_argsz_is_refused Needs::Anything,
            info::region_info_with_long_argsz_is_accepted Needs::Anything,
            info::region_beyond_the_last_is_refused Needs::Anything,
            info::region_of_an_absent_bar_has_no_size Needs::Pci,
            info::region_vga_of_another_device_is_refused Needs::PciWithoutVga,
            info::region_chain_that_does_not_fit_is_announced Needs::RegionCapability,
            info::region_chain_that_fits_follows_the_structure Needs::RegionCapability,
            info::region_offset_of_pci_is_its_index_shifted Needs::Pci,
        }
        "vfio_pci_core.c, vfio_pci_ioctl_get_irq_info" {
            info::irq_info_with_short_argsz_is_refused Needs::Anything,
            info::irq_info_with_long_argsz_is_accepted Needs::Anything,
            info::irq_beyond_the_last_is_refused Needs::Anything,
            info::irq_err_of_conventional_pci_is_refused Needs::PciWithoutErr,
            info::irq_that_is_absent_has_no_sub_index Needs::PciThatLacksAnIndex,
            info::irq_flags_of_intx_are_maskable_and_automasked Needs::Intx,
            info::irq_flags_of_msi_are_noresize Needs::Msi,
            info::irq_flags_of_msix_are_noresize_unless_dynamic Needs::Msix(1),
            info::irq_flags_of_req_are_noresize_and_its_count_1 Needs::Pci,
            info::irq_flags_of_err_are_noresize_and_its_count_1 Needs::Err,
        }
        "vfio_main.c, vfio_set_irqs_validate_and_prepare" {
            set_irqs::short_memory_faults Needs::Anything,
            set_irqs::argsz_below_the_header_is_refused Needs::Pci,
            set_irqs::index_beyond_the_last_is_refused Needs::Anything,
            set_irqs::unknown_flag_is_refused Needs::Pci,
            set_irqs::range_that_overflows_is_refused Needs::Pci,
            set_irqs::start_at_the_count_is_refused Needs::Pci,
            set_irqs::range_beyond_the_count_is_refused Needs::Pci,
            set_irqs::no_data_type_is_refused Needs::Pci,
            set_irqs::two_data_types_are_refused Needs::Pci,
            set_irqs::payload_beyond_argsz_is_refused Needs::Pci,
            set_irqs::payload_shorter_than_argsz_is_accepted Needs::Messages,
            set_irqs::absent_index_refuses_even_no_sub_index Needs::PciThatLacksAnIndex,
            set_irqs::validation_comes_before_the_action Needs::Pci,
        }
        "vfio_pci_intrs.c, vfio_pci_set_irqs_ioctl" {
            set_irqs::no_action_is_no_request Needs::Pci,
            set_irqs::two_actions_are_no_request Needs::Pci,
            msi::masking_is_no_action Needs::Messages,
            intx::masking_by_eventfd_is_no_action Needs::Intx,
            single::masking_req_is_no_action Needs::Pci,
        }
        "vfio_pci_intrs.c, vfio_pci_set_msi_trigger" {
            msi::bind_and_fire_signals_each Needs::Messages,
            msi::fire_with_bools_signals_where_not_zero Needs::Msix(3),
            msi::fire_of_an_unbound_vector_is_skipped Needs::Msix(2),
            msi::fire_of_an_idle_index_is_refused Needs::Messages,
            msi::disable_of_an_idle_index_is_refused Needs::Messages,
            msi::disable_unbinds_all Needs::Messages,
            msi::index_that_is_not_the_active_one_is_refused Needs::MsiAndMsix,
            msi::disable_of_another_index_leaves_the_active_one Needs::MsiAndMsix,
            msi::enabling_with_no_vector_is_out_of_range Needs::Messages,
            msi::enabling_with_holes_only_is_accepted Needs::Messages,
            msi::rebind_moves_the_interrupt Needs::Messages,
            msi::eventfd_identity_is_not_the_number Needs::Messages,
            msi::eventfd_closed_after_bind_stays_bound Needs::Messages,
        }
        "vfio_pci_intrs.c, vfio_msi_set_vector_signal" {
            msi::closed_fd_is_refused Needs::Messages,
            msi::file_that_is_no_eventfd_is_refused Needs::Messages,
            msi::minus_one_unbinds_one_vector Needs::Msix(2),
            msi::any_negative_fd_unbinds Needs::Messages,
            msi::refused_rebind_leaves_the_vector_unbound Needs::Messages,
        }
        "vfio_pci_intrs.c, vfio_msi_set_block and vfio_msi_alloc_irq" {
            msi::failing_block_unbinds_from_its_start_only Needs::Msix(4),
            msi::failing_enable_disables_the_index Needs::Msix(2),
            msi::vector_beyond_the_enabled_ones_is_bound_where_dynamic Needs::Msix(3),
            msi::fire_beyond_the_enabled_vectors_is_skipped_or_refused Needs::Msix(3),
        }
        "vfio_pci_intrs.c, vfio_pci_set_intx_trigger" {
            intx::bind_and_fire_signals Needs::Intx,
            intx::fire_with_bool_zero_does_nothing Needs::Intx,
            intx::fire_of_an_idle_index_is_refused Needs::Intx,
            intx::disable_of_an_idle_index_is_refused Needs::Intx,
            intx::no_sub_index_by_eventfd_is_refused Needs::Intx,
            intx::binding_while_messages_are_active_is_refused Needs::IntxAndMessages,
            intx::messages_while_intx_is_active_are_refused Needs::IntxAndMessages,
            intx::minus_one_enables_without_a_trigger Needs::IntxAndMessages,
            intx::minus_one_leaves_the_index_enabled Needs::IntxAndMessages,
            intx::disable_frees_the_index Needs::IntxAndMessages,
            intx::closed_fd_does_not_enable Needs::IntxAndMessages,
            intx::refused_fd_leaves_the_old_one_where_persistent Needs::Intx,
        }
        "vfio_pci_intrs.c, vfio_pci_set_intx_mask and _unmask" {
            intx::masking_an_idle_index_is_refused Needs::Intx,
            intx::mask_and_unmask_are_accepted Needs::Intx,
            intx::masking_no_sub_index_is_refused Needs::Intx,
        }
        "virqfd.c, vfio_virqfd_enable" {
            intx::second_unmask_event_is_busy Needs::Intx,
            intx::unmask_event_can_be_removed_and_bound_again Needs::Intx,
            intx::unmask_event_that_is_none_is_refused Needs::Intx,
            intx::unmask_event_that_is_closed_is_refused_even_if_busy Needs::Intx,
            intx::unmask_event_goes_with_the_index Needs::Intx,
            intx::unmask_event_is_drained_when_signalled Needs::Intx,
        }
        "vfio_pci_intrs.c, vfio_pci_set_ctx_trigger_single" {
            single::req_is_bound_fired_and_unbound Needs::Pci,
            single::err_is_bound_fired_and_unbound Needs::Err,
            single::nothing_bound_refuses_fire_and_disable Needs::Pci,
            single::bools_for_nothing_are_accepted Needs::Pci,
            single::no_sub_index_with_payload_is_refused Needs::Pci,
            single::more_than_one_sub_index_is_refused Needs::Pci,
            single::refused_fd_leaves_the_old_one Needs::Pci,
            single::number_below_minus_one_does_nothing Needs::Pci,
            single::independent_of_the_active_index Needs::Messages,
        }
        "vfio_pci_core.c, vfio_pci_ioctl_reset" {
            info::reset_is_done Needs::Reset,
            info::reset_of_a_device_that_cannot_is_refused Needs::NoReset,
            info::reset_leaves_interrupts_bound Needs::Reset,
        }
        "vfio_pci_core.c, vfio_pci_ioctl_ioeventfd" {
            info::ioeventfd_of_two_sizes_is_refused Needs::Pci,
            info::ioeventfd_with_unknown_flags_is_refused Needs::Pci,
            info::ioeventfd_with_fd_below_minus_one_is_refused Needs::Pci,
        }
        "vfio.h, struct vfio_device_gfx_plane_info" {
            gfx::request_of_no_display_is_no_request Needs::NoGfx,
            gfx::probe_tells_the_transport Needs::Gfx,
            gfx::flags_that_name_not_one_transport_are_refused Needs::Gfx,
            gfx::argsz_below_the_structure_is_refused Needs::Gfx,
            gfx::dmabuf_of_an_unknown_id_is_refused Needs::Gfx,
        }
        "vfio_platform_irq.c" {
            platform::edge_is_bound_and_fired Needs::PlatformEdge,
            platform::edge_cannot_be_masked Needs::PlatformEdge,
            platform::level_loopback_masks Needs::PlatformLevel,
            platform::level_is_masked_and_unmasked_by_eventfd Needs::PlatformLevel,
            platform::level_second_event_is_busy Needs::PlatformLevel,
            platform::refused_fd_costs_the_old_one Needs::PlatformEdge,
            platform::more_than_one_sub_index_is_refused Needs::PlatformEdge,
            platform::disable_of_an_idle_index_is_accepted Needs::PlatformEdge,
            platform::no_action_is_no_request Needs::PlatformEdge,
        }
    ]
}
