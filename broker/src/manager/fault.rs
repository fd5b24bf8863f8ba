//! Why an interrupt of the guest's is not served although the guest may expect it.

use irqbroker_core::Gsi;
use irqbroker_core::LinkError;
use irqbroker_core::RegisterError;
use irqbroker_kvm::MessageRefused;
use irqbroker_kvm::PinError;
use irqbroker_vfio::BindError;
use irqbroker_vfio::IndexError;

/// Why an interrupt is not served although the guest may expect it.
///
/// A guest's write cannot fail, so this is kept with the vector until the guest masks it or it
/// is served after all: [`service`](crate::manager::Manager::service) tries again.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The device does not have the capability that the guest was shown.
    #[error("the device cannot signal it")]
    Index(#[from] IndexError),
    /// The device refused, or the host is short of interrupts.
    #[error("the device does not take its eventfd")]
    Bind(#[from] BindError),
    /// There are fewer sources than the guest was shown vectors.
    #[error("vector {vector} has no source")]
    NoSource {
        /// The vector.
        vector: u16,
    },
    /// The capability could not be enabled on the device.
    #[error("its capability is not enabled on the device")]
    NotEnabled,
    /// The guest's message is none that an interrupt controller takes.
    #[error("its message leads nowhere")]
    Message(#[from] MessageRefused),
    /// Source and consumer could not be joined.
    #[error("it could not be linked")]
    Register(#[from] RegisterError),
    /// The link did not do what the guest asked for.
    #[error("its link does not follow the guest")]
    Link(#[from] LinkError),
    /// The line's pin cannot be had.
    #[error("its pin cannot be had")]
    Pin(#[from] PinError),
    /// The line needs somebody who drives it, and the manager was given nobody.
    #[error("nobody drives gsi {gsi}")]
    NoLines {
        /// The input.
        gsi: Gsi,
    },
}

impl Fault {
    /// Whether it may pass without the guest's doing anything.
    pub(super) fn may_pass(&self) -> bool {
        let for_good = matches!(
            self,
            Self::Message(_)
                | Self::NoSource { .. }
                | Self::NoLines { .. }
                | Self::Bind(BindError::Range { .. } | BindError::NoResize { .. })
                | Self::Register(RegisterError::Refused { .. } | RegisterError::Duplicate { .. })
        );
        !for_good
    }
}
