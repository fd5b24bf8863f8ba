//! An AVIC vCPU's entries as it moves between processors: IsRun, destination and the log.
//!
//! ```text
//!                 IsRun  destination    GALogIntr   an interrupt
//!   loaded        1      the processor  0           rings the processor's doorbell
//!   preempted     0      kept           0           waits in the backing page
//!   blocked       0      kept           1           is logged, and the host wakes the vCPU
//! ```
//!
//! Since Linux 6.17 (`arch/x86/kvm/svm/avic.c`, `drivers/iommu/amd/iommu.c`); before, GALogIntr
//! was always set. The interrupt request bits themselves are in the backing page, which hardware
//! and the embedder share and this crate does not touch.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::amd::AmdGuest;
use crate::amd::AmdInvalidation;
use crate::amd::AmdIrte;
use crate::amd::AmdPostTarget;
use crate::amd::AmdRemapped;
use crate::amd::GaLogEntry;
use crate::amd::GaTag;
use crate::ids::ApicId;
use crate::ids::SourceId;
use crate::primitive::Mutex;
use crate::primitive::MutexGuard;
use crate::table::AmdIrteTable;
use crate::table::IrteBlock;
use crate::table::TableError;

/// What hardware does about an interrupt, once it is in the backing page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvicDelivery {
    /// It rings the doorbell of the processor on which the vCPU runs.
    Doorbell(ApicId),
    /// It logs that the vCPU is to be woken.
    Log(GaLogEntry),
    /// It leaves the interrupt for the vCPU to find.
    Silent,
}

impl AvicDelivery {
    /// What an entry in guest mode makes of an interrupt of this device.
    #[must_use]
    pub const fn of(entry: AmdGuest, device: SourceId) -> Self {
        if entry.is_run() {
            Self::Doorbell(entry.destination())
        } else if entry.ga_log_intr() {
            let log = GaLogEntry::new()
                .with_ga_tag(entry.ga_tag())
                .with_device_id(device.0);
            Self::Log(log)
        } else {
            Self::Silent
        }
    }
}

/// Where the vCPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Loaded,
    Preempted,
    Blocked,
}

/// Whether the vCPU's virtual APIC can be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Avic {
    /// It can.
    Active,
    /// Something inhibits it: entries are kept for the vCPU, but stay remapped.
    Inhibited,
}

#[derive(Debug)]
struct Posted {
    table: Arc<AmdIrteTable>,
    block: Arc<IrteBlock>,
    at: u16,
    /// What is restored when the entry no longer posts.
    host: AmdRemapped,
    target: AmdPostTarget,
}

#[derive(Debug)]
struct State {
    place: Place,
    destination: ApicId,
    avic: Avic,
    entries: Vec<Posted>,
}

/// One vCPU and the interrupt-remapping entries that post to it.
#[derive(Debug)]
pub struct AvicVcpu {
    tag: GaTag,
    /// Held while entries are written, so that a load at the same time cannot leave one behind
    /// with the processor before. Leaf lock.
    state: Mutex<State>,
}

impl AvicVcpu {
    /// A vCPU that has never run, with no entries.
    #[must_use]
    pub fn new(tag: GaTag) -> Self {
        Self {
            tag,
            state: Mutex::new(State {
                place: Place::Preempted,
                destination: ApicId(0),
                avic: Avic::Active,
                entries: Vec::new(),
            }),
        }
    }

    /// The vCPU gets a processor. Invalidates nothing.
    ///
    /// # Errors
    ///
    /// As [`AmdIrteTable::update`].
    pub fn load(&self, processor: ApicId) -> Result<(), TableError> {
        let mut state = self.state();
        state.destination = processor;
        self.move_to(&mut state, Place::Loaded)
    }

    /// The vCPU loses its processor while it has work. Invalidates nothing.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn preempt(&self) -> Result<(), TableError> {
        self.move_to(&mut self.state(), Place::Preempted)
    }

    /// The vCPU waits for an interrupt, which is to be logged. Invalidates nothing.
    ///
    /// What came before is in the backing page and not logged: look there before sleeping.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn block(&self) -> Result<(), TableError> {
        self.move_to(&mut self.state(), Place::Blocked)
    }

    /// Makes an entry post to this vCPU wherever it is, or retargets one that does. Where AVIC is
    /// inhibited the entry is only noted and says `host`.
    ///
    /// # Errors
    ///
    /// As [`AmdIrteTable::update`]; the entry is not noted then.
    pub fn post_from(
        &self,
        table: &Arc<AmdIrteTable>,
        block: &Arc<IrteBlock>,
        at: u16,
        host: AmdRemapped,
        target: AmdPostTarget,
    ) -> Result<Option<AmdInvalidation>, TableError> {
        let mut state = self.state();
        let posted = Posted {
            table: Arc::clone(table),
            block: Arc::clone(block),
            at,
            host,
            target,
        };
        let update = table.update(block, at, self.entry(&state, &posted))?;
        let known = state
            .entries
            .iter_mut()
            .find(|known| known.is(table, block, at));
        match known {
            Some(known) => *known = posted,
            None => state.entries.push(posted),
        }
        Ok(update.invalidate)
    }

    /// Ends that: the entry says `host` again. An entry that does not post here is left alone.
    ///
    /// # Errors
    ///
    /// As [`AmdIrteTable::update`]; the entry is still noted then and can be tried again.
    pub fn restore(
        &self,
        table: &Arc<AmdIrteTable>,
        block: &Arc<IrteBlock>,
        at: u16,
        host: AmdRemapped,
    ) -> Result<Option<AmdInvalidation>, TableError> {
        let mut state = self.state();
        let place = state
            .entries
            .iter()
            .position(|known| known.is(table, block, at));
        let Some(place) = place else {
            return Ok(None);
        };
        let update = table.update(block, at, host.into())?;
        state.entries.swap_remove(place);
        Ok(update.invalidate)
    }

    /// AVIC becomes active or inhibited: all entries turn. Says which tables to invalidate, each
    /// once.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn set_avic(&self, avic: Avic) -> Result<Vec<AmdInvalidation>, TableError> {
        let mut state = self.state();
        state.avic = avic;
        let mut invalidate = Vec::new();
        for posted in &state.entries {
            let entry = self.entry(&state, posted);
            let update = posted.table.update(&posted.block, posted.at, entry)?;
            invalidate.extend(update.invalidate.filter(|one| !invalidate.contains(one)));
        }
        Ok(invalidate)
    }

    /// How many entries post here.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.state().entries.len()
    }

    fn move_to(&self, state: &mut State, place: Place) -> Result<(), TableError> {
        state.place = place;
        for posted in &state.entries {
            let entry = self.entry(state, posted);
            // Nothing to invalidate: hardware does not cache what changes here.
            let _ = posted.table.update(&posted.block, posted.at, entry)?;
        }
        Ok(())
    }

    fn entry(&self, state: &State, posted: &Posted) -> AmdIrte {
        if state.avic == Avic::Inhibited {
            return posted.host.into();
        }
        AmdGuest::new()
            .with_remap_en(posted.host.remap_en())
            .with_sup_iopf(posted.host.sup_iopf())
            .with_ga_log_intr(state.place == Place::Blocked)
            .with_is_run(state.place == Place::Loaded)
            .with_destination(state.destination)
            .with_ga_tag(self.tag)
            .with_vector(posted.target.vector)
            .with_ga_root(posted.target.backing_page.get() >> 12)
            .into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is written after a panic is written whole from `place` and `destination`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posted {
    fn is(&self, table: &Arc<AmdIrteTable>, block: &Arc<IrteBlock>, at: u16) -> bool {
        Arc::ptr_eq(&self.table, table) && Arc::ptr_eq(&self.block, block) && self.at == at
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
