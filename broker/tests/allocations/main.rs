//! What a guest writes to its registers makes nothing grow, however often it writes.
//!
//! A test binary of its own: the allocator that counts is the whole process's.

mod access;

use std::error::Error;
use std::sync::Arc;

use allocation_counter::AllocationInfo;
use allocation_counter::measure;
use irqbroker::Gsi;
use irqbroker::Wait;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::KernelCapabilities;
use irqbroker::kvm::VmDomain;
use irqbroker::manager::DeviceHandle;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::vfio::ProducerDevice;
use irqbroker::vfio::pci::Effect;
use irqbroker::vfio::pci::PciInterrupts;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::conformance::VmShape;
use irqbroker_vfio::SimDevice;

use crate::access::Access;
use crate::access::Direction;
use crate::access::Place;
use crate::access::layout;

/// Accesses of a short run and of a long one: what grows with each is ten times as much.
const SHORT: usize = 10_000;
const LONG: usize = 100_000;
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 4;

/// A pin of the IOAPIC that a PC's PCI devices lead to.
const LINE: Gsi = Gsi(20);

/// Does it to a state machine; how many effects came of it.
fn pure(pci: &mut PciInterrupts, access: &mut Access) -> usize {
    let (direction, place) = (access.direction, access.place);
    let bytes = access.bytes();
    match (direction, place) {
        (Direction::Read, Place::Config { offset }) => {
            pci.read_config(offset, bytes, |_| true);
            0
        }
        (Direction::Read, Place::Bar { bar, offset }) => {
            pci.read_bar(bar, offset, bytes, |_| true);
            0
        }
        (Direction::Write, Place::Config { offset }) => {
            pci.write_config(offset, bytes).effects.len()
        }
        (Direction::Write, Place::Bar { bar, offset }) => {
            pci.write_bar(bar, offset, bytes).effects.len()
        }
    }
}

#[test]
fn pci_accesses_leave_nothing_allocated_and_those_without_effect_allocate_nothing()
-> Result<(), Box<dyn Error>> {
    // A small table, which most accesses leave, and the largest.
    for (vectors, messages) in [(5, 4), (2048, 32)] {
        let mut pci = PciInterrupts::new(layout(vectors, messages))?;
        let mut random = fastrand::Rng::with_seed(SEED);
        let (mut idle, mut effective) = (0, 0);
        // An access has no more effects than this. Their list may be there twice while it grows,
        // and twice again while effects of a capability become those of the function.
        let list = size_of::<Effect>() * (usize::from(vectors) + usize::from(messages) + 4);
        let most = 4 * list.next_power_of_two();
        for number in 0..LONG {
            let mut access = Access::random(&mut random, vectors);
            let mut effects = 0;
            let spent = measure(|| effects = pure(&mut pci, &mut access));
            let left = (spent.count_current, spent.bytes_current);
            assert_eq!(left, (0, 0), "access {number}: {access:?}");
            assert!(
                usize::try_from(spent.bytes_max)? <= most,
                "access {number}: {spent:?} for {access:?}"
            );
            if effects == 0 {
                idle += 1;
                assert_eq!(spent.count_total, 0, "access {number}: {access:?}");
            } else {
                effective += 1;
            }
        }
        // Not a run that never got anywhere.
        assert!(idle > LONG / 10, "{idle} without effect");
        assert!(effective > LONG / 10, "{effective} with effects");
    }
    Ok(())
}

/// A manager with one device of 16 vectors, on a VM that has fewer GSIs.
struct Bed {
    vm: Arc<SimVm>,
    manager: Manager,
    device: DeviceHandle,
    random: fastrand::Rng,
    /// Ioctls so far.
    calls: usize,
}

impl Bed {
    const VECTORS: u16 = 16;
    const MESSAGES: u8 = 4;

    fn new() -> Result<Self, Box<dyn Error>> {
        let capabilities = KernelCapabilities {
            // The pins of a PC's controllers take 24 GSIs and 40 entries.
            max_routes: 48,
            irqfd: true,
            resample: true,
            signal_msi: true,
            msi_devid: false,
        };
        let vm = SimHost::default().vm_with(VmShape::PC, capabilities);
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
        let manager = Manager::new(domain, ManagerOptions::default())?;
        let sim = SimDevice::pci().intx().msi(Self::MESSAGES.into());
        let sim = sim.msix(Self::VECTORS.into()).build();
        let source = DeviceSource::Vfio(ProducerDevice::new("device", sim, None)?);
        let shape = DeviceShape {
            layout: layout(Self::VECTORS, Self::MESSAGES),
            device_id: None,
        };
        let device = manager.add_device("device", source, shape)?;
        device.route_intx(Some(LINE))?;
        Ok(Self {
            vm,
            manager,
            device,
            random: fastrand::Rng::with_seed(SEED),
            calls: 0,
        })
    }

    /// What so many accesses and a reset of the function allocate, and leave behind.
    fn spent_by(&mut self, accesses: usize) -> Result<AllocationInfo, Box<dyn Error>> {
        let mut done = Ok(());
        let spent = measure(|| done = self.run(accesses));
        done?;
        Ok(spent)
    }

    fn run(&mut self, accesses: usize) -> Result<(), Box<dyn Error>> {
        for number in 0..accesses {
            let mut access = Access::random(&mut self.random, Self::VECTORS);
            self.access(&mut access);
            // The service loop comes in between, not after each.
            if number % 16 == 0 {
                self.service()?;
            }
        }
        self.device.reset();
        self.service()
    }

    fn access(&self, access: &mut Access) {
        let (direction, place) = (access.direction, access.place);
        let (device, bytes) = (&self.device, access.bytes());
        match (direction, place) {
            (Direction::Read, Place::Config { offset }) => device.config_read(offset, bytes),
            (Direction::Read, Place::Bar { bar, offset }) => device.bar_read(bar, offset, bytes),
            (Direction::Write, Place::Config { offset }) => device.config_write(offset, bytes),
            (Direction::Write, Place::Bar { bar, offset }) => device.bar_write(bar, offset, bytes),
        };
    }

    fn service(&mut self) -> Result<(), Box<dyn Error>> {
        while self.manager.service(Wait::No)?.events > 0 {}
        // The simulator's log would grow with the accesses.
        self.calls += self.vm.take_calls().len();
        Ok(())
    }
}

/// How much more may be there after a long run than after a short one.
///
/// The registry's index takes 8 KiB for 2048 ids of eventfds. The kernel gives them to all of the
/// machine, and now and then one comes of a range that is new here. Were it for the accesses, a
/// byte for each would be too much.
const BYTES: i64 = 64 << 10;
const BLOCKS: i64 = 8;

#[test]
fn device_handle_accesses_leave_no_more_allocated_however_many_there_are()
-> Result<(), Box<dyn Error>> {
    let mut bed = Bed::new()?;
    // What is made once for a vector or a GSI is there after this.
    bed.spent_by(SHORT)?;
    let short = bed.spent_by(SHORT)?;
    let calls = bed.calls;
    let long = bed.spent_by(LONG)?;

    for (spent, accesses) in [(short, SHORT), (long, LONG)] {
        assert!(spent.bytes_current <= BYTES, "{accesses}: {spent:?}");
        assert!(spent.count_current <= BLOCKS, "{accesses}: {spent:?}");
    }
    let (peak_of_short, peak_of_long) = (short.bytes_max, long.bytes_max);
    assert!(
        peak_of_long <= peak_of_short + BYTES.unsigned_abs(),
        "{peak_of_long} bytes at once, {peak_of_short} in the short run"
    );
    // Not a run that never got anywhere: vectors were bound, routed and given up again.
    assert!(bed.calls - calls > LONG / 10, "{} ioctls", bed.calls);
    Ok(())
}
