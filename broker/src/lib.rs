//! An interrupt-forwarding manager for Linux VMMs, modelled on the kernel's irqbypass.
//!
//! A producer (a device that signals an eventfd) and a consumer (a VM's interrupt) register with
//! the same eventfd at a [`Registry`], which connects them and keeps the pair on the fastest way
//! the kernel offers: *bypass* where the kernel can deliver by itself, *relay* where it cannot,
//! each with the reason why not better.
//!
//! For PCI devices, [`manager::Manager`] does all of it: it keeps the registers that the guest
//! sees, and links, masks and routes as the guest writes them.
//!
//! | feature | gives |
//! |---|---|
//! | `kvm` (default) | [`kvm`]: KVM as consumer, with routes, irqfds and resample; [`adapters`], [`remapping`], [`explain`] |
//! | `vfio` (default) | [`vfio`]: VFIO devices as producers; [`manager`] |
//! | `vgpu` (default) | [`vgpu`]: a vGPU whose vblanks are producers |
//! | `client` | `client`: producers and consumers of different processes, through the daemon |
//! | `posted` | `posted`: posted delivery for VMs without local APICs in the kernel |
//!
//! `examples/embed.rs` shows what a VMM does with the registry, `examples/vmm.rs` with the
//! manager.
#![forbid(unsafe_code)]

#[cfg(feature = "kvm")]
pub mod adapters;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "kvm")]
pub mod explain;
#[cfg(feature = "vfio")]
pub mod manager;
#[cfg(feature = "posted")]
pub mod posted;
#[cfg(feature = "kvm")]
pub mod remapping;
mod syscalls;

pub use irqbroker_core::*;
#[cfg(feature = "kvm")]
pub use irqbroker_kvm as kvm;
#[cfg(feature = "vfio")]
pub use irqbroker_vfio as vfio;
#[cfg(feature = "vgpu")]
pub use irqbroker_vgpu as vgpu;
pub use syscalls::SYSCALLS;

/// The README's Rust code compiles.
#[cfg(all(doctest, feature = "kvm"))]
#[doc = include_str!("../../README.md")]
struct Readme;
