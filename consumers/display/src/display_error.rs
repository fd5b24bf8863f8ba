//! Why a display cannot be opened or waited for.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use rustix::io::Errno as HostErrno;

use crate::plan::PlanError;
use crate::transport_choice::TransportChoice;

/// Why a display cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing of the device tells when there is something new to see.
    #[error("cannot wait for the display")]
    Plan {
        /// What is missing.
        #[source]
        source: PlanError,
    },
    /// The device hands out no pictures, or not in this way.
    #[error("the device hands out no pictures {choice}")]
    Transport {
        /// How they were to be had.
        choice: TransportChoice,
        /// What it answered.
        #[source]
        source: Errno,
    },
    /// There is no eventfd or epoll set to be had.
    #[error("cannot make an eventfd or an epoll set")]
    Fd {
        /// The kernel's answer.
        #[source]
        source: HostErrno,
    },
    /// An event cannot be bound. Those bound before it are unbound.
    #[error("cannot bind event {sub_index} of display interrupt {index}", index = index.0)]
    Bind {
        /// The display's index.
        index: IrqIndex,
        /// The event.
        sub_index: u32,
        /// What the device answered.
        #[source]
        source: Errno,
    },
}

/// The events cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("cannot wait for the display's events")]
pub struct WaitError {
    /// The kernel's answer.
    #[source]
    pub source: HostErrno,
}
