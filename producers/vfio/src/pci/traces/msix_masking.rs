//! MSI-X: vector mask, function mask, enable, and what is pending meanwhile.

use super::terms::DISABLE;
use super::terms::ENABLE;
use super::terms::ENABLE_FUNCTION_MASKED;
use super::terms::M;
use super::terms::M0;
use super::terms::M1;
use super::terms::M2;
use super::terms::MSIX;
use super::terms::MSIX_CONTROL;
use super::terms::NOTHING;
use super::terms::fill;
use super::terms::mask;
use super::terms::msix;
use super::terms::pending;
use super::terms::reads_dword;
use super::terms::reads_qword;
use super::terms::signal;
use super::terms::unmask;
use super::terms::word;
use super::trace::At;
use super::trace::Step;
use super::trace::Trace;
use super::trace::Width;

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "msix_masked_vector_does_not_fire",
        cites: "PCI 3.0 §6.8.2.9; cloud-hypervisor #7739, #7781, #7833, #7838, firecracker: the mask reaches nobody",
        shape: MSIX,
        steps: &[fill(0), unmask(0), ENABLE, mask(0), signal(0), NOTHING],
    },
    Trace {
        name: "msix_masked_event_is_in_the_pba",
        cites: "PCI 3.0 §6.8.2.10; cloud-hypervisor #7781, #7813, #7839, #7963: bits never set",
        shape: MSIX,
        steps: &[
            fill(2),
            ENABLE,
            pending(0),
            signal(2),
            pending(0b100),
            reads_dword(At::Pba(0), 0b100),
            reads_dword(At::Pba(4), 0),
        ],
    },
    Trace {
        name: "msix_unmask_delivers_what_was_pending_once",
        cites: "PCI 3.0 §6.8.2.10; cloud-hypervisor #795: lost masked interrupts",
        shape: MSIX,
        steps: &[
            fill(0),
            ENABLE,
            signal(0),
            unmask(0),
            Step::Delivered(&[M0]),
            pending(0),
            mask(0),
            unmask(0),
            NOTHING,
        ],
    },
    Trace {
        name: "msix_events_while_masked_are_one_interrupt",
        cites: "PCI 3.0 §6.8.3.5: one pending bit a vector",
        shape: MSIX,
        steps: &[
            fill(1),
            ENABLE,
            signal(1),
            signal(1),
            signal(1),
            unmask(1),
            Step::Delivered(&[M1]),
            signal(1),
            Step::Delivered(&[M1]),
        ],
    },
    Trace {
        name: "msix_pba_read_drains_nothing",
        cites: "openvmm: the read takes the event out of the eventfd",
        shape: MSIX,
        steps: &[
            fill(0),
            ENABLE,
            signal(0),
            pending(1),
            pending(1),
            unmask(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_pba_is_read_only",
        cites: "PCI 3.0 §6.8.2.10",
        shape: MSIX,
        steps: &[
            fill(0),
            ENABLE,
            signal(0),
            Step::ReadOnly(At::Pba(0), Width::Qword, 0b1111),
            unmask(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_pba_bit_of_a_vector_beyond_64_is_in_the_second_quadword",
        cites: "PCI 3.0 §6.8.2.10",
        shape: msix(66),
        steps: &[
            Step::Fill(65, M[1]),
            ENABLE,
            signal(65),
            signal(3),
            pending(0b1000),
            reads_qword(At::Pba(8), 0b10),
            reads_dword(At::Pba(12), 0),
            unmask(65),
            Step::Delivered(&[M1]),
            reads_qword(At::Pba(8), 0),
            pending(0b1000),
        ],
    },
    Trace {
        name: "msix_delivered_event_is_not_in_the_pba",
        cites: "PCI 3.0 §6.8.2.10",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            signal(0),
            Step::Delivered(&[M0]),
            pending(0),
            mask(0),
            pending(0),
        ],
    },
    Trace {
        name: "msix_masking_one_vector_leaves_the_others",
        cites: "PCI 3.0 §6.8.2.9",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            unmask(0),
            unmask(1),
            ENABLE,
            mask(0),
            signal(0),
            signal(1),
            Step::Delivered(&[M1]),
            pending(1),
        ],
    },
    Trace {
        name: "msix_function_mask_holds_every_vector",
        cites: "PCI 3.0 §6.8.2.3; openvmm: bit 14 not implemented; cloud-hypervisor: irqfds stay",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            unmask(0),
            unmask(1),
            ENABLE,
            ENABLE_FUNCTION_MASKED,
            signal(0),
            signal(1),
            NOTHING,
            pending(0b11),
            ENABLE,
            Step::Delivered(&[M0, M1]),
            pending(0),
        ],
    },
    Trace {
        name: "msix_function_unmask_leaves_vectors_masked_that_are",
        cites: "PCI 3.0 §6.8.2.3: the function mask does not change vector masks",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            unmask(0),
            ENABLE_FUNCTION_MASKED,
            signal(0),
            signal(1),
            ENABLE,
            Step::Delivered(&[M0]),
            pending(0b10),
            reads_dword(At::Table(28), 1),
        ],
    },
    Trace {
        name: "msix_vector_unmask_under_the_function_mask_waits_for_it",
        cites: "PCI 3.0 §6.8.2.3",
        shape: MSIX,
        steps: &[
            fill(2),
            ENABLE_FUNCTION_MASKED,
            signal(2),
            unmask(2),
            NOTHING,
            pending(0b100),
            ENABLE,
            Step::Delivered(&[M2]),
        ],
    },
    Trace {
        name: "msix_linux_enable_sequence_delivers",
        cites: "Linux drivers/pci/msi/msi.c: enable and function mask, fill in, clear the mask",
        shape: MSIX,
        steps: &[
            ENABLE_FUNCTION_MASKED,
            mask(0),
            mask(1),
            fill(0),
            fill(1),
            unmask(0),
            unmask(1),
            ENABLE,
            signal(0),
            signal(1),
            Step::Delivered(&[M0, M1]),
        ],
    },
    Trace {
        name: "msix_enable_with_every_vector_masked_delivers_nothing",
        cites: "PCI 3.0 §6.8.2.9",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            signal(0),
            ENABLE,
            NOTHING,
            pending(1),
            signal(1),
            NOTHING,
            pending(0b11),
        ],
    },
    Trace {
        name: "msix_disable_stops_delivery",
        cites: "cloud-hypervisor: disable() is a default that does nothing, irqfds stay",
        shape: MSIX,
        steps: &[fill(0), unmask(0), ENABLE, DISABLE, signal(0), NOTHING],
    },
    Trace {
        name: "msix_enabled_again_delivers_again",
        cites: "cloud-hypervisor #460, #473, #505: disable and enable",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            signal(0),
            Step::Delivered(&[M0]),
            DISABLE,
            ENABLE,
            NOTHING,
            signal(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_function_mask_while_disabled_counts_once_enabled",
        cites: "PCI 3.0 §6.8.2.3",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            word(MSIX_CONTROL, 0x4000),
            signal(0),
            ENABLE_FUNCTION_MASKED,
            NOTHING,
            ENABLE,
            Step::Delivered(&[M0]),
        ],
    },
];
