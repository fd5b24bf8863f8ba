//! How a manager behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use irqbroker_core::Promotion;

use crate::manager::counts::CountInterrupts;
use crate::manager::lines::IrqLines;
use crate::manager::stuck::LineLimits;

/// How a manager behaves.
#[derive(Clone)]
pub struct ManagerOptions {
    /// When vectors are handed to the kernel. Deferred, the default, never makes the guest's
    /// access wait for a commit of routes; immediate needs no service loop for bypassed vectors.
    pub promotion: Promotion,
    /// How long at least between two looks at rates, faults and lines. Nothing is looked at while
    /// there is nothing that calls for it.
    pub interval: Duration,
    /// A vector that fires more often a second is relayed at that rate until it has calmed down.
    /// What comes between merges, as in hardware.
    ///
    /// Seen where events are counted: for producers of this process, for any vector in relay, and
    /// for those that [`counts`](Self::counts) knows.
    pub storm: Option<u32>,
    /// Who counts what the kernel delivers: for storms, to know the busiest where GSIs are short,
    /// and to see a stuck line that the kernel forwards, which then is looked at once an
    /// [`interval`](Self::interval). [`ProcInterrupts`](crate::manager::ProcInterrupts), or a
    /// source of the embedder's.
    pub counts: Option<Arc<dyn CountInterrupts>>,
    /// When a line counts as stuck: one that is driven from here, or that [`counts`](Self::counts)
    /// knows.
    pub line: LineLimits,
    /// Who drives the inputs of the interrupt controller: needed for lines of producers of this
    /// process, and for all lines without a full in-kernel irqchip.
    pub lines: Option<Arc<dyn IrqLines>>,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            promotion: Promotion::Deferred,
            interval: Duration::from_millis(100),
            storm: None,
            counts: None,
            line: LineLimits::default(),
            lines: None,
        }
    }
}

impl fmt::Debug for ManagerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerOptions")
            .field("promotion", &self.promotion)
            .field("interval", &self.interval)
            .field("storm", &self.storm)
            .field("counts", &self.counts.is_some())
            .field("line", &self.line)
            .field("lines", &self.lines.is_some())
            .finish()
    }
}
