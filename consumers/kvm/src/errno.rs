//! The kernel's answer to a refused call.

use std::fmt;

/// An error number of the kernel, positive, as in `errno(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvmErrno(pub i32);

impl KvmErrno {
    /// A message that no processor of the guest takes (`KVM_SIGNAL_MSI`).
    pub const PERM: Self = Self(1);
    /// The VM is dead, or belongs to another process.
    pub const IO: Self = Self(5);
    /// `KVM_IRQ_LINE` without an in-kernel irqchip.
    pub const NXIO: Self = Self(6);
    /// An irqfd holds the eventfd already.
    pub const BUSY: Self = Self(16);
    /// An argument the kernel does not take.
    pub const INVAL: Self = Self(22);
}

impl fmt::Display for KvmErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for KvmErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KvmErrno({self})")
    }
}

impl std::error::Error for KvmErrno {}

impl From<rustix::io::Errno> for KvmErrno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<vmm_sys_util::errno::Error> for KvmErrno {
    fn from(error: vmm_sys_util::errno::Error) -> Self {
        Self(error.errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_constants_are_the_kernels() {
        use rustix::io::Errno;
        assert_eq!(KvmErrno::PERM, Errno::PERM.into());
        assert_eq!(KvmErrno::IO, Errno::IO.into());
        assert_eq!(KvmErrno::NXIO, Errno::NXIO.into());
        assert_eq!(KvmErrno::BUSY, Errno::BUSY.into());
        assert_eq!(KvmErrno::INVAL, Errno::INVAL.into());
    }
}
