//! Joining what is known of a link, its VM and the host.

use irqbroker_core::DeliveryState;
use irqbroker_core::LinkSnapshot;
use irqbroker_core::Reason;
use irqbroker_core::RouteInfo;
use posted_irq::ApicMap;
use posted_irq::ApicOptions;
use posted_irq::Irqchip;
use posted_irq::MessageIds;
use posted_irq::Msi;
use posted_irq::MsiData;
use posted_irq::NotPosted;
use posted_irq::Posting;
use posted_irq::PostingHardware;
use posted_irq::PostingVm;
use posted_irq::RemappableMsi;
use posted_irq::RouteTarget;
use posted_irq::SourceId;

use super::CanPost;
use super::Evidence;
use super::HostPosting;
use super::InterruptPath;
use super::KernelDelivery;
use super::PathAnswer;
use super::Remedy;
use super::WhyNot;

/// What the embedder knows of a VM and no ioctl tells.
#[derive(Debug, Clone)]
pub struct VmView {
    /// Where its interrupt controllers are.
    pub irqchip: Irqchip,
    /// How messages carry destinations.
    pub message_ids: MessageIds,
    /// The local APICs as they were when the link's route changed last, if that is known: KVM decides
    /// then.
    pub apics: Option<ApicMap>,
}

/// Which way a link's interrupts take, why not a better one, and what would change it.
///
/// A link behind a guest's remapping unit is judged without its destination: its route is what the
/// guest wrote, not what the tables make of it.
#[must_use]
pub fn explain(link: &LinkSnapshot, vm: &VmView, host: &HostPosting) -> PathAnswer {
    let told = |path| {
        let reason = link.delivery.reason;
        let why_not = (reason != Reason::Best).then_some(WhyNot::Registry(reason));
        answer(path, Evidence::Told, why_not)
    };
    match link.delivery.state {
        DeliveryState::Unmatched | DeliveryState::Masked => told(InterruptPath::Waiting),
        DeliveryState::Relay => told(InterruptPath::Relay),
        DeliveryState::Posted => told(InterruptPath::Posted),
        DeliveryState::Bypass => in_kernel(link, vm, host),
    }
}

fn answer(path: InterruptPath, evidence: Evidence, why_not: Option<WhyNot>) -> PathAnswer {
    PathAnswer {
        path,
        evidence,
        why_not,
        remedy: why_not.and_then(Remedy::of),
    }
}

/// In the order in which the kernel would be stopped.
fn in_kernel(link: &LinkSnapshot, vm: &VmView, host: &HostPosting) -> PathAnswer {
    let through_host = |evidence, why| {
        let path = InterruptPath::Bypass(KernelDelivery::ThroughHost);
        answer(path, evidence, Some(why))
    };
    let source = link.source.and_then(|producer| producer.source_id);
    let Some(source) = source.map(|id| SourceId(id.0)) else {
        return through_host(Evidence::Told, WhyNot::NoDevice);
    };
    let can = match host.can_post() {
        CanPost::No(lacks, evidence) => return through_host(evidence, WhyNot::Host(lacks)),
        can => can,
    };
    let message = match link.route {
        Some(RouteInfo::Msi { message, .. }) => Some(Msi {
            address: message.address,
            data: message.data,
        }),
        _ => None,
    };
    let target = message.map_or(RouteTarget::Other, RouteTarget::Msi);
    let translated = message.is_some_and(|msi| RemappableMsi::decode(msi) != Ok(None));
    if !translated && let Some(why) = vm.refuses(target) {
        // Decided as the kernel decides, from what the embedder says of its vCPUs.
        return through_host(Evidence::Inferred, why);
    }
    let vector = message.map(|msi| MsiData::from_bits(msi.data).vector());
    let shown = vector
        .filter(|_| !translated)
        .and_then(|vector| host.posts_entry(source, vector));
    let posted = |evidence| {
        let path = InterruptPath::Bypass(KernelDelivery::Posted);
        answer(path, evidence, None)
    };
    match (shown, can) {
        (Some(true), _) => posted(Evidence::Told),
        (Some(false), CanPost::Yes(evidence)) => {
            through_host(evidence.and(Evidence::Inferred), WhyNot::NotConnected)
        }
        (None, CanPost::Yes(_)) => posted(Evidence::Inferred),
        (_, CanPost::Unknown | CanPost::No(..)) => {
            let path = InterruptPath::Bypass(KernelDelivery::Unknown);
            answer(path, Evidence::Inferred, Some(WhyNot::Unknown))
        }
    }
}

impl VmView {
    /// Why the kernel would not post such a route on a host that can.
    fn refuses(&self, route: RouteTarget) -> Option<WhyNot> {
        let vm = PostingVm {
            irqchip: self.irqchip,
            hardware: PostingHardware::Present,
            message_ids: self.message_ids,
        };
        let nobody = ApicMap::new(Vec::new(), ApicOptions::default());
        let apics = self.apics.as_ref().unwrap_or(&nobody);
        match vm.decide(route, apics) {
            Posting::Post { .. } => None,
            // Where the APICs are not known, so is who it reaches.
            Posting::Remap(NotPosted::NoVcpu) if self.apics.is_none() => None,
            Posting::Remap(reason) => Some(WhyNot::Route(reason)),
        }
    }
}
