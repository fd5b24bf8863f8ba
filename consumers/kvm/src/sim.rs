//! A simulated VM that keeps the kernel's rules, on real eventfds.
//!
//! KVM's irqfd runs inside the `write(2)` that signals an eventfd, where nothing in user space
//! can. Here an irqfd delivers when it is **pumped**: [`SimVm::pump`] looks at every bound
//! eventfd, and injects one interrupt for each that was written to since. Assign, deassign and
//! commit pump first, so that events keep their order with these as in the kernel. A test pumps
//! after each step that may signal; what it cannot see is that code under test *read* an event
//! between a write and the next pump.
//!
//! Not simulated: the unbinding of an eventfd whose last fd is closed (the simulator holds one),
//! semaphore eventfds (refused), and the PIC's pins, which are routed but deliver nothing.
//!
//! Source of the rules: `virt/kvm/eventfd.c`, `virt/kvm/irqchip.c`, `arch/x86/kvm/ioapic.c`. The
//! [conformance bodies](crate::conformance) hold it to what the running kernel does.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::DeviceId;
use irqbroker_core::EventId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;

use crate::capabilities::IrqchipMode;
use crate::conformance::KernelProfile;
use crate::conformance::VmShape;
use crate::errno::KvmErrno;
use crate::message::check_address;
use crate::route::Route;
use crate::route::RouteEntry;
use crate::vm_irq::KernelCapabilities;
use crate::vm_irq::LineLevel;
use crate::vm_irq::MsiDelivery;
use crate::vm_irq::VmIrq;

mod ioapic;
mod irqfd;
mod script;
mod state;

pub use script::SimCall;
pub use script::SimCallKind;

use ioapic::LineSource;
use irqfd::SimIrqfd;
use script::BeforeCommits;
use state::State;

/// What the simulated kernel answers: that of an x86 host.
const CAPABILITIES: KernelCapabilities = KernelCapabilities {
    max_routes: 4096,
    irqfd: true,
    resample: true,
    signal_msi: true,
    msi_devid: false,
};

/// A host: what its VMs share is that an eventfd has one irqfd.
#[derive(Debug, Clone)]
pub struct SimHost {
    profile: KernelProfile,
    irqfds: Arc<Mutex<HashMap<EventId, usize>>>,
}

/// A VM of a [`SimHost`].
pub struct SimVm {
    host: SimHost,
    shape: VmShape,
    capabilities: KernelCapabilities,
    /// Taken before the host's table.
    state: Mutex<State>,
    before_commits: BeforeCommits,
}

impl SimHost {
    /// A host whose kernel follows `profile`.
    #[must_use]
    pub fn new(profile: KernelProfile) -> Self {
        Self {
            profile,
            irqfds: Arc::default(),
        }
    }

    /// A new VM.
    #[must_use]
    pub fn vm(&self, shape: VmShape) -> Arc<SimVm> {
        self.vm_with(shape, CAPABILITIES)
    }

    /// A new VM on a kernel with other capabilities, which the simulator reports but only
    /// `max_routes` of which it enforces.
    #[must_use]
    pub fn vm_with(&self, shape: VmShape, capabilities: KernelCapabilities) -> Arc<SimVm> {
        Arc::new(SimVm {
            host: self.clone(),
            shape,
            capabilities,
            state: Mutex::default(),
            before_commits: BeforeCommits::default(),
        })
    }
}

impl Default for SimHost {
    /// A host with the newest kernel's rules.
    fn default() -> Self {
        Self::new(KernelProfile::default())
    }
}

impl SimVm {
    /// Delivers what was written to the bound eventfds since the last time.
    pub fn pump(&self) {
        self.state().pump();
    }

    /// The guest serves the interrupt of a pin: one acknowledgement, which lowers the resample
    /// irqfds' line once and signals each of their resample events.
    pub fn eoi(&self, gsi: Gsi) {
        let mut state = self.state();
        state.pump();
        state.eoi(gsi);
    }

    /// Interrupts delivered so far by this message, or by messages with this address and data.
    #[must_use]
    pub fn delivered_message(&self, message: MsiMessage) -> u64 {
        let state = self.state();
        state.messages.get(&message).copied().unwrap_or(0)
    }

    /// Interrupts delivered so far through an IOAPIC pin.
    #[must_use]
    pub fn delivered_pin(&self, pin: u32) -> u64 {
        self.state().ioapic.delivered(pin)
    }

    /// Interrupts delivered so far with this vector, by messages and by pins.
    #[must_use]
    pub fn delivered(&self, vector: Vector) -> u64 {
        let state = self.state();
        let messages = state.messages.iter();
        let by_message: u64 = messages
            .filter(|(message, _)| message.data & 0xff == u32::from(vector.0))
            .map(|(_, count)| count)
            .sum();
        by_message + state.ioapic.delivered_vector(vector)
    }

    /// What the guest writes to a pin's redirection entry. At the start pin `n` has vector
    /// `0x30 + n`, edge-triggered below 16 (ISA) and level-triggered from there (PCI).
    pub fn program_pin(&self, pin: u32, vector: Vector, trigger: Trigger) {
        self.state().ioapic.program(pin, vector, trigger);
    }

    /// Whether an IOAPIC pin's line is asserted.
    #[must_use]
    pub fn is_asserted(&self, pin: u32) -> bool {
        self.state().ioapic.is_asserted(pin)
    }

    /// The routing table as the guest's interrupts find it.
    #[must_use]
    pub fn table(&self) -> Vec<RouteEntry> {
        self.state().table.clone()
    }

    /// The irqfds, each with its eventfd and GSI, in the order of their binding.
    #[must_use]
    pub fn irqfds(&self) -> Vec<(EventId, Gsi)> {
        let state = self.state();
        let irqfds = state.irqfds.iter();
        irqfds.map(|irqfd| (irqfd.token.id(), irqfd.gsi)).collect()
    }

    /// From now on every call is answered with EIO, as for a dead VM.
    pub fn close(&self) {
        self.state().closed = true;
    }

    /// The calls so far, refused ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<SimCall> {
        self.state().script.calls().to_vec()
    }

    /// The calls since the last time they were taken, which are kept no longer.
    #[must_use]
    pub fn take_calls(&self) -> Vec<SimCall> {
        self.state().script.take_calls()
    }

    /// The next call of this kind fails, and does nothing.
    pub fn fail_next(&self, kind: SimCallKind, errno: KvmErrno) {
        self.fail_nth(kind, 0, errno);
    }

    /// The call of this kind after `skip` others fails, and does nothing.
    pub fn fail_nth(&self, kind: SimCallKind, skip: usize, errno: KvmErrno) {
        self.state().script.fail(kind, skip, errno);
    }

    /// From now on each commit of routes calls this first, and takes as long as it does.
    pub fn before_commits(&self, wait: impl Fn() + Send + Sync + 'static) {
        self.before_commits.set(Arc::new(wait));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the call; the state if it may go on.
    fn enter(&self, call: SimCall) -> Result<MutexGuard<'_, State>, KvmErrno> {
        let mut state = self.state();
        state.script.enter(call)?;
        match state.closed {
            true => Err(KvmErrno::IO),
            false => Ok(state),
        }
    }

    fn assign(
        &self,
        mut state: MutexGuard<'_, State>,
        event: BorrowedFd<'_>,
        resample: Option<BorrowedFd<'_>>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        let needed = match resample {
            Some(_) => [IrqchipMode::Full].as_slice(),
            None => &[IrqchipMode::Full, IrqchipMode::Split],
        };
        if !needed.contains(&self.shape.irqchip) {
            return Err(KvmErrno::INVAL);
        }
        let token = Token::of(event).map_err(|_| KvmErrno::INVAL)?;
        let resample = resample.map(irqfd::resample_event).transpose()?;
        state.pump();
        let mut host = self.host.irqfds();
        let bound_here = state.irqfds.iter().any(|irqfd| irqfd.token == token);
        if bound_here || (self.host.profile.global_irqfd && host.contains_key(&token.id())) {
            return Err(KvmErrno::BUSY);
        }
        *host.entry(token.id()).or_default() += 1;
        drop(host);
        let (irqfd, pending) = SimIrqfd::bind(token, gsi, resample)?;
        let source = irqfd.source();
        state.irqfds.push(irqfd);
        if pending {
            state.inject(gsi, source);
        }
        Ok(())
    }

    fn check_table(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        let limit = self.capabilities.max_routes;
        let fits = u32::try_from(table.len()).is_ok_and(|entries| entries <= limit);
        if self.shape.irqchip == IrqchipMode::None || !fits {
            return Err(KvmErrno::INVAL);
        }
        let mut by_gsi: HashMap<Gsi, Vec<&Route>> = HashMap::new();
        for RouteEntry { gsi, target } in table {
            let valid = match target {
                Route::Msi(msi) => {
                    check_address(msi.message.address, self.shape.destination_ids).is_ok()
                }
                Route::Pin { chip, pin } => {
                    self.shape.irqchip == IrqchipMode::Full && ioapic::has_pin(*chip, *pin)
                }
            };
            let others = by_gsi.entry(*gsi).or_default();
            let alone = others.iter().all(|other| target.goes_with(other));
            if gsi.0 >= limit || !valid || !alone {
                return Err(KvmErrno::INVAL);
            }
            others.push(target);
        }
        Ok(())
    }
}

impl SimHost {
    fn irqfds(&self) -> MutexGuard<'_, HashMap<EventId, usize>> {
        self.irqfds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unbind(&self, token: &Token) {
        let mut irqfds = self.irqfds();
        if let Some(count) = irqfds.get_mut(&token.id()) {
            *count -= 1;
            if *count == 0 {
                irqfds.remove(&token.id());
            }
        }
    }
}

impl VmIrq for SimVm {
    fn capabilities(&self) -> KernelCapabilities {
        self.capabilities
    }

    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        self.before_commits.call();
        let mut state = self.enter(SimCall::CommitRoutes {
            entries: table.len(),
        })?;
        self.check_table(table)?;
        state.pump();
        state.table = table.to_vec();
        Ok(())
    }

    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        let state = self.enter(SimCall::AssignIrqfd { gsi })?;
        self.assign(state, event, None, gsi)
    }

    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        let state = self.enter(SimCall::AssignResampleIrqfd { gsi })?;
        self.assign(state, event, Some(resample), gsi)
    }

    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        let mut state = self.enter(SimCall::DeassignIrqfd { gsi })?;
        let token = Token::of(event).map_err(|_| KvmErrno::INVAL)?;
        state.pump();
        let bound = state.irqfds.iter();
        let matching = |irqfd: &SimIrqfd| irqfd.token == token && irqfd.gsi == gsi;
        let Some(at) = bound.into_iter().position(matching) else {
            return Ok(());
        };
        state.irqfds.remove(at).unbind();
        self.host.unbind(&token);
        state.settle_resampler(gsi);
        Ok(())
    }

    fn signal_msi(
        &self,
        message: MsiMessage,
        _device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno> {
        let mut state = self.enter(SimCall::SignalMsi { message })?;
        let valid = check_address(message.address, self.shape.destination_ids).is_ok();
        if self.shape.irqchip == IrqchipMode::None || !valid {
            return Err(KvmErrno::INVAL);
        }
        state.deliver(message);
        Ok(MsiDelivery::Delivered)
    }

    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno> {
        let mut state = self.enter(SimCall::SetLine { gsi, level })?;
        if self.shape.irqchip == IrqchipMode::None {
            return Err(KvmErrno::NXIO);
        }
        state.set_gsi(gsi, LineSource::User, level);
        Ok(())
    }
}

impl Drop for SimVm {
    fn drop(&mut self) {
        for irqfd in &self.state().irqfds {
            self.host.unbind(&irqfd.token);
        }
    }
}

impl fmt::Debug for SimVm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimVm")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
