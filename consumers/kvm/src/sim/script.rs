//! What was called, what shall fail, and what takes its time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;

use crate::errno::KvmErrno;
use crate::vm_irq::LineLevel;

/// A call that reached a [`SimVm`](super::SimVm).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the arguments of the calls they are named after"
)]
pub enum SimCall {
    /// [`commit_routes`](crate::VmIrq::commit_routes).
    CommitRoutes { entries: usize },
    /// [`assign_irqfd`](crate::VmIrq::assign_irqfd).
    AssignIrqfd { gsi: Gsi },
    /// [`assign_resample_irqfd`](crate::VmIrq::assign_resample_irqfd).
    AssignResampleIrqfd { gsi: Gsi },
    /// [`deassign_irqfd`](crate::VmIrq::deassign_irqfd).
    DeassignIrqfd { gsi: Gsi },
    /// [`signal_msi`](crate::VmIrq::signal_msi).
    SignalMsi { message: MsiMessage },
    /// [`set_line`](crate::VmIrq::set_line).
    SetLine { gsi: Gsi, level: LineLevel },
}

/// A [`SimCall`] without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimCallKind {
    /// [`SimCall::CommitRoutes`].
    CommitRoutes,
    /// [`SimCall::AssignIrqfd`].
    AssignIrqfd,
    /// [`SimCall::AssignResampleIrqfd`].
    AssignResampleIrqfd,
    /// [`SimCall::DeassignIrqfd`].
    DeassignIrqfd,
    /// [`SimCall::SignalMsi`].
    SignalMsi,
    /// [`SimCall::SetLine`].
    SetLine,
}

impl SimCall {
    /// Which call it is.
    #[must_use]
    pub fn kind(&self) -> SimCallKind {
        match self {
            Self::CommitRoutes { .. } => SimCallKind::CommitRoutes,
            Self::AssignIrqfd { .. } => SimCallKind::AssignIrqfd,
            Self::AssignResampleIrqfd { .. } => SimCallKind::AssignResampleIrqfd,
            Self::DeassignIrqfd { .. } => SimCallKind::DeassignIrqfd,
            Self::SignalMsi { .. } => SimCallKind::SignalMsi,
            Self::SetLine { .. } => SimCallKind::SetLine,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Script {
    calls: Vec<SimCall>,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Failure {
    kind: SimCallKind,
    skip: usize,
    errno: KvmErrno,
}

impl Script {
    pub(super) fn calls(&self) -> &[SimCall] {
        &self.calls
    }

    pub(super) fn take_calls(&mut self) -> Vec<SimCall> {
        std::mem::take(&mut self.calls)
    }

    pub(super) fn fail(&mut self, kind: SimCallKind, skip: usize, errno: KvmErrno) {
        self.failures.push(Failure { kind, skip, errno });
    }

    /// Logs the call, and fails it if it was to fail.
    pub(super) fn enter(&mut self, call: SimCall) -> Result<(), KvmErrno> {
        self.calls.push(call);
        let kind = call.kind();
        let of_kind = |failure: &Failure| failure.kind == kind;
        let due = |failure: &Failure| of_kind(failure) && failure.skip == 0;
        let failed = self
            .failures
            .iter()
            .position(due)
            .map(|at| self.failures.remove(at));
        for failure in self.failures.iter_mut().filter(|failure| of_kind(failure)) {
            failure.skip = failure.skip.saturating_sub(1);
        }
        failed.map_or(Ok(()), |failure| Err(failure.errno))
    }
}

/// What a commit of routes waits for.
#[derive(Default)]
pub(super) struct BeforeCommits(Mutex<Option<Arc<dyn Fn() + Send + Sync>>>);

impl BeforeCommits {
    pub(super) fn set(&self, wait: Arc<dyn Fn() + Send + Sync>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait);
    }

    /// Under no lock, so that every other call goes on meanwhile.
    pub(super) fn call(&self) {
        let wait = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(wait) = wait {
            wait();
        }
    }
}
