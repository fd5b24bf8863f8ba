//! Reads the processor's time-stamp counter.
#![expect(unsafe_code, reason = "reading the TSC takes an instruction")]
// UNSAFETY: one instruction pair without operands in memory.

use std::arch::asm;

/// The time-stamp counter now, in ticks of the host's TSC.
///
/// Ordered after everything before it in the program, so that a stamp taken before a system call
/// is not older than the work that led to it (Intel SDM 2, RDTSC: the fence is what makes it wait).
#[must_use]
#[inline]
pub fn tsc_now() -> u64 {
    let low: u32;
    let high: u32;
    // SAFETY: LFENCE and RDTSC exist on every x86-64 processor, touch no memory and write only the
    // two registers named; Linux lets user space read the TSC unless PR_SET_TSC forbade it.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsc_now_read_twice_does_not_go_back() {
        let first = tsc_now();
        assert!(tsc_now() >= first);
    }
}
