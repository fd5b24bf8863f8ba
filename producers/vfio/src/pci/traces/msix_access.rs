//! MSI-X: which accesses reach which register.

use super::terms::DISABLE;
use super::terms::ENABLE;
use super::terms::M;
use super::terms::M0;
use super::terms::M1;
use super::terms::M2;
use super::terms::MSIX;
use super::terms::MSIX_CONTROL;
use super::terms::NOTHING;
use super::terms::arrived;
use super::terms::byte;
use super::terms::dword;
use super::terms::fill;
use super::terms::msix;
use super::terms::qword;
use super::terms::reads_dword;
use super::terms::reads_qword;
use super::terms::reads_word;
use super::terms::signal;
use super::terms::unmask;
use super::terms::word;
use super::trace::At;
use super::trace::Programmed;
use super::trace::Step;
use super::trace::Trace;
use super::trace::Width;

/// A destination above 255, whose upper bits are in the upper half of the address.
const FAR: Programmed = Programmed {
    address: 0x0000_0100_fee0_0000,
    data: 0x51,
};

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "msix_after_reset_is_disabled_with_every_vector_masked",
        cites: "PCI 3.0 §6.8.2.3, §6.8.2.9",
        shape: MSIX,
        steps: &[
            reads_word(MSIX_CONTROL, 0xffff, 3),
            reads_dword(At::Table(12), 1),
            reads_dword(At::Table(60), 1),
            signal(0),
            NOTHING,
        ],
    },
    Trace {
        name: "msix_reset_masks_and_disables",
        cites: "PCI 3.0 §6.8.2.9; PCIe 5.0 §6.6.2",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            Step::Reset,
            signal(0),
            NOTHING,
            reads_word(MSIX_CONTROL, 0xc000, 0),
            reads_dword(At::Table(12), 1),
        ],
    },
    Trace {
        name: "msix_control_word_write_enables",
        cites: "PCI 3.0 §6.8.2.3",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            word(MSIX_CONTROL, 0x8000),
            reads_word(MSIX_CONTROL, 0xffff, 0x8003),
            signal(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_control_dword_write_across_the_header_enables",
        cites: "cloud-hypervisor #7956 (NVIDIA Fabric Manager), crosvm: only a word write is taken",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            dword(At::Msix(0), 0x8000_0011),
            reads_word(MSIX_CONTROL, 0xffff, 0x8003),
            signal(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_control_dword_write_across_the_header_disables",
        cites: "cloud-hypervisor #7956, the other direction",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            dword(At::Msix(0), 0x0000_0011),
            signal(0),
            NOTHING,
        ],
    },
    Trace {
        name: "msix_control_byte_write_enables",
        cites: "PCI 3.0 §3.2.2.3: any bytes of a dword may be written",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            byte(At::Msix(3), 0x80),
            signal(0),
            Step::Delivered(&[M0]),
            byte(At::Msix(2), 0xff),
            reads_word(MSIX_CONTROL, 0xffff, 0x8003),
            signal(0),
            Step::Delivered(&[M0]),
        ],
    },
    Trace {
        name: "msix_size_and_places_are_read_only",
        cites: "PCI 3.0 §6.8.2.3-6.8.2.5",
        shape: MSIX,
        steps: &[
            Step::ReadOnly(MSIX_CONTROL, Width::Word, 0x07ff),
            Step::ReadOnly(At::Msix(4), Width::Dword, 0xffff_ffff),
            Step::ReadOnly(At::Msix(8), Width::Dword, 0xffff_ffff),
        ],
    },
    Trace {
        name: "msix_entry_dwords_read_back",
        cites: "PCI 3.0 §6.8.2.6-6.8.2.9",
        shape: MSIX,
        steps: &[
            Step::Fill(1, FAR),
            reads_dword(At::Table(16), 0xfee0_0000),
            reads_dword(At::Table(20), 0x0000_0100),
            reads_dword(At::Table(24), 0x51),
            reads_dword(At::Table(28), 1),
            reads_qword(At::Table(16), 0x0000_0100_fee0_0000),
            reads_qword(At::Table(24), 0x0000_0001_0000_0051),
        ],
    },
    Trace {
        name: "msix_entry_quadword_writes_take_effect",
        cites: "PCI 3.0 §6.8.2: aligned dword and quadword accesses",
        shape: MSIX,
        steps: &[
            ENABLE,
            qword(At::Table(16), M[1].address),
            qword(At::Table(24), M[1].data as u64),
            signal(1),
            Step::Delivered(&[M1]),
        ],
    },
    Trace {
        name: "msix_upper_address_is_part_of_the_message",
        cites: "PCI 3.0 §6.8.2.7; destinations above 255, cloud-hypervisor #1767, kubevirt #13971, propolis #956",
        shape: MSIX,
        steps: &[
            Step::Fill(2, FAR),
            unmask(2),
            ENABLE,
            signal(2),
            Step::Delivered(&[arrived(FAR)]),
        ],
    },
    Trace {
        name: "msix_entries_do_not_touch_each_other",
        cites: "PCI 3.0 §6.8.2",
        shape: MSIX,
        steps: &[
            fill(0),
            fill(1),
            fill(2),
            unmask(0),
            unmask(2),
            ENABLE,
            signal(0),
            signal(1),
            signal(2),
            Step::Delivered(&[M0, M2]),
        ],
    },
    Trace {
        name: "msix_last_of_2048_vectors_works",
        cites: "PCI 3.0 §6.8.2.3; 2048 NVMe vectors, cloud-hypervisor #7940",
        shape: msix(2048),
        steps: &[
            reads_word(MSIX_CONTROL, 0x07ff, 0x07ff),
            Step::Fill(2047, M[1]),
            ENABLE,
            signal(2047),
            NOTHING,
            reads_qword(At::Pba(248), 1 << 63),
            unmask(2047),
            Step::Delivered(&[M1]),
            reads_qword(At::Pba(248), 0),
        ],
    },
    Trace {
        name: "msix_table_survives_disable",
        cites: "PCI 3.0 §6.8.2.3: the table is memory, enable does not change it",
        shape: MSIX,
        steps: &[
            fill(0),
            unmask(0),
            ENABLE,
            DISABLE,
            reads_qword(At::Table(0), M[0].address),
            reads_qword(At::Table(8), M[0].data as u64),
        ],
    },
];
