//! What a guest's interrupt set-up costs through the manager, beside a table for each vector.
//!
//! * `restore`: 50 VMs with 60 vectors each, as a host does that starts them from a snapshot
//! * `bring-up`: one VM, 8 devices with 65 vectors each, brought up one after the other
//! * `unmask`: on the guest's thread, as a ratio to the write of an eventfd, at several table sizes
//!
//! The reference of the first two, `per-vector`, is the fewest calls that follow the guest's
//! writes one by one: an eventfd, a whole table and an irqfd for each, and no book-keeping. Ours is
//! all of it: registers, eventfds, identities, links, promotion by the service loop. VMs and
//! devices are made before the clock starts; devices answer at once. Each round makes every case
//! once, in random order; ratios are taken within the round.
//!
//! The gate is exact and comes first: one table a VM restored, one a device brought up, no ioctl
//! of KVM's for an unmask.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.
//! Without /dev/kvm there is nothing to measure, which is a failure only if `IRQBROKER_REQUIRE`
//! names `kvm`. Run with `cargo bench --bench manager`.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::DeviceHandle;
use irqbroker::manager::DeviceShape;
use irqbroker::manager::DeviceSource;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Wait;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::MsiRoute;
use irqbroker_kvm::Route;
use irqbroker_kvm::RouteEntry;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqInfo;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::IrqSetAnswer;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio::abi::RegionInfo;
use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterruptsLayout;
use kvm_ioctls::Kvm;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use rustix::process::Resource;
use serde_json::Value;
use serde_json::json;

/// The first GSI above the IOAPIC's pins.
const FIRST_GSI: u32 = 24;

/// A device that does whatever it is asked to, at once.
#[derive(Debug)]
struct Obedient {
    vectors: u16,
}

impl Device for Obedient {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::PCI,
            num_regions: RegionIndex::PCI_NUM,
            num_irqs: IrqIndex::PCI_NUM,
            capabilities: Vec::new(),
        })
    }
    fn region_info(&self, _index: RegionIndex) -> Result<RegionInfo, Errno> {
        Err(Errno::EINVAL)
    }
    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        Ok(IrqInfo {
            index,
            flags: IrqFlags::EVENTFD,
            count: self.vectors.into(),
            capabilities: Vec::new(),
        })
    }
    fn set_irqs(&self, _request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Ok(IrqSetAnswer::Done)
    }
    fn region_read(&self, _: RegionIndex, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    fn reset(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// A VM, and its devices once they are added.
struct Vm {
    seam: Arc<CountingVm<VmIrqFd>>,
    manager: Manager,
    devices: Vec<DeviceHandle>,
}

impl Vm {
    fn new(kvm: &Kvm, devices: usize, vectors: u16) -> anyhow::Result<Self> {
        let vm = kvm.create_vm()?;
        vm.create_irq_chip()?;
        let seam = Arc::new(CountingVm::new(VmIrqFd::new(Arc::new(vm))));
        let pins = EmbedderRoutes::pc_pins();
        let domain = VmDomain::new(seam.clone(), pins, DestinationIds::Bits8)?;
        let manager = Manager::new(domain, ManagerOptions::default())?;
        let devices = (0..devices).map(|at| {
            let name = format!("device{at}");
            let device = Arc::new(Obedient { vectors });
            let source = DeviceSource::Vfio(ProducerDevice::new(name.clone(), device, None)?);
            Ok(manager.add_device(name, source, shape(vectors))?)
        });
        let devices = devices.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            seam,
            manager,
            devices,
        })
    }

    fn service(&self) -> anyhow::Result<()> {
        while self.manager.service(Wait::No)?.events > 0 {}
        Ok(())
    }
}

fn shape(vectors: u16) -> DeviceShape {
    let place = |bar| BarOffset { bar, offset: 0 };
    let layout = MsixLayout {
        vectors,
        table: place(0),
        pba: place(1),
    };
    DeviceShape {
        layout: PciInterruptsLayout {
            msix: Some(Capability { at: 0x40, layout }),
            ..PciInterruptsLayout::default()
        },
        device_id: None,
    }
}

/// All messages are distinct: 128 vectors for each destination.
fn message(at: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000 | u64::from(at / 128) << 12,
        data: 0x40 + at % 128,
    }
}

/// What a driver does: all vectors under the function mask, which is then cleared.
fn enable(device: &DeviceHandle, vectors: u16, first: u32) {
    device.config_write(0x42, &0xc000u16.to_le_bytes());
    for vector in 0..vectors {
        let message = message(first + u32::from(vector));
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&message.address.to_le_bytes());
        entry[8..12].copy_from_slice(&message.data.to_le_bytes());
        device.bar_write(0, u64::from(vector) * 16, &entry);
    }
    device.config_write(0x42, &0x8000u16.to_le_bytes());
}

/// A table and an irqfd for each vector.
fn per_vector(vm: &dyn VmIrq, vectors: u32) -> anyhow::Result<Vec<OwnedFd>> {
    let mut table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    let mut events = Vec::new();
    for at in 0..vectors {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let gsi = Gsi(FIRST_GSI + at);
        let (message, device) = (message(at), None);
        let target = Route::Msi(MsiRoute { message, device });
        table.push(RouteEntry { gsi, target });
        vm.commit_routes(&table)?;
        vm.assign_irqfd(event.as_fd(), gsi)?;
        events.push(event);
    }
    Ok(events)
}

/// How many of everything.
#[derive(Debug, Clone, Copy)]
struct Load {
    vms: usize,
    devices: usize,
    vectors: u16,
}

impl Load {
    fn vectors_of_a_vm(self) -> anyhow::Result<u32> {
        Ok(u32::from(self.vectors) * u32::try_from(self.devices)?)
    }

    fn vms(self, kvm: &Kvm) -> anyhow::Result<Vec<Vm>> {
        let vm = |_| Vm::new(kvm, self.devices, self.vectors);
        (0..self.vms).map(vm).collect()
    }

    fn per_vector(self, kvm: &Kvm) -> anyhow::Result<Duration> {
        let (vms, vectors) = (self.vms(kvm)?, self.vectors_of_a_vm()?);
        let mut up = Vec::new();
        let start = Instant::now();
        for vm in &vms {
            up.push(per_vector(&*vm.seam, vectors)?);
        }
        Ok(start.elapsed())
    }

    fn restored(self, kvm: &Kvm) -> anyhow::Result<Duration> {
        let one = Vm::new(kvm, self.devices, self.vectors)?;
        for (device, first) in one.devices.iter().zip((0..).step_by(self.vectors.into())) {
            enable(device, self.vectors, first);
        }
        let saved = one.manager.save();
        let vms = self.vms(kvm)?;
        let start = Instant::now();
        for vm in &vms {
            vm.manager.restore(&saved)?;
            vm.service()?;
        }
        let elapsed = start.elapsed();
        for vm in &vms {
            self.gate(vm, 1)?;
        }
        Ok(elapsed)
    }

    fn brought_up(self, kvm: &Kvm) -> anyhow::Result<Duration> {
        let vms = self.vms(kvm)?;
        let start = Instant::now();
        for vm in &vms {
            for (device, first) in vm.devices.iter().zip((0..).step_by(self.vectors.into())) {
                enable(device, self.vectors, first);
                vm.service()?;
            }
        }
        let elapsed = start.elapsed();
        for vm in &vms {
            self.gate(vm, u64::try_from(self.devices)?)?;
        }
        Ok(elapsed)
    }

    fn gate(self, vm: &Vm, commits: u64) -> anyhow::Result<()> {
        let made = vm.seam.counts();
        let wanted = (commits, u64::from(self.vectors_of_a_vm()?));
        ensure!(
            (made.commits, made.assigns) == wanted,
            "wanted {commits} tables for {self:?}, counted {made:?}"
        );
        Ok(())
    }
}

/// Ours beside the reference, each round in random order.
fn compare(
    name: &str,
    rounds: usize,
    load: Load,
    ours: impl Fn() -> anyhow::Result<Duration>,
    reference: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Value> {
    let (mut own, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (ours, reference) = match fastrand::bool() {
            true => (ours()?, reference()?),
            false => {
                let reference = reference()?;
                (ours()?, reference)
            }
        };
        own.push(ours.as_secs_f64() * 1e3);
        ratios.push(reference.as_secs_f64() / ours.as_secs_f64());
    }
    Ok(json!({
        "name": name,
        "vms": load.vms,
        "devices": load.devices,
        "vectors": load.vectors,
        "ms": median(own),
        "per_vector_ratio": median(ratios),
    }))
}

/// An unmask of a vector that has been up before, beside the write of an eventfd.
fn unmask(kvm: &Kvm, vectors: u16, rounds: usize) -> anyhow::Result<Value> {
    let vm = Vm::new(kvm, 1, vectors)?;
    let device = &vm.devices[0];
    enable(device, vectors, 0);
    vm.service()?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = u64::from(vectors - 1) * 16 + 12;
    let (mut own, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds * 100 {
        device.bar_write(0, control, &[1, 0, 0, 0]);
        let before = vm.seam.counts();
        let start = Instant::now();
        device.bar_write(0, control, &[0; 4]);
        let ours = start.elapsed();
        ensure!(vm.seam.counts() == before, "an unmask made an ioctl");
        let start = Instant::now();
        rustix::io::write(&event, &1u64.to_ne_bytes())?;
        let write = start.elapsed();
        vm.service()?;
        own.push(ours.as_secs_f64() * 1e3);
        ratios.push(ours.as_secs_f64() / write.as_secs_f64());
    }
    Ok(json!({
        "name": "unmask",
        "vms": 1,
        "devices": 1,
        "vectors": vectors,
        "ms": median(own),
        "eventfd_write_ratio": median(ratios),
    }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// To all that the host allows: a vector takes an fd, a VM half a dozen.
fn raise_fd_limit() -> rustix::io::Result<()> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => {
            println!("manager: nothing measured, /dev/kvm: {error}");
            let required = std::env::var("IRQBROKER_REQUIRE")
                .is_ok_and(|list| list.split(',').any(|name| name == "kvm"));
            return Ok(ExitCode::from(u8::from(required)));
        }
    };
    // An odd number of rounds, so that the median is one of them.
    let measured = has("--bench") && !has("--test");
    let (rounds, vms, sizes) = match measured {
        true => (7, 50, [64, 512, 2048].as_slice()),
        false => (1, 2, [16].as_slice()),
    };
    raise_fd_limit().context("cannot raise the limit of open files")?;
    let restore = Load {
        vms,
        devices: 1,
        vectors: 60,
    };
    let bring_up = Load {
        vms: 1,
        devices: 8,
        vectors: 65,
    };
    let mut rows = vec![
        compare(
            "restore",
            rounds,
            restore,
            || restore.restored(&kvm),
            || restore.per_vector(&kvm),
        )?,
        compare(
            "bring-up",
            rounds,
            bring_up,
            || bring_up.brought_up(&kvm),
            || bring_up.per_vector(&kvm),
        )?,
    ];
    for &vectors in sizes {
        rows.push(unmask(&kvm, vectors, rounds)?);
    }
    if has("--json") {
        println!(
            "{}",
            json!({ "bench": "manager", "rounds": rounds, "rows": rows })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{rounds} rounds; one table a VM restored, one a device brought up");
    for row in &rows {
        let ratio = row["per_vector_ratio"]
            .as_f64()
            .map(|ratio| format!("per-vector way {ratio:.2}x of ours"))
            .or_else(|| {
                let ratio = row["eventfd_write_ratio"].as_f64()?;
                Some(format!("{ratio:.2}x an eventfd write"))
            });
        println!(
            "{:<9}{:>3} vms {:>2} devices {:>5} vectors {:>10.4} ms  {}",
            row["name"].as_str().unwrap_or_default(),
            row["vms"],
            row["devices"],
            row["vectors"],
            row["ms"].as_f64().unwrap_or(f64::NAN),
            ratio.unwrap_or_default(),
        );
    }
    Ok(ExitCode::SUCCESS)
}
