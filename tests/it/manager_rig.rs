//! A manager with one simulated VFIO device, and a guest that writes its registers.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use irqbroker::manager::DeviceHandle;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::MsiMessage;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use irqbroker_kvm::IoctlCounts;
use irqbroker_vfio::CountingDevice;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::SimDeviceBuilder;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::enable_bus_master;
use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::IntxLayout;
use irqbroker_vfio::pci::IntxPin;
use irqbroker_vfio::pci::IntxSource;
use irqbroker_vfio::pci::MsiLayout;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterruptsLayout;

use crate::world::World;

/// Where the guest finds the registers.
pub(crate) const MSI: u16 = 0x50;
pub(crate) const MSIX: u16 = 0x70;
pub(crate) const TABLE_BAR: u8 = 4;
const PBA_BAR: u8 = 5;

/// The first of a story's vectors.
const FIRST: u8 = 0x40;

/// A story's vectors, by number.
pub(crate) fn vector(at: u16) -> Vector {
    // No story has 256 of them.
    Vector(FIRST + at.to_le_bytes()[0])
}

/// A layout with everything, `vectors` of them in the MSI-X table.
pub(crate) fn layout(vectors: u16, source: IntxSource) -> PciInterruptsLayout {
    let place = |bar| BarOffset { bar, offset: 0 };
    PciInterruptsLayout {
        intx: Some(IntxLayout {
            pin: IntxPin::A,
            source,
        }),
        msi: Some(Capability {
            at: 0x50,
            layout: MsiLayout {
                vectors: 32,
                address_64: true,
                per_vector_masking: true,
                extended_data: false,
            },
        }),
        msix: Some(Capability {
            at: 0x70,
            layout: MsixLayout {
                vectors,
                table: place(TABLE_BAR),
                pba: place(PBA_BAR),
            },
        }),
    }
}

/// How long the kernel's workers may take. Only an interrupt that is lost takes it all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time a story's looks begin at: so far ahead that the service loop, which goes by the
/// clock, adds none of its own. However slow the machine is, rates are then what the story says.
pub(crate) fn story_time() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

/// A manager and a device, as a VMM has them.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) guest: GuestDriver,
    pub(crate) sim: Arc<SimDevice>,
    device: Arc<CountingDevice<SimDevice>>,
    pub(crate) manager: Manager,
}

/// What an operation cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    pub(crate) kvm: IoctlCounts,
    pub(crate) set_irqs: u64,
}

impl std::ops::Sub for Spent {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            kvm: self.kvm - earlier.kvm,
            set_irqs: self.set_irqs - earlier.set_irqs,
        }
    }
}

impl Rig {
    pub(crate) fn new(world: &dyn World, vectors: u16) -> anyhow::Result<Self> {
        let device = SimDevice::pci().intx().msi(32).msix(vectors.into());
        Self::with(world, vectors, device, ManagerOptions::default())
    }

    pub(crate) fn with(
        world: &dyn World,
        vectors: u16,
        device: SimDeviceBuilder,
        options: ManagerOptions,
    ) -> anyhow::Result<Self> {
        let manager = Manager::new(Arc::clone(world.domain()), options)?;
        Self::on(manager, "device", vectors, device)
    }

    /// A device of a manager that may have others.
    pub(crate) fn on(
        manager: Manager,
        name: &str,
        vectors: u16,
        device: SimDeviceBuilder,
    ) -> anyhow::Result<Self> {
        Self::added(manager, vectors, device, |manager, device, shape| {
            let producers = ProducerDevice::new(name, device, None)?;
            Ok(manager.add_device(name, DeviceSource::Vfio(producers), shape)?)
        })
    }

    /// A device that `add` gives to the manager.
    pub(crate) fn added(
        manager: Manager,
        vectors: u16,
        device: SimDeviceBuilder,
        add: impl FnOnce(&Manager, Arc<dyn Device>, DeviceShape) -> anyhow::Result<DeviceHandle>,
    ) -> anyhow::Result<Self> {
        let sim = device.build();
        enable_bus_master(&*sim)?;
        let device = Arc::new(CountingDevice::new(Arc::clone(&sim)));
        let shape = DeviceShape {
            layout: layout(vectors, IntxSource::Automasked),
            device_id: None,
        };
        let handle = add(&manager, Arc::clone(&device) as _, shape)?;
        Ok(Self {
            guest: GuestDriver(handle),
            sim,
            device,
            manager,
        })
    }

    /// The service loop runs until it has nothing left, and the VM comes to rest.
    pub(crate) fn settle(&self, world: &dyn World) -> anyhow::Result<()> {
        while self.manager.service(Wait::No)?.events > 0 {}
        world.settle()
    }

    /// The same, until the VM has taken `owed` interrupts with this vector since it had taken
    /// `before`; how many it has taken.
    ///
    /// What is injected as an irqfd is assigned goes through a worker of the kernel's, which a
    /// guest that has come to rest does not wait for.
    pub(crate) fn taken(
        &self,
        world: &dyn World,
        vector: Vector,
        before: u64,
        owed: u64,
    ) -> anyhow::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let taken = world.delivered(vector) - before;
            if taken >= owed || Instant::now() >= deadline {
                return Ok(taken);
            }
            self.settle(world)?;
        }
    }

    /// What `work` and the service loop after it cost.
    pub(crate) fn spent(
        &self,
        world: &dyn World,
        work: impl FnOnce(&GuestDriver),
    ) -> anyhow::Result<Spent> {
        let before = self.spent_so_far(world);
        work(&self.guest);
        self.settle(world)?;
        Ok(self.spent_so_far(world) - before)
    }

    /// The same, one after the other.
    pub(crate) fn spent_by_each(
        &self,
        world: &dyn World,
        work: impl FnOnce(&GuestDriver),
    ) -> anyhow::Result<[Spent; 2]> {
        let before = self.spent_so_far(world);
        work(&self.guest);
        let between = self.spent_so_far(world);
        self.settle(world)?;
        Ok([between - before, self.spent_so_far(world) - between])
    }

    fn spent_so_far(&self, world: &dyn World) -> Spent {
        Spent {
            kvm: world.ioctls(),
            set_irqs: self.device.counts().set_irqs,
        }
    }

    /// How often the device's registers were read.
    pub(crate) fn reads(&self) -> u64 {
        self.device.counts().region_reads
    }

    /// The device sends the interrupt of an MSI-X vector.
    pub(crate) fn raise(&self, vector: u16) -> Raised {
        self.sim.raise(IrqIndex::MSIX, vector.into())
    }
}

/// What a guest's driver does with a device's registers.
#[derive(Debug)]
pub(crate) struct GuestDriver(pub(crate) DeviceHandle);

impl GuestDriver {
    fn control(&self, capability: u16, value: u16) {
        self.0.config_write(capability + 2, &value.to_le_bytes());
    }

    /// Enables MSI-X, every vector under the function mask.
    pub(crate) fn enable_msix_masked(&self) {
        self.control(MSIX, 0xc000);
    }

    /// Clears the function mask.
    pub(crate) fn clear_function_mask(&self) {
        self.control(MSIX, 0x8000);
    }

    pub(crate) fn disable_msix(&self) {
        self.control(MSIX, 0);
    }

    /// Writes a vector's message, and leaves its mask bit alone.
    pub(crate) fn set_message(&self, vector: u16, message: MsiMessage) {
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&message.address.to_le_bytes());
        entry[8..].copy_from_slice(&message.data.to_le_bytes());
        self.0.bar_write(TABLE_BAR, u64::from(vector) * 16, &entry);
    }

    fn set_mask_bit(&self, vector: u16, bit: u32) {
        let at = u64::from(vector) * 16 + 12;
        self.0.bar_write(TABLE_BAR, at, &bit.to_le_bytes());
    }

    pub(crate) fn mask(&self, vector: u16) {
        self.set_mask_bit(vector, 1);
    }

    pub(crate) fn unmask(&self, vector: u16) {
        self.set_mask_bit(vector, 0);
    }

    /// Enables MSI-X as Linux does: all under the function mask, then the mask cleared.
    pub(crate) fn enable_msix(&self, messages: impl IntoIterator<Item = (u16, MsiMessage)>) {
        self.enable_msix_masked();
        for (vector, message) in messages {
            self.set_message(vector, message);
            self.unmask(vector);
        }
        self.clear_function_mask();
    }

    /// Enables MSI with `log2` of the number of vectors.
    pub(crate) fn enable_msi(&self, log2: u16, message: MsiMessage) {
        let address = message.address.to_le_bytes();
        self.0.config_write(MSI + 4, &address);
        self.0
            .config_write(MSI + 12, &message.data.to_le_bytes()[..2]);
        self.control(MSI, 1 | log2 << 4);
    }

    pub(crate) fn disable_msi(&self) {
        self.control(MSI, 0);
    }

    /// The vector's bit in the pending-bit array.
    pub(crate) fn is_pending(&self, vector: u16) -> bool {
        let mut bits = [0; 8];
        self.0
            .bar_read(PBA_BAR, u64::from(vector / 64) * 8, &mut bits);
        u64::from_le_bytes(bits) & 1 << (vector % 64) != 0
    }
}
