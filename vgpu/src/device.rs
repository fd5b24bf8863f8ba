//! A vGPU as a VFIO device: the one that Linux's bochs driver drives, with vblanks and flips.
//!
//! ```text
//!  VMM ── region_read/write ─► config · registers · MSI-X table ─► effects ─┐
//!      ── set_irqs ──────────► bindings: MSI-X vectors, display, ERR, REQ   ├─► HeadEvents
//!  embedder ── producer() ───► LocalProducer ── Demand ─────────────────────┘      │ alarm
//!  scheduler ── vblank asked for ──────────────────────────────────────────────────┘
//! ```
//!
//! **Lock order**: a producer's gate, then the device's state, then the scheduler's. Eventfds of
//! VFIO are written under the state's lock, so that none is signalled after it was masked or
//! unbound; producers are signalled after it is released.

pub(crate) mod bindings;
mod gfx;
mod gfx_user;
pub(crate) mod irq_request;
mod monitors;
mod port;
mod regions;
mod save;
mod state;
mod test_card;
mod vectors;
mod vfio;
mod views;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::LocalError;
use irqbroker_core::LocalProducer;
use rustix::io::Errno;

use crate::budget::Reservation;
use crate::config_space::ConfigSpace;
use crate::cursor::Cursor;
pub(crate) use crate::device::bindings::DISPLAY;
pub(crate) use crate::device::bindings::DISPLAY_FLAGS;
pub(crate) use crate::device::bindings::SavedSlot;
pub(crate) use crate::device::gfx::Asker;
pub(crate) use crate::device::gfx_user::Plane;
use crate::device::port::HeadPort;
use crate::device::state::Life;
use crate::device::state::Outbox;
use crate::device::state::State;
use crate::device::state::Usage;
pub use crate::device::test_card::TestCard;
pub use crate::device::test_card::TestCardError;
use crate::device::vectors::vector_count;
pub(crate) use crate::device::views::VIEW_DISPLAY;
use crate::export::ExportDmabuf;
use crate::head::HeadId;
use crate::head_event::HeadEvent;
use crate::head_events::HeadCounters;
use crate::head_events::Watch;
use crate::instance::InstanceId;
use crate::instance::VgpuInstance;
use crate::registers::Registers;
use crate::scanout::Scanout;
use crate::vgpu_type::VgpuType;
use crate::vram::Vram;

/// There is no head of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the vgpu has no head {head}")]
pub struct UnknownHead {
    /// As it was asked for.
    pub head: HeadId,
}

/// Why an event has no producer.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// Its head is not there.
    #[error("no producer for the {event} of a head that is not there")]
    Head {
        /// The event.
        event: HeadEvent,
        /// Which head that is.
        #[source]
        source: UnknownHead,
    },
    /// It could not be made.
    #[error("cannot make the producer of {event} of head {head}")]
    Local {
        /// The head.
        head: HeadId,
        /// The event.
        event: HeadEvent,
        /// What was wrong.
        #[source]
        source: LocalError,
    },
}

/// Why a device cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Somebody uses it.
    #[error("vgpu {id} is in use")]
    InUse {
        /// Which one.
        id: InstanceId,
    },
    /// It was destroyed.
    #[error("vgpu {id} is destroyed")]
    Destroyed {
        /// Which one that was.
        id: InstanceId,
    },
}

/// A vGPU behind [`irqbroker_vfio_abi::Device`]; made by
/// [`VgpuParent::create_device`](crate::VgpuParent::create_device).
///
/// What each region and interrupt is: `design/vgpu-registers.md`, `design/display-irq.md`.
#[derive(Debug)]
pub struct VgpuDevice {
    instance: Arc<VgpuInstance>,
    vgpu: VgpuType,
    vram: Vram,
    ports: Vec<Arc<HeadPort>>,
    /// None where the host makes no dma-bufs.
    exporter: Option<Arc<dyn ExportDmabuf>>,
    /// After a producer's gate, before the scheduler's state.
    state: Mutex<State>,
    _reservation: Reservation,
}

impl VgpuDevice {
    /// A device of a type that has been checked, whose heads are those of `instance` and whose memory is
    /// `vram`, of the type's size.
    pub(crate) fn new(
        instance: Arc<VgpuInstance>,
        vgpu: VgpuType,
        vram: Vram,
        reservation: Reservation,
        exporter: Option<Arc<dyn ExportDmabuf>>,
    ) -> Result<Arc<Self>, Errno> {
        let heads = instance.heads().len();
        let serial = u32::try_from(instance.id().0).unwrap_or(u32::MAX);
        // The type has been checked: its mode can be told.
        let edids = monitors::edids(&vgpu, heads, instance.name(), serial);
        let edids = edids.map_err(|_| Errno::INVAL)?;
        let registers = Registers::new(vgpu.vram, heads);
        // At most 1 GiB, and at most 33 vectors.
        let bar = u32::try_from(vgpu.vram).unwrap_or(0);
        let vectors = u16::try_from(vector_count(heads)).unwrap_or(0);
        let config = ConfigSpace::new(bar, vectors);
        let device = Arc::new_cyclic(|device| Self {
            ports: (0..heads)
                .map(|head| HeadPort::new(device.clone(), head))
                .collect(),
            instance,
            vgpu,
            vram,
            exporter,
            state: Mutex::new(State::new(config, registers, edids)),
            _reservation: reservation,
        });
        for (head, port) in device.instance.heads().iter().zip(&device.ports) {
            head.on_alarm(port.as_alarm());
        }
        Ok(device)
    }

    /// The instance: name, heads and their vblanks.
    #[must_use]
    pub fn instance(&self) -> &Arc<VgpuInstance> {
        &self.instance
    }

    /// What it was created as.
    #[must_use]
    pub fn vgpu_type(&self) -> &VgpuType {
        &self.vgpu
    }

    /// The producer of an event, for a registry or for reading its eventfd directly. That of the
    /// vblank is the head's own; the others are made when they are first asked for, and have
    /// nothing from before a consumer came.
    ///
    /// # Errors
    ///
    /// See [`ProducerError`].
    pub fn producer(
        &self,
        head: HeadId,
        event: HeadEvent,
    ) -> Result<Arc<LocalProducer>, ProducerError> {
        let (Some(timed), Some(port)) = (
            self.instance.head(head),
            self.ports.get(usize::from(head.0)),
        ) else {
            let source = UnknownHead { head };
            return Err(ProducerError::Head { event, source });
        };
        if event == HeadEvent::Vblank {
            return Ok(timed.producer());
        }
        port.producer(self.instance.name(), event)
            .map_err(|source| ProducerError::Local {
                head,
                event,
                source,
            })
    }

    /// What a head shows, if anything: of a guest that flips pages, the one of the latest vblank.
    #[must_use]
    pub fn scanout(&self, head: HeadId) -> Option<Scanout> {
        self.lock().shown(&self.instance, usize::from(head.0))
    }

    /// The cursor of a head, if it is shown.
    #[must_use]
    pub fn cursor(&self, head: HeadId) -> Option<Cursor> {
        self.lock().registers.cursor(head)
    }

    /// The memory all pictures are in: a memfd of the type's size, sealed against resizing. To be
    /// mapped or read; the guest writes it at any time.
    #[must_use]
    pub fn vram(&self) -> BorrowedFd<'_> {
        self.vram.fd()
    }

    /// The same, for whoever only looks: its file cannot be written through this one.
    pub(crate) fn vram_read_only(&self) -> BorrowedFd<'_> {
        self.vram.read_only_fd()
    }

    /// What a head has done so far.
    #[must_use]
    pub fn counters(&self, head: HeadId) -> Option<HeadCounters> {
        let head = usize::from(head.0);
        let mut state = self.lock();
        state.advance(&self.instance, head);
        Some(state.heads.get(head)?.events.counters())
    }

    /// How changes without a commit are being found on a head.
    #[must_use]
    pub fn watch(&self, head: HeadId) -> Option<Watch> {
        let state = self.lock();
        Some(state.heads.get(usize::from(head.0))?.events.watch())
    }

    /// Asks the user of the device to give it back (the REQ interrupt). Returns whether there was
    /// somebody to ask; to be repeated until it is given back.
    pub fn request_unplug(&self) -> bool {
        self.lock().bindings.signal_req()
    }

    /// Tells the user of the device that it does not work any more (the ERR interrupt). Returns
    /// whether there was somebody to tell.
    pub fn report_error(&self) -> bool {
        self.lock().bindings.signal_err()
    }

    /// Ends all events for good, unless it is open; of those under way only the producers' may still
    /// come.
    pub(crate) fn retire(&self) -> Result<(), OpenError> {
        let mut state = self.lock();
        if state.usage == Usage::Open {
            let id = self.instance.id();
            return Err(OpenError::InUse { id });
        }
        state.life = Life::Retired;
        Ok(())
    }

    pub(crate) fn begin_use(&self) -> Result<(), OpenError> {
        let id = self.instance.id();
        let mut state = self.lock();
        match (state.life, state.usage) {
            (Life::Retired, _) => Err(OpenError::Destroyed { id }),
            (_, Usage::Open) => Err(OpenError::InUse { id }),
            (_, Usage::Free) => {
                state.usage = Usage::Open;
                Ok(())
            }
        }
    }

    pub(crate) fn end_use(&self) {
        self.lock().usage = Usage::Free;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only code of this crate runs under it; its updates are complete or not begun.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals producers; with no lock held.
    fn send(&self, outbox: Outbox) {
        for (head, event) in outbox.0 {
            if let Some(producer) = self.ports.get(head).and_then(|port| port.made(event)) {
                producer.signal();
            }
        }
    }
}

#[cfg(test)]
mod tests;
