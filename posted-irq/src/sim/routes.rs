//! Links, and the entries that follow their routes.

use super::agenda::Event;
use super::config::INVALIDATION_NS;
use super::config::SimFault;
use super::guest::Route;
use super::host::SimHost;
use super::report::SimCause;
use super::violation::SimViolation;
use crate::binding::BindingEvent;
use crate::binding::BindingWrite;
use crate::binding::IrteBinding;
use crate::binding::IrteMode;
use crate::vtd::VtdIrte;
use crate::vtd::VtdPostTarget;

type Binding = IrteBinding<VtdIrte, VtdPostTarget>;

/// One interrupt of a device.
#[derive(Debug)]
pub(super) struct SimLink {
    pub(super) device: usize,
    /// Which of the device's entries.
    pub(super) at: u16,
    binding: Binding,
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
}
