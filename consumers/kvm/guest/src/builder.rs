//! Opens KVM and builds the guest's VM.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use kvm_bindings::KVM_CAP_HALT_POLL;
use kvm_bindings::KVM_CAP_SPLIT_IRQCHIP;
use kvm_bindings::KVM_CAP_X2APIC_API;
use kvm_bindings::KVM_CAP_X86_USER_SPACE_MSR;
use kvm_bindings::KVM_MSR_EXIT_REASON_INVAL;
use kvm_bindings::KVM_MSR_EXIT_REASON_UNKNOWN;
use kvm_bindings::KVM_X2APIC_API_USE_32BIT_IDS;
use kvm_bindings::kvm_enable_cap;
use kvm_ioctls::Kvm;
use kvm_ioctls::VmFd;
use rustix::io::Errno;

use crate::BuildError;
use crate::Counters;
use crate::GuestVector;
use crate::GuestVm;
use crate::kick_fd::Kick;
use crate::layout;
use crate::memory_fd::GuestMemory;
use crate::program;
use crate::program::Eoi;
use crate::vcpu;
use crate::vcpu::ioctl;

/// The answer of `KVM_GET_API_VERSION`.
const API_VERSION: i32 = 12;
/// Three pages below the BIOS, where Intel processors without unrestricted guest need a TSS.
const TSS_ADDRESS: usize = 0xfffb_d000;
const HALT_POLL_PARAMETER: &str = "/sys/module/kvm/parameters/halt_poll_ns";

/// Which interrupt controllers the kernel emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Irqchip {
    /// PIC, IOAPIC and local APIC.
    Full,
    /// Only the local APIC; user space has the IOAPIC.
    Split {
        /// GSIs from 0 that are kept for pins of that IOAPIC; with 0 no end of interrupt is reported.
        reserved_pins: u8,
    },
    /// None: an [`InterruptSource`](crate::InterruptSource) gives the vCPU thread what to inject.
    None,
    /// None in the kernel, and the guest takes the source for a local APIC: it ends each interrupt
    /// by its x2APIC, which [`InterruptSource::eoi`](crate::InterruptSource::eoi) hears of. One exit
    /// more per interrupt (`KVM_CAP_X86_USER_SPACE_MSR`, Linux 5.10).
    UserSpace,
}

impl Irqchip {
    /// Whether the vCPU's local APIC is the kernel's.
    pub(crate) fn has_kernel_apic(self) -> bool {
        matches!(self, Self::Full | Self::Split { .. })
    }
}

/// Whether handlers let interrupts of higher priority in while they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nesting {
    /// They run with interrupts off.
    Off,
    /// They turn interrupts on once they have counted, and off again before they end the interrupt.
    On,
}

/// How long KVM polls after a halt before the vCPU thread sleeps; it decides latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltPoll {
    /// Set for this VM by `KVM_CAP_HALT_POLL`, the longest poll in nanoseconds.
    Set(u64),
    /// Not asked for, or refused by the kernel: the module's `halt_poll_ns` is in effect, `None` where
    /// it cannot be read.
    Host(Option<u64>),
}

impl HaltPoll {
    /// The longest poll in effect, in nanoseconds, if known.
    #[must_use]
    pub fn nanos(self) -> Option<u64> {
        match self {
            Self::Set(nanos) => Some(nanos),
            Self::Host(nanos) => nanos,
        }
    }
}

/// Settings of a guest to be built, see [`GuestVm::builder`].
#[derive(Debug, Clone)]
pub struct GuestVmBuilder {
    node: PathBuf,
    irqchip: Irqchip,
    halt_poll_ns: Option<u64>,
    served: BTreeSet<GuestVector>,
    nesting: Nesting,
}

impl GuestVmBuilder {
    pub(crate) fn new() -> Self {
        Self {
            node: PathBuf::from("/dev/kvm"),
            irqchip: Irqchip::Full,
            halt_poll_ns: None,
            served: BTreeSet::new(),
            nesting: Nesting::Off,
        }
    }

    /// The device node to open, `/dev/kvm` by default.
    #[must_use]
    pub fn node(mut self, node: impl Into<PathBuf>) -> Self {
        self.node = node.into();
        self
    }

    /// The interrupt controllers in the kernel, [`Irqchip::Full`] by default.
    #[must_use]
    pub fn irqchip(mut self, irqchip: Irqchip) -> Self {
        self.irqchip = irqchip;
        self
    }

    /// The longest halt poll in nanoseconds, 0 for none; the host's setting by default.
    ///
    /// [`GuestVm::halt_poll`] tells whether the kernel took it.
    #[must_use]
    pub fn halt_poll_ns(mut self, nanos: u64) -> Self {
        self.halt_poll_ns = Some(nanos);
        self
    }

    /// Lets the handler of `vector` have its device served before it ends the interrupt, as a driver
    /// does: it asks [`RunOptions::served`](crate::RunOptions::served). One exit more per interrupt.
    #[must_use]
    pub fn served(mut self, vector: GuestVector) -> Self {
        self.served.insert(vector);
        self
    }

    /// Whether handlers can be interrupted, [`Nesting::Off`] by default.
    ///
    /// Needs something that keeps vectors of the same or lower priority back until the end of the
    /// interrupt: a local APIC, not an [`Irqchip::None`] whose source gives out whatever it has.
    #[must_use]
    pub fn nesting(mut self, nesting: Nesting) -> Self {
        self.nesting = nesting;
        self
    }

    /// Opens the node and builds VM, memory, program and vCPU; nothing runs yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`], which tells a node that is missing from one that may not be opened, one that
    /// is not KVM's, and an ioctl that failed.
    pub fn build(self) -> Result<GuestVm, BuildError> {
        let kvm = open(&self.node)?;
        let vm = ioctl("KVM_CREATE_VM", kvm.create_vm())?;
        let call = "KVM_SET_TSS_ADDR";
        ioctl(call, vm.set_tss_address(TSS_ADDRESS))?;
        create_irqchip(&vm, self.irqchip)?;
        let halt_poll = set_halt_poll(&vm, self.halt_poll_ns);

        let memory = GuestMemory::new(layout::MEMORY_BYTES).map_err(BuildError::Map)?;
        memory.attach(&vm).map_err(|source| BuildError::Ioctl {
            call: "KVM_SET_USER_MEMORY_REGION",
            source,
        })?;
        program::load(&memory, eoi_under(self.irqchip), self.nesting, &self.served);

        let vcpu = ioctl("KVM_CREATE_VCPU", vm.create_vcpu(0))?;
        vcpu::set_up(&kvm, &vcpu, self.irqchip)?;
        let tsc_offset = vcpu::settle_tsc(&vcpu)?;
        let kick = Kick::new(&vcpu).map_err(BuildError::Map)?;
        let memory = Arc::new(memory);
        tracing::debug!(irqchip = ?self.irqchip, ?halt_poll, ?tsc_offset, "guest built");
        Ok(GuestVm {
            vcpu,
            kick: Arc::new(kick),
            vm: Arc::new(vm),
            counters: Counters::new(Arc::clone(&memory), tsc_offset),
            memory,
            irqchip: self.irqchip,
            halt_poll,
            tsc_offset,
        })
    }
}

fn open(node: &Path) -> Result<Kvm, BuildError> {
    let path = || node.to_path_buf();
    let failed = |source| match source {
        Errno::NOENT | Errno::NOTDIR => BuildError::NodeMissing { path: path() },
        Errno::ACCESS | Errno::PERM => BuildError::NodeDenied { path: path() },
        source => BuildError::NodeOpen {
            path: path(),
            source,
        },
    };
    // A path with a zero byte names no file.
    let name = CString::new(node.as_os_str().as_bytes()).map_err(|_| failed(Errno::NOENT))?;
    let kvm = Kvm::new_with_path(&name)
        .map_err(|error| failed(Errno::from_raw_os_error(error.errno())))?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        version => Err(BuildError::NotKvm {
            path: path(),
            version,
        }),
    }
}

fn create_irqchip(vm: &VmFd, irqchip: Irqchip) -> Result<(), BuildError> {
    match irqchip {
        Irqchip::Full => ioctl("KVM_CREATE_IRQCHIP", vm.create_irq_chip())?,
        Irqchip::Split { reserved_pins } => {
            let pins = u64::from(reserved_pins);
            let call = "KVM_ENABLE_CAP of KVM_CAP_SPLIT_IRQCHIP";
            ioctl(call, enable(vm, KVM_CAP_SPLIT_IRQCHIP, pins))?;
        }
        Irqchip::None => return Ok(()),
        Irqchip::UserSpace => {
            // Without a local APIC in the kernel the write is invalid, or of a register nobody knows;
            // filters do not reach x2APIC registers.
            let reasons = u64::from(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN);
            let call = "KVM_ENABLE_CAP of KVM_CAP_X86_USER_SPACE_MSR";
            return ioctl(call, enable(vm, KVM_CAP_X86_USER_SPACE_MSR, reasons));
        }
    }
    if vm.check_extension_raw(KVM_CAP_X2APIC_API.into()) > 0 {
        // MSI destinations above 255 in bits 63:40 of the address, as VMMs with many vCPUs have them.
        let ids = u64::from(KVM_X2APIC_API_USE_32BIT_IDS);
        let call = "KVM_ENABLE_CAP of KVM_CAP_X2APIC_API";
        ioctl(call, enable(vm, KVM_CAP_X2APIC_API, ids))?;
    }
    Ok(())
}

fn set_halt_poll(vm: &VmFd, asked: Option<u64>) -> HaltPoll {
    match asked {
        Some(nanos) if enable(vm, KVM_CAP_HALT_POLL, nanos).is_ok() => HaltPoll::Set(nanos),
        _ => HaltPoll::Host(host_halt_poll()),
    }
}

fn host_halt_poll() -> Option<u64> {
    let text = std::fs::read_to_string(HALT_POLL_PARAMETER).ok()?;
    text.trim().parse().ok()
}

fn enable(vm: &VmFd, cap: u32, argument: u64) -> Result<(), kvm_ioctls::Error> {
    vm.enable_cap(&kvm_enable_cap {
        cap,
        args: [argument, 0, 0, 0],
        ..kvm_enable_cap::default()
    })
}

fn eoi_under(irqchip: Irqchip) -> Eoi {
    match irqchip {
        Irqchip::Full | Irqchip::Split { reserved_pins: 0 } | Irqchip::UserSpace => Eoi::X2apic,
        Irqchip::Split { .. } => Eoi::X2apicThenExit,
        Irqchip::None => Eoi::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_on_a_missing_node_says_so() {
        let built = GuestVm::builder().node("/nonexistent/kvm").build();
        assert!(
            matches!(built, Err(BuildError::NodeMissing { path }) if path == Path::new("/nonexistent/kvm"))
        );
    }

    #[test]
    fn build_on_a_node_that_is_not_kvm_says_so() {
        let built = GuestVm::builder().node("/dev/null").build();
        assert!(matches!(built, Err(BuildError::NotKvm { version: -1, .. })));
    }

    #[test]
    fn build_on_a_directory_keeps_the_kernels_answer() {
        let built = GuestVm::builder().node("/dev").build();
        assert!(matches!(
            built,
            Err(BuildError::NodeOpen {
                source: Errno::ISDIR,
                ..
            })
        ));
    }

    #[test]
    fn errors_say_what_to_do() {
        let path = PathBuf::from("/dev/kvm");
        let missing = BuildError::NodeMissing { path: path.clone() };
        let denied = BuildError::NodeDenied { path };
        assert!(missing.to_string().contains("load kvm_intel or kvm_amd"));
        assert!(denied.to_string().contains("member of the group"));
    }
}
