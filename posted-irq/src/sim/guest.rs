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

    /// A route with a vector that its vCPUs have free, which is the link's from now on. None if a
    /// few tries find none.
    pub(super) fn pick_route(&mut self, link: u32) -> Option<Route> {
        let vm = self.devices[self.links[link as usize].device].vm;
        for _ in 0..8 {
            let route = self.any_route(vm);
            let places = || route.targets().map(|vcpu| place(vcpu, route.vector));
            if places().all(|place| self.owners[place].is_none()) {
                places().for_each(|place| self.owners[place] = Some(link));
                return Some(route);
            }
        }
        None
    }

    /// Of ten routes seven lead to one vCPU, two to one chosen of two, and one to two.
    fn any_route(&mut self, vm: u32) -> Route {
        let per_vm = self.config.vcpus_per_vm;
        let id = self.rng.u32(..per_vm);
        // What guests give to devices.
        let vector = self.rng.u8(0x30..0xf0);
        let one = ApicRequest {
            vector,
            delivery_mode: DeliveryMode::FIXED,
            destination_mode: DestinationMode::Physical,
            destination: ApicId(id),
            redirection_hint: false,
            shorthand: Shorthand::None,
            trigger: TriggerMode::Edge,
        };
        // The neighbour is of the same cluster.
        let neighbour = Some(id ^ 1).filter(|neighbour| *neighbour < per_vm);
        let both = ApicRequest {
            destination_mode: DestinationMode::Logical,
            destination: ApicId((id >> 4) << 16 | 0b11 << (id & 0b1110)),
            ..one
        };
        let (request, first, second) = match (self.rng.u8(..10), neighbour) {
            (7 | 8, Some(_)) => {
                let chosen = ApicRequest {
                    delivery_mode: DeliveryMode::LOWEST_PRIORITY,
                    ..both
                };
                // The vector hashes to the lower or the higher.
                (chosen, id & !1 | u32::from(vector) & 1, None)
            }
            (9, Some(neighbour)) => (both, id, Some(neighbour)),
            _ => (one, id, None),
        };
        Route {
            request,
            vector,
            first: vm * per_vm + first,
            second: second.map(|second| vm * per_vm + second),
        }
    }

    /// Which link uses a vector.
    pub(super) fn owner(&self, vcpu: u32, vector: u8) -> Option<u32> {
        self.owners[place(vcpu, vector)]
    }

    /// A vector is free again, unless the link goes there or something is pending.
    pub(super) fn release(&mut self, link: u32, vcpu: u32, vector: u8) {
        let own = &self.links[link as usize];
        let mut routes = [own.route, own.before].into_iter().flatten();
        let used = routes.any(|route| route.leads_to(vcpu, vector));
        if !used && !self.vcpus[vcpu as usize].pending.contains(vector) {
            self.owners[place(vcpu, vector)] = None;
        }
    }
}

const fn place(vcpu: u32, vector: u8) -> usize {
    vcpu as usize * 256 + vector as usize
}
