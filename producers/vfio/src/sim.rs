//! A simulated VFIO device that keeps the kernel's rules, on real eventfds.
//!
//! It takes the bytes a kernel takes, fds by their numbers included, and decides by the rules of
//! `irqbroker-vfio-abi`. What is behind the rules is here: who is bound, which lines are asserted
//! and masked, what configuration space says. A test plays the hardware with
//! [`raise`](SimDevice::raise), [`assert_line`](SimDevice::assert_line),
//! [`deassert_line`](SimDevice::deassert_line) and [`unplug`](SimDevice::unplug).
//!
//! An eventfd that masks or unmasks acts in the kernel inside the `write(2)` that signals it,
//! where nothing in user space can: here it acts when the device is **pumped**. Every request and
//! stimulus pumps first; [`pump`](SimDevice::pump) does nothing else.
//!
//! Not simulated: semaphore eventfds (refused), the unbinding of a mask or unmask eventfd whose
//! last fd is closed (the simulator holds one), interrupts of other devices on a shared line, and
//! `VFIO_DEVICE_IOEVENTFD` beyond its refusals. What stands in an unmask eventfd when it is bound
//! is acted upon, as in the kernel, but does not stay in its counter.
//!
//! Source of the rules: `drivers/vfio/pci/vfio_pci_intrs.c`, `vfio_pci_core.c` and
//! `drivers/vfio/platform/vfio_platform_irq.c`, `drivers/vfio/virqfd.c`. The
//! [conformance cases](crate::conformance) hold it to what a real kernel answers.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Trigger;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqIndex;
use rustix::process::PidfdFlags;

use crate::raw::RawDevice;
use crate::raw::Request;

mod builder;
mod config;
mod device;
mod eventfd;
mod gfx;
mod hardware;
mod line;
mod requests;
mod script;
mod set_irqs;
mod state;

pub use builder::SimDeviceBuilder;
pub use hardware::Raised;
pub use script::Fault;

use state::State;

/// A simulated device. See the [builder](SimDeviceBuilder) for what it can be.
pub struct SimDevice {
    /// This process, to look up fds by their numbers.
    process: OwnedFd,
    /// Innermost: nothing is taken inside.
    state: Mutex<State>,
}

impl SimDevice {
    /// A device of vfio-pci: conventional PCI, with configuration space, a BAR of 4 KiB and REQ.
    pub fn pci() -> SimDeviceBuilder {
        SimDeviceBuilder::pci()
    }

    /// A device of vfio-platform with these interrupts, one an index.
    pub fn platform(interrupts: &[Trigger]) -> SimDeviceBuilder {
        SimDeviceBuilder::platform(interrupts)
    }

    fn new(state: State) -> rustix::io::Result<Arc<Self>> {
        let this = rustix::process::getpid();
        Ok(Arc::new(Self {
            process: rustix::process::pidfd_open(this, PidfdFlags::empty())?,
            state: Mutex::new(state),
        }))
    }

    /// Acts upon what was written to eventfds that mask or unmask.
    pub fn pump(&self) {
        drop(self.pumped());
    }

    /// The device sends the message, or has the edge, of this sub-index.
    pub fn raise(&self, index: IrqIndex, sub_index: u32) -> Raised {
        self.pumped().raise(index, sub_index)
    }

    /// The device asserts the line of a level interrupt.
    pub fn assert_line(&self, index: IrqIndex) {
        self.pumped().set_line(index, true);
    }

    /// The device has been served, and lets go of its line.
    pub fn deassert_line(&self, index: IrqIndex) {
        self.pumped().set_line(index, false);
    }

    /// Whether VFIO has the line masked.
    #[must_use]
    pub fn is_masked(&self, index: IrqIndex) -> bool {
        self.pumped().is_masked(index)
    }

    /// Whether an eventfd is bound to the sub-index.
    #[must_use]
    pub fn is_bound(&self, index: IrqIndex, sub_index: u32) -> bool {
        self.pumped().triggers.contains_key(&(index, sub_index))
    }

    /// Whether an eventfd that unmasks is bound to the line.
    #[must_use]
    pub fn has_unmask_event(&self, index: IrqIndex) -> bool {
        let state = self.pumped();
        let line = state.lines.get(&index);
        line.is_some_and(|line| line.unmask.is_some())
    }

    /// Which of INTx, MSI and MSI-X is enabled.
    #[must_use]
    pub fn active(&self) -> Option<IrqIndex> {
        self.pumped().active
    }

    /// The device is pulled out: every request is answered with ENODEV from now on, and nothing
    /// is signalled any more.
    pub fn unplug(&self) {
        self.pumped().gone = true;
    }

    /// The next request of this kind is answered with `fault`, and does nothing.
    pub fn fail_next(&self, request: Request, fault: Fault) {
        self.fail_nth(request, 0, fault);
    }

    /// The request of this kind after `skip` others is answered with `fault`, and does nothing.
    pub fn fail_nth(&self, request: Request, skip: usize, fault: Fault) {
        self.state().script.fail(request, skip, fault);
    }

    /// The next time this sub-index of MSI or MSI-X is bound the host cannot supply it: that
    /// fails, after what was bound has been taken away, as in the kernel.
    pub fn refuse_vector(&self, sub_index: u32, errno: Errno) {
        self.state().refused.push((sub_index, errno));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pumped(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.pump();
        state
    }
}

impl RawDevice for SimDevice {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        if !request.is_covered_by(argument) {
            return Err(Errno::EFAULT);
        }
        let mut state = self.pumped();
        match state.script.enter(request) {
            Some(Fault::Errno(errno)) => return Err(errno),
            Some(Fault::Answer(answer)) => return Ok(answer),
            None => {}
        }
        state.answer(&self.process, request, argument)
    }
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDevice")
    }
}

#[cfg(test)]
mod tests;
