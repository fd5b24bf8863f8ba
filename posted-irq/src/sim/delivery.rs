//! From a device's interrupt to the vCPU that takes it.

use super::agenda::Event;
use super::config::NOTIFICATION_NS;
use super::config::SimFault;
use super::config::WORK_NS;
use super::host::SimHost;
use super::vcpu::Place;
use super::violation::SimViolation;
use crate::ids::ApicIdFormat;
use crate::pi_desc::Notification;
use crate::pi_desc::Post;
use crate::vcpu::NotificationVectors;
use crate::vtd::PostedInterrupts;
use crate::vtd::VtdIrteFormat;

impl SimHost {
    /// A device sends a message that names its entry.
    pub(super) fn interrupt(&mut self, link: u32) -> Result<(), SimViolation> {
        let own = &self.links[link as usize];
        let device = &self.devices[own.device];
        let index = device.block.index(own.at)?;
        let unit = &mut self.units[device.unit];
        if unit.table.get(index) != Some(own.entry()) {
            return Err(SimViolation::Entry { index });
        }
        let entry = unit
            .look_up(index)
            .filter(|entry| entry.accepts(device.source));
        let format = entry.and_then(|entry| {
            let format = entry.validate(ApicIdFormat::X2Apic, PostedInterrupts::Offered);
            format.ok()
        });
        match format {
            None => Err(SimViolation::Entry { index }),
            Some(VtdIrteFormat::Posted(entry)) => {
                let address = entry.descriptor().get();
                let vcpu = self.descriptors.get(&address).copied();
                let vcpu = vcpu.ok_or(SimViolation::Freed { link, address })?;
                if !own.may_post(vcpu, entry.vector()) {
                    return Err(SimViolation::Stale { link, vcpu });
                }
                self.post(link, vcpu, entry.vector())
            }
            Some(VtdIrteFormat::Remapped(_)) => self.synthesise(link),
        }
    }

    /// The host takes an interrupt and delivers it as the VM's route says now.
    fn synthesise(&mut self, link: u32) -> Result<(), SimViolation> {
        let Some(route) = self.links[link as usize].route else {
            self.report.unclaimed += 1;
            return Ok(());
        };
        self.report.synthesised += 1;
        for vcpu in route.targets() {
            self.post(link, vcpu, route.vector)?;
        }
        Ok(())
    }

    fn post(&mut self, link: u32, vcpu: u32, vector: u8) -> Result<(), SimViolation> {
        self.report.posted += 1;
        let own = &mut self.vcpus[vcpu as usize];
        let outcome = own.pi.desc().post(vector);
        let known = own.pending.contains(vector);
        if known != (outcome == Post::Coalesced) {
            return Err(SimViolation::Lost { vcpu, vector });
        }
        if !known {
            own.toggle(vector);
            self.links[link as usize].raised = self.now;
        }
        let preempted = matches!(own.place, Place::Ready(_)) && own.listed.is_none();
        match outcome {
            Post::Coalesced => {
                self.report.coalesced += 1;
                Ok(())
            }
            Post::Silent => {
                self.report.silent += 1;
                self.report.suppressed += u64::from(!own.notified && preempted);
                if self.config.has(SimFault::NotifiesInSilence) {
                    let control = own.pi.desc().control();
                    let notification = Notification {
                        vector: control.nv(),
                        destination: control.ndst(),
                    };
                    return self.notify(vcpu, notification);
                }
                if own.notified || preempted {
                    Ok(())
                } else {
                    Err(SimViolation::Silent { vcpu })
                }
            }
            Post::Notify(notification) => self.notify(vcpu, notification),
        }
    }

    /// Sends a notification, if it is the one that is due and goes where the vCPU is.
    fn notify(&mut self, vcpu: u32, notification: Notification) -> Result<(), SimViolation> {
        let own = &mut self.vcpus[vcpu as usize];
        if own.notified {
            return Err(SimViolation::Notified { vcpu });
        }
        own.notified = true;
        let Notification {
            vector,
            destination,
        } = notification;
        let vectors = NotificationVectors::LINUX;
        let there = match (own.place, own.listed) {
            (Place::Running(processor), _) => (vectors.notify, processor),
            (_, Some(processor)) => (vectors.wakeup, processor),
            (_, None) => return Err(SimViolation::Notified { vcpu }),
        };
        if (vector, destination) != there {
            return Err(SimViolation::Astray { vcpu, destination });
        }
        self.report.notifications += 1;
        if vector == vectors.wakeup {
            self.report.wakeup_notifications += 1;
            self.processors[destination as usize].wakeups += 1;
        }
        let event = Event::Notify {
            processor: destination,
            vector,
        };
        self.agenda.add(self.now + NOTIFICATION_NS, event);
        Ok(())
    }

    /// A notification arrives, perhaps too late to find its vCPU there.
    pub(super) fn notified(&mut self, processor: u32, vector: u8) -> Result<(), SimViolation> {
        if vector == NotificationVectors::LINUX.wakeup {
            self.processors[processor as usize].wakeups -= 1;
            let due = self.to_wake(processor);
            self.report.spurious += u64::from(due.is_empty());
            // One of so many, if any.
            if !(self.config.has(SimFault::WakeupIgnored) && self.rng.u8(..16) == 0) {
                due.into_iter().try_for_each(|vcpu| self.wake(vcpu))?;
            }
            let left = self.to_wake(processor).first().copied();
            return left.map_or(Ok(()), |vcpu| Err(SimViolation::Overslept { vcpu }));
        }
        let own = &self.processors[processor as usize];
        let on = |vcpu: &u32| self.vcpus[*vcpu as usize].pi.desc().control().on();
        match own.current.filter(on) {
            Some(vcpu) => self.drain(vcpu),
            None => {
                self.report.spurious += 1;
                Ok(())
            }
        }
    }

    /// The vCPUs that a wakeup interrupt names and that sleep. Those that have been woken stay
    /// listed until they run.
    fn to_wake(&self, processor: u32) -> Vec<u32> {
        let mut named = Vec::new();
        let own = &self.processors[processor as usize];
        own.pi.wake(|vcpu| named.push(vcpu.0));
        named.retain(|vcpu| self.vcpus[*vcpu as usize].place == Place::Blocked);
        named
    }

    /// A running vCPU takes what is pending, which must be what was posted.
    pub(super) fn drain(&mut self, vcpu: u32) -> Result<(), SimViolation> {
        let own = &mut self.vcpus[vcpu as usize];
        let taken = own.pi.desc().drain();
        own.notified = false;
        for vector in taken.vectors() {
            self.take(vcpu, vector)?;
            if self.config.has(SimFault::DeliversTwice) {
                self.take(vcpu, vector)?;
            }
        }
        self.nothing_pending(vcpu)
    }

    fn take(&mut self, vcpu: u32, vector: u8) -> Result<(), SimViolation> {
        let work = self.exponential(WORK_NS as f64);
        let owner = self
            .owner(vcpu, vector)
            .filter(|_| self.vcpus[vcpu as usize].pending.contains(vector));
        let link = owner.ok_or(SimViolation::Invented { vcpu, vector })?;
        let own = &mut self.vcpus[vcpu as usize];
        own.toggle(vector);
        own.work += work;
        self.report.delivered += 1;
        self.report.waited_ns += self.now - self.links[link as usize].raised;
        self.release(link, vcpu, vector);
        Ok(())
    }
}
