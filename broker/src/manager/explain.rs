//! Which way an interrupt takes, and why not a better one.

use std::fmt;
use std::sync::Arc;

use irqbroker_core::ConsumerHandle;
use irqbroker_core::Delivery;
use irqbroker_core::Gsi;
use irqbroker_core::LinkId;
use irqbroker_core::Reason;
use irqbroker_vfio::pci::Level;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;

use crate::manager::fault::Fault;
use crate::manager::function::Function;
use crate::manager::vectors::VectorLink;

/// Which way an interrupt takes, and why not a better one.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// `gpu0.msix3`, `gpu0.intx`.
    pub name: String,
    /// Its link, once it has one: a vector of which the guest has not heard yet has no eventfd,
    /// no GSI and no interrupt of the host's.
    pub link: Option<LinkId>,
    /// How its interrupts travel, with the reason.
    pub delivery: Option<Delivery>,
    /// Its place in the routing table.
    pub gsi: Option<Gsi>,
    /// Whether an interrupt waits to be delivered.
    pub pending: bool,
    /// Interrupts a second when they were measured last; zero where nobody counted.
    pub per_second: u64,
    /// Why it is not served although the guest may expect it.
    pub fault: Option<Arc<Fault>>,
    /// What is wrong with a line, be it driven from here or forwarded by the kernel:
    /// [`Reason::NoEoi`] or [`Reason::LineStuck`].
    pub trouble: Option<Reason>,
}

impl Function {
    pub(super) fn explain(&self, source: MessageSource) -> Explanation {
        let state = self.state();
        let (vectors, kind, VectorIndex(vector)) = match source {
            MessageSource::Msi(vector) => (&state.msi, "msi", vector),
            MessageSource::Msix(vector) => (&state.msix, "msix", vector),
        };
        let link = vectors.bound(vector).and_then(|bound| bound.link.as_ref());
        Explanation {
            name: format!("{}.{kind}{vector}", self.name),
            gsi: link.and_then(VectorLink::gsi),
            pending: self.is_pending(&state, source),
            per_second: link.map_or(0, |link| link.meter.per_second()),
            fault: vectors.fault(vector).cloned(),
            ..Explanation::of(link.map(|link| &link.consumer))
        }
    }

    pub(super) fn explain_line(&self) -> Explanation {
        let state = self.state();
        let level = state.pci.intx().map(|intx| intx.level());
        Explanation {
            name: format!("{}.intx", self.name),
            gsi: state.line.routed(),
            pending: level == Some(Level::Asserted),
            per_second: state.line.serving.per_second(),
            fault: state.line.fault().cloned(),
            trouble: state.line.serving.trouble(),
            ..Explanation::of(state.line.link())
        }
    }
}

impl Explanation {
    fn of(consumer: Option<&ConsumerHandle>) -> Self {
        Self {
            name: String::new(),
            link: consumer.map(ConsumerHandle::link),
            delivery: consumer.and_then(|consumer| consumer.delivery().ok()),
            gsi: None,
            pending: false,
            per_second: 0,
            fault: None,
            trouble: None,
        }
    }
}

impl fmt::Display for Explanation {
    /// One line: `gpu0.msix3: relay (waits for the next promotion), pending`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match (&self.fault, self.delivery) {
            (Some(fault), _) => {
                write!(f, "not served, {fault}")?;
                let mut cause = std::error::Error::source(&**fault);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
            }
            (None, Some(delivery)) => write!(f, "{} ({})", delivery.state, delivery.reason)?,
            (None, None) => f.write_str("not in use yet")?,
        }
        if let Some(gsi) = self.gsi {
            write!(f, ", gsi {gsi}")?;
        }
        if self.pending {
            f.write_str(", pending")?;
        }
        // In relay it is the link's own reason.
        let told = self.delivery.map(|delivery| delivery.reason);
        if let Some(trouble) = self.trouble.filter(|trouble| told != Some(*trouble)) {
            write!(f, ", in trouble: {trouble}")?;
        }
        Ok(())
    }
}
