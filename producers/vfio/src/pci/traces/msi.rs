//! MSI: its control word, several messages, mask and pending bits.

use irqbroker_core::MsiMessage;

use super::super::msi::MsiLayout;
use super::super::sim::Delivery;
use super::terms::MSI_CONTROL;
use super::terms::NOTHING;
use super::terms::byte;
use super::terms::dword;
use super::terms::msi;
use super::terms::reads_dword;
use super::terms::reads_word;
use super::terms::signal_msi;
use super::terms::word;
use super::trace::At;
use super::trace::Shape;
use super::trace::Step;
use super::trace::Trace;
use super::trace::Width;

const PLAIN: MsiLayout = MsiLayout {
    vectors: 1,
    address_64: false,
    per_vector_masking: false,
    extended_data: false,
};

/// The smallest there is.
const ONE: Shape = msi(PLAIN);
const EIGHT: Shape = msi(MsiLayout {
    vectors: 8,
    address_64: true,
    ..PLAIN
});
const MASKABLE: Shape = msi(MsiLayout {
    vectors: 4,
    address_64: true,
    per_vector_masking: true,
    extended_data: false,
});
const EXTENDED: Shape = msi(MsiLayout {
    extended_data: true,
    ..PLAIN
});

const LOW: Step = dword(At::Msi(4), 0xfee0_0000);
const ENABLE_ONE: Step = word(MSI_CONTROL, 1);
const ENABLE_FOUR: Step = word(MSI_CONTROL, 0x21);
const DISABLE: Step = word(MSI_CONTROL, 0);
/// Data of a 32-bit and of a 64-bit capability: low bits that are to be replaced are set.
const DATA_32: Step = word(At::Msi(8), 0x4b);
const DATA_64: Step = word(At::Msi(12), 0x4b);
const MASK: At = At::Msi(16);
const PENDING: At = At::Msi(20);

const fn sent(data: u32) -> Delivery {
    Delivery::Message(MsiMessage {
        address: 0xfee0_0000,
        data,
    })
}

const D48: Delivery = sent(0x48);
const D49: Delivery = sent(0x49);
const D4A: Delivery = sent(0x4a);
const D4B: Delivery = sent(0x4b);
const D4C: Delivery = sent(0x4c);
const D4F: Delivery = sent(0x4f);
const FAR: Delivery = Delivery::Message(MsiMessage {
    address: 0x0000_0100_fee0_0000,
    data: 0x4b,
});

pub(super) const TRACES: &[Trace] = &[
    Trace {
        name: "msi_single_message_is_sent_as_written",
        cites: "PCI 3.0 §6.8.1.6: with one vector the low bits are not modified",
        shape: ONE,
        steps: &[
            LOW,
            DATA_32,
            signal_msi(0),
            NOTHING,
            ENABLE_ONE,
            Step::Delivered(&[D4B]),
            signal_msi(0),
            Step::Delivered(&[D4B]),
        ],
    },
    Trace {
        name: "msi_vectors_differ_in_the_low_bits_of_the_data",
        cites: "PCI 3.0 §6.8.1.6; cloud-hypervisor pci/src/msi.rs: all send the same data; crosvm, openvmm: one vector only",
        shape: EIGHT,
        steps: &[
            LOW,
            dword(At::Msi(8), 0),
            DATA_64,
            ENABLE_FOUR,
            signal_msi(0),
            Step::Delivered(&[D48]),
            signal_msi(1),
            Step::Delivered(&[D49]),
            signal_msi(2),
            Step::Delivered(&[D4A]),
            signal_msi(3),
            Step::Delivered(&[D4B]),
        ],
    },
    Trace {
        name: "msi_as_many_low_bits_are_replaced_as_vectors_are_allocated",
        cites: "PCI 3.0 §6.8.1.3, §6.8.1.6",
        shape: EIGHT,
        steps: &[
            LOW,
            dword(At::Msi(8), 0),
            DATA_64,
            word(MSI_CONTROL, 0x11),
            signal_msi(0),
            signal_msi(1),
            Step::Delivered(&[D4A, D4B]),
            DISABLE,
            word(MSI_CONTROL, 0x31),
            signal_msi(4),
            signal_msi(7),
            Step::Delivered(&[D4C, D4F]),
        ],
    },
    Trace {
        name: "msi_more_vectors_than_capable_are_not_allocated",
        cites: "PCI 3.0 §6.8.1.3: allocated is at most what is requested",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            word(MSI_CONTROL, 0x71),
            reads_word(MSI_CONTROL, 0x0071, 0x0021),
            signal_msi(1),
            Step::Delivered(&[D49]),
        ],
    },
    Trace {
        name: "msi_capability_bits_are_read_only",
        cites: "PCI 3.0 §6.8.1.3",
        shape: MASKABLE,
        steps: &[
            reads_word(MSI_CONTROL, 0xffff, 0x0184),
            Step::ReadOnly(MSI_CONTROL, Width::Word, 0xff8e),
            Step::ReadOnly(PENDING, Width::Dword, 0xffff_ffff),
        ],
    },
    Trace {
        name: "msi_control_dword_write_across_the_header_enables",
        cites: "cloud-hypervisor #7956, the same access to MSI",
        shape: ONE,
        steps: &[
            LOW,
            DATA_32,
            dword(At::Msi(0), 0x0001_0005),
            signal_msi(0),
            Step::Delivered(&[D4B]),
            dword(At::Msi(0), 0x0000_0005),
            signal_msi(0),
            NOTHING,
        ],
    },
    Trace {
        name: "msi_byte_writes_take_effect",
        cites: "PCI 3.0 §3.2.2.3: any bytes of a dword may be written",
        shape: ONE,
        steps: &[
            byte(At::Msi(6), 0xe0),
            byte(At::Msi(7), 0xfe),
            byte(At::Msi(8), 0x4b),
            byte(At::Msi(2), 1),
            signal_msi(0),
            Step::Delivered(&[D4B]),
        ],
    },
    Trace {
        name: "msi_data_dword_write_takes_effect",
        cites: "PCI 3.0 §3.2.2.3; the upper half of the dword is reserved",
        shape: ONE,
        steps: &[
            LOW,
            dword(At::Msi(8), 0x004b),
            ENABLE_ONE,
            signal_msi(0),
            Step::Delivered(&[D4B]),
        ],
    },
    Trace {
        name: "msi_upper_address_is_part_of_the_message",
        cites: "PCI 3.0 §6.8.1.5",
        shape: EIGHT,
        steps: &[
            LOW,
            dword(At::Msi(8), 0x100),
            DATA_64,
            ENABLE_ONE,
            reads_dword(At::Msi(8), 0x100),
            signal_msi(0),
            Step::Delivered(&[FAR]),
        ],
    },
    Trace {
        name: "msi_disable_stops_delivery_and_enable_resumes_it",
        cites: "cloud-hypervisor #460, #473, #505: MSI disable",
        shape: ONE,
        steps: &[
            LOW,
            DATA_32,
            ENABLE_ONE,
            DISABLE,
            signal_msi(0),
            NOTHING,
            ENABLE_ONE,
            Step::Delivered(&[D4B]),
            DISABLE,
            ENABLE_ONE,
            NOTHING,
        ],
    },
    Trace {
        name: "msi_message_rewritten_while_enabled_counts_at_once",
        cites: "Linux drivers/pci/msi/msi.c: without mask bits affinity is changed in place",
        shape: ONE,
        steps: &[
            LOW,
            DATA_32,
            ENABLE_ONE,
            word(At::Msi(8), 0x4f),
            signal_msi(0),
            Step::Delivered(&[D4F]),
        ],
    },
    Trace {
        name: "msi_mask_bit_holds_its_vector_only",
        cites: "PCI 3.0 §6.8.1.7",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            dword(MASK, 0b0010),
            ENABLE_FOUR,
            signal_msi(0),
            signal_msi(1),
            Step::Delivered(&[D48]),
            reads_dword(PENDING, 0b0010),
        ],
    },
    Trace {
        name: "msi_unmask_delivers_what_was_pending_once",
        cites: "PCI 3.0 §6.8.1.7, §6.8.1.8",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            ENABLE_FOUR,
            dword(MASK, 0b1111),
            signal_msi(3),
            signal_msi(3),
            reads_dword(PENDING, 0b1000),
            reads_dword(PENDING, 0b1000),
            dword(MASK, 0b0111),
            Step::Delivered(&[D4B]),
            reads_dword(PENDING, 0),
            dword(MASK, 0b1111),
            dword(MASK, 0),
            NOTHING,
        ],
    },
    Trace {
        name: "msi_mask_byte_write_takes_effect",
        cites: "PCI 3.0 §3.2.2.3: any bytes of a dword may be written",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            ENABLE_FOUR,
            byte(MASK, 0b0001),
            signal_msi(0),
            NOTHING,
            reads_dword(MASK, 0b0001),
            byte(MASK, 0),
            Step::Delivered(&[D48]),
        ],
    },
    Trace {
        name: "msi_extended_data_is_sent_while_enabled",
        cites: "PCIe 5.0 §7.7.1.2, §7.7.1.6",
        shape: EXTENDED,
        steps: &[
            reads_word(MSI_CONTROL, 0x0600, 0x0200),
            LOW,
            dword(At::Msi(8), 0x0007_004b),
            ENABLE_ONE,
            signal_msi(0),
            Step::Delivered(&[D4B]),
            word(MSI_CONTROL, 0x0401),
            signal_msi(0),
            Step::Delivered(&[sent(0x0007_004b)]),
        ],
    },
    Trace {
        name: "msi_write_of_the_same_updates_nothing",
        cites: "the kernel does not compare routing tables",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            Step::Updates(0),
            ENABLE_FOUR,
            Step::Updates(5),
            LOW,
            DATA_64,
            ENABLE_FOUR,
            dword(MASK, 0),
            Step::Updates(0),
        ],
    },
    Trace {
        name: "msi_reset_disables",
        cites: "PCI 3.0 §6.8.1.3; PCIe 5.0 §6.6.2",
        shape: MASKABLE,
        steps: &[
            LOW,
            DATA_64,
            ENABLE_FOUR,
            dword(MASK, 1),
            Step::Reset,
            reads_word(MSI_CONTROL, 0x0071, 0),
            reads_dword(MASK, 0),
            signal_msi(0),
            NOTHING,
        ],
    },
];
