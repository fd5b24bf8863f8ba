//! Errors, one type for each operation that can fail.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::AffinityError;

/// Why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no such node: no KVM module for this processor is loaded, or a container lacks it.
    #[error(
        "{path} does not exist: load kvm_intel or kvm_amd, or pass the device node into the container",
        path = path.display()
    )]
    NodeMissing {
        /// The node asked for.
        path: PathBuf,
    },
    /// The node is there, the user may not open it.
    #[error(
        "no permission to open {path}: run as root or as a member of the group that owns it, often kvm",
        path = path.display()
    )]
    NodeDenied {
        /// The node asked for.
        path: PathBuf,
    },
    /// The node could not be opened for another reason; `ENODEV` and `ENXIO`: no driver behind it.
    #[error("cannot open {path}", path = path.display())]
    NodeOpen {
        /// The node asked for.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: Errno,
    },
    /// The file opened is not KVM's, or speaks an API other than 12, stable since Linux 2.6.22.
    #[error(
        "{path} answers KVM_GET_API_VERSION with {version} instead of 12: it is not a kvm node",
        path = path.display()
    )]
    NotKvm {
        /// The node asked for.
        path: PathBuf,
        /// The answer, -1 for a failure.
        version: i32,
    },
    /// An ioctl failed on a node that opened.
    #[error("{call} failed")]
    Ioctl {
        /// The ioctl, with the capability it enables, if any.
        call: &'static str,
        /// What the kernel answered.
        #[source]
        source: Errno,
    },
    /// The guest's memory or the second mapping of `kvm_run` could not be mapped.
    #[error("cannot map memory of the guest")]
    Map(#[source] Errno),
}

/// Why the vCPU thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread could be made.
    #[error("cannot start the vcpu thread")]
    Thread(#[source] std::io::Error),
    /// The thread could not be bound to its core.
    #[error("cannot place the vcpu thread")]
    Affinity(#[source] AffinityError),
    /// The signal that interrupts `KVM_RUN` could not be set up.
    #[error("cannot set up the signal that interrupts KVM_RUN")]
    Signal(#[source] Errno),
}

/// Why the vCPU thread ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An exception or an interrupt below `0x20`, for which the guest has no handler.
    #[error("guest took vector {vector:#04x}, for which it has no handler")]
    StrayVector {
        /// The vector, `0x00..=0x1f`.
        vector: u8,
    },
    /// The guest shut down, as after a triple fault.
    #[error("guest shut down")]
    Shutdown,
    /// KVM could not go on with the guest; 1: an instruction it does not emulate.
    #[error("kvm internal error, suberror {suberror}")]
    InternalError {
        /// `KVM_INTERNAL_ERROR_*` of `include/uapi/linux/kvm.h`.
        suberror: u32,
    },
    /// The processor refused to enter the guest.
    #[error("entry into the guest failed on cpu {cpu}, hardware reason {reason:#x}")]
    FailedEntry {
        /// The hardware's reason, vendor-specific.
        reason: u64,
        /// The core it happened on.
        cpu: u32,
    },
    /// An exit that this guest's code cannot cause.
    #[error("unexpected exit reason {reason}")]
    UnexpectedExit {
        /// `KVM_EXIT_*` of `include/uapi/linux/kvm.h`.
        reason: u32,
    },
    /// `KVM_RUN` itself failed.
    #[error("KVM_RUN failed")]
    Enter(#[source] Errno),
    /// `KVM_INTERRUPT` failed.
    #[error("KVM_INTERRUPT of vector {vector:#04x} failed")]
    Inject {
        /// The vector that was to be injected.
        vector: u8,
        /// What the kernel answered.
        #[source]
        source: Errno,
    },
    /// A hook given with [`RunOptions`](crate::RunOptions) panicked on the vCPU thread.
    #[error("a hook panicked on the vcpu thread")]
    Panicked,
}

/// Why a wait ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The deadline came first.
    #[error("vector {vector:#04x} ran {delivered} times instead of {wanted} by the deadline")]
    TimedOut {
        /// The vector waited for.
        vector: u8,
        /// Runs by then.
        delivered: u64,
        /// Runs waited for.
        wanted: u64,
    },
    /// The vCPU thread has ended.
    #[error("the vcpu thread has ended")]
    Ended(#[source] RunError),
}

/// Why it could not be told whether the guest is quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The deadline came first; `delivered` runs of all vectors until then.
    #[error("guest was not quiet by the deadline, {delivered} interrupts handled so far")]
    TimedOut {
        /// Runs of all handlers by then.
        delivered: u64,
    },
    /// The vCPU thread has ended.
    #[error("the vcpu thread has ended")]
    Ended(#[source] RunError),
    /// The local APIC's or the vCPU's state could not be read.
    #[error("cannot read the vcpu's state")]
    State(#[source] Errno),
}

/// Why an IOAPIC pin could not be programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The kernel has no IOAPIC in this VM: only a full irqchip does.
    #[error("no in-kernel ioapic: the vm has no full irqchip")]
    NoIoapic,
    /// KVM's IOAPIC has pins 0-23.
    #[error("ioapic pin {pin} does not exist")]
    NoSuchPin {
        /// The pin asked for.
        pin: u8,
    },
    /// The IOAPIC's state could not be read or written.
    #[error("cannot program ioapic pin {pin}")]
    Ioctl {
        /// The pin asked for.
        pin: u8,
        /// What the kernel answered.
        #[source]
        source: Errno,
    },
}
