//! One index of a device, and the binding of its sub-indexes.
//!
//! ```text
//!            enable, bind (one SET_IRQS)           bind, rebind, unbind (one each)
//!   idle ───────────────────────────────► enabled ◄─────────────────────────────┐
//!    ▲                                        │ └───────────────────────────────┘
//!    └────────────────────────────────────────┘
//!            disable, drop (one)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;

use crate::index_error::BindError;
use crate::index_error::DisableError;
use crate::index_error::FireError;
use crate::index_error::RebindError;
use crate::index_error::UnbindError;
use crate::producer::VfioProducer;
use crate::producer_device::Indexes;
use crate::producer_device::ProducerDevice;

/// Most that one request binds: an MSI-X table's maximum (PCI Local Bus 3.0, 6.8.2). A device that
/// claims more is no reason to make as many eventfds.
const BIND_MAX: u32 = 2048;

/// The producers of one index: binds an eventfd to each of its sub-indexes that is wanted.
///
/// A request that fails leaves everything as it was. An eventfd is replaced only while nobody is
/// linked to it: unregister the producer first. Dropping this disables the index, and retires
/// what is still linked.
pub struct IndexProducers {
    device: Arc<ProducerDevice>,
    info: IrqInfo,
    /// Taken before the device's and the producers' locks, and held across requests.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Vectors the index was enabled with, at least.
    enabled: Option<u32>,
    bound: BTreeMap<u32, Arc<VfioProducer>>,
}

impl IndexProducers {
    pub(crate) fn new(device: Arc<ProducerDevice>, info: IrqInfo) -> Self {
        Self {
            device,
            info,
            state: Mutex::default(),
        }
    }

    /// What the index is.
    #[must_use]
    pub fn info(&self) -> &IrqInfo {
        &self.info
    }

    /// `0000:00:05.0.msix`.
    #[must_use]
    pub fn name(&self) -> String {
        self.device.index_name(self.info.index)
    }

    /// The producer of a bound sub-index.
    #[must_use]
    pub fn get(&self, sub_index: u32) -> Option<Arc<VfioProducer>> {
        self.state().bound.get(&sub_index).cloned()
    }

    /// Enables MSI or MSI-X with room for `vectors` and none of them bound.
    ///
    /// Needed only where the index is `NORESIZE` and its vectors are to be bound a few at a time:
    /// such an index never has more of them than it was enabled with.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; the index is not enabled.
    pub fn enable(&self, vectors: u32) -> Result<(), BindError> {
        let mut state = self.state();
        self.check(&state, &(0..vectors))?;
        if !self.device.has_vectors(self.info.index) {
            return Err(BindError::NoVectors { name: self.name() });
        }
        if state.enabled.is_some() {
            return Err(BindError::Enabled { name: self.name() });
        }
        let holes: Vec<_> = (0..vectors).map(|_| None).collect();
        self.enable_locked(&mut state, &holes, &(0..vectors))
    }

    /// Binds a new eventfd, one fd, to each of these sub-indexes, with one request. None of them
    /// may be bound.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; none of them is bound, all others are as they were.
    pub fn bind(&self, sub_indexes: Range<u32>) -> Result<Vec<Arc<VfioProducer>>, BindError> {
        let mut state = self.state();
        self.check(&state, &sub_indexes)?;
        let producers = VfioProducer::new_each(&self.device, &self.info, sub_indexes.clone())
            .map_err(BindError::Eventfd)?;
        let fds: Vec<_> = producers.iter().map(event).collect();
        self.enable_locked(&mut state, &fds, &sub_indexes)?;
        state
            .bound
            .extend(sub_indexes.zip(producers.iter().cloned()));
        Ok(producers)
    }

    /// Binds a new eventfd to a sub-index instead of the one it has.
    ///
    /// What stands in the old one is handed on. VFIO lets go of the interrupt for an instant: an
    /// edge that comes in it is lost.
    ///
    /// # Errors
    ///
    /// See [`RebindError`]; the old eventfd is bound, with the exception of
    /// [`RebindError::Lost`].
    pub fn rebind(&self, sub_index: u32) -> Result<Arc<VfioProducer>, RebindError> {
        let mut state = self.state();
        let name = || format!("{} {sub_index}", self.name());
        let Some(old) = state.bound.get(&sub_index).cloned() else {
            return Err(RebindError::NotBound { name: name() });
        };
        let mut gate = old.gate();
        if gate.linked {
            return Err(RebindError::Linked { name: name() });
        }
        let new = VfioProducer::new(&self.device, &self.info, sub_index)?;
        let Err(source) = self.set_one(sub_index, event(&new)) else {
            gate.retired = true;
            old.hand_over(&new);
            state.bound.insert(sub_index, Arc::clone(&new));
            return Ok(new);
        };
        // The kernel takes the old one away before it looks at the new one.
        match self.set_one(sub_index, event(&old)) {
            Ok(()) => Err(RebindError::Refused {
                name: name(),
                source,
            }),
            Err(restore) => {
                // Whichever of the two it may have: nobody listens to either.
                if let Err(error) = self.set_one(sub_index, None) {
                    tracing::warn!(name = name(), %error, "eventfd could not be taken away");
                }
                gate.retired = true;
                state.bound.remove(&sub_index);
                Err(RebindError::Lost {
                    name: name(),
                    source,
                    restore,
                })
            }
        }
    }

    /// Takes the eventfd of a sub-index away; the index stays enabled.
    ///
    /// # Errors
    ///
    /// See [`UnbindError`]; the eventfd is bound.
    pub fn unbind(&self, sub_index: u32) -> Result<(), UnbindError> {
        let mut state = self.state();
        let name = || format!("{} {sub_index}", self.name());
        let Some(old) = state.bound.get(&sub_index).cloned() else {
            return Err(UnbindError::NotBound { name: name() });
        };
        let mut gate = old.gate();
        if gate.linked {
            return Err(UnbindError::Linked { name: name() });
        }
        if let Err(source) = self.set_one(sub_index, None) {
            return Err(UnbindError::Refused {
                name: name(),
                source,
            });
        }
        gate.retired = true;
        state.bound.remove(&sub_index);
        Ok(())
    }

    /// Unbinds all and disables the index, so that another of a PCI device's can be enabled.
    ///
    /// # Errors
    ///
    /// See [`DisableError`]; nothing is unbound.
    pub fn disable(&self) -> Result<(), DisableError> {
        let mut state = self.state();
        let bound: Vec<_> = state.bound.values().cloned().collect();
        let mut gates: Vec<_> = bound.iter().map(|producer| producer.gate()).collect();
        if let Some(linked) = gates.iter().position(|gate| gate.linked) {
            return Err(DisableError::Linked {
                name: format!("{} {}", self.name(), bound[linked].sub_index()),
            });
        }
        self.disable_locked(&state)
            .map_err(|source| DisableError::Refused {
                name: self.name(),
                source,
            })?;
        for gate in &mut gates {
            gate.retired = true;
        }
        *state = State::default();
        Ok(())
    }

    /// Signals bound sub-indexes from here, as if the device had: VFIO's loopback test.
    ///
    /// # Errors
    ///
    /// See [`FireError`]; none was signalled.
    pub fn fire(&self, sub_indexes: Range<u32>) -> Result<(), FireError> {
        let count = sub_indexes.end.saturating_sub(sub_indexes.start);
        // For no sub-index the request would read: disable.
        if count == 0 {
            return Ok(());
        }
        self.fire_data(sub_indexes.start, IrqData::None { count })
    }

    /// Signals those of the sub-indexes from `start` on that are `true`.
    ///
    /// # Errors
    ///
    /// See [`FireError`]; none was signalled.
    pub fn fire_where(&self, start: u32, which: &[bool]) -> Result<(), FireError> {
        self.fire_data(start, IrqData::Bool(which))
    }

    fn fire_data(&self, start: u32, data: IrqData<'_>) -> Result<(), FireError> {
        // Not to meet a request that takes eventfds away.
        let _state = self.state();
        let answer = self.set(start, data);
        answer.map(|_| ()).map_err(|source| FireError {
            name: self.name(),
            source,
        })
    }

    fn check(&self, state: &State, range: &Range<u32>) -> Result<(), BindError> {
        let name = self.name();
        let (asked, count) = (range.clone(), self.info.count);
        if range.is_empty() || range.end > count {
            return Err(BindError::Range { name, asked, count });
        }
        if range.end - range.start > BIND_MAX {
            let limit = BIND_MAX;
            return Err(BindError::TooMany { name, asked, limit });
        }
        if let Some((sub_index, _)) = state.bound.range(range.clone()).next() {
            let sub_index = *sub_index;
            return Err(BindError::Bound { name, sub_index });
        }
        match state.enabled {
            Some(enabled) if !self.can_grow() && range.end > enabled => Err(BindError::NoResize {
                name,
                asked,
                enabled,
            }),
            _ => Ok(()),
        }
    }

    fn can_grow(&self) -> bool {
        let fixed = self.info.flags.contains(IrqFlags::NORESIZE);
        !(fixed && self.device.has_vectors(self.info.index))
    }

    /// Binds, which enables the index if it is not.
    fn enable_locked(
        &self,
        state: &mut State,
        fds: &[Option<BorrowedFd<'_>>],
        range: &Range<u32>,
    ) -> Result<(), BindError> {
        let mut indexes = self.device.indexes();
        self.check_active(&indexes)?;
        match self.set(range.start, IrqData::Eventfds(fds)) {
            Ok(IrqSetAnswer::Done) => {}
            Ok(IrqSetAnswer::Fewer(available)) => {
                return Err(BindError::Fewer {
                    name: self.name(),
                    asked: range.end,
                    available,
                });
            }
            Err(source) => {
                return Err(BindError::Refused {
                    name: self.name(),
                    source,
                });
            }
        }
        if self.device.is_exclusive(self.info.index) {
            indexes.active = Some(self.info.index);
        }
        state.enabled = Some(state.enabled.unwrap_or(0).max(range.end));
        Ok(())
    }

    fn check_active(&self, indexes: &Indexes) -> Result<(), BindError> {
        match indexes.active {
            Some(active)
                if active != self.info.index && self.device.is_exclusive(self.info.index) =>
            {
                Err(BindError::OtherActive {
                    name: self.name(),
                    active: self.device.index_name(active),
                })
            }
            _ => Ok(()),
        }
    }

    fn disable_locked(&self, state: &State) -> Result<(), Errno> {
        // ERR and REQ with nothing bound refuse to be disabled; nothing is what they have.
        let idle = state.bound.is_empty() && !self.device.is_exclusive(self.info.index);
        if state.enabled.is_some() && !idle {
            self.set(0, IrqData::None { count: 0 })?;
        }
        let mut indexes = self.device.indexes();
        if indexes.active == Some(self.info.index) {
            indexes.active = None;
        }
        Ok(())
    }

    fn set_one(&self, sub_index: u32, event: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        match self.set(sub_index, IrqData::Eventfds(&[event]))? {
            IrqSetAnswer::Done => Ok(()),
            // An answer to enabling, and the index is enabled.
            IrqSetAnswer::Fewer(_) => Err(Errno::EPROTO),
        }
    }

    fn set(&self, start: u32, data: IrqData<'_>) -> Result<IrqSetAnswer, Errno> {
        self.device.device().set_irqs(&IrqSet {
            index: self.info.index,
            start,
            action: IrqAction::Trigger,
            data,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves no half-made change: each field changes by one move.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IndexProducers {
    fn drop(&mut self) {
        let state = std::mem::take(&mut *self.state());
        for producer in state.bound.values() {
            producer.retire();
        }
        if let Err(error) = self.disable_locked(&state) {
            // A device that is gone has let go of its eventfds by itself.
            tracing::warn!(name = self.name(), %error, "index could not be disabled");
        }
        self.device.give_back(self.info.index);
    }
}

impl fmt::Debug for IndexProducers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexProducers({})", self.name())
    }
}

fn event(producer: &Arc<VfioProducer>) -> Option<BorrowedFd<'_>> {
    Some(producer.token().as_fd())
}

#[cfg(test)]
mod tests;
