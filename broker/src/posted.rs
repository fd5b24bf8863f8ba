//! Posted interrupts for VMs without local APICs in the kernel: from a message to the vCPU.
//!
//! ```text
//!  producer ──► PostedConsumer ──► PostedVm::deliver: entry, source-id ──► PiDesc::post
//!   (called, or claimed by the relay)                                          │ ON 0 → 1, SN clear
//!                                                                              ▼
//!  guest ◄── KVM_INTERRUPT ◄── ApicRegisters ◄── PostedVcpu: drain ◄── VcpuKick of the processor
//!    └── EOI (a user-space MSR exit) ──────────► PostedVcpu::eoi
//! ```
//!
//! What the IOMMU, the processors and the local APICs do elsewhere is done here by `posted-irq`'s
//! structures: devices send remappable messages with an entry's handle, entries post into the
//! descriptors of vCPUs, and a vCPU's thread moves its descriptor as the kernel does: loaded while
//! it is about to enter or in the guest, preempted otherwise, blocked while the guest halts.
//!
//! The embedder runs the vCPU. On its thread, before each entry: [`PostedVcpu::load`], then inject
//! what [`PostedVcpu::accept`] gives as soon as the guest takes interrupts; after each exit
//! [`PostedVcpu::preempt`], and [`PostedVcpu::eoi`] where the exit is the guest's end of interrupt.
//! A halted one with nothing pending calls [`PostedVcpu::block`] and sleeps until it is kicked.

mod apic;
mod consumer;
mod processors;
mod vcpu;
mod vm;

pub use apic::ApicRegisters;
pub use consumer::PostedConsumer;
pub use consumer::ProducerNotPosted;
pub use posted_irq::ApicMode;
pub use posted_irq::Blocked;
pub use posted_irq::IrteMode;
pub use posted_irq::LocalApic;
pub use posted_irq::Msi;
pub use posted_irq::NotPosted;
pub use posted_irq::Post;
pub use posted_irq::SourceId;
pub use posted_irq::TableError;
pub use posted_irq::VcpuId;
pub use posted_irq::VtdFaultReason;
pub use processors::VcpuKick;
pub use vcpu::PostedVcpu;
pub use vm::EntryCounts;
pub use vm::MessageFault;
pub use vm::PostedVm;
pub use vm::VcpuSetup;
