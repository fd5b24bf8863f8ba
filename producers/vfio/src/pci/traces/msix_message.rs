//! MSI-X: which message a vector sends, and how many updates that costs.

use super::terms::DISABLE;
use super::terms::ENABLE;
use super::terms::ENABLE_FUNCTION_MASKED;
use super::terms::M;
use super::terms::M0;
use super::terms::M1;
use super::terms::M2;
use super::terms::M3;
use super::terms::MSIX;
use super::terms::NOTHING;
use super::terms::dword;
use super::terms::fill;
use super::terms::mask;
use super::terms::pending;
use super::terms::qword;
use super::terms::signal;
use super::terms::unmask;
use super::trace::At;
use super::trace::Step;
use super::trace::Trace;

/// Effects a whole-function enable of four vectors may have: one each, one for the whole.
const ENABLE_OF_FOUR: u32 = 5;

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "msix_message_written_while_masked_counts_from_the_unmask",
        cites: "PCI 3.0 §6.8.3.5; a table write of a masked entry must not be dropped",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            signal(0),
            Step::Delivered(&[M0]),
            mask(0),
            Step::Fill(0, M[3]),
            unmask(0),
            signal(0),
            Step::Delivered(&[M3]),
        ],
    },
    Trace {
        name: "msix_pending_event_goes_out_with_the_message_at_the_unmask",
        cites: "PCI 3.0 §6.8.3.5; Linux affinity change: mask, write, unmask",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            mask(0),
            signal(0),
            Step::Fill(0, M[2]),
            NOTHING,
            unmask(0),
            Step::Delivered(&[M2]),
        ],
    },
    Trace {
        name: "msix_data_and_unmask_in_one_quadword_send_the_new_data",
        cites: "PCI 3.0 §6.8.2: a quadword write covers data and vector control",
        shape: MSIX,
        steps: &[
            fill(0),
            ENABLE,
            signal(0),
            dword(At::Table(0), M[1].address),
            qword(At::Table(8), M[1].data as u64),
            Step::Delivered(&[M1]),
        ],
    },
    Trace {
        name: "msix_data_and_mask_in_one_quadword_send_nothing",
        cites: "PCI 3.0 §6.8.2: a quadword write covers data and vector control",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            qword(At::Table(8), 1 << 32 | M[1].data as u64),
            signal(0),
            NOTHING,
            pending(1),
        ],
    },
    Trace {
        name: "msix_message_written_while_disabled_counts_once_enabled",
        cites: "PCI 3.0 §6.8.2.3",
        shape: MSIX,
        steps: &[
            ENABLE,
            DISABLE,
            fill(1),
            unmask(1),
            ENABLE,
            signal(1),
            Step::Delivered(&[M1]),
        ],
    },
    Trace {
        name: "msix_two_vectors_may_have_the_same_message",
        cites: "PCI 3.0 §6.8.2: software may alias vectors when it has fewer",
        shape: MSIX,
        steps: &[
            fill(0),
            Step::Fill(1, M[0]),
            unmask(0),
            unmask(1),
            ENABLE,
            signal(0),
            signal(1),
            Step::Delivered(&[M0, M0]),
            mask(0),
            signal(0),
            signal(1),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_enable_updates_each_vector_once",
        cites: "cloud-hypervisor #4273, #4744, firecracker #6082, crosvm, openvmm: a table write for each vector",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            fill(2),
            fill(3),
            unmask(0),
            unmask(1),
            unmask(2),
            unmask(3),
            Step::Updates(0),
            ENABLE,
            Step::Updates(ENABLE_OF_FOUR),
            ENABLE_FUNCTION_MASKED,
            Step::Updates(4),
            ENABLE,
            Step::Updates(4),
        ],
    },
    Trace {
        name: "msix_write_of_the_same_updates_nothing",
        cites: "cloud-hypervisor #1744; the kernel does not compare routing tables",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            Step::Updates(2),
            fill(0),
            unmask(0),
            ENABLE,
            mask(1),
            Step::Updates(0),
        ],
    },
    Trace {
        name: "msix_message_written_while_masked_updates_nothing",
        cites: "qemu f4d45d478263: masking without the whole table",
        shape: MSIX,
        steps: &[
            ENABLE,
            Step::Updates(1),
            fill(0),
            Step::Fill(0, M[1]),
            fill(0),
            Step::Updates(0),
            unmask(0),
            Step::Updates(1),
            mask(0),
            Step::Updates(1),
        ],
    },
];
