//! The vCPU's side: where it is, what it has taken from its descriptor, and what the guest gets.

use std::sync::Arc;

use posted_irq::Blocked;
use posted_irq::PiVcpu;
use posted_irq::VcpuId;

use super::ApicRegisters;
use super::processors::Processors;

/// One vCPU; its thread has it for itself.
///
/// ```text
///   load ──► harvest, accept ... ──► guest ──► preempt ──► load
///     ▲                └─ halted, nothing next: block ──► sleep until kicked ─┐
///     └───────────────────────────────────────────────────────────────────────┘
/// ```
#[derive(Debug)]
pub struct PostedVcpu {
    pi: PiVcpu,
    registers: ApicRegisters,
    processors: Arc<Processors>,
    /// Where it was loaded last, and is still listed.
    at: Option<usize>,
}

impl PostedVcpu {
    pub(super) fn new(pi: PiVcpu, processors: Arc<Processors>) -> Self {
        Self {
            pi,
            registers: ApicRegisters::new(),
            processors,
            at: None,
        }
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> VcpuId {
        self.pi.id()
    }

    /// The thread runs on this processor, modulo their number, and is about to enter the guest:
    /// from now on posts kick it. What was posted before is harvested.
    pub fn load(&mut self, processor: usize) {
        let to = processor % self.processors.count();
        let from = self.at.replace(to);
        if from != Some(to) {
            self.processors.arrive(to, self.pi.id(), self.pi.desc());
        }
        self.pi.load(self.processors.processor(to));
        if let Some(from) = from.filter(|from| *from != to) {
            self.processors.depart(from, self.pi.id());
        }
        self.harvest();
    }

    /// The thread has left the guest and looks before it enters again: posts are silent until then.
    pub fn preempt(&mut self) {
        // One that is not loaded is silent already, or asleep: nothing to lose.
        let _silent = self.pi.preempt();
    }

    /// The guest has halted and nothing is [`next`](ApicRegisters::next): the next post kicks the
    /// thread, which is to load then. [`Blocked::Wake`] says to load at once.
    pub fn block(&mut self) -> Blocked {
        // One that is not loaded has to look first.
        self.pi.block().unwrap_or(Blocked::Wake)
    }

    /// Takes what is posted; [`load`](Self::load) does it too.
    pub fn harvest(&mut self) {
        if self.pi.desc().is_pending() {
            let posted = self.pi.desc().drain();
            self.registers.request(posted);
        }
    }

    /// The vector to be injected now, which is in service from now on; ask when the guest takes
    /// interrupts.
    pub fn accept(&mut self) -> Option<u8> {
        self.registers.accept()
    }

    /// The guest has ended an interrupt: which one.
    pub fn eoi(&mut self) -> Option<u8> {
        self.registers.eoi()
    }

    /// Whether nothing is posted, requested or in service.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.pi.desc().is_pending() && self.registers.is_idle()
    }

    /// What is requested and in service.
    #[must_use]
    pub fn registers(&self) -> &ApicRegisters {
        &self.registers
    }

    /// The same, for the guest's task priority.
    pub fn registers_mut(&mut self) -> &mut ApicRegisters {
        &mut self.registers
    }
}

impl Drop for PostedVcpu {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.processors.depart(at, self.pi.id());
        }
    }
}
