//! An interrupt-forwarding manager for Linux VMMs, modelled on the kernel's irqbypass.
//!
//! A producer (a device that signals an eventfd) and a consumer (a VM's interrupt) register with
//! the same eventfd at a [`Registry`], which connects them and keeps the pair on the fastest way
//! the kernel offers: *bypass* where the kernel can deliver by itself, *relay* where it cannot,
//! each with the reason why not better.
//!
//! | feature | gives |
//! |---|---|
//! | `kvm` (default) | [`kvm`]: KVM as consumer, with routes, irqfds and resample |
//! | `vgpu` (default) | [`vgpu`]: a vGPU whose vblanks are producers |
//! | `posted` | `posted`: posted delivery for VMs without local APICs in the kernel |
//!
//! `examples/embed.rs` shows what a VMM does with it.
#![forbid(unsafe_code)]

#[cfg(feature = "posted")]
pub mod posted;

pub use irqbroker_core::*;
#[cfg(feature = "kvm")]
pub use irqbroker_kvm as kvm;
#[cfg(feature = "vgpu")]
pub use irqbroker_vgpu as vgpu;

/// The README's Rust code compiles.
#[cfg(all(doctest, feature = "kvm"))]
#[doc = include_str!("../../README.md")]
struct Readme;
