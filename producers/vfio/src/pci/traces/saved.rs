//! Save and restore: what the guest set and what was pending is there afterwards.

use super::super::msi::MsiLayout;
use super::super::sim::Delivery;
use super::terms::ASSERT;
use super::terms::DEASSERT;
use super::terms::ENABLE;
use super::terms::ENABLE_FUNCTION_MASKED;
use super::terms::EOI;
use super::terms::INTX;
use super::terms::M;
use super::terms::M0;
use super::terms::M1;
use super::terms::MSI_CONTROL;
use super::terms::MSIX;
use super::terms::MSIX_CONTROL;
use super::terms::NOTHING;
use super::terms::SAVE_RESTORE;
use super::terms::TAKEN;
use super::terms::arrived;
use super::terms::dword;
use super::terms::fill;
use super::terms::mask;
use super::terms::msi;
use super::terms::pending;
use super::terms::reads_dword;
use super::terms::reads_word;
use super::terms::signal;
use super::terms::signal_msi;
use super::terms::unmask;
use super::terms::word;
use super::trace::At;
use super::trace::Programmed;
use super::trace::Shape;
use super::trace::Step;
use super::trace::Trace;

const MSI: Shape = msi(MsiLayout {
    vectors: 4,
    address_64: true,
    per_vector_masking: true,
    extended_data: false,
});

const FAR: Programmed = Programmed {
    address: 0x0000_0100_fee0_0000,
    data: 0x4a,
};
const FAR_THREE: Delivery = arrived(Programmed { data: 0x4b, ..FAR });
const TOOK: Step = Step::Delivered(&[TAKEN]);

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "saved_msix_keeps_what_is_pending_under_a_mask",
        cites: "openvmm: an event in the eventfd is not saved; cloud-hypervisor #7851, #8004; CubeSandbox #1084",
        shape: MSIX,
        steps: &[
            fill(1),
            ENABLE,
            signal(1),
            SAVE_RESTORE,
            NOTHING,
            pending(0b10),
            unmask(1),
            Step::Delivered(&[M1]),
            pending(0),
        ],
    },
    Trace {
        name: "saved_msix_pending_unread_is_kept_too",
        cites: "openvmm: only an event that a PBA read had taken out is saved",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            ENABLE,
            signal(0),
            pending(1),
            signal(1),
            SAVE_RESTORE,
            pending(0b11),
            unmask(0),
            unmask(1),
            Step::Delivered(&[M0, M1]),
        ],
    },
    Trace {
        name: "saved_msix_delivers_after_restore",
        cites: "openvmm: restore fills the table and does not arm the routes again",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            SAVE_RESTORE,
            NOTHING,
            signal(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "saved_msix_keeps_masks_and_messages",
        cites: "PCI 3.0 §6.8.2",
        shape: MSIX,
        steps: &[
            fill(0),
            Step::Fill(1, FAR),
            unmask(1),
            ENABLE,
            mask(0),
            SAVE_RESTORE,
            reads_dword(At::Table(12), 1),
            reads_dword(At::Table(20), 0x100),
            reads_dword(At::Table(28), 0),
            signal(0),
            signal(1),
            Step::Delivered(&[arrived(FAR)]),
            pending(1),
        ],
    },
    Trace {
        name: "saved_msix_keeps_the_function_mask",
        cites: "cloud-hypervisor #7993: control word differs after restore",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE_FUNCTION_MASKED,
            signal(0),
            SAVE_RESTORE,
            reads_word(MSIX_CONTROL, 0xffff, 0xc003),
            NOTHING,
            ENABLE,
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "saved_msix_disabled_stays_disabled",
        cites: "cloud-hypervisor #7993: control word differs after restore",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            SAVE_RESTORE,
            reads_word(MSIX_CONTROL, 0xffff, 0x0003),
            signal(0),
            NOTHING,
            ENABLE,
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "saved_msix_invents_nothing",
        cites: "an interrupt that the guest got is not pending",
        shape: MSIX,
        steps: &[
            Step::Fill(0, M[0]),
            unmask(0),
            ENABLE,
            signal(0),
            Step::Delivered(&[M0]),
            SAVE_RESTORE,
            NOTHING,
            mask(0),
            pending(0),
            unmask(0),
            NOTHING,
        ],
    },
    Trace {
        name: "saved_msi_keeps_messages_masks_and_what_is_pending",
        cites: "PCI 3.0 §6.8.1",
        shape: MSI,
        steps: &[
            dword(At::Msi(4), 0xfee0_0000),
            dword(At::Msi(8), 0x100),
            word(At::Msi(12), 0x48),
            dword(At::Msi(16), 0b1000),
            word(MSI_CONTROL, 0x21),
            signal_msi(3),
            SAVE_RESTORE,
            NOTHING,
            reads_dword(At::Msi(20), 0b1000),
            signal_msi(2),
            Step::Delivered(&[arrived(FAR)]),
            dword(At::Msi(16), 0),
            Step::Delivered(&[FAR_THREE]),
        ],
    },
    Trace {
        name: "saved_intx_in_service_comes_again_after_the_eoi",
        cites: "cloud-hypervisor #7851, #8004: interrupts lost on resume",
        shape: INTX,
        steps: &[
            ASSERT,
            TOOK,
            SAVE_RESTORE,
            NOTHING,
            EOI,
            TOOK,
            DEASSERT,
            EOI,
            NOTHING,
        ],
    },
    Trace {
        name: "saved_intx_disabled_stays_disabled",
        cites: "PCI 3.0 §6.2.2",
        shape: INTX,
        steps: &[
            word(At::Header(4), 0x0400),
            word(At::Header(0x3c), 0x0b),
            ASSERT,
            SAVE_RESTORE,
            NOTHING,
            reads_word(At::Header(4), 0x0400, 0x0400),
            reads_word(At::Header(0x3c), 0xffff, 0x010b),
            word(At::Header(4), 0),
            TOOK,
        ],
    },
];
