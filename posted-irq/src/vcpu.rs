//! A vCPU's posted-interrupt state as it moves between processors: load, preempt, block, wake.
//!
//! ```text
//!             ┌───────── load (elsewhere: NDST) ─────────┐
//!             ▼                                          │
//!   ┌──────────────────┐  preempt: SN := 1   ┌───────────┴──────┐
//!   │ loaded           ├────────────────────►│ preempted        │
//!   │ NV = notify, SN=0│                     │ SN = 1           │
//!   └─▲──────────────┬─┘                     └──────────────────┘
//!     │              │ block: on the processor's list, NV := wakeup
//!     │ load         ▼
//!   ┌─┴──────────────────┐  wakeup interrupt: Processor::wake names
//!   │ blocked            │◄─ every vCPU of its list that has ON set
//!   │ NV = wakeup, SN = 0│
//!   └────────────────────┘
//! ```
//!
//! After Linux's `arch/x86/kvm/vmx/posted_intr.c`. Processors' lists are leaf locks; no two are
//! ever held together.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::ids::VcpuId;
use crate::pi_desc::Notification;
use crate::pi_desc::PiDesc;
use crate::primitive::Mutex;
use crate::primitive::MutexGuard;

/// The vectors a host notifies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationVectors {
    /// For a vCPU that is loaded.
    pub notify: u8,
    /// For a vCPU that is blocked.
    pub wakeup: u8,
}

impl NotificationVectors {
    /// `POSTED_INTR_VECTOR` and `POSTED_INTR_WAKEUP_VECTOR`
    /// (`arch/x86/include/asm/irq_vectors.h`).
    pub const LINUX: Self = Self {
        notify: 0xf2,
        wakeup: 0xf1,
    };
}

/// A physical processor, with the vCPUs that blocked on it.
#[derive(Debug)]
pub struct Processor {
    ndst: u32,
    /// Leaf lock. The vCPU's own thread enters and leaves; the wakeup interrupt reads.
    blocked: Mutex<Vec<(VcpuId, Arc<PiDesc>)>>,
}

impl Processor {
    /// A processor; `ndst` as `ApicIdFormat::encode_vtd` writes its id.
    #[must_use]
    pub fn new(ndst: u32) -> Self {
        Self {
            ndst,
            blocked: Mutex::new(Vec::new()),
        }
    }

    /// What a notification's destination says of this processor.
    #[must_use]
    pub const fn ndst(&self) -> u32 {
        self.ndst
    }

    /// Handles a wakeup interrupt: names every vCPU blocked here that has ON set.
    ///
    /// They stay listed until they are loaded, so that one can be named twice. `wake` runs under
    /// the processor's lock and must not load or block a vCPU.
    pub fn wake(&self, mut wake: impl FnMut(VcpuId)) {
        for (vcpu, desc) in self.list().iter() {
            if desc.control().on() {
                wake(*vcpu);
            }
        }
    }

    /// How many vCPUs are blocked here.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.list().len()
    }

    fn list(&self) -> MutexGuard<'_, Vec<(VcpuId, Arc<PiDesc>)>> {
        // A `wake` that panicked leaves the list whole.
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn notified_with(&self, vector: u8) -> Notification {
        Notification {
            vector,
            destination: self.ndst,
        }
    }
}

/// What a blocked vCPU may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Sleep: the next post sends the wakeup vector.
    Sleep,
    /// Not sleep: something came before, and nobody will notify a second time. (Linux sends
    /// itself the wakeup vector.)
    Wake,
}

/// The vCPU is not where the call needs it; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{vcpu} is not loaded")]
pub struct NotLoaded {
    /// The vCPU.
    pub vcpu: VcpuId,
}

/// Posted-interrupt state of one vCPU. Its own thread moves it; anybody posts into
/// [`desc`](Self::desc).
#[derive(Debug)]
pub struct PiVcpu {
    id: VcpuId,
    vectors: NotificationVectors,
    desc: Arc<PiDesc>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// SN is set. The processor was the last, `None` before the first load.
    Off(Option<Arc<Processor>>),
    Loaded(Arc<Processor>),
    Blocked(Arc<Processor>),
}

impl PiVcpu {
    /// A vCPU that has never been loaded: posts are silent.
    #[must_use]
    pub fn new(id: VcpuId, vectors: NotificationVectors) -> Self {
        let nobody = Notification {
            vector: vectors.notify,
            destination: 0,
        };
        Self {
            id,
            vectors,
            desc: Arc::new(PiDesc::new(nobody)),
            place: Place::Off(None),
        }
    }

    /// Which one.
    #[must_use]
    pub const fn id(&self) -> VcpuId {
        self.id
    }

    /// The descriptor to post into.
    #[must_use]
    pub const fn desc(&self) -> &Arc<PiDesc> {
        &self.desc
    }

    /// The vCPU gets a processor. Says whether it has to look for posts that came in silence.
    ///
    /// May be called again while loaded, also for another processor.
    pub fn load(&mut self, processor: &Arc<Processor>) -> bool {
        let stays = match &self.place {
            Place::Loaded(last) | Place::Off(Some(last)) => Arc::ptr_eq(last, processor),
            // NV is the wakeup vector, also if it comes back to the same processor.
            Place::Blocked(_) | Place::Off(None) => false,
        };
        self.unlist();
        let found = if stays {
            self.desc.unsuppress()
        } else {
            let notification = processor.notified_with(self.vectors.notify);
            self.desc.aim(notification)
        };
        self.place = Place::Loaded(Arc::clone(processor));
        found
    }

    /// The vCPU loses its processor while it has work, or sleeps with interrupts masked: posts
    /// are silent until it is loaded.
    ///
    /// # Errors
    ///
    /// [`NotLoaded`] if it has none to lose.
    pub fn preempt(&mut self) -> Result<(), NotLoaded> {
        let Place::Loaded(processor) = &self.place else {
            return Err(NotLoaded { vcpu: self.id });
        };
        self.desc.suppress();
        self.place = Place::Off(Some(Arc::clone(processor)));
        Ok(())
    }

    /// The vCPU has nothing to do and takes interrupts: the next post is to wake it.
    ///
    /// # Errors
    ///
    /// [`NotLoaded`] if it has no processor to sleep on.
    pub fn block(&mut self) -> Result<Blocked, NotLoaded> {
        let Place::Loaded(processor) = &self.place else {
            return Err(NotLoaded { vcpu: self.id });
        };
        let processor = Arc::clone(processor);
        // On the list before NV says so: the wakeup interrupt must find the vCPU.
        processor.list().push((self.id, Arc::clone(&self.desc)));
        let notification = processor.notified_with(self.vectors.wakeup);
        let outcome = if self.desc.arm_wakeup(notification) {
            Blocked::Wake
        } else {
            Blocked::Sleep
        };
        self.place = Place::Blocked(processor);
        Ok(outcome)
    }

    fn unlist(&self) {
        if let Place::Blocked(processor) = &self.place {
            let mut list = processor.list();
            list.retain(|(_, desc)| !Arc::ptr_eq(desc, &self.desc));
        }
    }
}

impl Drop for PiVcpu {
    fn drop(&mut self) {
        self.unlist();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
