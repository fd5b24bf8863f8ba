//! Whether an interrupt is posted, and if not, why.
//!
//! KVM's rules: `kvm_pi_update_irte` and `kvm_irq_is_postable`, with the two resolvers of
//! `arch/x86/kvm/lapic.c`, the fast one by the APIC map and the slow one by asking every APIC.
//! Trigger mode is not looked at.

use crate::apic::ApicMap;
use crate::ids::VcpuId;
use crate::message::Msi;
use crate::msi::DeliveryMode;
use crate::request::ApicRequest;
use crate::request::MessageIds;
use crate::resolve;

/// Where the VM's interrupt controllers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Irqchip {
    /// All in the kernel.
    Full,
    /// Local APICs in the kernel, the rest in user space.
    Split,
    /// None in the kernel.
    UserSpace,
}

/// Whether the host can post device interrupts: APICv or AVIC, and an IOMMU that posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostingHardware {
    /// It can, and is allowed to.
    Present,
    /// It cannot, or is told not to.
    Absent,
}

/// What a GSI is routed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteTarget {
    /// A message in compatibility format.
    Msi(Msi),
    /// Anything else: a pin, SynIC, an event channel.
    Other,
}

/// Which resolver found the vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolver {
    /// By the map.
    Fast,
    /// By asking every APIC.
    Slow,
}

/// Why an interrupt is not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotPosted {
    /// There are no local APICs in the kernel.
    #[error("no in-kernel irqchip")]
    NoKernelIrqchip,
    /// The host cannot post.
    #[error("the host cannot post device interrupts")]
    NoHardware,
    /// The route is no message.
    #[error("the route is not an MSI")]
    NotMsi,
    /// Only fixed and lowest-priority interrupts go through the PIR.
    #[error("delivery mode {} cannot be posted", .0.into_bits())]
    DeliveryMode(DeliveryMode),
    /// The destination reaches nobody.
    #[error("the destination reaches no vcpu")]
    NoVcpu,
    /// The destination reaches several, and none is to be chosen.
    #[error("the destination reaches several vcpus")]
    SeveralVcpus,
    /// The destination is a broadcast that reaches several.
    #[error("the destination is a broadcast")]
    Broadcast,
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Posting {
    /// The entry is to post to this vCPU.
    Post {
        /// Which one.
        vcpu: VcpuId,
        /// With this vector.
        vector: u8,
        /// How it was found.
        resolver: Resolver,
    },
    /// The entry is to be, or to be again, what the host says; the interrupt is synthesised.
    Remap(NotPosted),
}

/// What does not depend on the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingVm {
    /// The VM's irqchip.
    pub irqchip: Irqchip,
    /// The host.
    pub hardware: PostingHardware,
    /// How messages carry destinations.
    pub message_ids: MessageIds,
}

impl PostingVm {
    /// Decides about a route.
    #[must_use]
    pub fn decide(&self, route: RouteTarget, map: &ApicMap) -> Posting {
        if self.irqchip == Irqchip::UserSpace {
            return Posting::Remap(NotPosted::NoKernelIrqchip);
        }
        if self.hardware == PostingHardware::Absent {
            return Posting::Remap(NotPosted::NoHardware);
        }
        match route {
            RouteTarget::Msi(msi) => {
                decide_posting(&ApicRequest::from_msi(msi, self.message_ids), map)
            }
            RouteTarget::Other => Posting::Remap(NotPosted::NotMsi),
        }
    }
}

/// Decides about a request, in a VM and on a host that can post.
#[must_use]
pub fn decide_posting(request: &ApicRequest, map: &ApicMap) -> Posting {
    let mode = request.delivery_mode;
    if mode != DeliveryMode::FIXED && mode != DeliveryMode::LOWEST_PRIORITY {
        return Posting::Remap(NotPosted::DeliveryMode(mode));
    }
    match resolve::single_vcpu(request, map) {
        Ok((vcpu, resolver)) => Posting::Post {
            vcpu,
            vector: request.vector,
            resolver,
        },
        Err(reason) => Posting::Remap(reason),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(test)]
#[cfg(not(loom))]
mod oracle;

#[cfg(test)]
#[cfg(not(loom))]
mod against_oracle;
