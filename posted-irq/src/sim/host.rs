//! The simulated host: all that there is, and the order in which it moves.

use std::collections::HashMap;

use super::agenda::Agenda;
use super::agenda::Event;
use super::config;
use super::config::SimConfig;
use super::devices::SimDevice;
use super::guest::SimVm;
use super::report::SimReport;
use super::routes::SimLink;
use super::unit::SimUnit;
use super::vcpu::SimProcessor;
use super::vcpu::SimVcpu;
use super::violation::SimViolation;

/// Events between two looks at everything.
const AUDIT_EVERY: u64 = 1_000;

/// Processors, VMs, devices and two remapping units. See the [module's](super) text.
///
/// ```
/// use posted_irq::sim::{SimConfig, SimHost};
///
/// let config = SimConfig {
///     seed: 1,
///     processors: 2,
///     vms: 2,
///     vcpus_per_vm: 4,
///     entries: 100,
///     fault: None,
/// };
/// let mut host = SimHost::new(config)?;
/// host.run_until(10_000_000)?;
/// let report = host.finish()?;
/// assert_eq!(report.posted, report.delivered + report.coalesced + report.discarded);
/// # Ok::<(), posted_irq::sim::SimViolation>(())
/// ```
#[derive(Debug)]
pub struct SimHost {
    pub(super) config: SimConfig,
    pub(super) rng: fastrand::Rng,
    /// Nanoseconds since the beginning.
    pub(super) now: u64,
    pub(super) agenda: Agenda,
    pub(super) report: SimReport,
    pub(super) processors: Vec<SimProcessor>,
    pub(super) vcpus: Vec<SimVcpu>,
    pub(super) vms: Vec<SimVm>,
    pub(super) units: [SimUnit; 2],
    pub(super) devices: Vec<SimDevice>,
    pub(super) links: Vec<SimLink>,
    /// Which link uses a vector of a vCPU, if any does: 256 for each vCPU.
    pub(super) owners: Vec<Option<u32>>,
    /// Whose descriptor is where. No address is used twice.
    pub(super) descriptors: HashMap<u64, u32>,
    /// The next descriptor's.
    pub(super) next_address: u64,
    /// Nothing new begins any more.
    pub(super) quiet: bool,
}

impl SimHost {
    /// A host with all its VMs running and all its devices bound.
    ///
    /// # Errors
    ///
    /// A violation on the way, or more entries than two tables have.
    pub fn new(config: SimConfig) -> Result<Self, SimViolation> {
        let mut host = Self {
            config,
            rng: fastrand::Rng::with_seed(config.seed),
            now: 0,
            agenda: Agenda::default(),
            report: SimReport::default(),
            processors: (0..config.processors).map(SimProcessor::new).collect(),
            vcpus: Vec::new(),
            vms: (0..config.vms).map(|vm| SimVm::new(vm, &config)).collect(),
            units: [SimUnit::new()?, SimUnit::new()?],
            devices: Vec::new(),
            links: Vec::new(),
            owners: vec![None; 256 * config.vcpus() as usize],
            descriptors: HashMap::new(),
            next_address: 0x1_0000_0000,
            quiet: false,
        };
        for vcpu in 0..config.vcpus() {
            let address = host.descriptor_for(vcpu);
            host.vcpus.push(SimVcpu::new(vcpu, address));
        }
        host.add_devices()?;
        for vm in 0..config.vms {
            host.begin(vm)?;
        }
        for event in [
            Event::Interrupt,
            Event::Route,
            Event::HostMove,
            Event::Plug,
            Event::End,
        ] {
            host.again(event);
        }
        // What the beginning cost is not part of the run.
        host.report = SimReport::default();
        Ok(host)
    }

    /// What it has cost so far.
    #[must_use]
    pub const fn report(&self) -> &SimReport {
        &self.report
    }

    /// Lets it run until so many nanoseconds after the beginning.
    ///
    /// # Errors
    ///
    /// The first violation; the host is of no use then.
    pub fn run_until(&mut self, until: u64) -> Result<(), SimViolation> {
        let mut events = 0;
        while let Some((at, event)) = self.agenda.next(until) {
            self.now = at;
            self.handle(event)?;
            events += 1;
            if events % AUDIT_EVERY == 0 {
                self.audit()?;
            }
        }
        self.audit()
    }

    /// Stops devices and guests, waits until all is delivered and takes everything away.
    ///
    /// # Errors
    ///
    /// The first violation, in particular what is still pending or stale when all should be over.
    pub fn finish(mut self) -> Result<SimReport, SimViolation> {
        self.quiet = true;
        self.run_until(u64::MAX)?;
        (0..self.config.vcpus()).try_for_each(|vcpu| self.nothing_pending(vcpu))?;
        let report = self.report;
        self.take_all_devices()?;
        for unit in &self.units {
            if let Some(index) = unit.stale() {
                return Err(SimViolation::Entry { index });
            }
        }
        self.vcpus.clear();
        self.audit()?;
        Ok(report)
    }

    fn handle(&mut self, event: Event) -> Result<(), SimViolation> {
        match event {
            Event::Begin { vm } => self.begin(vm),
            Event::Notify { processor, vector } => self.notified(processor, vector),
            Event::Turn { processor, turn } => self.turn(processor, turn),
            Event::Invalidated { link, ticket } => {
                self.invalidated(link, ticket);
                Ok(())
            }
            Event::Interrupt | Event::Route | Event::HostMove | Event::Plug | Event::End
                if self.quiet =>
            {
                Ok(())
            }
            Event::Interrupt => {
                self.again(event);
                let link = self.any_link();
                self.interrupt(link)
            }
            Event::Route => {
                self.again(event);
                let link = self.any_link();
                self.reroute(link)
            }
            Event::HostMove => {
                self.again(event);
                let link = self.any_link();
                self.move_host(link)
            }
            Event::Plug => {
                self.again(event);
                let device = self.rng.usize(..self.devices.len());
                self.replug(device)
            }
            Event::End => {
                self.again(event);
                let vm = self.rng.u32(..self.config.vms);
                self.end(vm)
            }
        }
    }

    /// Plans the next event of a kind that goes on for ever.
    fn again(&mut self, event: Event) {
        let entries = f64::from(self.config.entries);
        let per_second = match event {
            Event::Interrupt => config::INTERRUPTS_PER_VCPU * f64::from(self.config.vcpus()),
            Event::Route => config::ROUTES_PER_ENTRY * entries,
            Event::HostMove => config::HOST_MOVES_PER_ENTRY * entries,
            Event::Plug => config::PLUGS_PER_DEVICE * self.devices.len() as f64,
            _ => config::RESTARTS_PER_VM * f64::from(self.config.vms),
        };
        let at = self.now + self.exponential(1e9 / per_second);
        self.agenda.add(at, event);
    }

    /// Nanoseconds, exponentially distributed.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of nanoseconds, far from 2^64"
    )]
    pub(super) fn exponential(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.rng.f64()).ln() * mean) as u64
    }

    fn any_link(&mut self) -> u32 {
        self.rng.u32(..self.config.entries)
    }

    /// The wakeup lists are those of the vCPUs blocked, and the sums agree.
    fn audit(&self) -> Result<(), SimViolation> {
        let mut blocked = vec![0; self.processors.len()];
        let mut pending = 0;
        for vcpu in &self.vcpus {
            pending += vcpu.pending_count();
            if let Some(processor) = vcpu.listed {
                blocked[processor as usize] += 1;
            }
        }
        for (own, blocked) in self.processors.iter().zip(blocked) {
            let (processor, listed) = (own.pi.ndst(), own.pi.blocked());
            if listed != blocked {
                return Err(SimViolation::Wakeups {
                    processor,
                    listed,
                    blocked,
                });
            }
        }
        let SimReport {
            posted,
            delivered,
            coalesced,
            discarded,
            ..
        } = self.report;
        let accounted = delivered + coalesced + discarded + pending;
        if posted != accounted {
            return Err(SimViolation::Sums { posted, accounted });
        }
        Ok(())
    }

    pub(super) fn nothing_pending(&self, vcpu: u32) -> Result<(), SimViolation> {
        let left = self.vcpus[vcpu as usize].pending;
        let first = left.vectors().next().filter(|_| !left.is_empty());
        first.map_or(Ok(()), |vector| Err(SimViolation::Lost { vcpu, vector }))
    }
}
