//! Why an operation of the manager failed. A failed operation changes nothing.

use std::sync::Arc;

use irqbroker_core::Gsi;
use irqbroker_core::RegistryError;
use irqbroker_core::ServiceError;
use irqbroker_vfio::pci::LayoutError;
use irqbroker_vfio::pci::RestoreError;

use crate::manager::fault::Fault;

/// Why a manager could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The registry could not.
    #[error("no registry for the manager")]
    Registry(#[from] RegistryError),
    /// The fd to be polled could not.
    #[error("no timer for the manager")]
    Timer(#[source] rustix::io::Errno),
}

/// Why a service call failed.
#[derive(Debug, thiserror::Error)]
#[error("the relay could not be serviced")]
pub struct ServiceFailed(#[from] pub(super) ServiceError);

/// Why a device could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddDeviceError {
    /// The name is another device's.
    #[error("there is a device {name} already")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// No function has its interrupts like that.
    #[error("{name} cannot have its interrupts there")]
    Layout {
        /// The device.
        name: String,
        /// What is wrong with it.
        #[source]
        source: LayoutError,
    },
    /// The remapping unit has its links in another registry, or its messages go into another VM.
    #[error("the unit before {name} is not of this manager")]
    ForeignUnit {
        /// The device.
        name: String,
    },
    /// The layout says that the line is tracked where the source automasks it (VFIO), or the
    /// other way round.
    #[error("{name} does not tell its line's level like that")]
    LineSource {
        /// The device.
        name: String,
    },
}

/// Why a pin does not lead where it was to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteIntxError {
    /// The function has no line.
    #[error("the function has no line")]
    NoLine,
    /// There are 256 functions there already.
    #[error("gsi {gsi} has no room for another function")]
    Crowded {
        /// The input.
        gsi: Gsi,
    },
    /// The line has to be driven from here, and the manager was given nobody to drive it.
    #[error("nobody drives gsi {gsi}")]
    NoLines {
        /// The input.
        gsi: Gsi,
    },
}

/// Why saved state was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreDeviceError {
    /// Written by other software than this.
    #[error("saved device has version {found}, not {expected}")]
    Version {
        /// The version it says.
        found: u32,
        /// The one that is understood.
        expected: u32,
    },
    /// It is not this function's.
    #[error("saved interrupts refused")]
    Interrupts(#[from] RestoreError),
    /// The device or the host did not go along.
    #[error("{name} cannot serve what was saved")]
    Fault {
        /// The device.
        name: String,
        /// The first fault.
        #[source]
        fault: Arc<Fault>,
    },
}

/// Why the saved state of a manager was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreManagerError {
    /// Written by other software than this.
    #[error("saved manager has version {found}, not {expected}")]
    Version {
        /// The version it says.
        found: u32,
        /// The one that is understood.
        expected: u32,
    },
    /// One of the two has a device that the other has not.
    #[error("saved manager and the present one do not both have {name}")]
    Device {
        /// The device.
        name: String,
    },
    /// A device's state was refused.
    #[error("saved state of {name} refused")]
    Refused {
        /// The device.
        name: String,
        /// Why.
        #[source]
        source: RestoreDeviceError,
    },
}
