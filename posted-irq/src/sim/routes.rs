//! Where interrupts lead, as guests say, and the entries that follow.

use super::agenda::Event;
use super::config::INVALIDATION_NS;
use super::config::SimConfig;
use super::config::SimFault;
use super::host::SimHost;
use super::report::SimCause;
use super::violation::SimViolation;
use crate::apic::ApicMap;
use crate::apic::ApicMode;
use crate::apic::ApicOptions;
use crate::apic::LocalApic;
use crate::binding::BindingEvent;
use crate::binding::BindingWrite;
use crate::binding::IrteBinding;
use crate::binding::IrteMode;
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
use crate::vtd::VtdIrte;
use crate::vtd::VtdPostTarget;

pub(super) type Binding = IrteBinding<VtdIrte, VtdPostTarget>;

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
    second: Option<u32>,
}

impl Route {
    /// The vCPUs that get it.
    pub(super) fn targets(self) -> impl Iterator<Item = u32> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    fn leads_to(self, vcpu: u32, vector: u8) -> bool {
        self.vector == vector && self.targets().any(|target| target == vcpu)
    }
}

/// One interrupt of a device.
#[derive(Debug)]
pub(super) struct SimLink {
    pub(super) device: usize,
    /// Which of the device's entries.
    pub(super) at: u16,
    pub(super) binding: Binding,
    /// None while the VM is away.
    pub(super) route: Option<Route>,
    /// The route before, until the unit has dropped its entry.
    pub(super) before: Option<Route>,
    /// The last invalidation of its entry.
    ticket: u64,
    /// When the last of its interrupts that was not pending came.
    pub(super) raised: u64,
}

impl SimLink {
    pub(super) const fn new(device: usize, at: u16, host: VtdIrte) -> Self {
        Self {
            device,
            at,
            binding: Binding::new(host),
            route: None,
            before: None,
            ticket: 0,
            raised: 0,
        }
    }

    /// What its entry must say.
    pub(super) fn entry(&self) -> VtdIrte {
        let host = self.binding.host();
        self.binding
            .target()
            .map_or(host, |target| host.posting_to(target))
    }

    /// Whether the unit may still post there.
    pub(super) fn may_post(&self, vcpu: u32, vector: u8) -> bool {
        let leads = |route: Route| route.second.is_none() && route.leads_to(vcpu, vector);
        self.route.is_some_and(leads) || self.before.is_some_and(leads)
    }
}

impl SimHost {
    /// A guest re-routes an interrupt, unless it is at it.
    pub(super) fn reroute(&mut self, link: u32) -> Result<(), SimViolation> {
        let own = &self.links[link as usize];
        let (Some(old), None) = (own.route, own.before) else {
            return Ok(());
        };
        let Some(new) = self.pick_route(link) else {
            return Ok(());
        };
        let verdict = self.decide(link, new)?;
        let own = &mut self.links[link as usize];
        own.route = Some(new);
        let keeps = self.config.has(SimFault::UnpostableKeepsEntry);
        if !(keeps && verdict.is_err()) {
            let own = &mut self.links[link as usize];
            own.before = Some(old);
            self.change(link, BindingEvent::Route(verdict))?;
        }
        Ok(())
    }

    /// A link gets its first route of a VM.
    pub(super) fn bind(&mut self, link: u32) -> Result<(), SimViolation> {
        let Some(route) = self.pick_route(link) else {
            return Ok(());
        };
        let verdict = self.decide(link, route)?;
        self.links[link as usize].route = Some(route);
        self.change(link, BindingEvent::Bind(verdict))
    }

    /// A link loses its route with the VM. What it has posted is still to be taken.
    pub(super) fn unbind(&mut self, link: u32) -> Result<(), SimViolation> {
        if !self.config.has(SimFault::EndKeepsEntries) {
            self.change(link, BindingEvent::Unbind)?;
        }
        self.forget_routes(link);
        Ok(())
    }

    /// The host moves its side of an interrupt.
    pub(super) fn move_host(&mut self, link: u32) -> Result<(), SimViolation> {
        let processor = self.rng.u32(..self.config.processors);
        let own = &self.links[link as usize];
        let device = &self.devices[own.device];
        let host = device.host_entry(processor);
        if self.config.has(SimFault::HostMoveOverwrites) {
            let table = &self.units[device.unit].table;
            let _ = table.update(&device.block, own.at, host)?;
        }
        self.change(link, BindingEvent::HostMoved(host))
    }

    fn change(
        &mut self,
        link: u32,
        event: BindingEvent<VtdIrte, VtdPostTarget>,
    ) -> Result<(), SimViolation> {
        let own = &mut self.links[link as usize];
        let device = &self.devices[own.device];
        let unit = &mut self.units[device.unit];
        let mut invalidation = None;
        let step = own.binding.step(event, |write| {
            let entry = match write {
                BindingWrite::Nothing => return Ok(()),
                BindingWrite::Post { host, target } => host.posting_to(target),
                BindingWrite::Restore { host, .. } | BindingWrite::Host { host } => host,
            };
            invalidation = unit.table.update(&device.block, own.at, entry)?.invalidate;
            Ok::<_, SimViolation>(())
        })?;
        let posted = |mode| mode == IrteMode::Posted;
        let cause = match (event, posted(step.from), posted(step.to)) {
            (BindingEvent::HostMoved(_), true, _) => SimCause::HostMovedPosted,
            (BindingEvent::HostMoved(_), false, _) => SimCause::HostMovedRemapped,
            (BindingEvent::Bind(_) | BindingEvent::Unbind, ..) => SimCause::Bind,
            (BindingEvent::Route(_), true, true) => SimCause::Retarget,
            (BindingEvent::Route(_), true, false) => SimCause::Demote,
            (BindingEvent::Route(_), false, true) => SimCause::Promote,
            (BindingEvent::Route(_), false, false) => SimCause::StayRemapped,
        };
        self.report
            .note(cause, 1, u64::from(invalidation.is_some()));
        let invalidation = invalidation.filter(|_| !self.config.has(SimFault::NoInvalidation));
        match invalidation {
            Some(invalidation) => {
                let ticket = unit.queue(invalidation);
                own.ticket = ticket;
                let event = Event::Invalidated { link, ticket };
                self.agenda.add(self.now + INVALIDATION_NS, event);
            }
            None => self.settle(link),
        }
        Ok(())
    }

    /// A unit has dropped an entry.
    pub(super) fn invalidated(&mut self, link: u32, ticket: u64) {
        let own = &self.links[link as usize];
        let unit = self.devices[own.device].unit;
        self.units[unit].handle(ticket);
        if own.ticket == ticket {
            self.settle(link);
        }
    }

    fn settle(&mut self, link: u32) {
        if let Some(before) = self.links[link as usize].before.take() {
            for vcpu in before.targets() {
                self.release(link, vcpu, before.vector);
            }
        }
    }

    /// A link has no routes any more, its units having dropped its entry.
    pub(super) fn forget_routes(&mut self, link: u32) {
        self.settle(link);
        if let Some(route) = self.links[link as usize].route.take() {
            for vcpu in route.targets() {
                self.release(link, vcpu, route.vector);
            }
        }
    }

    /// What the crate decides, which must be what the guest meant.
    fn decide(
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
    fn pick_route(&mut self, link: u32) -> Option<Route> {
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
