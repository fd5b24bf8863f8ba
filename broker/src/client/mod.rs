//! The client of the daemon, for VMMs and for processes that emulate devices.
//!
//! A [`ControlClient`] registers producers and consumers with the daemon and does what it is told:
//! it binds a consumer to the producer's own eventfd, which the daemon passes to it, so that the
//! kernel delivers across processes and the daemon is not in the path. When the daemon dies,
//! everything that is bound stays bound, and the client connects and registers again.
//!
//! It starts no thread: poll [`ControlClient::poll_fd`] and call [`ControlClient::service`].

mod connect;
mod consumer;
mod error;
mod event;
mod event_fd;
mod handle;
mod message;
mod options;
mod producer;
mod reason;
mod run;
mod wire;

pub use error::ControlError;
pub use event::ClientEvent;
pub use handle::ControlClient;
pub use irqbroker_protocol::Name;
pub use irqbroker_protocol::Scope;
pub use options::Backoff;
pub use options::ClientOptions;
pub use options::ConsumerSpec;
pub use options::ProducerSpec;
pub use producer::Redirect;
