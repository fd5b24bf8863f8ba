//! Why a dma-buf cannot be looked at.

use irqbroker_vfio_abi::Errno;
use rustix::io::Errno as HostErrno;

/// Why a file that came as a dma-buf cannot be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is a file of another kind, such as a memfd. Who has the same file may shrink it, which would
    /// end whoever looks at it.
    #[error("the file is no dma-buf, its file system is {magic:#x}")]
    Kind {
        /// `f_type` of `fstatfs(2)`.
        magic: u64,
    },
    /// It is empty, shorter than what is to be read, or larger than any picture.
    #[error("a dma-buf of {len} bytes holds no such picture")]
    Size {
        /// Its end.
        len: u64,
    },
    /// The kernel does not tell what it is or how long.
    #[error("cannot tell what the file is")]
    Stat {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// Its driver does not have the processor map it: ENODEV of i915's for a guest's memory.
    #[error("cannot map the dma-buf")]
    Map {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// Its driver does not allow the access to begin.
    #[error("cannot begin to read the dma-buf")]
    Access {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
}

impl From<ImportError> for Errno {
    /// ENOTTY if it is no dma-buf, EINVAL if it is of no such size; else the kernel's.
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Kind { .. } => Self::ENOTTY,
            ImportError::Size { .. } => Self::EINVAL,
            ImportError::Stat { source }
            | ImportError::Map { source }
            | ImportError::Access { source } => source.into(),
        }
    }
}
