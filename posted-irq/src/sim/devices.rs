//! Devices that come and go, and the VMs that have them.

use std::mem;
use std::ops::Range;

use super::agenda::Event;
use super::config::DOWN_NS;
use super::config::SimFault;
use super::host::SimHost;
use super::report::SimCause;
use super::routes::SimLink;
use super::violation::SimViolation;
use crate::ids::SourceId;
use crate::table::IrteBlock;
use crate::vtd::SourceQualifier;
use crate::vtd::SourceValidation;
use crate::vtd::VtdIrte;
use crate::vtd::VtdRemapped;

/// A device behind one of the units, with a block of entries.
#[derive(Debug)]
pub(super) struct SimDevice {
    pub(super) unit: usize,
    pub(super) source: SourceId,
    pub(super) block: IrteBlock,
    pub(super) vm: u32,
    links: Range<u32>,
}

impl SimDevice {
    /// What the host has its entries say while they do not post.
    pub(super) fn host_entry(&self, processor: u32) -> VtdIrte {
        /// Any vector that the host may use.
        const HOST_VECTOR: u8 = 0x51;
        VtdRemapped::new()
            .with_p(true)
            .with_rh(true)
            .with_vector(HOST_VECTOR)
            .with_dst(processor)
            .with_svt(SourceValidation::Source)
            .with_sq(SourceQualifier::All)
            .with_sid(self.source.0)
            .into()
    }
}

impl SimHost {
    /// Devices with 1, 2, 4 or 8 interrupts until there are enough, each VM its share.
    pub(super) fn add_devices(&mut self) -> Result<(), SimViolation> {
        let (mut links, mut vm) = (0, 0);
        while links < self.config.entries {
            let left = self.config.entries - links;
            let count = (1 << self.rng.u32(..4)).min(left);
            let device = self.devices.len();
            let unit = device % self.units.len();
            // 16 bits are enough: the units are of two segments.
            let [low, high, ..] = (device / self.units.len()).to_le_bytes();
            let added = SimDevice {
                unit,
                source: SourceId(u16::from_le_bytes([low, high])),
                block: self.units[unit].table.allocate(count)?,
                vm,
                links: links..links + count,
            };
            self.devices.push(added);
            self.add_links(device)?;
            links += count;
            vm = (vm + 1) % self.config.vms;
        }
        Ok(())
    }

    /// Fresh links for a device, and what the host says in their entries.
    fn add_links(&mut self, device: usize) -> Result<(), SimViolation> {
        let own = &self.devices[device];
        let host = own.host_entry(self.rng.u32(..self.config.processors));
        for (at, link) in (0..).zip(own.links.clone()) {
            let table = &self.units[own.unit].table;
            let _ = table.update(&own.block, at, host)?;
            let fresh = SimLink::new(device, at, host);
            match self.links.get_mut(link as usize) {
                Some(old) => *old = fresh,
                None => self.links.push(fresh),
            }
        }
        Ok(())
    }

    /// A device is taken out, sends one more message, and is put in again.
    pub(super) fn replug(&mut self, device: usize) -> Result<(), SimViolation> {
        let own = &mut self.devices[device];
        let (unit, vm, links) = (own.unit, own.vm, own.links.clone());
        let block = self.units[unit].table.allocate(links.end - links.start)?;
        let block = mem::replace(&mut own.block, block);
        self.free(unit, block, links.start)?;
        links.clone().for_each(|link| self.forget_routes(link));
        self.add_links(device)?;
        if self.vms[vm as usize].up {
            links.into_iter().try_for_each(|link| self.bind(link))?;
        }
        Ok(())
    }

    fn free(&mut self, unit: usize, block: IrteBlock, link: u32) -> Result<(), SimViolation> {
        let index = block.first();
        let unit = &mut self.units[unit];
        let entries = u64::from(block.count());
        let invalidation = unit.table.free(block)?;
        self.report
            .note(SimCause::Unplug, entries, u64::from(invalidation.is_some()));
        if let Some(invalidation) = invalidation
            && !self.config.has(SimFault::NoInvalidation)
        {
            unit.queue(invalidation);
        }
        unit.wait();
        // The device's last message finds nothing.
        self.report.refused += 1;
        match unit.look_up(index) {
            Some(_) => Err(SimViolation::Remains { link }),
            None => Ok(()),
        }
    }

    /// All devices are taken out for good.
    pub(super) fn take_all_devices(&mut self) -> Result<(), SimViolation> {
        for device in mem::take(&mut self.devices) {
            self.free(device.unit, device.block, device.links.start)?;
        }
        Ok(())
    }

    /// A VM begins: its vCPUs want processors and its devices have routes.
    pub(super) fn begin(&mut self, vm: u32) -> Result<(), SimViolation> {
        self.vms[vm as usize].up = true;
        for vcpu in self.vcpus_of(vm) {
            self.make_ready(vcpu)?;
        }
        self.links_of(vm)
            .into_iter()
            .try_for_each(|link| self.bind(link))
    }

    /// A VM ends. Its entries must not post any more when its vCPUs go away.
    pub(super) fn end(&mut self, vm: u32) -> Result<(), SimViolation> {
        if !mem::take(&mut self.vms[vm as usize].up) {
            return Ok(());
        }
        let links = self.links_of(vm);
        for link in &links {
            self.unbind(*link)?;
        }
        for unit in &mut self.units {
            unit.wait();
        }
        for vcpu in self.vcpus_of(vm) {
            self.report.discarded += self.vcpus[vcpu as usize].pending_count();
            self.replace_vcpu(vcpu)?;
            self.owners[256 * vcpu as usize..][..256].fill(None);
        }
        self.agenda.add(self.now + DOWN_NS, Event::Begin { vm });
        Ok(())
    }

    fn vcpus_of(&self, vm: u32) -> Range<u32> {
        let per_vm = self.config.vcpus_per_vm;
        vm * per_vm..(vm + 1) * per_vm
    }

    fn links_of(&self, vm: u32) -> Vec<u32> {
        let own = self.devices.iter().filter(|device| device.vm == vm);
        own.flat_map(|device| device.links.clone()).collect()
    }
}
