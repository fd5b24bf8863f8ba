//! vCPUs on processors: who runs, who waits, who sleeps.

use std::mem;

use super::agenda::Event;
use super::config::ONE_BUSY_OF;
use super::config::SLICE_NS;
use super::config::SimFault;
use super::host::SimHost;
use super::vcpu::Place;
use super::vcpu::SimVcpu;
use super::violation::SimViolation;
use crate::vcpu::Blocked;

impl SimHost {
    /// A vCPU wants a processor: its last if that is idle, else the less loaded of any two.
    pub(super) fn make_ready(&mut self, vcpu: u32) -> Result<(), SimViolation> {
        let idle = |&last: &u32| self.processors[last as usize].occupants() == 0;
        let last = self.vcpus[vcpu as usize].last.filter(idle);
        let processor = match last {
            Some(last) => last,
            None => {
                let (a, b) = (self.any_processor(), self.any_processor());
                let occupants = |processor: u32| self.processors[processor as usize].occupants();
                if occupants(a) <= occupants(b) { a } else { b }
            }
        };
        self.enqueue(vcpu, processor)
    }

    fn enqueue(&mut self, vcpu: u32, processor: u32) -> Result<(), SimViolation> {
        self.vcpus[vcpu as usize].place = Place::Ready(processor);
        let own = &mut self.processors[processor as usize];
        own.queue.push_back(vcpu);
        self.dispatch(processor)
    }

    /// A processor, if it is idle, takes the next vCPU; another's if it has none.
    fn dispatch(&mut self, processor: u32) -> Result<(), SimViolation> {
        let own = &mut self.processors[processor as usize];
        if own.current.is_some() {
            return Ok(());
        }
        let next = own.queue.pop_front().or_else(|| {
            let other = self.any_processor();
            self.processors[other as usize].queue.pop_back()
        });
        let Some(vcpu) = next else {
            return Ok(());
        };
        self.processors[processor as usize].current = Some(vcpu);
        self.load(vcpu, processor)?;
        self.plan(processor);
        Ok(())
    }

    /// A vCPU gets a processor, and takes what came in the meantime.
    fn load(&mut self, vcpu: u32, processor: u32) -> Result<(), SimViolation> {
        let own = &mut self.vcpus[vcpu as usize];
        let last = own
            .last
            .replace(processor)
            .filter(|last| *last != processor);
        self.report.migrations += u64::from(last.is_some());
        let wrong = last.filter(|_| self.config.has(SimFault::LoadedElsewhere));
        let processors = &self.processors;
        own.pi
            .load(&processors[wrong.unwrap_or(processor) as usize].pi);
        own.place = Place::Running(processor);
        own.listed = None;
        if own.pi.desc().is_pending() {
            self.drain(vcpu)?;
        }
        Ok(())
    }

    /// The processor's vCPU may go on for a slice, or until it has nothing to do.
    fn plan(&mut self, processor: u32) {
        let own = &mut self.processors[processor as usize];
        own.turn += 1;
        own.since = self.now;
        let Some(vcpu) = own.current else {
            return;
        };
        let turn = own.turn;
        let time = if self.is_busy(vcpu) {
            SLICE_NS
        } else {
            self.vcpus[vcpu as usize].work
        };
        self.agenda.add(
            self.now + time.clamp(1, SLICE_NS),
            Event::Turn { processor, turn },
        );
    }

    /// A vCPU has run for a while.
    pub(super) fn turn(&mut self, processor: u32, turn: u64) -> Result<(), SimViolation> {
        let own = &mut self.processors[processor as usize];
        let Some(vcpu) = own.current.filter(|_| own.turn == turn) else {
            return Ok(());
        };
        let alone = own.queue.is_empty();
        let ran = self.now - own.since;
        let busy = self.is_busy(vcpu);
        let own = &mut self.vcpus[vcpu as usize];
        own.work = own.work.saturating_sub(ran);
        if own.work == 0 && !busy {
            return self.block(vcpu, processor);
        }
        if alone {
            self.plan(processor);
            return Ok(());
        }
        own.pi.preempt()?;
        self.report.preemptions += 1;
        self.processors[processor as usize].current = None;
        // Mostly it stays; now and then the load is balanced.
        let queue = match self.rng.u8(..8) {
            0 => self.any_processor(),
            _ => processor,
        };
        self.enqueue(vcpu, queue)?;
        self.dispatch(processor)
    }

    fn block(&mut self, vcpu: u32, processor: u32) -> Result<(), SimViolation> {
        let own = &mut self.vcpus[vcpu as usize];
        own.listed = Some(processor);
        let outcome = own.pi.block()?;
        if outcome == Blocked::Wake && !self.config.has(SimFault::SleepsThroughWake) {
            self.report.wakeups += 1;
            self.load(vcpu, processor)?;
            self.plan(processor);
            return Ok(());
        }
        own.place = Place::Blocked;
        let outstanding = own.pi.desc().control().on();
        let own = &mut self.processors[processor as usize];
        // Only a wakeup interrupt on its way, be it for another, will find it.
        if outstanding && own.wakeups == 0 {
            return Err(SimViolation::Overslept { vcpu });
        }
        own.current = None;
        self.dispatch(processor)
    }

    /// A blocked vCPU has something to do.
    pub(super) fn wake(&mut self, vcpu: u32) -> Result<(), SimViolation> {
        self.report.wakeups += 1;
        self.make_ready(vcpu)
    }

    /// A vCPU goes away with its VM, and another is there for the next one.
    pub(super) fn replace_vcpu(&mut self, vcpu: u32) -> Result<(), SimViolation> {
        match self.vcpus[vcpu as usize].place {
            Place::Running(processor) => {
                self.vcpus[vcpu as usize].pi.preempt()?;
                self.processors[processor as usize].current = None;
                self.dispatch(processor)?;
            }
            Place::Ready(processor) => {
                let queue = &mut self.processors[processor as usize].queue;
                queue.retain(|one| *one != vcpu);
            }
            Place::Blocked | Place::Gone => {}
        }
        let address = self.descriptor_for(vcpu);
        let new = SimVcpu::new(vcpu, address);
        let old = mem::replace(&mut self.vcpus[vcpu as usize], new);
        self.descriptors.remove(&old.address);
        if self.config.has(SimFault::LeaksVcpu) {
            mem::forget(old);
        }
        Ok(())
    }

    /// Where a new descriptor of this vCPU is.
    pub(super) fn descriptor_for(&mut self, vcpu: u32) -> u64 {
        let address = self.next_address;
        // A descriptor's size and alignment.
        self.next_address += 64;
        self.descriptors.insert(address, vcpu);
        address
    }

    fn any_processor(&mut self) -> u32 {
        self.rng.u32(..self.config.processors)
    }

    /// Whether it computes all the time, until all is to end.
    const fn is_busy(&self, vcpu: u32) -> bool {
        vcpu.is_multiple_of(ONE_BUSY_OF) && !self.quiet
    }
}
