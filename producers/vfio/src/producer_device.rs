//! A device whose interrupts are producers, and which of its indexes are taken.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::Rid;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqType;

use crate::index::IndexProducers;
use crate::open::Opened;

/// More indexes than any driver has: a device's word is not taken for how often to ask it.
const INDEXES_MAX: u32 = 4096;

/// A device of any origin, with its interrupts to be had as producers.
///
/// The device is whatever implements [`Device`]: a [`DeviceFd`](crate::DeviceFd), a vfio-user
/// client, a vGPU of this process, the simulator.
pub struct ProducerDevice {
    name: String,
    source_id: Option<Rid>,
    device: Arc<dyn Device>,
    info: DeviceInfo,
    /// Taken after an index's own lock, and held across the request that enables an index.
    indexes: Mutex<Indexes>,
}

#[derive(Debug, Default)]
pub(crate) struct Indexes {
    taken: BTreeSet<IrqIndex>,
    /// Which of INTx, MSI and MSI-X is enabled.
    pub(crate) active: Option<IrqIndex>,
}

/// Why an index of a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It was handed out before, and is still in use.
    #[error("{name} is in use already")]
    Taken {
        /// The index.
        name: String,
    },
    /// The device has no such interrupt.
    #[error("{name} has no sub-index")]
    Absent {
        /// The index.
        name: String,
    },
    /// Its interrupts are not signalled through eventfds.
    #[error("{name} cannot be signalled through eventfds")]
    NoEventfd {
        /// The index.
        name: String,
    },
    /// The device does not tell.
    #[error("{name} does not say what it is")]
    Device {
        /// The index.
        name: String,
        /// The device's answer.
        #[source]
        source: Errno,
    },
}

impl ProducerDevice {
    /// A device called `name`, which prefixes the names of its producers.
    ///
    /// `source_id` is a PCI function's requester id.
    ///
    /// # Errors
    ///
    /// The device does not say what it is.
    pub fn new(
        name: impl Into<String>,
        device: Arc<dyn Device>,
        source_id: Option<Rid>,
    ) -> Result<Arc<Self>, Errno> {
        let info = device.info()?;
        Ok(Arc::new(Self {
            name: name.into(),
            source_id,
            device,
            info,
            indexes: Mutex::default(),
        }))
    }

    /// What prefixes the producers' names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the device said of itself.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The device itself, for regions and planes. Its interrupts are the producers' to set.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Takes an index; dropping what comes of it gives it back.
    ///
    /// # Errors
    ///
    /// See [`IndexError`]; nothing is taken.
    pub fn index(self: &Arc<Self>, index: IrqIndex) -> Result<IndexProducers, IndexError> {
        let name = self.index_name(index);
        let info = match self.device.irq_info(index) {
            Ok(info) => info,
            Err(source) => return Err(IndexError::Device { name, source }),
        };
        if info.count == 0 {
            return Err(IndexError::Absent { name });
        }
        if !info.flags.contains(IrqFlags::EVENTFD) {
            return Err(IndexError::NoEventfd { name });
        }
        if !self.indexes().taken.insert(index) {
            return Err(IndexError::Taken { name });
        }
        // The number asked for, whatever the device wrote into its answer.
        Ok(IndexProducers::new(
            Arc::clone(self),
            IrqInfo { index, ..info },
        ))
    }

    /// The first index that says it is for `irq_type`: how to find one of a device's own.
    ///
    /// # Errors
    ///
    /// The device's answer, unless that is EINVAL: an index without a meaning is passed over.
    pub fn find(&self, irq_type: IrqType) -> Result<Option<IrqInfo>, Errno> {
        let first = if self.is_pci() { IrqIndex::PCI_NUM } else { 0 };
        for index in first..self.info.num_irqs.min(INDEXES_MAX) {
            let info = match self.device.irq_info(IrqIndex(index)) {
                Err(Errno::EINVAL) => continue,
                answer => answer?,
            };
            if info.irq_type() == Some(irq_type) {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    pub(crate) fn source_id(&self) -> Option<Rid> {
        self.source_id
    }

    pub(crate) fn indexes(&self) -> MutexGuard<'_, Indexes> {
        // A panic inside leaves no half-made change: each field changes by one move.
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give_back(&self, index: IrqIndex) {
        let mut indexes = self.indexes();
        indexes.taken.remove(&index);
        if indexes.active == Some(index) {
            indexes.active = None;
        }
    }

    fn is_pci(&self) -> bool {
        self.info.flags.contains(DeviceFlags::PCI)
    }

    /// Whether the index is one of the three of which PCI has one enabled at a time.
    pub(crate) fn is_exclusive(&self, index: IrqIndex) -> bool {
        self.is_pci() && [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX].contains(&index)
    }

    /// Whether the index is enabled with a number of vectors.
    pub(crate) fn has_vectors(&self, index: IrqIndex) -> bool {
        self.is_pci() && [IrqIndex::MSI, IrqIndex::MSIX].contains(&index)
    }

    /// `0000:00:05.0.msix`.
    pub(crate) fn index_name(&self, index: IrqIndex) -> String {
        let kind = match index {
            IrqIndex::INTX => "intx",
            IrqIndex::MSI => "msi",
            IrqIndex::MSIX => "msix",
            IrqIndex::ERR => "err",
            IrqIndex::REQ => "req",
            _ => "",
        };
        match (self.is_pci(), kind) {
            (false, _) | (_, "") => format!("{}.irq{index}", self.name),
            (true, kind) => format!("{}.{kind}", self.name),
        }
    }
}

impl Opened {
    /// The device with its interrupts to be had as producers.
    ///
    /// # Errors
    ///
    /// The device does not say what it is.
    pub fn producers(&self) -> Result<Arc<ProducerDevice>, Errno> {
        let device: Arc<dyn Device> = self.device.clone();
        ProducerDevice::new(self.name.clone(), device, self.source_id)
    }
}

impl fmt::Debug for ProducerDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerDevice({})", self.name)
    }
}
