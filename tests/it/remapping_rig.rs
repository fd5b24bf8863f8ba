//! Links behind a remapping unit whose table a story writes in its guest's place.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker::remapping::CompatibilityFormat;
use irqbroker::remapping::GuestMemory;
use irqbroker::remapping::IecInvalidation;
use irqbroker::remapping::Irta;
use irqbroker::remapping::PostedInterrupts;
use irqbroker::remapping::RemappedMsi;
use irqbroker::remapping::RemappingUnit;
use irqbroker::remapping::Unmapped;
use irqbroker::remapping::VtdFault;
use irqbroker::remapping::VtdRemapper;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::Delivery;
use irqbroker_core::LocalProducer;
use irqbroker_core::MsiMessage;
use irqbroker_core::Options;
use irqbroker_core::Producer;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_core::Token;
use irqbroker_core::Vector;
use irqbroker_kvm::VmDomain;
use posted_irq::Msi;
use posted_irq::RemappableMsi;
use posted_irq::SourceValidation;
use posted_irq::VtdIrte;
use posted_irq::VtdRemapped;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::bench::Device;
use crate::bench::Source;
use crate::world::KvmWorld;
use crate::world::SimWorld;
use crate::world::World;

/// The device of the stories, 00:03.0.
pub(crate) const DEVICE: Rid = Rid(3 << 3);
/// Where the guest has its table; not at zero, so that an address that lost its base is found out.
pub(crate) const TABLE: u64 = 0x1000;
/// IRTA_REG.S of a table of 8192 entries, more than any story has links.
const TABLE_SIZE: u8 = 12;

/// Memory of a guest with one table in it.
#[derive(Debug, Clone)]
pub(crate) struct GuestTable(Arc<Mutex<Vec<u8>>>);

impl GuestTable {
    pub(crate) fn new() -> Self {
        let bytes = 16 * (2 << TABLE_SIZE);
        Self(Arc::new(Mutex::new(vec![0; bytes])))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, index: u16, entry: VtdIrte) {
        let at = 16 * usize::from(index);
        self.write_bytes(at, &entry.into_bits().to_le_bytes());
    }

    /// Writes what is so far from its beginning.
    pub(crate) fn write_bytes(&self, at: usize, bytes: &[u8]) {
        self.bytes()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// What a unit has recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<VtdFault>>>);

impl Faults {
    /// Since the last time.
    pub(crate) fn take(&self) -> Vec<VtdFault> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<VtdFault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A unit whose table this is, and its faults.
pub(crate) fn unit(
    registry: &Registry,
    domain: &Arc<VmDomain>,
    remapper: VtdRemapper,
    table: GuestTable,
) -> (Arc<RemappingUnit<VtdRemapper>>, Faults) {
    let faults = Faults::default();
    let recorded = faults.clone();
    let record = move |fault: &VtdFault| recorded.lock().push(*fault);
    let (registry, domain) = (registry.clone(), Arc::clone(domain));
    let unit = RemappingUnit::new(registry, domain, remapper, table, record);
    (unit, faults)
}

impl GuestMemory for GuestTable {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Unmapped> {
        let memory = self.bytes();
        let from = address.checked_sub(TABLE).map(usize::try_from);
        let found = from.and_then(Result::ok).and_then(|from| {
            let until = from.checked_add(bytes.len())?;
            memory.get(from..until)
        });
        bytes.copy_from_slice(found.ok_or(Unmapped { address })?);
        Ok(())
    }
}

/// An entry that leads an interrupt of the device to this APIC.
pub(crate) fn entry(apic: u32, vector: Vector) -> VtdIrte {
    VtdRemapped::new()
        .with_p(true)
        .with_vector(vector.0)
        .with_dst(apic)
        .with_svt(SourceValidation::Source)
        .with_sid(DEVICE.0)
        .into()
}

/// What the guest writes into its device for an entry.
pub(crate) fn handle(index: u16) -> MsiMessage {
    let Msi { address, data } = RemappableMsi {
        handle: index,
        subhandle: None,
    }
    .encode();
    MsiMessage { address, data }
}

pub(crate) fn one(index: u16) -> IecInvalidation {
    IecInvalidation::Index { index, mask: 0 }
}

pub(crate) fn set_up() -> VtdRemapper {
    VtdRemapper {
        table: Some(Irta::from_bits(TABLE).with_s(TABLE_SIZE).with_eime(true)),
        compatibility: CompatibilityFormat::Blocked,
        posting: PostedInterrupts::NotOffered,
    }
}

/// A unit with its table, on a world whose VM has the split irqchip.
pub(crate) struct Rig<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) registry: Registry,
    pub(crate) table: GuestTable,
    pub(crate) unit: Arc<RemappingUnit<VtdRemapper>>,
    faults: Faults,
}

/// A link behind it.
pub(crate) struct Behind {
    pub(crate) source: Source,
    pub(crate) consumer: Arc<RemappedMsi<VtdRemapper>>,
    pub(crate) link: ConsumerHandle,
    _producer: ProducerHandle,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(world: &'a dyn World, options: Options) -> anyhow::Result<Self> {
        let registry = Registry::with_options(options)?;
        let table = GuestTable::new();
        let (unit, faults) = unit(&registry, world.domain(), set_up(), table.clone());
        Ok(Self {
            world,
            registry,
            table,
            unit,
            faults,
        })
    }

    /// A link with this message. Even ones are masked at the source, odd ones by detaching.
    pub(crate) fn link(&self, at: u16, message: MsiMessage) -> anyhow::Result<Behind> {
        let (source, producer): (_, Arc<dyn Producer>) = if at.is_multiple_of(2) {
            let local = LocalProducer::new(format!("local{at}"))?;
            (Source::Local(local.clone()), local)
        } else {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            (Source::Device(Token::of(event)?), Arc::new(Device))
        };
        let token = source.token().clone();
        let consumer = self.unit.msi(format!("msi{at}"), DEVICE, message)?;
        Ok(Behind {
            source,
            _producer: self.registry.register_producer(token.clone(), producer)?,
            link: self.registry.register_consumer(token, consumer.clone())?,
            consumer,
        })
    }

    /// The faults recorded since the last time.
    pub(crate) fn faults(&self) -> Vec<VtdFault> {
        self.faults.take()
    }

    /// The relay has nothing left, and the VM is at rest.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        crate::bench::settle(&self.registry, self.world)
    }
}

impl Behind {
    pub(crate) fn delivery(&self) -> anyhow::Result<Delivery> {
        Ok(self.link.delivery()?)
    }
}

/// A story that runs on the simulator and, where there is one, on KVM, both with the split irqchip.
pub(crate) fn on_both_split(
    name: &str,
    body: fn(&dyn World) -> anyhow::Result<()>,
) -> [libtest_mimic::Trial; 2] {
    use crate::need::Need;
    use crate::need::story;
    [
        story(name, Need::Nothing, move || body(&SimWorld::split()?)),
        story(format!("{name}_on_kvm"), Need::Kvm, move || {
            body(&KvmWorld::split()?)
        }),
    ]
}
