//! Rules in which kernels differ.

use irqbroker_vfio_abi::VectorGrowth;

/// Rules in which kernels differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelProfile {
    /// What becomes of vectors that an index was not enabled with, where it is
    /// [`NORESIZE`](irqbroker_vfio_abi::IrqFlags::NORESIZE).
    pub fixed_vectors: VectorGrowth,
    /// MSI-X vectors are allocated on demand, where the host's interrupt domain can: such an
    /// index is not NORESIZE. Since Linux 6.5.
    pub dynamic_msix: bool,
    /// The interrupt handler of INTx stays from enabling to disabling, so that a bad eventfd
    /// leaves the old one bound. Since Linux 6.9, 6.1.84 and 6.6.24.
    pub persistent_intx: bool,
    /// An fd below -1 for ERR or REQ is refused instead of ignored. Seen in Linux 7.2 and
    /// 6.12.107 (`vfio_pci_eventfd_replace_locked`), not in 6.17 and 6.1.176.
    pub strict_single_fds: bool,
}

impl KernelProfile {
    /// Linux 6.1 as distributions have it, with its fixes.
    pub const LINUX_6_1: Self = Self {
        fixed_vectors: VectorGrowth::RequestRefused,
        dynamic_msix: false,
        persistent_intx: true,
        strict_single_fds: false,
    };
    /// Linux 6.1 before 6.1.84.
    pub const LINUX_6_1_0: Self = Self {
        persistent_intx: false,
        ..Self::LINUX_6_1
    };
    /// Linux 6.9 to 6.17.
    pub const LINUX_6_9: Self = Self {
        fixed_vectors: VectorGrowth::BindRefused,
        dynamic_msix: true,
        persistent_intx: true,
        strict_single_fds: false,
    };
    /// Linux 7.2, and 6.12 with its fixes.
    pub const LINUX_7_2: Self = Self {
        strict_single_fds: true,
        ..Self::LINUX_6_9
    };

    /// The rules of a kernel by its release, `6.1.0-50-amd64`; those of the newest where the text
    /// is no release.
    #[must_use]
    pub fn of_release(release: &str) -> Self {
        let numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut numbers = numbers.map(|digits| digits.parse::<u32>().ok());
        let mut number = || numbers.next().flatten();
        match (number(), number(), number()) {
            (Some(major), Some(minor), _) if (major, minor) < (6, 5) => Self::LINUX_6_1,
            (Some(6), Some(12), Some(patch)) if patch >= 107 => Self::LINUX_7_2,
            (Some(6), Some(..=17), _) => Self::LINUX_6_9,
            _ => Self::LINUX_7_2,
        }
    }
}

impl Default for KernelProfile {
    /// The newest kernel's rules.
    fn default() -> Self {
        Self::LINUX_7_2
    }
}
