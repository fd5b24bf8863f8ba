//! What would bring a link to a better path.

use std::fmt;

use irqbroker_core::Reason;
use irqbroker_core::Unpostable;
use posted_irq::NotPosted;

use super::HostLacks;
use super::WhyNot;

/// What would bring a link to a better path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Register the producer.
    Producer,
    /// Register the consumer.
    Consumer,
    /// Look up why one side refused the other.
    RegisterError,
    /// The guest unmasks it.
    Unmask,
    /// The embedder allows the kernel's way (`PathPolicy::Auto`).
    Allow,
    /// Nothing: it comes by itself.
    Wait,
    /// A producer in this process, which can call the consumer.
    InProcess,
    /// Create the VM with local APICs in the kernel.
    KernelIrqchip,
    /// Create the VM with all interrupt controllers in the kernel.
    FullIrqchip,
    /// A newer kernel.
    Kernel,
    /// Fewer messages that differ, in this VM.
    FewerMessages,
    /// Give the message its device id.
    DeviceId,
    /// The guest gives the interrupt one vCPU.
    OneVcpu,
    /// The guest asks for fixed delivery and a legal vector.
    FixedDelivery,
    /// Load kvm_intel with `enable_apicv=1`, or kvm_amd with `avic=1`.
    ApicParameter,
    /// Load the backend with `enable_device_posted_irqs=1`.
    PostingParameter,
    /// Turn interrupt remapping on, in the firmware and by `intremap=on`.
    Remapping,
    /// Look at the driver of the device and at the kernel's log.
    KernelLog,
    /// Ask as root, with debugfs mounted.
    Root,
}

impl Remedy {
    /// None where nothing the user can do changes it.
    pub(super) const fn of(why: WhyNot) -> Option<Self> {
        match why {
            WhyNot::Registry(reason) => Self::of_reason(reason),
            WhyNot::NoDevice | WhyNot::Host(HostLacks::Iommu) => None,
            WhyNot::Route(reason) => Self::of_route(reason),
            WhyNot::Host(HostLacks::Backend | HostLacks::Apic) => Some(Self::ApicParameter),
            WhyNot::Host(HostLacks::DevicePosting) => Some(Self::PostingParameter),
            WhyNot::Host(HostLacks::Remapping) => Some(Self::Remapping),
            WhyNot::NotConnected => Some(Self::KernelLog),
            WhyNot::Unknown => Some(Self::Root),
        }
    }

    const fn of_route(reason: NotPosted) -> Option<Self> {
        match reason {
            NotPosted::NoKernelIrqchip => Some(Self::KernelIrqchip),
            NotPosted::DeliveryMode(_) => Some(Self::FixedDelivery),
            NotPosted::NoVcpu | NotPosted::SeveralVcpus | NotPosted::Broadcast => {
                Some(Self::OneVcpu)
            }
            NotPosted::NoHardware | NotPosted::NotMsi => None,
        }
    }

    const fn of_reason(reason: Reason) -> Option<Self> {
        match reason {
            Reason::NoProducer => Some(Self::Producer),
            Reason::NoConsumer => Some(Self::Consumer),
            Reason::ConnectRefused => Some(Self::RegisterError),
            Reason::Masked => Some(Self::Unmask),
            Reason::RelayRequested | Reason::Outpaced { .. } => Some(Self::Allow),
            Reason::PromotionPending | Reason::Held | Reason::Untranslated => Some(Self::Wait),
            Reason::EventfdFed => Some(Self::InProcess),
            Reason::NoInKernelIrqchip => Some(Self::KernelIrqchip),
            Reason::NoResample => Some(Self::FullIrqchip),
            Reason::NoIrqfd => Some(Self::Kernel),
            Reason::GsiExhausted { .. } => Some(Self::FewerMessages),
            Reason::NoDeviceId => Some(Self::DeviceId),
            Reason::HostEntry(Unpostable::NoVcpu | Unpostable::SeveralVcpus) => Some(Self::OneVcpu),
            Reason::HostEntry(Unpostable::DeliveryMode(_) | Unpostable::IllegalVector(_)) => {
                Some(Self::FixedDelivery)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "register its producer",
            Self::Consumer => "register its consumer",
            Self::RegisterError => "see why one side refused the other",
            Self::Unmask => "the guest has to unmask it",
            Self::Allow => "allow the kernel's way again",
            Self::Wait => "wait: it comes by itself",
            Self::InProcess => "have the producer in this process",
            Self::KernelIrqchip => "create the vm with local APICs in the kernel",
            Self::FullIrqchip => "create the vm with a full in-kernel irqchip",
            Self::Kernel => "use a newer kernel",
            Self::FewerMessages => "have fewer messages that differ",
            Self::DeviceId => "give the message its device id",
            Self::OneVcpu => "the guest has to give the interrupt to one vcpu",
            Self::FixedDelivery => "the guest has to ask for fixed delivery with a legal vector",
            Self::ApicParameter => "load kvm_intel with enable_apicv=1 or kvm_amd with avic=1",
            Self::PostingParameter => "load kvm's backend with enable_device_posted_irqs=1",
            Self::Remapping => "turn interrupt remapping on (firmware, intremap=on)",
            Self::KernelLog => "look for irq bypass in the kernel's log",
            Self::Root => "ask as root, with debugfs mounted",
        })
    }
}
