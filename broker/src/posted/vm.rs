//! One VM's remapping entries and descriptors: a message goes in, a post comes out.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker_core::Unpostable;
use posted_irq::ApicIdFormat;
use posted_irq::ApicMap;
use posted_irq::ApicOptions;
use posted_irq::ApicRequest;
use posted_irq::BroadcastQuirk;
use posted_irq::CachingMode;
use posted_irq::DeliveryMode;
use posted_irq::IrteBlock;
use posted_irq::LocalApic;
use posted_irq::LowestPriority;
use posted_irq::MessageIds;
use posted_irq::Msi;
use posted_irq::NotPosted;
use posted_irq::PID_BYTES;
use posted_irq::PiDesc;
use posted_irq::PiDescAddress;
use posted_irq::PiVcpu;
use posted_irq::Post;
use posted_irq::PostedInterrupts;
use posted_irq::Posting;
use posted_irq::RemappableMsi;
use posted_irq::SourceId;
use posted_irq::TableError;
use posted_irq::Urgency;
use posted_irq::VcpuId;
use posted_irq::VtdFaultReason;
use posted_irq::VtdIrte;
use posted_irq::VtdIrteFormat;
use posted_irq::VtdIrteTable;
use posted_irq::VtdPostTarget;
use posted_irq::decide_posting;

use super::PostedVcpu;
use super::VcpuKick;
use super::processors::Processors;
use super::processors::VECTORS;

/// Below, vectors are illegal in a message (Intel SDM 3A, "Valid Interrupt Vectors").
pub(super) const FIRST_LEGAL: u8 = 16;

/// A vCPU that a VM is to have.
pub struct VcpuSetup {
    /// What destinations of messages it answers to; its `vcpu` is set by the VM.
    pub apic: LocalApic,
    /// The way to its thread.
    pub kick: Arc<dyn VcpuKick>,
}

/// A message that the remapping hardware would refuse. Nothing was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// It is a fault by VT-d's rules.
    #[error("message of {source_id} refused: {reason}")]
    Refused {
        /// Whose it was.
        source_id: SourceId,
        /// Why.
        reason: VtdFaultReason,
    },
    /// The entry says what the host says, so that no link has it.
    #[error("message of {source_id} leads to an entry that posts to nobody")]
    HostEntry {
        /// Whose it was.
        source_id: SourceId,
    },
    /// It went through the host, and no vCPU takes what the guest has made of it.
    #[error("interrupt of {source_id} cannot be made: {why}")]
    Undeliverable {
        /// Whose it was.
        source_id: SourceId,
        /// Why not.
        why: Unpostable,
    },
}

/// Writes of entries, and what they would have hardware forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryCounts {
    /// Entries written, those given back apart.
    pub written: u64,
    /// Selective invalidations of one entry each. Here entries are read for each message and nothing
    /// is cached; a remapping unit has to be told of these, and of no others.
    pub invalidated: u64,
}

/// The live form of [`EntryCounts`]. Relaxed: counts, which order nothing.
#[derive(Debug, Default)]
struct EntryCounters {
    written: AtomicU64,
    invalidated: AtomicU64,
}

/// The interrupt side of one VM without local APICs in the kernel.
pub struct PostedVm {
    pub(super) table: VtdIrteTable,
    /// By the number of the vCPU; number n lies at `(n + 1) * 64` of the entries' address space.
    descs: Box<[Arc<PiDesc>]>,
    map: ApicMap,
    processors: Arc<Processors>,
    counters: EntryCounters,
}

impl PostedVm {
    /// A VM whose vCPU threads run on this many processors and whose devices have room for this
    /// many messages, a power of two from 2 to 65536.
    ///
    /// The vCPUs are numbered from 0 in the order given and come back in it.
    ///
    /// # Errors
    ///
    /// [`TableError::Size`] for another number of messages.
    pub fn new(
        processors: NonZero<u16>,
        messages: u32,
        vcpus: Vec<VcpuSetup>,
    ) -> Result<(Arc<Self>, Vec<PostedVcpu>), TableError> {
        // Entries are read for each message: nothing is cached that had to be invalidated.
        let table = VtdIrteTable::new(messages, CachingMode::PresentOnly)?;
        let (apics, kicks): (Vec<LocalApic>, Vec<Arc<dyn VcpuKick>>) = (0..)
            .zip(vcpus)
            .map(|(number, VcpuSetup { apic, kick })| {
                let vcpu = VcpuId(number);
                (LocalApic { vcpu, ..apic }, kick)
            })
            .unzip();
        let processors = Arc::new(Processors::new(processors.get().into(), kicks.into()));
        let vcpus: Vec<PiVcpu> = apics
            .iter()
            .map(|apic| PiVcpu::new(apic.vcpu, VECTORS))
            .collect();
        let vm = Self {
            table,
            descs: vcpus.iter().map(|vcpu| Arc::clone(vcpu.desc())).collect(),
            // Ids have 32 bits and 255 is one of them: there is no old guest to be kind to.
            map: ApicMap::new(
                apics,
                ApicOptions {
                    wide_ids: posted_irq::WideIds::Enabled,
                    broadcast: BroadcastQuirk::Disabled,
                    choice: LowestPriority::VectorHashing,
                },
            ),
            processors: Arc::clone(&processors),
            counters: EntryCounters::default(),
        };
        let vcpus = vcpus
            .into_iter()
            .map(|vcpu| PostedVcpu::new(vcpu, Arc::clone(&processors)))
            .collect();
        Ok((Arc::new(vm), vcpus))
    }

    /// A device sends a message in remappable format: entry, source-id, descriptor, notification.
    ///
    /// # Errors
    ///
    /// [`MessageFault`], where hardware would record a fault.
    pub fn deliver(&self, source_id: SourceId, msi: Msi) -> Result<Post, MessageFault> {
        let refused = |reason| MessageFault::Refused { source_id, reason };
        let request = RemappableMsi::decode(msi)
            .map_err(|_| refused(VtdFaultReason::RequestReserved))?
            .ok_or(refused(VtdFaultReason::CompatibilityBlocked))?;
        let entry = u16::try_from(request.index())
            .ok()
            .and_then(|index| self.table.get(index))
            .ok_or(refused(VtdFaultReason::IndexOutOfRange))?;
        let format = entry
            .validate(ApicIdFormat::X2Apic, PostedInterrupts::Offered)
            .map_err(refused)?;
        if !entry.accepts(source_id) {
            return Err(refused(VtdFaultReason::SourceId));
        }
        let VtdIrteFormat::Posted(entry) = format else {
            return Err(MessageFault::HostEntry { source_id });
        };
        let desc = self
            .desc_at(entry.descriptor())
            .ok_or(refused(VtdFaultReason::DescriptorAccess))?;
        let post = if entry.urg() {
            desc.post_urgent(entry.vector())
        } else {
            desc.post(entry.vector())
        };
        self.notify(post);
        Ok(post)
    }

    /// How often entries were written so far, and hardware would have had to be told.
    #[must_use]
    pub fn entry_counts(&self) -> EntryCounts {
        EntryCounts {
            written: self.counters.written.load(Ordering::Relaxed),
            invalidated: self.counters.invalidated.load(Ordering::Relaxed),
        }
    }

    /// Where an entry for this message of the guest has to post.
    pub(super) fn target(&self, msi: Msi) -> Result<VtdPostTarget, NotPosted> {
        let request = ApicRequest::from_msi(msi, MessageIds::Bits32);
        match decide_posting(&request, &self.map) {
            Posting::Post {
                vcpu: VcpuId(vcpu),
                vector,
                ..
            } => Ok(VtdPostTarget {
                descriptor: address_of(vcpu).ok_or(NotPosted::NoVcpu)?,
                vector,
                urgency: Urgency::Normal,
            }),
            Posting::Remap(reason) => Err(reason),
        }
    }

    /// Makes the interrupt of a message that no entry posts, as the kernel does for one that comes
    /// through the host: into the descriptor of each vCPU that it reaches, or of the one chosen.
    pub(super) fn synthesise(&self, msi: Msi) -> Result<(), Unpostable> {
        let request = ApicRequest::from_msi(msi, MessageIds::Bits32);
        let mode = request.delivery_mode;
        if mode != DeliveryMode::FIXED && mode != DeliveryMode::LOWEST_PRIORITY {
            return Err(Unpostable::DeliveryMode(mode.into_bits()));
        }
        let vector = request.vector;
        if vector < FIRST_LEGAL {
            return Err(Unpostable::IllegalVector(vector));
        }
        let mut reached: Vec<VcpuId> = self.map.reached(&request).collect();
        if request.chooses_one() && reached.len() > 1 {
            // Vector hashing, as the map is told.
            reached = vec![reached[usize::from(vector) % reached.len()]];
        }
        let descs = reached.into_iter().filter_map(|VcpuId(vcpu)| {
            let vcpu = usize::try_from(vcpu).ok()?;
            self.descs.get(vcpu)
        });
        let posted = descs.map(|desc| self.notify(desc.post(vector))).count();
        (posted > 0).then_some(()).ok_or(Unpostable::NoVcpu)
    }

    /// Makes an entry of a block say this.
    pub(super) fn write_entry(&self, block: &IrteBlock, entry: VtdIrte) -> Result<(), TableError> {
        let update = self.table.update(block, 0, entry)?;
        self.counters.written.fetch_add(1, Ordering::Relaxed);
        let invalidated = u64::from(update.invalidate.is_some());
        self.counters
            .invalidated
            .fetch_add(invalidated, Ordering::Relaxed);
        Ok(())
    }

    /// Gives an entry's block back.
    pub(super) fn free_entry(&self, block: IrteBlock) -> Result<(), TableError> {
        let invalidate = self.table.free(block)?;
        let invalidated = u64::from(invalidate.is_some());
        self.counters
            .invalidated
            .fetch_add(invalidated, Ordering::Relaxed);
        Ok(())
    }

    fn notify(&self, post: Post) {
        if let Post::Notify(notification) = post {
            self.processors.notify(notification);
        }
    }

    fn desc_at(&self, address: PiDescAddress) -> Option<&PiDesc> {
        let number = usize::try_from(address.get()).ok()? / PID_BYTES;
        let desc = self.descs.get(number.checked_sub(1)?)?;
        Some(desc)
    }
}

fn address_of(vcpu: u32) -> Option<PiDescAddress> {
    PiDescAddress::new((u64::from(vcpu) + 1) * PID_BYTES as u64).ok()
}

impl fmt::Debug for PostedVm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostedVm")
            .field("vcpus", &self.descs.len())
            .field("processors", &self.processors)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VcpuSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VcpuSetup")
            .field("apic", &self.apic)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
