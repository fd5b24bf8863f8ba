//! Guests: their APICs, and where they want interrupts.

use super::config::SimConfig;
use super::host::SimHost;
use super::violation::SimViolation;
use crate::apic::ApicMap;
use crate::apic::ApicMode;
use crate::apic::ApicOptions;
use crate::apic::LocalApic;
use crate::decision::NotPosted;
use crate::decision::Posting;
use crate::decision::decide_posting;
use crate::ids::ApicId;
use crate::ids::VcpuId;
use crate::msi::DeliveryMode;
use crate::request::ApicRequest;
use crate::request::DestinationMode;
use crate::request::Shorthand;
use crate::request::TriggerMode;
use crate::vtd::PiDescAddress;
use crate::vtd::Urgency;
use crate::vtd::VtdPostTarget;

/// A virtual machine.
#[derive(Debug)]
pub(super) struct SimVm {
    pub(super) up: bool,
    map: ApicMap,
}

impl SimVm {
    pub(super) fn new(vm: u32, config: &SimConfig) -> Self {
        let apic = |id| LocalApic {
            vcpu: VcpuId(vm * config.vcpus_per_vm + id),
            x2apic_id: id,
            mode: ApicMode::X2Apic,
            software_enabled: true,
            priority: 0,
        };
        let apics = (0..config.vcpus_per_vm).map(apic).collect();
        Self {
            up: false,
            map: ApicMap::new(apics, ApicOptions::default()),
        }
    }
}

/// Where a guest wants an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    request: ApicRequest,
    pub(super) vector: u8,
    first: u32,
    /// A second vCPU that gets it too, which is why it cannot be posted.
    pub(super) second: Option<u32>,
}

impl Route {
    /// The vCPUs that get it.
    pub(super) fn targets(self) -> impl Iterator<Item = u32> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    pub(super) fn leads_to(self, vcpu: u32, vector: u8) -> bool {
        self.vector == vector && self.targets().any(|target| target == vcpu)
    }
}

impl SimHost {
    /// What the crate decides, which must be what the guest meant.
    pub(super) fn decide(
        &self,
        link: u32,
        route: Route,
    ) -> Result<Result<VtdPostTarget, NotPosted>, SimViolation> {
        let vm = route.first / self.config.vcpus_per_vm;
        let decided = decide_posting(&route.request, &self.vms[vm as usize].map);
        match (decided, route.second) {
            (Posting::Post { vcpu, vector, .. }, None)
                if vcpu.0 == route.first && vector == route.vector =>
            {
                let address = self.vcpus[vcpu.0 as usize].address;
                let descriptor = PiDescAddress::new(address);
                Ok(Ok(VtdPostTarget {
                    descriptor: descriptor.map_err(|_| SimViolation::Freed { link, address })?,
                    vector,
                    urgency: Urgency::Normal,
                }))
            }
            (Posting::Remap(reason), Some(_)) => Ok(Err(reason)),
            _ => Err(SimViolation::Decision { link }),
        }
    }

    /// A route to one vCPU, to one chosen of two, or to two, with a vector that they have free.
    pub(super) fn pick_route(&mut self, link: u32) -> Option<Route> {
        let per_vm = self.config.vcpus_per_vm;
        let vm = self.devices[self.links[link as usize].device].vm;
        // Vectors that guests give to devices; a few tries find a free one.
        let vector = |rng: &mut fastrand::Rng| rng.u8(0x30..0xf0);
        for _ in 0..8 {
            let id = self.rng.u32(..per_vm);
            let vector = vector(&mut self.rng);
            let partner = Some(id ^ 1).filter(|partner| *partner < per_vm);
            // Of ten routes seven lead to one vCPU, two to one of two, and one to two.
            let (kind, partner) = match (self.rng.u8(..10), partner) {
                (7 | 8, Some(partner)) => (DeliveryMode::LOWEST_PRIORITY, Some(partner)),
                (9, Some(partner)) => (DeliveryMode::FIXED, Some(partner)),
                _ => (DeliveryMode::FIXED, None),
            };
            let (low, high) =
                partner.map_or((id, id), |partner| (id.min(partner), id.max(partner)));
            let logical = (low >> 4) << 16 | 1 << (low & 15) | 1 << (high & 15);
            // The vector hashes to one of two.
            let hashed = if vector % 2 == 0 { low } else { high };
            let (first, second) = match (kind, partner) {
                (DeliveryMode::LOWEST_PRIORITY, _) => (hashed, None),
                (_, Some(_)) => (low, Some(high)),
                (_, None) => (id, None),
            };
            let global = |id| vm * per_vm + id;
            let route = Route {
                request: ApicRequest {
                    vector,
                    delivery_mode: kind,
                    destination_mode: match partner {
                        Some(_) => DestinationMode::Logical,
                        None => DestinationMode::Physical,
                    },
                    destination: ApicId(if partner.is_some() { logical } else { id }),
                    redirection_hint: false,
                    shorthand: Shorthand::None,
                    trigger: TriggerMode::Edge,
                },
                vector,
                first: global(first),
                second: second.map(global),
            };
            if route
                .targets()
                .all(|vcpu| self.owner(vcpu, vector).is_none())
            {
                for vcpu in route.targets() {
                    self.owners[place(vcpu, vector)] = Some(link);
                }
                return Some(route);
            }
        }
        None
    }

    /// Which link uses a vector.
    pub(super) fn owner(&self, vcpu: u32, vector: u8) -> Option<u32> {
        self.owners[place(vcpu, vector)]
    }

    /// A vector is free again, unless the link goes there or something is pending.
    pub(super) fn release(&mut self, link: u32, vcpu: u32, vector: u8) {
        let own = &self.links[link as usize];
        let used = [own.route, own.before].into_iter().flatten();
        let used = used.into_iter().any(|route| route.leads_to(vcpu, vector));
        if !used && !self.vcpus[vcpu as usize].pending.contains(vector) {
            self.owners[place(vcpu, vector)] = None;
        }
    }
}

const fn place(vcpu: u32, vector: u8) -> usize {
    vcpu as usize * 256 + vector as usize
}
