//! INTx under KVM's split irqchip: EOI exits of a running guest, shared lines.
//!
//! The story is the VMM: its IOAPIC has one input, level-triggered, and sends a message each time
//! the manager asserts it. The guest's handler serves a device before it ends the interrupt; KVM
//! without hardware for it (kvm-pvm) may end one as it is injected, which then comes once more, as
//! any level does that is not served. So the runs of the handler are held against the messages.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Wait;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::IoapicEoi;
use irqbroker_guest::Irqchip;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Served;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::MsiRoute;
use irqbroker_kvm::Route;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use irqbroker_vfio::SimDevice;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::pci::Level;
use libtest_mimic::Trial;

use crate::manager_rig::Rig;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "manager_line_under_a_split_irqchip_is_unmasked_by_the_guests_eoi_exit_on_kvm",
            Need::Kvm,
            one_function,
        ),
        story(
            "manager_line_shared_under_a_split_irqchip_loses_nobodys_interrupt_on_kvm",
            Need::Kvm,
            shared,
        ),
    ]
}

const GSI: Gsi = Gsi(20);
/// Inputs of the VMM's IOAPIC.
const PINS: u8 = 24;
/// Trigger mode level, asserted (Intel SDM 3A, 12.11.2).
const LEVEL: u32 = 1 << 15 | 1 << 14;
const PATIENCE: Duration = Duration::from_secs(60);

/// Devices whose lines the guest's handler has still to serve, the next one last.
#[derive(Debug, Default)]
struct ToServe(Mutex<Vec<Arc<SimDevice>>>);

impl Served for ToServe {
    fn serve(&self, _vector: GuestVector) {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = devices.pop() {
            device.deassert_line(IrqIndex::INTX);
        }
    }
}

/// What the vCPU thread does with `KVM_EXIT_IOAPIC_EOI`.
#[derive(Debug, Default)]
struct Eois(OnceLock<Manager>);

impl IoapicEoi for Eois {
    fn ended(&self, _vector: u8) {
        if let Some(manager) = self.0.get() {
            manager.eoi(GSI);
        }
    }
}

struct Vmm {
    manager: Manager,
    guest: RunningGuest,
    to_serve: Arc<ToServe>,
    /// How often the input was asserted.
    sent: Arc<AtomicU64>,
}

const VECTOR: GuestVector = GuestVector::FIRST;

impl Vmm {
    fn new() -> anyhow::Result<Self> {
        let guest = GuestVm::builder().irqchip(Irqchip::Split {
            reserved_pins: PINS,
        });
        let guest = guest.served(VECTOR).build()?;
        let vm = Arc::new(VmIrqFd::new(guest.vm()));
        let pins = EmbedderRoutes::reserved(PINS.into());
        let domain = VmDomain::new(vm.clone(), pins, DestinationIds::Bits8)?;
        let message = MsiMessage {
            address: VECTOR.msi_address(),
            data: VECTOR.msi_data() | LEVEL,
        };
        // So that KVM knows whose EOI to report.
        let device = None;
        domain.reroute(GSI, &[Route::Msi(MsiRoute { message, device })])?;
        domain.commit_routes()?;
        let sent = Arc::new(AtomicU64::new(0));
        let messages = Arc::clone(&sent);
        let ioapic = move |_gsi, level| {
            if level == Level::Asserted {
                // Relaxed: read once everything is at rest.
                messages.fetch_add(1, Ordering::Relaxed);
                // Refused only by a VM that is no more: then the story ends without its interrupt.
                let _ = vm.signal_msi(message, None);
            }
        };
        let options = ManagerOptions {
            lines: Some(Arc::new(ioapic)),
            ..ManagerOptions::default()
        };
        let manager = Manager::new(domain, options)?;
        let eois = Arc::new(Eois::default());
        eois.0.set(manager.clone()).ok().context("set twice")?;
        let to_serve = Arc::new(ToServe::default());
        let guest = guest.run(RunOptions {
            ioapic_eoi: Some(eois),
            served: Some(to_serve.clone()),
            ..RunOptions::default()
        })?;
        Ok(Self {
            manager,
            guest,
            to_serve,
            sent,
        })
    }

    fn device(&self, name: &str) -> anyhow::Result<Rig> {
        let device = SimDevice::pci().intx().msi(32).msix(1);
        let rig = Rig::on(self.manager.clone(), name, 1, device)?;
        rig.guest.0.route_intx(Some(GSI))?;
        Ok(rig)
    }

    /// The devices assert their lines, and the handler serves one of them each time it runs.
    fn assert(&self, devices: &[&Rig]) {
        let served = devices.iter().rev().map(|rig| Arc::clone(&rig.sim));
        *self
            .to_serve
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = served.collect();
        for rig in devices {
            rig.sim.assert_line(IrqIndex::INTX);
        }
    }

    /// The service loop, until all devices are served and their lines are open again.
    fn serve(&self, devices: &[&Rig]) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.manager.service(Wait::For(Duration::from_millis(1)))?;
            self.guest.quiesce(deadline)?;
            let open = |rig: &&Rig| {
                let level = rig.guest.0.explain_line().pending;
                !level && !rig.sim.is_masked(IrqIndex::INTX)
            };
            if self.to_serve.0.lock().is_ok_and(|left| left.is_empty()) && devices.iter().all(open)
            {
                break;
            }
            ensure!(Instant::now() < deadline, "stuck");
        }
        let taken = self.guest.counters().delivered(VECTOR);
        let sent = self.sent.load(Ordering::Relaxed);
        ensure!(taken == sent, "{taken} taken of {sent}");
        Ok(())
    }
}

const ROUNDS: u64 = 100;

fn one_function() -> anyhow::Result<()> {
    let vmm = Vmm::new()?;
    let rig = vmm.device("device")?;
    for _ in 0..ROUNDS {
        vmm.assert(&[&rig]);
        vmm.serve(&[&rig])?;
    }
    ensure!(vmm.sent.load(Ordering::Relaxed) >= ROUNDS);
    Ok(())
}

fn shared() -> anyhow::Result<()> {
    let vmm = Vmm::new()?;
    let (first, second) = (vmm.device("first")?, vmm.device("second")?);
    let both = [&first, &second];
    for _ in 0..ROUNDS {
        // Each run of the handler serves one; the other asserts the line again when it is asked.
        vmm.assert(&both);
        vmm.serve(&both)?;
        vmm.assert(&[&second]);
        vmm.serve(&both)?;
    }
    ensure!(vmm.sent.load(Ordering::Relaxed) >= 3 * ROUNDS);
    Ok(())
}
