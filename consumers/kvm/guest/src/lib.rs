//! A tiny KVM guest that counts and stamps the interrupts it takes.
//!
//! One vCPU in real mode halts until an interrupt comes. Every handler reads the TSC as its first
//! instruction, stores the stamp in a ring of its vector, counts, signals EOI and returns. What it
//! saw is read from shared memory, without an exit. The guest serves demo, latency, tests and
//! benches; an embedder has its own.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//!
//! use irqbroker_guest::{GuestVector, GuestVm, Irqchip, RunOptions, Wait};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guest = GuestVm::builder().irqchip(Irqchip::Full).halt_poll_ns(0).build()?;
//! let vm = guest.vm();
//! let running = guest.run(RunOptions::default())?;
//!
//! let vector = GuestVector::new(0x40).ok_or("no handler")?;
//! vm.signal_msi(vector.kvm_msi())?;
//! running.wait_delivered(vector, 1, Instant::now() + Duration::from_secs(1), Wait::Spin)?;
//! running.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! | irqchip | how an interrupt gets in | EOI |
//! |---|---|---|
//! | [`Irqchip::Full`] | irqfd, `KVM_SIGNAL_MSI`, IOAPIC pins | in the kernel, resamples level pins |
//! | [`Irqchip::Split`] | irqfd, `KVM_SIGNAL_MSI` | [`IoapicEoi`] is told of level vectors |
//! | [`Irqchip::None`] | [`InterruptSource`] and [`Notifier`] | none, the vCPU thread injects |
//! | [`Irqchip::UserSpace`] | [`InterruptSource`] and [`Notifier`] | [`InterruptSource::eoi`], by an exit |

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the built-in guest is x86-64 machine code");

mod affinity;
mod builder;
mod clock;
mod counters;
mod error;
mod ioapic_fd;
mod kick_fd;
mod layout;
mod ledger;
mod memory_fd;
mod program;
mod running;
pub mod selfcheck;
mod tsc;
mod vcpu;
mod vcpu_fd;
mod vcpu_thread;
mod vector;
mod vm;

pub use affinity::AffinityError;
pub use affinity::CoreId;
pub use affinity::pin_current_thread;
pub use builder::GuestVmBuilder;
pub use builder::HaltPoll;
pub use builder::Irqchip;
pub use builder::Nesting;
pub use clock::ClockError;
pub use clock::TscClock;
pub use counters::Counters;
pub use counters::StampReader;
pub use error::BuildError;
pub use error::PinError;
pub use error::ProbeError;
pub use error::RunError;
pub use error::StartError;
pub use error::WaitError;
pub use ioapic_fd::Trigger;
pub use kick_fd::Notifier;
pub use ledger::Event;
pub use ledger::Ledger;
pub use ledger::StampOrder;
pub use ledger::Tally;
pub use running::Probe;
pub use running::RunningGuest;
pub use running::Wait;
pub use tsc::tsc_now;
pub use vcpu::TscOffset;
pub use vcpu_thread::InterruptSource;
pub use vcpu_thread::IoapicEoi;
pub use vcpu_thread::RunOptions;
pub use vcpu_thread::Served;
pub use vcpu_thread::Sleep;
pub use vector::GuestVector;
pub use vm::GuestVm;
