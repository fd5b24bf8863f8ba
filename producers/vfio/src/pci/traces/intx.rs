//! INTx: level, EOI, DisINTx, routing, and giving way to messages.

use super::super::msi::MsiLayout;
use super::terms::ASSERT;
use super::terms::COMMAND;
use super::terms::DEASSERT;
use super::terms::EOI;
use super::terms::INTX;
use super::terms::LINE;
use super::terms::M0;
use super::terms::MSI_CONTROL;
use super::terms::MSIX_CONTROL;
use super::terms::NOTHING;
use super::terms::OTHER_LINE;
use super::terms::OTHER_TAKEN;
use super::terms::STATUS;
use super::terms::TAKEN;
use super::terms::byte;
use super::terms::dword;
use super::terms::fill;
use super::terms::reads_dword;
use super::terms::reads_word;
use super::terms::signal;
use super::terms::unmask;
use super::terms::word;
use super::trace::At;
use super::trace::Shape;
use super::trace::Step;
use super::trace::Trace;
use super::trace::Width;

/// A function that has them all.
const ALL: Shape = Shape {
    msix: Some(4),
    msi: Some(MsiLayout {
        vectors: 1,
        address_64: true,
        per_vector_masking: false,
        extended_data: false,
    }),
    intx: true,
};

const DISABLE_INTX: Step = word(COMMAND, 0x0400);
const ALLOW_INTX: Step = word(COMMAND, 0);
const TOOK: Step = Step::Delivered(&[TAKEN]);

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "intx_is_taken_once_and_served",
        cites: "PCI 3.0 §2.2.6",
        shape: INTX,
        steps: &[ASSERT, TOOK, DEASSERT, EOI, NOTHING],
    },
    Trace {
        name: "intx_still_asserted_at_the_eoi_is_taken_again",
        cites: "PCI 3.0 §2.2.6: level-sensitive; cloud-hypervisor #4999: lost interrupts",
        shape: INTX,
        steps: &[ASSERT, TOOK, EOI, TOOK, DEASSERT, EOI, NOTHING],
    },
    Trace {
        name: "intx_second_event_in_service_is_taken_after_the_eoi",
        cites: "PCI 3.0 §2.2.6",
        shape: INTX,
        steps: &[
            ASSERT, TOOK, DEASSERT, ASSERT, NOTHING, EOI, TOOK, DEASSERT, EOI, NOTHING,
        ],
    },
    Trace {
        name: "intx_comes_again_after_each_eoi",
        cites: "cloud-hypervisor #4999: a line that is not unmasked is stuck",
        shape: INTX,
        steps: &[
            ASSERT, TOOK, DEASSERT, EOI, ASSERT, TOOK, DEASSERT, EOI, ASSERT, TOOK,
        ],
    },
    Trace {
        name: "intx_is_unmasked_by_the_eoi_and_not_by_bar_accesses",
        cites: "cloud-hypervisor #4999: unmasked at every BAR access",
        shape: ALL,
        steps: &[
            ASSERT,
            TOOK,
            Step::Updates(u32::MAX),
            Step::Read(At::Table(0), Width::Dword, 0, 0),
            fill(0),
            unmask(0),
            Step::Read(At::Pba(0), Width::Qword, 0, 0),
            Step::Updates(0),
            NOTHING,
            EOI,
            TOOK,
        ],
    },
    Trace {
        name: "intx_eoi_of_nothing_does_nothing",
        cites: "an input can be shared, its EOI comes to all",
        shape: INTX,
        steps: &[EOI, NOTHING, Step::Updates(0), ASSERT, TOOK],
    },
    Trace {
        name: "intx_disable_holds_the_line",
        cites: "PCI 3.0 §6.2.2, command bit 10",
        shape: INTX,
        steps: &[
            DISABLE_INTX,
            reads_word(COMMAND, 0x0400, 0x0400),
            ASSERT,
            NOTHING,
            ALLOW_INTX,
            TOOK,
        ],
    },
    Trace {
        name: "intx_disabled_until_served_is_not_taken",
        cites: "PCI 3.0 §6.2.2; uio and vfio drivers serve with the line disabled",
        shape: INTX,
        steps: &[
            ASSERT,
            TOOK,
            DISABLE_INTX,
            EOI,
            NOTHING,
            DEASSERT,
            ALLOW_INTX,
            NOTHING,
        ],
    },
    Trace {
        name: "intx_disabled_in_service_comes_again_when_allowed",
        cites: "PCI 3.0 §6.2.2",
        shape: INTX,
        steps: &[ASSERT, TOOK, DISABLE_INTX, EOI, NOTHING, ALLOW_INTX, TOOK],
    },
    Trace {
        name: "intx_disable_by_byte_and_dword_takes_effect",
        cites: "PCI 3.0 §3.2.2.3: any bytes of a dword may be written",
        shape: INTX,
        steps: &[
            byte(At::Header(5), 0x04),
            ASSERT,
            NOTHING,
            dword(COMMAND, 0),
            TOOK,
            dword(COMMAND, 0x0400),
            DEASSERT,
            EOI,
            ASSERT,
            NOTHING,
        ],
    },
    Trace {
        name: "intx_status_tells_the_level_while_disabled",
        cites: "PCI 3.0 §6.2.3, status bit 3: DisINTx does not change it",
        shape: INTX,
        steps: &[
            reads_word(STATUS, 0x0008, 0),
            DISABLE_INTX,
            ASSERT,
            reads_word(STATUS, 0x0008, 0x0008),
            Step::ReadOnly(STATUS, Width::Word, 0x0008),
        ],
    },
    Trace {
        name: "intx_line_register_is_scratch_and_the_pin_read_only",
        cites: "PCI 3.0 §6.2.4",
        shape: INTX,
        steps: &[
            word(At::Header(0x3c), 0xff0b),
            reads_word(At::Header(0x3c), 0xffff, 0x010b),
            dword(At::Header(0x3c), 0x0a),
            reads_word(At::Header(0x3c), 0xffff, 0x010a),
        ],
    },
    Trace {
        name: "intx_asserted_moves_to_another_input",
        cites: "qemu vfio_intx_routing_notifier; the Rust VMMs fix the pin at setup",
        shape: INTX,
        steps: &[
            ASSERT,
            TOOK,
            Step::Reroute(OTHER_LINE),
            Step::Delivered(&[OTHER_TAKEN]),
            Step::Eoi(LINE),
            NOTHING,
            DEASSERT,
            Step::Eoi(OTHER_LINE),
            NOTHING,
            ASSERT,
            Step::Delivered(&[OTHER_TAKEN]),
        ],
    },
    Trace {
        name: "intx_gives_way_to_msix_and_returns",
        cites: "PCI 3.0 §6.8.3.3: with MSI-X enabled the function does not use INTx",
        shape: ALL,
        steps: &[
            fill(0),
            unmask(0),
            word(MSIX_CONTROL, 0x8000),
            ASSERT,
            NOTHING,
            signal(0),
            Step::Delivered(&[M0]),
            word(MSIX_CONTROL, 0),
            TOOK,
        ],
    },
    Trace {
        name: "intx_gives_way_to_msi_and_returns",
        cites: "PCI 3.0 §6.8.1.3: with MSI enabled the function does not use INTx",
        shape: ALL,
        steps: &[
            ASSERT,
            TOOK,
            word(MSI_CONTROL, 1),
            EOI,
            NOTHING,
            word(MSI_CONTROL, 0),
            TOOK,
            DEASSERT,
            EOI,
            NOTHING,
        ],
    },
    Trace {
        name: "intx_stays_away_while_messages_are_masked",
        cites: "PCI 3.0 §6.8.2.3: the function mask does not bring INTx back",
        shape: ALL,
        steps: &[
            word(MSIX_CONTROL, 0xc000),
            ASSERT,
            NOTHING,
            reads_dword(At::Table(12), 1),
        ],
    },
];
