//! A device of a manager, as the VMM's device code holds it.

use std::fmt;
use std::sync::Arc;

use irqbroker_core::Gsi;
use irqbroker_vfio::pci::Claim;
use irqbroker_vfio::pci::InterruptMode;
use irqbroker_vfio::pci::Level;
use irqbroker_vfio::pci::MessageSource;

use crate::manager::error::RestoreDeviceError;
use crate::manager::error::RouteIntxError;
use crate::manager::explain::Explanation;
use crate::manager::function::Function;
use crate::manager::saved::SavedDevice;

/// A device's place in its manager; dropping it removes the device.
///
/// Accesses may come from any thread, and cannot fail: a register takes what the guest writes.
/// What could not be done on account of it stands in [`explain`](Self::explain), and is tried
/// again by the service loop.
#[must_use = "dropping it removes the device"]
pub struct DeviceHandle {
    function: Arc<Function>,
}

impl DeviceHandle {
    pub(super) fn new(function: Arc<Function>) -> Self {
        Self { function }
    }

    /// What it was added as.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.function.name
    }

    /// Lays the interrupts' bits over what `data` holds, the device's own answer to a read of
    /// config space. Pass the read on first, unless nothing but interrupts is there.
    pub fn config_read(&self, offset: u16, data: &mut [u8]) -> Claim {
        self.function.read_config(offset, data)
    }

    /// The guest has written config space. Unless the answer is [`Claim::All`], the write is the
    /// device's too.
    pub fn config_write(&self, offset: u16, data: &[u8]) -> Claim {
        self.function.write_config(offset, data)
    }

    /// Lays the MSI-X table and pending-bit array over a read of a BAR.
    ///
    /// A vector's pending bit is read out of its eventfd, which keeps its event; of a vector that
    /// has none yet it is read out of the device.
    pub fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Claim {
        self.function.read_bar(bar, offset, data)
    }

    /// The guest has written a BAR. Unless the answer is [`Claim::All`], the write is the
    /// device's too.
    pub fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Claim {
        self.function.write_bar(bar, offset, data)
    }

    /// A device model of this process tells the level of its line.
    pub fn set_level(&self, level: Level) {
        self.function.set_level(level);
    }

    /// Where the function's pin leads: an input of the interrupt controller, or nowhere. At first
    /// nowhere.
    ///
    /// # Errors
    ///
    /// See [`RouteIntxError`]; it leads where it led.
    pub fn route_intx(&self, gsi: Option<Gsi>) -> Result<(), RouteIntxError> {
        self.function.route_line(gsi)
    }

    /// The function was reset: interrupts are disabled, and nothing is pending.
    pub fn reset(&self) {
        self.function.reset();
    }

    /// What delivers now.
    #[must_use]
    pub fn mode(&self) -> InterruptMode {
        self.function.state().pci.mode()
    }

    /// What the guest has set, and what is pending. The guest and the device rest meanwhile.
    #[must_use]
    pub fn save(&self) -> SavedDevice {
        self.function.save()
    }

    /// Takes saved state over: all vectors with one commit of routes, and what was pending is
    /// delivered or pends again. To be done before the guest runs.
    ///
    /// # Errors
    ///
    /// See [`RestoreDeviceError`]; everything is as it was.
    pub fn restore(&self, saved: &SavedDevice) -> Result<(), RestoreDeviceError> {
        self.function.restore(saved)
    }

    /// Which way a vector's interrupts take, and why not a better one.
    #[must_use]
    pub fn explain(&self, vector: MessageSource) -> Explanation {
        self.function.explain(vector)
    }

    /// The same for the function's line.
    #[must_use]
    pub fn explain_line(&self) -> Explanation {
        self.function.explain_line()
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        let function = &self.function;
        function.shared.functions().remove(&function.name);
        function.tear_down();
    }
}

impl fmt::Debug for DeviceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceHandle({})", self.function.name)
    }
}
