//! The terms that traces are written in.

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::effect::VectorIndex;
use super::super::msi::MsiLayout;
use super::super::sim::Delivery;
use super::super::sim::FIRST_INPUT;
use super::trace::At;
use super::trace::Programmed;
use super::trace::Shape;
use super::trace::Step;
use super::trace::Width;

/// Where a function's pin leads at first.
pub const LINE: Gsi = FIRST_INPUT;

/// Where it leads after a [`Step::Reroute`].
pub const OTHER_LINE: Gsi = Gsi(17);

pub(super) const TAKEN: Delivery = Delivery::Line(LINE);
pub(super) const OTHER_TAKEN: Delivery = Delivery::Line(OTHER_LINE);
pub(super) const EOI: Step = Step::Eoi(LINE);
pub(super) const ASSERT: Step = Step::Device(Level::Asserted);
pub(super) const DEASSERT: Step = Step::Device(Level::Deasserted);
pub(super) const NOTHING: Step = Step::Delivered(&[]);
pub(super) const SAVE_RESTORE: Step = Step::SaveRestore;

/// Message Control of either capability.
pub(super) const MSIX_CONTROL: At = At::Msix(2);
pub(super) const MSI_CONTROL: At = At::Msi(2);
pub(super) const COMMAND: At = At::Header(4);
pub(super) const STATUS: At = At::Header(6);

pub(super) const ENABLE: Step = word(MSIX_CONTROL, 0x8000);
pub(super) const DISABLE: Step = word(MSIX_CONTROL, 0);
pub(super) const ENABLE_FUNCTION_MASKED: Step = word(MSIX_CONTROL, 0xc000);

/// Messages for four processors, which is enough to tell vectors apart.
pub(super) const M: [Programmed; 4] = [message(0), message(1), message(2), message(3)];
pub(super) const M0: Delivery = arrived(M[0]);
pub(super) const M1: Delivery = arrived(M[1]);
pub(super) const M2: Delivery = arrived(M[2]);
pub(super) const M3: Delivery = arrived(M[3]);

pub(super) const MSIX: Shape = msix(4);
pub(super) const INTX: Shape = Shape {
    msix: None,
    msi: None,
    intx: true,
};

pub(super) const fn msix(vectors: u16) -> Shape {
    Shape {
        msix: Some(vectors),
        msi: None,
        intx: false,
    }
}

pub(super) const fn msi(layout: MsiLayout) -> Shape {
    Shape {
        msix: None,
        msi: Some(layout),
        intx: false,
    }
}

const fn message(n: u32) -> Programmed {
    // 0x41 is the first vector of the device class that no kernel keeps for itself.
    Programmed {
        address: 0xfee0_0000 | (n as u64) << 12,
        data: 0x41 + n,
    }
}

pub(super) const fn arrived(message: Programmed) -> Delivery {
    Delivery::Message(MsiMessage {
        address: message.address,
        data: message.data,
    })
}

pub(super) const fn byte(at: At, value: u64) -> Step {
    Step::Write(at, Width::Byte, value)
}

pub(super) const fn word(at: At, value: u64) -> Step {
    Step::Write(at, Width::Word, value)
}

pub(super) const fn dword(at: At, value: u64) -> Step {
    Step::Write(at, Width::Dword, value)
}

pub(super) const fn qword(at: At, value: u64) -> Step {
    Step::Write(at, Width::Qword, value)
}

pub(super) const fn reads_word(at: At, bits: u64, expected: u64) -> Step {
    Step::Read(at, Width::Word, bits, expected)
}

pub(super) const fn reads_dword(at: At, expected: u64) -> Step {
    Step::Read(at, Width::Dword, 0xffff_ffff, expected)
}

pub(super) const fn reads_qword(at: At, expected: u64) -> Step {
    Step::Read(at, Width::Qword, u64::MAX, expected)
}

pub(super) const fn pending(expected: u64) -> Step {
    reads_qword(At::Pba(0), expected)
}

/// Fills in one of [`M`] for the vector of the same number.
pub(super) const fn fill(vector: u16) -> Step {
    Step::Fill(vector, M[vector as usize])
}

pub(super) const fn mask(vector: u16) -> Step {
    dword(At::Table(vector * 16 + 12), 1)
}

pub(super) const fn unmask(vector: u16) -> Step {
    dword(At::Table(vector * 16 + 12), 0)
}

pub(super) const fn signal(vector: u16) -> Step {
    Step::Signal(MessageSource::Msix(VectorIndex(vector)))
}

pub(super) const fn signal_msi(vector: u16) -> Step {
    Step::Signal(MessageSource::Msi(VectorIndex(vector)))
}
