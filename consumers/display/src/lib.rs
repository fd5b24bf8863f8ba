//! What a VFIO display shows: its plane as a picture when it changes, as a PNG, and over VNC.
//!
//! ```text
//!  device ──► eventfd ──► Display ──► Frame, Damage, Cursor ──► VncServer ──► viewers
//!               one an event  │ fetches after an event only
//!  device ──────────────► screenshot ──► Picture ──► PNG
//! ```
//!
//! [`screenshot`] takes the picture of any [`Device`](irqbroker_vfio_abi::Device) that hands it out in a
//! region or as a dma-buf (`VFIO_GFX_PLANE_TYPE_REGION`, `_DMABUF`; [`TransportChoice`] says which): the
//! kernel's, a simulator, or a peer over a socket. A [`Display`] does so whenever the device's display
//! interrupt says that there is something new to see, and a [`VncServer`] shows that to viewers. Nothing of
//! what a device or a viewer tells is trusted.
//!
//! A [`Monitor`] says how large the picture is best: it changes the EDID that the device's guest reads.
//!
//! No timer decides when to look, no thread is started: an embedder polls
//! [`Display::poll_fd`] or [`VncServer::poll_fd`] and calls `service`. What the events mean is said
//! in `design/display-irq.md`, what a viewer is sent in `design/display.md`.

mod cursor;
mod damage;
mod display;
mod display_error;
mod dmabuf_fd;
mod dmabufs;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_edid;
mod fetch;
mod frame;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod import_error;
mod mapping_fd;
mod monitor;
mod monitor_error;
mod picture;
mod pixels;
mod plan;
mod plane;
mod rect;
mod screenshot;
mod screenshot_error;
mod source;
mod surface;
mod transport_choice;
mod vnc;
mod wait;
mod whole_screenshot;

pub use cursor::CURSOR_SIDE_MAX;
pub use cursor::Cursor;
pub use cursor::CursorShape;
pub use damage::Damage;
pub use display::Change;
pub use display::CursorChange;
pub use display::Display;
pub use display::DisplayCounters;
pub use display::PictureChange;
pub use display_error::OpenError;
pub use display_error::WaitError;
pub use dmabuf_fd::read_dmabuf;
pub use frame::Frame;
pub use import_error::ImportError;
pub use monitor::Monitor;
pub use monitor::Preference;
pub use monitor_error::FindMonitorError;
pub use monitor_error::PreferError;
pub use picture::DecodeError;
pub use picture::EncodeError;
pub use picture::Picture;
pub use picture::SIDE_MAX;
pub use plan::Binding;
pub use plan::Fetches;
pub use plan::Plan;
pub use plan::PlanError;
pub use rect::Rect;
pub use screenshot::screenshot;
pub use screenshot_error::ScreenshotError;
pub use transport_choice::TransportChoice;
pub use vnc::BindError;
pub use vnc::Exposure;
pub use vnc::Password;
pub use vnc::PasswordError;
pub use vnc::ProtocolError;
pub use vnc::Resize;
pub use vnc::Security;
pub use vnc::ServiceError;
pub use vnc::VncCounters;
pub use vnc::VncLimits;
pub use vnc::VncOptions;
pub use vnc::VncServer;
pub use whole_screenshot::whole_screenshot;
