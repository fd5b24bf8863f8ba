//! The running kernel as a rig: a VM whose one vCPU never runs.
//!
//! An interrupt for a vCPU that does not run stays in its local APIC's request register (IRR),
//! which `KVM_GET_LAPIC` reads: the rig counts the bits it finds and clears them. It serves
//! nothing, so bodies that need an EOI do not run on it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Trigger;
use irqbroker_core::Vector;
use kvm_bindings::KVM_CAP_SPLIT_IRQCHIP;
use kvm_bindings::KVM_CAP_X2APIC_API;
use kvm_bindings::KVM_IRQCHIP_IOAPIC;
use kvm_bindings::KVM_X2APIC_API_USE_32BIT_IDS;
use kvm_bindings::kvm_enable_cap;
use kvm_bindings::kvm_ioapic_state;
use kvm_bindings::kvm_irqchip;
use kvm_bindings::kvm_lapic_state;
use kvm_ioctls::Kvm;
use kvm_ioctls::VcpuFd;
use kvm_ioctls::VmFd;
use rustix::thread::CpuSet;

use super::irqfd::GSI;
use super::irqfd::entry;
use super::irqfd::signal;
use super::rig::KernelProfile;
use super::rig::Rig;
use super::rig::RigPin;
use super::rig::Serving;
use super::rig::VmShape;
use crate::capabilities::IrqchipMode;
use crate::errno::KvmErrno;
use crate::message::DestinationIds;
use crate::vm_irq::VmIrq;
use crate::vm_irq_fd::VmIrqFd;

/// Offsets in the register page (Intel SDM volume 3A, "Local APIC Register Address Map").
const SPURIOUS: usize = 0xf0;
const REQUEST: usize = 0x200;

/// Spurious-interrupt register: the APIC is on, vector 0xff.
const APIC_ON: u32 = 0x1ff;

/// Base address of the IOAPIC of a PC.
const IOAPIC_BASE: u64 = 0xfec0_0000;

/// A redirection entry's bits (82093AA data sheet, "I/O redirection table registers").
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;

/// Longer than any work item of the kernel waits; only a broken kernel gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// The vector of the events that `settle` waits for.
const BARRIER: Vector = Vector(0xe0);

/// A VM of the running kernel whose interrupts are counted in its local APIC.
#[derive(Debug)]
pub struct LapicRig {
    kvm: Kvm,
    profile: KernelProfile,
    guest: Guest,
    /// Its irqfds are work items of the kernel like those of `guest`, queued behind them.
    barrier: Guest,
}

/// The rig could not be built.
#[derive(Debug, thiserror::Error)]
pub enum LapicRigError {
    /// `/dev/kvm` cannot be opened: not this machine, or not this user.
    #[error("cannot open /dev/kvm")]
    Open(#[source] KvmErrno),
    /// The kernel refused a step of making a VM.
    #[error("cannot make a vm")]
    Vm(#[from] KvmErrno),
}

impl From<kvm_ioctls::Error> for LapicRigError {
    fn from(error: kvm_ioctls::Error) -> Self {
        Self::Vm(error.into())
    }
}

#[derive(Debug)]
struct Guest {
    vm: Arc<VmIrqFd>,
    lapic: Mutex<Lapic>,
}

#[derive(Debug)]
struct Lapic {
    vcpu: VcpuFd,
    counts: [u64; 256],
}

impl LapicRig {
    /// A rig on the running kernel, of which `profile` tells what cannot be asked.
    ///
    /// # Errors
    ///
    /// See [`LapicRigError`].
    pub fn new(profile: KernelProfile) -> Result<Self, LapicRigError> {
        let kvm = Kvm::new().map_err(|error| LapicRigError::Open(error.into()))?;
        Ok(Self {
            guest: Guest::new(&kvm)?,
            barrier: Guest::new(&kvm)?,
            kvm,
            profile,
        })
    }
}

impl Guest {
    fn new(kvm: &Kvm) -> Result<Self, LapicRigError> {
        let vm = create_vm(kvm, VmShape::PC)?;
        let vcpu = vm.create_vcpu(0)?;
        let mut lapic = vcpu.get_lapic()?;
        set_register(&mut lapic, SPURIOUS, APIC_ON);
        vcpu.set_lapic(&lapic)?;
        vm.set_irqchip(&ioapic())?;
        Ok(Self {
            vm: Arc::new(VmIrqFd::new(Arc::new(vm))),
            lapic: Mutex::new(Lapic {
                vcpu,
                counts: [0; 256],
            }),
        })
    }

    fn delivered(&self, vector: Vector) -> u64 {
        let mut lapic = self.lapic();
        lapic.harvest();
        lapic.counts[usize::from(vector.0)]
    }

    fn lapic(&self) -> MutexGuard<'_, Lapic> {
        self.lapic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lapic {
    /// Counts and clears the requests. Call when nothing is on its way: between read and write
    /// back a new request would be lost.
    fn harvest(&mut self) {
        let mut state = self.vcpu.get_lapic().expect("a vcpu has a lapic");
        let mut found = false;
        for vector in 0..=u8::MAX {
            // Eight registers of 32 bits, 16 bytes apart.
            let offset = REQUEST + 0x10 * usize::from(vector / 32);
            let requests = register(&state, offset);
            let bit = 1 << (vector % 32);
            if requests & bit != 0 {
                set_register(&mut state, offset, requests & !bit);
                self.counts[usize::from(vector)] += 1;
                found = true;
            }
        }
        if found {
            self.vcpu.set_lapic(&state).expect("a vcpu has a lapic");
        }
    }
}

impl Rig for LapicRig {
    fn profile(&self) -> KernelProfile {
        self.profile
    }

    fn vm(&self) -> Arc<dyn VmIrq> {
        Arc::<VmIrqFd>::clone(&self.guest.vm)
    }

    fn new_vm(&self, shape: VmShape) -> Arc<dyn VmIrq> {
        let vm = create_vm(&self.kvm, shape).expect("a host can have one more vm");
        Arc::new(VmIrqFd::new(Arc::new(vm)))
    }

    fn message(&self, vector: Vector) -> MsiMessage {
        // Destination 0: the one vCPU, physical, fixed, edge.
        MsiMessage {
            address: 0xfee0_0000,
            data: u32::from(vector.0),
        }
    }

    fn pin(&self, trigger: Trigger) -> RigPin {
        match trigger {
            Trigger::Edge => EDGE_PIN,
            Trigger::Level => LEVEL_PIN,
        }
    }

    /// Writes are delivered within the write, or by a work item of the kernel: waits for a work
    /// item of its own, which the kernel starts after those queued before.
    fn settle(&self) {
        let all = rustix::thread::sched_getaffinity(None).expect("a thread has processors");
        // Each processor has a queue: that of another may run while the one with the event waits.
        for processor in (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor)) {
            let mut one = CpuSet::new();
            one.set(processor);
            run_on(&one);
            // Work items may run side by side; those of the first round are done before the second.
            self.wait_for_work();
            self.wait_for_work();
        }
        run_on(&all);
    }

    fn delivered(&self, vector: Vector) -> u64 {
        self.guest.delivered(vector)
    }

    fn serving(&self) -> Serving {
        Serving::Never
    }

    fn eoi(&self, _pin: RigPin) {}
}

impl LapicRig {
    /// Waits for a work item that this processor's queue has after those that are in it.
    fn wait_for_work(&self) {
        let event = self.eventfd();
        let before = self.barrier.delivered(BARRIER);
        signal(&event, 1);
        let vm = &self.barrier.vm;
        let armed = vm
            .commit_routes(&[entry(self, GSI, BARRIER)])
            .and_then(|()| vm.assign_irqfd(std::os::fd::AsFd::as_fd(&event), GSI));
        armed.expect("a fresh eventfd can be bound");
        let deadline = Instant::now() + PATIENCE;
        while self.barrier.delivered(BARRIER) == before {
            assert!(
                Instant::now() < deadline,
                "the kernel's work queue is stuck"
            );
            std::thread::yield_now();
        }
    }
}

fn run_on(processors: &CpuSet) {
    // Fails where a processor went offline just now: its queue has moved to another.
    let _moved = rustix::thread::sched_setaffinity(None, processors);
}

const EDGE_PIN: RigPin = RigPin {
    gsi: Gsi(5),
    vector: Vector(0x45),
};

const LEVEL_PIN: RigPin = RigPin {
    gsi: Gsi(20),
    vector: Vector(0x54),
};

fn create_vm(kvm: &Kvm, shape: VmShape) -> Result<VmFd, LapicRigError> {
    let vm = kvm.create_vm()?;
    if shape.destination_ids == DestinationIds::Bits32 {
        let flags = u64::from(KVM_X2APIC_API_USE_32BIT_IDS);
        vm.enable_cap(&capability(KVM_CAP_X2APIC_API, flags))?;
    }
    match shape.irqchip {
        IrqchipMode::None => {}
        // As many pins for user space's IOAPIC as a PC has.
        IrqchipMode::Split => vm.enable_cap(&capability(KVM_CAP_SPLIT_IRQCHIP, 24))?,
        IrqchipMode::Full => vm.create_irq_chip()?,
    }
    Ok(vm)
}

fn capability(cap: u32, argument: u64) -> kvm_enable_cap {
    kvm_enable_cap {
        cap,
        args: [argument, 0, 0, 0],
        ..Default::default()
    }
}

/// An IOAPIC with the two pins of the rig programmed for processor 0, and the others masked.
fn ioapic() -> kvm_irqchip {
    let mut state = kvm_ioapic_state {
        base_address: IOAPIC_BASE,
        ..Default::default()
    };
    for entry in &mut state.redirtbl {
        entry.bits = MASKED;
    }
    state.redirtbl[5].bits = u64::from(EDGE_PIN.vector.0);
    state.redirtbl[20].bits = u64::from(LEVEL_PIN.vector.0) | LEVEL;
    let mut chip = kvm_irqchip {
        chip_id: KVM_IRQCHIP_IOAPIC,
        ..Default::default()
    };
    chip.chip.ioapic = state;
    chip
}

fn register(state: &kvm_lapic_state, offset: usize) -> u32 {
    let bytes = std::array::from_fn(|n| state.regs[offset + n].to_ne_bytes()[0]);
    u32::from_le_bytes(bytes)
}

fn set_register(state: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (n, byte) in value.to_le_bytes().into_iter().enumerate() {
        state.regs[offset + n] = i8::from_ne_bytes([byte]);
    }
}
