//! The metrics endpoint in the loop.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::metrics::MetricsEndpoint;
use crate::metrics::encode;
use crate::serve::Extra;
use crate::serve::View;

/// The metrics endpoint in the loop.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) endpoint: MetricsEndpoint,
    /// Links with series of their own; a reload changes it.
    pub(super) links: Rc<Cell<u32>>,
}

impl Extra for Scrape {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.fd()
    }

    fn service(&mut self, view: &dyn View) {
        let most = usize::try_from(self.links.get()).unwrap_or(usize::MAX);
        let text = || {
            let mut links = view.links();
            links.truncate(most);
            encode(view.status(), links)
        };
        if let Err(error) = self.endpoint.service(text) {
            tracing::warn!(%error, "metrics cannot be served");
        }
    }
}
