//! vfio-user: wire codec, server and client.
//!
//! A VFIO device over a stream socket. [`Server`] puts any [`Device`](irqbroker_vfio_abi::Device)
//! on one, [`Client`] is one again at the other end; the requests and the errors in between are
//! those of VFIO. Memory and interrupts do not go through the socket: regions are files that the
//! client maps, interrupts are eventfds that the device signals.
//!
//! ```text
//!            bytes, fds                                          bytes, fds
//!  socket ──────────────► Inbox ─► Dispatch ─► Outbox ─► socket ─────────────► Client : Device
//!                                     │
//!                              Device, DmaSpace
//! ```
//!
//! Nothing here starts a thread unless asked to ([`ServerThread`]), and neither side blocks on
//! the other beyond the client's timeout. What a peer can make this one keep in memory is bounded
//! by [`Limits`]. Protocol: QEMU, `docs/interop/vfio-user.rst`, version 0.0; what is supported of
//! it, and what goes beyond it, is said in `design/vfio-user.md`.
#![forbid(unsafe_code)]

mod channel;
mod client;
mod client_device;
mod client_irqs;
mod command;
mod connection;
mod dispatch;
mod dma;
mod dma_table;
mod error;
#[cfg(any(test, feature = "testing"))]
mod fake_device;
#[cfg(any(test, feature = "testing"))]
mod fake_irqs;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod header;
mod inbox;
mod irq_bindings;
mod limits;
mod listener;
mod negotiation;
mod outbox;
mod region_access;
mod saved_device;
mod server;
mod server_thread;
mod session;
mod socket_fd;
#[cfg(test)]
mod testing;
mod version;
mod wire;

pub use client::Client;
pub use client::ClientOptions;
pub use command::Command;
pub use dma::DmaFlags;
pub use dma::DmaRange;
pub use dma::DmaRegion;
pub use dma::DmaSpace;
pub use dma::DmaUnmap;
pub use error::ConnectError;
pub use error::ServeError;
pub use error::ServiceError;
#[cfg(any(test, feature = "testing"))]
pub use fake_device::FakeDevice;
#[cfg(any(test, feature = "testing"))]
pub use fake_irqs::FakeIrqSet;
pub use header::Header;
pub use header::HeaderFlags;
pub use header::MessageType;
pub use limits::Limits;
pub use listener::SocketMode;
pub use listener::listen;
pub use region_access::RegionAccess;
pub use region_access::RegionWrites;
pub use server::Server;
pub use server::ServerOptions;
pub use server::ServerState;
pub use server::Serviced;
pub use server::Wait;
pub use server_thread::ServerThread;
pub use version::Capabilities;
pub use version::GFX_REVISION;
pub use version::Irqbroker;
pub use version::Migration;
pub use version::PROTOCOL_MAJOR;
pub use version::PROTOCOL_MINOR;
pub use version::SAVE_REVISION;
pub use version::TwinSocket;
pub use version::Version;
pub use version::VersionError;
