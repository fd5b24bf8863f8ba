//! Where a device's interrupts come from: VFIO, or producers of this process.

use std::ops::Range;
use std::sync::Arc;

use irqbroker_core::LocalProducer;
use irqbroker_core::Producer;
use irqbroker_core::Token;
use irqbroker_vfio::BindError;
use irqbroker_vfio::IndexProducers;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::VfioProducer;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::InterruptKind;

use crate::manager::fault::Fault;

/// The source of one vector's events.
pub trait VectorSource: Producer {
    /// The identity of the eventfd it signals, which does not block.
    fn token(&self) -> &Token;

    /// Whether an event waits with the source itself instead of in its eventfd.
    fn holds_event(&self) -> bool;

    /// Events sent so far, where they are counted whichever way they take.
    fn signalled(&self) -> Option<u64>;

    /// Sends one event, as if it were the device's.
    fn signal(&self);
}

impl VectorSource for LocalProducer {
    fn token(&self) -> &Token {
        self.token()
    }

    fn holds_event(&self) -> bool {
        self.is_pending()
    }

    fn signalled(&self) -> Option<u64> {
        Some(self.signalled())
    }

    fn signal(&self) {
        self.signal();
    }
}

impl VectorSource for VfioProducer {
    fn token(&self) -> &Token {
        self.token()
    }

    fn holds_event(&self) -> bool {
        false
    }

    fn signalled(&self) -> Option<u64> {
        None
    }

    fn signal(&self) {
        // Refused only when the counter is full: it is pending then anyway.
        let _ = rustix::io::write(self.token(), &1u64.to_ne_bytes());
    }
}

/// What a device's interrupts come from.
#[derive(Debug, Clone)]
pub enum DeviceSource {
    /// A VFIO device of any origin: the kernel's, a peer's over vfio-user, one in this process.
    Vfio(Arc<ProducerDevice>),
    /// Producers of this process, by the number of the vector, MSI and MSI-X alike. Masked at the
    /// source, which costs no system call.
    Local(Vec<Arc<dyn VectorSource>>),
}

/// A capability's sources while it is enabled.
#[derive(Debug)]
pub(super) enum Feed {
    Vfio(IndexProducers),
    Local(Vec<Arc<dyn VectorSource>>),
}

impl DeviceSource {
    /// Enables a capability on the device, with room for `vectors`, and binds none of them.
    ///
    /// Where the kernel adds MSI-X vectors on demand that takes one host interrupt, else one for
    /// each vector; see `design/embedding.md`.
    pub(super) fn enable(&self, kind: InterruptKind, vectors: u16) -> Result<Feed, Fault> {
        let device = match self {
            Self::Local(sources) => return Ok(Feed::Local(sources.clone())),
            Self::Vfio(device) => device,
        };
        let producers = device.index(match kind {
            InterruptKind::Intx => IrqIndex::INTX,
            InterruptKind::Msi => IrqIndex::MSI,
            InterruptKind::Msix => IrqIndex::MSIX,
        })?;
        if kind == InterruptKind::Intx {
            return Ok(Feed::Vfio(producers));
        }
        let info = producers.info();
        let room = match info.flags.contains(IrqFlags::NORESIZE) {
            true => u32::from(vectors).min(info.count),
            false => 1,
        };
        match producers.enable(room) {
            // The host is short of vectors: those beyond what it has cannot be bound.
            Err(BindError::Fewer { available, .. }) if available > 0 => {
                producers.enable(available)?;
            }
            result => result?,
        }
        Ok(Feed::Vfio(producers))
    }
}

impl DeviceSource {
    /// Forgets the events of sources that live on through a reset, and are not linked.
    pub(super) fn forget(&self) {
        let Self::Local(sources) = self else { return };
        for source in sources {
            // Empty is no error, and nobody waits: the eventfds of producers do not block.
            let _ = rustix::io::read(source.token(), &mut [0; 8]);
        }
    }
}

impl Feed {
    /// The sources of these vectors, bound with one request.
    pub(super) fn bind(&self, vectors: Range<u16>) -> Result<Vec<Arc<dyn VectorSource>>, Fault> {
        match self {
            Self::Vfio(producers) => {
                let bound = producers.bind(vectors.start.into()..vectors.end.into())?;
                Ok(bound.into_iter().map(|source| source as _).collect())
            }
            Self::Local(sources) => vectors
                .map(|vector| {
                    let source = sources.get(usize::from(vector)).cloned();
                    source.ok_or(Fault::NoSource { vector })
                })
                .collect(),
        }
    }

    /// Whether an event waits in a source that is not linked.
    pub(super) fn holds_event(&self, vector: u16) -> bool {
        match self {
            Self::Vfio(_) => false,
            Self::Local(sources) => sources
                .get(usize::from(vector))
                .is_some_and(|source| stands(&**source)),
        }
    }

    /// Ends it; sources are not linked any more. Where they live on, their events live with them,
    /// else these are the `bound` ones that have one.
    pub(super) fn disable(self, bound: &[(u16, Arc<dyn VectorSource>)]) -> Vec<u16> {
        let Self::Vfio(producers) = self else {
            return Vec::new();
        };
        if let Err(error) = producers.disable() {
            tracing::warn!(name = producers.name(), %error, "index could not be disabled");
        }
        // Nothing signals them from here on.
        let bound = bound.iter().filter(|(_, source)| stands(&**source));
        bound.map(|(vector, _)| *vector).collect()
    }
}

fn stands(source: &dyn VectorSource) -> bool {
    source.holds_event() || source.token().is_pending().unwrap_or(false)
}
