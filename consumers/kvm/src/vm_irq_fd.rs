//! The interrupt ioctls of a VM of the running kernel.
#![expect(
    unsafe_code,
    reason = "kvm-ioctls takes eventfds and VM fds only as its own types"
)]
// UNSAFETY: `EventFd` and `VmFd` have no safe constructor from an fd that exists already.

use std::borrow::Borrow;
use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use kvm_bindings::KVM_IRQ_ROUTING_IRQCHIP;
use kvm_bindings::KVM_IRQ_ROUTING_MSI;
use kvm_bindings::KVM_MSI_VALID_DEVID;
use kvm_bindings::KvmIrqRouting;
use kvm_bindings::kvm_irq_routing_entry;
use kvm_bindings::kvm_irq_routing_entry__bindgen_ty_1;
use kvm_bindings::kvm_irq_routing_irqchip;
use kvm_bindings::kvm_irq_routing_msi;
use kvm_bindings::kvm_irq_routing_msi__bindgen_ty_1;
use kvm_bindings::kvm_msi;
use kvm_ioctls::Cap;
use kvm_ioctls::Kvm;
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::EventFd;

use crate::errno::KvmErrno;
use crate::route::Route;
use crate::route::RouteEntry;
use crate::vm_irq::KernelCapabilities;
use crate::vm_irq::LineLevel;
use crate::vm_irq::MsiDelivery;
use crate::vm_irq::VmIrq;

/// [`VmIrq`] on a VM of the running kernel.
///
/// The kernel takes VM ioctls only from the process that created the VM, and answers EIO to all
/// others, whoever holds the fd.
pub struct VmIrqFd<V: Borrow<VmFd> = Arc<VmFd>> {
    vm: V,
}

impl<V: Borrow<VmFd>> VmIrqFd<V> {
    /// Uses a VM that the embedder holds as an `Arc<VmFd>`, a `VmFd`, or another owner of one.
    pub fn new(vm: V) -> Self {
        Self { vm }
    }

    fn vm(&self) -> &VmFd {
        self.vm.borrow()
    }
}

impl VmIrqFd<VmFd> {
    /// Uses a VM through an fd of its own, for embedders whose VM is not a kvm-ioctls one.
    ///
    /// # Errors
    ///
    /// The size of a vCPU's shared area, which a `VmFd` carries, could not be asked for.
    pub fn from_owned_fd(kvm: &Kvm, vm: OwnedFd) -> Result<Self, KvmErrno> {
        let raw = vm.as_raw_fd();
        // SAFETY: the fd must be open and have no other owner. `vm` owned it, and gives it up on
        // the next line in the case of success; in the case of error the callee made no owner.
        let new = unsafe { kvm.create_vmfd_from_rawfd(raw) }?;
        let _owned_by_new = vm.into_raw_fd();
        Ok(Self { vm: new })
    }
}

impl<V: Borrow<VmFd>> fmt::Debug for VmIrqFd<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmIrqFd({})", self.vm().as_raw_fd())
    }
}

impl<V: Borrow<VmFd> + Send + Sync> VmIrq for VmIrqFd<V> {
    fn capabilities(&self) -> KernelCapabilities {
        let has = |cap| self.vm().check_extension_int(cap) > 0;
        KernelCapabilities {
            // Negative is an errno: the kernel that cannot be asked has no routes to give.
            max_routes: u32::try_from(self.vm().check_extension_int(Cap::IrqRouting)).unwrap_or(0),
            irqfd: has(Cap::Irqfd),
            resample: has(Cap::IrqfdResample),
            signal_msi: has(Cap::SignalMsi),
            msi_devid: has(Cap::MsiDevid),
        }
    }

    fn commit_routes(&self, table: &[RouteEntry]) -> Result<(), KvmErrno> {
        // The one way this fails is a table longer than the kernel takes, or no memory for it.
        let mut routing = KvmIrqRouting::new(table.len()).map_err(|_| KvmErrno::INVAL)?;
        for (raw, entry) in routing.as_mut_slice().iter_mut().zip(table) {
            *raw = raw_entry(entry);
        }
        Ok(self.vm().set_gsi_routing(&routing)?)
    }

    fn assign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        Ok(self.vm().register_irqfd(&as_event_fd(event), gsi.0)?)
    }

    fn assign_resample_irqfd(
        &self,
        event: BorrowedFd<'_>,
        resample: BorrowedFd<'_>,
        gsi: Gsi,
    ) -> Result<(), KvmErrno> {
        Ok(self.vm().register_irqfd_with_resample(
            &as_event_fd(event),
            &as_event_fd(resample),
            gsi.0,
        )?)
    }

    fn deassign_irqfd(&self, event: BorrowedFd<'_>, gsi: Gsi) -> Result<(), KvmErrno> {
        Ok(self.vm().unregister_irqfd(&as_event_fd(event), gsi.0)?)
    }

    fn signal_msi(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiDelivery, KvmErrno> {
        let (address_lo, address_hi) = halves(message.address);
        let (flags, devid) = devid(device);
        let taken = self.vm().signal_msi(kvm_msi {
            address_lo,
            address_hi,
            data: message.data,
            flags,
            devid,
            ..Default::default()
        })?;
        Ok(match taken {
            0 => MsiDelivery::Blocked,
            _ => MsiDelivery::Delivered,
        })
    }

    fn set_line(&self, gsi: Gsi, level: LineLevel) -> Result<(), KvmErrno> {
        Ok(self.vm().set_irq_line(gsi.0, level == LineLevel::High)?)
    }
}

/// The borrowed fd as the type kvm-ioctls asks for, without owning it.
fn as_event_fd(event: BorrowedFd<'_>) -> ManuallyDrop<EventFd> {
    // SAFETY: an `EventFd` must have an open fd for as long as it is used, and closes it on drop.
    // Every caller uses it for one call, inside the borrow of `event`; `ManuallyDrop` keeps it
    // from closing. That the fd is an eventfd is not required: the kernel checks.
    ManuallyDrop::new(unsafe { EventFd::from_raw_fd(event.as_raw_fd()) })
}

fn raw_entry(entry: &RouteEntry) -> kvm_irq_routing_entry {
    match entry.target {
        Route::Msi(msi) => {
            let (address_lo, address_hi) = halves(msi.message.address);
            let (flags, devid) = devid(msi.device);
            kvm_irq_routing_entry {
                gsi: entry.gsi.0,
                type_: KVM_IRQ_ROUTING_MSI,
                flags,
                pad: 0,
                u: kvm_irq_routing_entry__bindgen_ty_1 {
                    msi: kvm_irq_routing_msi {
                        address_lo,
                        address_hi,
                        data: msi.message.data,
                        __bindgen_anon_1: kvm_irq_routing_msi__bindgen_ty_1 { devid },
                    },
                },
            }
        }
        Route::Pin { chip, pin } => kvm_irq_routing_entry {
            gsi: entry.gsi.0,
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            flags: 0,
            pad: 0,
            u: kvm_irq_routing_entry__bindgen_ty_1 {
                irqchip: kvm_irq_routing_irqchip {
                    irqchip: chip.0,
                    pin,
                },
            },
        },
    }
}

fn devid(device: Option<DeviceId>) -> (u32, u32) {
    device.map_or((0, 0), |DeviceId(id)| (KVM_MSI_VALID_DEVID, id))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of the address"
)]
fn halves(address: u64) -> (u32, u32) {
    (address as u32, (address >> 32) as u32)
}
