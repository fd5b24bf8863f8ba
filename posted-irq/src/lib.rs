//! MSI formats, posted-interrupt descriptors, interrupt remapping and the posting decision.
//!
//! No I/O and no `unsafe`: layouts of Intel VT-d and the AMD IOMMU, the live structures that
//! hardware and software share, and the decisions about them. What is to be queued, sent or woken
//! comes back as a value.
//!
//! ```text
//!  device ── Msi ──► entry ──┬─ remapped ──► ApicRequest ──► local APICs
//!                            │
//!   VtdIrteTable             └─ posted ──► PiDesc::post ──► Notification ──► vCPU drains
//!   AmdIrteTable                           (PiVcpu, Processor: load, preempt, block, wake)
//!        ▲
//!   IrteBinding ◄── decide_posting(ApicRequest, ApicMap): posted, or remapped and why
//!
//!  guest's own tables ── VtdRemapper, AmdRemapper ──► Translation or fault
//!                         └─ Remapping: cached until an invalidation names it
//! ```
//!
//! # Example
//!
//! ```
//! use posted_irq::{Notification, PiDesc, Post};
//!
//! let here = Notification { vector: 0xf2, destination: 3 };
//! let desc = PiDesc::new(here);
//! desc.unsuppress();
//! assert_eq!(desc.post(0x41), Post::Notify(here));
//! assert_eq!(desc.post(0x42), Post::Silent);
//! assert_eq!(desc.drain().vectors().collect::<Vec<_>>(), [0x41, 0x42]);
//! ```
#![forbid(unsafe_code)]

mod amd;
mod apic;
mod avic;
mod binding;
mod decision;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod guest_memory;
mod ids;
mod message;
mod msi;
mod pi_desc;
mod pir;
mod primitive;
mod remap_cache;
mod remapper;
mod remapping;
mod request;
mod resolve;
#[cfg(all(any(test, feature = "testing"), not(loom)))]
pub mod sim;
mod table;
mod vcpu;
mod vtd;

pub use amd::AmdCommandError;
pub use amd::AmdEvent;
pub use amd::AmdEventCode;
pub use amd::AmdGuest;
pub use amd::AmdInvalidation;
pub use amd::AmdInvalidationCommand;
pub use amd::AmdIrte;
pub use amd::AmdIrteFormat;
pub use amd::AmdLegacy;
pub use amd::AmdPostTarget;
pub use amd::AmdRemapped;
pub use amd::BackingPage;
pub use amd::DteInterrupt;
pub use amd::GaLogEntry;
pub use amd::GaTag;
pub use amd::IntCtl;
pub use amd::UnalignedBackingPage;
pub use apic::ApicMap;
pub use apic::ApicMode;
pub use apic::ApicOptions;
pub use apic::BroadcastQuirk;
pub use apic::LocalApic;
pub use apic::LogicalModel;
pub use apic::LowestPriority;
pub use apic::WideIds;
pub use avic::Avic;
pub use avic::AvicDelivery;
pub use avic::AvicVcpu;
pub use binding::BindingEvent;
pub use binding::BindingStep;
pub use binding::BindingWrite;
pub use binding::IrteBinding;
pub use binding::IrteMode;
pub use binding::RemappedReason;
pub use decision::Irqchip;
pub use decision::NotPosted;
pub use decision::Posting;
pub use decision::PostingHardware;
pub use decision::PostingVm;
pub use decision::Resolver;
pub use decision::RouteTarget;
pub use decision::decide_posting;
pub use guest_memory::GuestMemory;
pub use guest_memory::Unmapped;
pub use ids::ApicId;
pub use ids::ApicIdFormat;
pub use ids::LinkKey;
pub use ids::SourceId;
pub use ids::VcpuId;
pub use message::AMD_TABLE_MAX;
pub use message::Msi;
pub use message::RemappableAddress;
pub use message::RemappableData;
pub use message::RemappableError;
pub use message::RemappableMsi;
pub use msi::DeliveryMode;
pub use msi::MsiAddress;
pub use msi::MsiData;
pub use msi::ext_dest_id_to_x2apic;
pub use pi_desc::Notification;
pub use pi_desc::PiDesc;
pub use pi_desc::Post;
pub use pir::Pir;
/// For measuring an entry's update against one bare exchange.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use portable_atomic::AtomicU128;
pub use remap_cache::RemapCache;
pub use remapper::AmdDeviceTable;
pub use remapper::AmdFault;
pub use remapper::AmdIrteLayout;
pub use remapper::AmdRemapper;
pub use remapper::CacheKey;
pub use remapper::CompatibilityFormat;
pub use remapper::GuestMode;
pub use remapper::Remapper;
pub use remapper::Translation;
pub use remapper::VtdFault;
pub use remapper::VtdFaultLog;
pub use remapper::VtdRecorded;
pub use remapper::VtdRemapper;
pub use remapping::Delivery;
pub use remapping::Remapping;
pub use request::ApicRequest;
pub use request::DestinationMode;
pub use request::MessageIds;
pub use request::Shorthand;
pub use request::TriggerMode;
pub use request::WideDestination;
pub use table::AmdIrteTable;
pub use table::AmdUpdate;
pub use table::CachingMode;
pub use table::IrteBlock;
pub use table::TableError;
pub use table::VtdIrteTable;
pub use table::VtdUpdate;
pub use vcpu::Blocked;
pub use vcpu::NotLoaded;
pub use vcpu::NotificationVectors;
pub use vcpu::PiVcpu;
pub use vcpu::Processor;
pub use vtd::IecDescriptor;
pub use vtd::IecError;
pub use vtd::IecInvalidation;
pub use vtd::Irta;
pub use vtd::PID_BYTES;
pub use vtd::PiControl;
pub use vtd::PiDescAddress;
pub use vtd::PiDescImage;
pub use vtd::PostedInterrupts;
pub use vtd::SourceQualifier;
pub use vtd::SourceValidation;
pub use vtd::UnalignedDescriptor;
pub use vtd::Urgency;
pub use vtd::VtdFaultReason;
pub use vtd::VtdFaultRecord;
pub use vtd::VtdIrte;
pub use vtd::VtdIrteFormat;
pub use vtd::VtdPostTarget;
pub use vtd::VtdPosted;
pub use vtd::VtdRemapped;
