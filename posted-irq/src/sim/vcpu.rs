//! Processors and vCPUs, with what is known of them without looking at descriptors.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::VcpuId;
use crate::pir::Pir;
use crate::vcpu::NotificationVectors;
use crate::vcpu::PiVcpu;
use crate::vcpu::Processor;

/// A physical processor.
#[derive(Debug)]
pub(super) struct SimProcessor {
    pub(super) pi: Arc<Processor>,
    pub(super) current: Option<u32>,
    /// Wakeup interrupts on their way to it.
    pub(super) wakeups: u64,
    /// Who waits for it.
    pub(super) queue: VecDeque<u32>,
    /// When its vCPU's present turn began.
    pub(super) since: u64,
    /// Turns so far.
    pub(super) turn: u64,
}

impl SimProcessor {
    pub(super) fn new(ndst: u32) -> Self {
        Self {
            pi: Arc::new(Processor::new(ndst)),
            current: None,
            wakeups: 0,
            queue: VecDeque::new(),
            since: 0,
            turn: 0,
        }
    }

    /// Who runs and who waits.
    pub(super) fn occupants(&self) -> usize {
        self.queue.len() + usize::from(self.current.is_some())
    }
}

/// Where a vCPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On this processor.
    Running(u32),
    /// In this processor's queue.
    Ready(u32),
    /// Asleep.
    Blocked,
    /// Its VM is away.
    Gone,
}

/// A vCPU, with what is known of it without looking at its descriptor.
#[derive(Debug)]
pub(super) struct SimVcpu {
    pub(super) pi: PiVcpu,
    pub(super) address: u64,
    pub(super) place: Place,
    /// On whose wakeup list it must be.
    pub(super) listed: Option<u32>,
    /// Somebody was notified since the last drain.
    pub(super) notified: bool,
    /// What was posted since.
    pub(super) pending: Pir,
    /// Nanoseconds of work left.
    pub(super) work: u64,
    /// The processor it ran on last.
    pub(super) last: Option<u32>,
}

impl SimVcpu {
    pub(super) fn new(id: u32, address: u64) -> Self {
        Self {
            pi: PiVcpu::new(VcpuId(id), NotificationVectors::LINUX),
            address,
            place: Place::Gone,
            listed: None,
            notified: false,
            pending: Pir::default(),
            work: 0,
            last: None,
        }
    }

    /// Notes that a vector is pending, or is not any more.
    pub(super) const fn toggle(&mut self, vector: u8) {
        let (word, bit) = Pir::place(vector);
        self.pending.words_mut()[word] ^= bit;
    }

    /// How many vectors are.
    pub(super) fn pending_count(&self) -> u64 {
        self.pending
            .words()
            .map(|word| u64::from(word.count_ones()))
            .iter()
            .sum()
    }
}
