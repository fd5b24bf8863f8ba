//! What else may run in the daemon's loop.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::DestroyVgpu;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Status;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::Vgpus;
use irqbroker_protocol::WireError;

use super::closer::Closer;
use super::options::Options;
use crate::vgpu_host::Ticket;

/// Something with an fd of its own in the daemon's epoll set, such as a metrics endpoint.
pub(crate) trait Extra {
    /// Readable when [`service`](Self::service) has work to do. Stays the same fd.
    fn poll_fd(&self) -> BorrowedFd<'_>;

    /// Does it, without waiting.
    fn service(&mut self, view: &dyn View);
}

/// The daemon as an [`Extra`] sees it.
pub(crate) trait View {
    /// How the daemon stands.
    fn status(&self) -> Status;

    /// All links, by id.
    fn links(&self) -> Vec<LinkRow>;
}

/// What operators are told of the daemon itself besides its figures.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// What of the sandbox stands.
    pub(crate) sandbox: Option<String>,
    /// What came of the latest reload.
    pub(crate) reload: Option<String>,
}

/// The same, shared with whoever finds it out.
pub(crate) type Notes = Rc<RefCell<Standing>>;

/// Who hosts vGPUs. Their processes' ends come through an [`Extra`] or through
/// [`events`](Self::events).
pub(crate) trait VgpuHost {
    /// The hosted ones, and how many more there may be.
    fn list(&self) -> Vgpus;

    /// How many there are.
    fn count(&self) -> usize;

    /// Creates one and starts its process.
    ///
    /// # Errors
    ///
    /// See the contract; nothing is created.
    fn create(&mut self, request: &CreateVgpu) -> Result<VgpuRow, WireError>;

    /// Has one asked to end, which [`decided`](Self::decided) tells the outcome of.
    ///
    /// # Errors
    ///
    /// See the contract; nobody is asked.
    fn destroy(&mut self, request: &DestroyVgpu) -> Result<Ticket, WireError>;

    /// What was decided since this was called last: each ticket comes once. One that was not refused
    /// ends.
    fn decided(&mut self) -> Vec<(Ticket, Result<(), WireError>)>;

    /// What watchers are to be told since this was called last.
    fn events(&mut self) -> Vec<EventKind>;
}

/// What is called once, when everything is open and before the first peer is served: the place to
/// give rights up.
pub(crate) type BeforeLoop = Box<dyn FnOnce(&Closer) -> anyhow::Result<()>>;

/// Changes what may change while the daemon runs: the policy and the quotas.
pub(crate) type Reload = Box<dyn FnMut(&mut Options)>;

/// What else may run in the daemon's loop.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) extras: Vec<Box<dyn Extra>>,
    pub(crate) vgpus: Option<Box<dyn VgpuHost>>,
    pub(crate) notes: Notes,
    pub(crate) before_loop: Option<BeforeLoop>,
    /// Called on SIGHUP.
    pub(crate) reload: Option<Reload>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("extras", &self.extras.len())
            .field("vgpus", &self.vgpus.is_some())
            .finish_non_exhaustive()
    }
}
