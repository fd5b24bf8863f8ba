//! The system calls a running daemon makes: listed here and nowhere else.

use libc::c_long;

/// An argument must be this under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masked {
    /// Which argument, from 0.
    pub(super) argument: u8,
    /// Its bits that matter.
    pub(super) mask: u64,
    /// What they must be.
    pub(super) value: u64,
}

/// A call that is let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Its number on this machine.
    pub(super) number: c_long,
    /// All must hold; none: whatever its arguments.
    pub(super) arguments: &'static [Masked],
}

const fn any(number: c_long) -> Call {
    Call {
        number,
        arguments: &[],
    }
}

const fn only(number: c_long, arguments: &'static [Masked]) -> Call {
    Call { number, arguments }
}

const fn read_only(argument: u8) -> Masked {
    Masked {
        argument,
        mask: (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64,
        value: libc::O_RDONLY as u64,
    }
}

/// All bits of an `int`: the upper half of the register is anything.
const INT: u64 = 0xffff_ffff;

/// Opens for reading, creates nothing (`include/uapi/asm-generic/fcntl.h`).
const READ_ONLY: &[Masked] = &[read_only(2)];
/// The same, where there is no folder before the path.
#[cfg(target_arch = "x86_64")]
const OPEN_READ_ONLY: &[Masked] = &[read_only(1)];
/// Memory that is not executable, argument 2 of `mmap` and `mprotect`.
const NOT_EXECUTABLE: &[Masked] = &[Masked {
    argument: 2,
    mask: libc::PROT_EXEC as u64,
    value: 0,
}];
/// Makes a socket non-blocking, as `std` does.
const FIONBIO: &[Masked] = &[Masked {
    argument: 1,
    mask: INT,
    value: libc::FIONBIO,
}];
/// The daemon ends itself in a panic that cannot unwind.
const ABORT: &[Masked] = &[Masked {
    argument: 2,
    mask: INT,
    value: libc::SIGABRT as u64,
}];

/// What a daemon needs that serves its clients: no socket is made, no program run, nothing opened for
/// writing, no memory made executable, no other process touched.
pub(super) const CALLS: &[Call] = &[
    // The loop.
    any(libc::SYS_epoll_create1),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_pwait2),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_epoll_wait),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    any(libc::SYS_timerfd_create),
    any(libc::SYS_timerfd_settime),
    // Signals peers' eventfds.
    any(libc::SYS_io_submit),
    any(libc::SYS_io_getevents),
    any(libc::SYS_io_destroy),
    // Ends a write that a peer holds up.
    any(libc::SYS_timer_settime),
    any(libc::SYS_timer_delete),
    any(libc::SYS_clock_gettime),
    // Clients, metrics, the host of vGPUs, the service manager: on sockets that are there.
    any(libc::SYS_accept4),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    any(libc::SYS_sendmsg),
    any(libc::SYS_sendto),
    any(libc::SYS_shutdown),
    only(libc::SYS_ioctl, FIONBIO),
    // Eventfds, signals, logs.
    any(libc::SYS_eventfd2),
    any(libc::SYS_read),
    any(libc::SYS_readv),
    any(libc::SYS_preadv2),
    any(libc::SYS_write),
    any(libc::SYS_writev),
    any(libc::SYS_close),
    any(libc::SYS_dup),
    any(libc::SYS_dup3),
    any(libc::SYS_fcntl),
    // Claim records.
    any(libc::SYS_memfd_create),
    any(libc::SYS_fallocate),
    any(libc::SYS_fstatfs),
    any(libc::SYS_ftruncate),
    any(libc::SYS_pread64),
    any(libc::SYS_pwrite64),
    // What an eventfd is, the configuration at a reload, the socket's file at the end.
    only(libc::SYS_openat, READ_ONLY),
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_open, OPEN_READ_ONLY),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_lseek),
    any(libc::SYS_unlinkat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_unlink),
    // Memory, locks, the end.
    any(libc::SYS_brk),
    any(libc::SYS_futex),
    any(libc::SYS_getrandom),
    any(libc::SYS_madvise),
    only(libc::SYS_mmap, NOT_EXECUTABLE),
    only(libc::SYS_mprotect, NOT_EXECUTABLE),
    any(libc::SYS_mremap),
    any(libc::SYS_munmap),
    any(libc::SYS_sched_yield),
    any(libc::SYS_getpid),
    any(libc::SYS_gettid),
    any(libc::SYS_geteuid),
    any(libc::SYS_restart_syscall),
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sigaltstack),
    only(libc::SYS_tgkill, ABORT),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
];
