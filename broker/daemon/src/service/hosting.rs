//! The hosted vGPUs in the loop: asked by requests, and woken by the spawner's reports.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::DestroyVgpu;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::Vgpus;
use irqbroker_protocol::WireError;

use crate::serve::Extra;
use crate::serve::VgpuHost;
use crate::serve::View;
use crate::vgpu_host::Ticket;
use crate::vgpu_host::VgpuHosts;

/// The hosted vGPUs, for the loop's two ways to them and for a reload. Borrowed for one call at a time.
#[derive(Debug, Clone)]
pub(super) struct Hosting {
    hosts: Rc<RefCell<VgpuHosts>>,
    events: Rc<RefCell<Vec<EventKind>>>,
}

/// The spawner's socket in the loop. It is the loop's, and stays what it is.
#[derive(Debug)]
struct Reports {
    hosting: Hosting,
    socket: OwnedFd,
}

impl Hosting {
    pub(super) fn new(hosts: VgpuHosts) -> Self {
        Self {
            hosts: Rc::new(RefCell::new(hosts)),
            events: Rc::default(),
        }
    }

    /// What the loop polls.
    ///
    /// # Errors
    ///
    /// Out of fds.
    pub(super) fn extra(&self) -> anyhow::Result<Box<dyn Extra>> {
        let socket = self.hosts.borrow().fd().try_clone_to_owned()?;
        Ok(Box::new(Reports {
            hosting: self.clone(),
            socket,
        }))
    }

    /// Another budget.
    pub(super) fn set_budget(&self, config: &crate::config::Vgpu) {
        self.hosts.borrow_mut().set_budget(config);
    }
}

impl VgpuHost for Hosting {
    fn list(&self) -> Vgpus {
        self.hosts.borrow().list()
    }

    fn count(&self) -> usize {
        self.hosts.borrow().len()
    }

    fn create(&mut self, request: &CreateVgpu) -> Result<VgpuRow, WireError> {
        let row = self.hosts.borrow_mut().create(request)?;
        self.events.borrow_mut().push(EventKind::Vgpu {
            uuid: row.uuid.clone(),
            state: row.state,
            reason: None,
        });
        Ok(row)
    }

    fn destroy(&mut self, request: &DestroyVgpu) -> Result<Ticket, WireError> {
        self.hosts.borrow_mut().destroy(request)
    }

    fn decided(&mut self) -> Vec<(Ticket, Result<(), WireError>)> {
        self.hosts.borrow_mut().decided()
    }

    fn events(&mut self) -> Vec<EventKind> {
        self.events.take()
    }
}

impl Extra for Reports {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.socket)
    }

    fn service(&mut self, _: &dyn View) {
        let events = self.hosting.hosts.borrow_mut().service();
        self.hosting.events.borrow_mut().extend(events);
    }
}
