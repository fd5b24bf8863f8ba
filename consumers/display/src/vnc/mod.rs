//! A VNC server: RFB 3.3 to 3.8 (RFC 6143), driven by what is shown and what viewers ask.
//!
//! ```text
//!  socket ──bytes──► Session ──bytes──► socket      Session: no I/O, no clock
//!                       ▲
//!   Display ──► Screen ─┘ pixels, cursor, damage
//! ```
//!
//! A viewer is sent an update when it has asked for one and there is something new, whichever comes
//! last. One update at a time is on its way to a viewer, in pieces of a bounded size; what changes
//! meanwhile is merged as damage.

mod client;
mod door;
mod encoding;
mod error;
mod format;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzz;
mod handshake;
mod limits;
mod message;
mod options;
mod password;
mod replies;
mod screen;
mod security;
mod server;
mod session;
mod shown;
#[cfg(test)]
pub(crate) mod testing;
mod timer;
mod update;
mod wishes;

pub use error::BindError;
pub use error::PasswordError;
pub use error::ProtocolError;
pub use error::ServiceError;
pub use limits::VncLimits;
pub use options::Resize;
pub use options::VncCounters;
pub use options::VncOptions;
pub use password::Password;
pub use security::Exposure;
pub use security::Security;
pub use server::VncServer;
