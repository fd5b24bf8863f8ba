//! The guest's machine code, emitted byte by byte.
//!
//! Instructions are few because some back ends emulate real mode, at about 0.1 us each. Handlers
//! save no register: the idle loop keeps none, and interrupts do not nest (an interrupt gate of the
//! vector table clears IF) unless asked for, and then only where a handler needs none of them any
//! more. Encodings: Intel SDM 2, 16-bit code; `66` = 32-bit operand, `67` =
//! 32-bit address, `2e` = `cs:`.

use std::collections::BTreeSet;

use crate::GuestVector;
use crate::Nesting;
use crate::layout;
use crate::layout::VectorPlace;
use crate::memory_fd::GuestMemory;

/// x2APIC MSR of the EOI register (Intel SDM 3A table 11-6); handlers expect it in `ecx`.
pub(crate) const X2APIC_EOI: u32 = 0x80b;
/// Port a stub reports an exception vector on.
pub(crate) const STRAY_PORT: u16 = 0xf4;
/// Port written between EOI and return under a split irqchip; nothing listens.
pub(crate) const EXIT_PORT: u8 = 0x80;
/// Port a handler of a served vector writes the vector to, before EOI.
pub(crate) const SERVE_PORT: u16 = 0xf5;

/// How a handler ends an interrupt.
///
/// A back end may have ended it before: kvm-pvm does so when it injects; the second EOI finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eoi {
    /// x2APIC EOI, nothing leaves the kernel.
    X2apic,
    /// x2APIC EOI, then a port write: KVM raises `KVM_EXIT_IOAPIC_EOI` at the next guest entry only,
    /// which would not come before the next interrupt if the vCPU went straight back to halt.
    X2apicThenExit,
    /// No local APIC in the kernel: the MSR would fault and there is nothing to end.
    None,
}

/// Writes vector table, idle loop, stubs and handlers.
pub(crate) fn load(
    memory: &GuestMemory,
    eoi: Eoi,
    nesting: Nesting,
    served: &BTreeSet<GuestVector>,
) {
    memory.write(usize::from(layout::IDLE_LOOP), &idle_loop());
    for exception in 0..layout::EXCEPTIONS {
        let offset = layout::stub(exception);
        memory.write(usize::from(offset), &stray_stub(exception));
        set_table_entry(memory, exception, 0, offset);
    }
    for vector in GuestVector::all() {
        let place = VectorPlace::of(vector);
        let asks = served.contains(&vector).then_some(vector);
        memory.write(
            place.linear(place.handler),
            &handler(place, asks, eoi, nesting),
        );
        set_table_entry(memory, vector.get(), place.segment, place.handler);
    }
}

fn set_table_entry(memory: &GuestMemory, vector: u8, segment: u16, offset: u16) {
    let [offset_low, offset_high] = offset.to_le_bytes();
    let [segment_low, segment_high] = segment.to_le_bytes();
    memory.write(
        usize::from(vector) * 4,
        &[offset_low, offset_high, segment_low, segment_high],
    );
}

/// Starts with IF set, see [`crate::vcpu`].
fn idle_loop() -> [u8; 3] {
    [
        0xf4, // hlt
        0xeb, 0xfd, // jmp back to hlt
    ]
}

fn stray_stub(exception: u8) -> [u8; 5] {
    let [port, _] = STRAY_PORT.to_le_bytes();
    [
        0xb0, exception, // mov al, exception
        0xe6, port, // out port, al
        0xf4, // hlt
    ]
}

/// `asks`: the vector, if user space has to serve its device before the interrupt is ended.
fn handler(place: VectorPlace, asks: Option<GuestVector>, eoi: Eoi, nesting: Nesting) -> Vec<u8> {
    let [counter_low, counter_high] = place.counter.to_le_bytes();
    let stamp_low = u32::from(place.ring).to_le_bytes();
    let stamp_high = (u32::from(place.ring) + 4).to_le_bytes();
    let mut code = Vec::with_capacity(64);
    // rdtsc                               the stamp, before anything else
    code.extend([0x0f, 0x31]);
    // movzx ebx, byte cs:[counter]        slot = runs so far, modulo 256
    code.extend([0x2e, 0x66, 0x0f, 0xb6, 0x1e, counter_low, counter_high]);
    // mov cs:[ebx*8 + ring], eax
    code.extend([0x2e, 0x66, 0x67, 0x89, 0x04, 0xdd]);
    code.extend(stamp_low);
    // mov cs:[ebx*8 + ring + 4], edx
    code.extend([0x2e, 0x66, 0x67, 0x89, 0x14, 0xdd]);
    code.extend(stamp_high);
    // inc dword cs:[counter]              publishes the stamp: stores stay in order on x86
    code.extend([0x2e, 0x66, 0xff, 0x06, counter_low, counter_high]);
    if nesting == Nesting::On {
        // sti                             holds back for one more instruction
        code.push(0xfb);
        // nop                             after it, what is pending comes in
        code.push(0x90);
    }
    if let Some(vector) = asks {
        let [port, _] = SERVE_PORT.to_le_bytes();
        // mov al, vector
        code.extend([0xb0, vector.get()]);
        // out SERVE_PORT, al              the vCPU thread comes back once the device is served
        code.extend([0xe6, port]);
    }
    if nesting == Nesting::On {
        // cli                             an equal after the end of this one would stack up on it
        code.push(0xfa);
    }
    if eoi != Eoi::None {
        // xor eax, eax
        code.extend([0x66, 0x31, 0xc0]);
        // xor edx, edx
        code.extend([0x66, 0x31, 0xd2]);
        // wrmsr                           ecx has held the EOI register's number since the start
        code.extend([0x0f, 0x30]);
    }
    if eoi == Eoi::X2apicThenExit {
        // out EXIT_PORT, al
        code.extend([0xe6, EXIT_PORT]);
    }
    // iret
    code.push(0xcf);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> VectorPlace {
        VectorPlace {
            segment: 0x1000,
            handler: 0,
            counter: 0x1234,
            ring: 0x5678,
        }
    }

    /// What `objdump -D -b binary -m i8086` turns back into the ten instructions in the comments.
    #[test]
    fn handler_bytes_are_the_listed_instructions() {
        let expected = [
            0x0f, 0x31, // rdtsc
            0x2e, 0x66, 0x0f, 0xb6, 0x1e, 0x34, 0x12, // movzbl %cs:0x1234,%ebx
            0x2e, 0x66, 0x67, 0x89, 0x04, 0xdd, 0x78, 0x56, 0,
            0, // mov %eax,%cs:0x5678(,%ebx,8)
            0x2e, 0x66, 0x67, 0x89, 0x14, 0xdd, 0x7c, 0x56, 0,
            0, // mov %edx,%cs:0x567c(,%ebx,8)
            0x2e, 0x66, 0xff, 0x06, 0x34, 0x12, // incl %cs:0x1234
            0x66, 0x31, 0xc0, // xor %eax,%eax
            0x66, 0x31, 0xd2, // xor %edx,%edx
            0x0f, 0x30, // wrmsr
            0xcf, // iret
        ];
        assert_eq!(handler(place(), None, Eoi::X2apic, Nesting::Off), expected);
    }

    #[test]
    fn handler_under_a_split_irqchip_writes_a_port_between_eoi_and_return() {
        let code = handler(place(), None, Eoi::X2apicThenExit, Nesting::Off);
        assert!(code.ends_with(&[0x0f, 0x30, 0xe6, 0x80, 0xcf]));
    }

    #[test]
    fn handler_of_a_served_vector_writes_it_to_a_port_between_count_and_eoi() {
        let code = handler(place(), GuestVector::new(0x54), Eoi::X2apic, Nesting::Off);
        let tail = [
            0x2e, 0x66, 0xff, 0x06, 0x34, 0x12, // incl %cs:0x1234
            0xb0, 0x54, // mov $0x54,%al
            0xe6, 0xf5, // out %al,$0xf5
            0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0xcf,
        ];
        assert!(code.ends_with(&tail));
    }

    #[test]
    fn handler_that_nests_has_interrupts_on_between_count_and_eoi_only() {
        let code = handler(place(), GuestVector::new(0x54), Eoi::X2apic, Nesting::On);
        let tail = [
            0x2e, 0x66, 0xff, 0x06, 0x34, 0x12, // incl %cs:0x1234
            0xfb, 0x90, // sti; nop
            0xb0, 0x54, 0xe6, 0xf5, // mov $0x54,%al; out %al,$0xf5
            0xfa, // cli
            0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0xcf,
        ];
        assert!(code.ends_with(&tail));
    }

    #[test]
    fn handler_without_an_apic_touches_no_msr() {
        let code = handler(place(), None, Eoi::None, Nesting::Off);
        assert!(code.ends_with(&[0xff, 0x06, 0x34, 0x12, 0xcf]));
    }

    #[test]
    fn every_handler_stamps_first_and_fits_its_place() {
        for vector in GuestVector::all() {
            let code = handler(
                VectorPlace::of(vector),
                Some(vector),
                Eoi::X2apicThenExit,
                Nesting::On,
            );
            assert!(code.starts_with(&[0x0f, 0x31]));
            assert!(code.len() <= 64);
        }
    }

    #[test]
    fn idle_loop_jumps_back_to_its_halt() {
        let code = idle_loop();
        let after_jump = i16::try_from(code.len()).unwrap();
        assert_eq!(after_jump + i16::from(i8::from_ne_bytes([code[2]])), 0);
    }

    #[test]
    fn load_points_every_vector_at_its_own_code() {
        let memory = GuestMemory::new(layout::MEMORY_BYTES).unwrap();
        load(&memory, Eoi::X2apic, Nesting::Off, &BTreeSet::new());
        for vector in GuestVector::all() {
            let [offset, segment] = table_entry(&memory, vector.get());
            // rdtsc, the handler's first instruction
            let first = memory.read_byte(segment * 16 + offset);
            assert_eq!(first, 0x0f);
        }
        for exception in 0..layout::EXCEPTIONS {
            let [offset, segment] = table_entry(&memory, exception);
            assert_eq!(memory.read_byte(segment * 16 + offset + 1), exception);
        }
    }

    fn table_entry(memory: &GuestMemory, vector: u8) -> [usize; 2] {
        let entry = usize::from(vector) * 4;
        [entry, entry + 2].map(|at| {
            usize::from(memory.read_byte(at)) | usize::from(memory.read_byte(at + 1)) << 8
        })
    }
}
