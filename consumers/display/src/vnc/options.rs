//! What a VNC server is made with, and what it counts.

use super::limits::VncLimits;
use super::security::Exposure;
use super::security::Security;
use crate::display::DisplayCounters;
use crate::transport_choice::TransportChoice;

/// What comes of a viewer's wish for another size, as when its window is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resize {
    /// Nothing: it is refused.
    #[default]
    Refused,
    /// The head's monitor prefers that size from then on, which its guest is told of. The guest sets the
    /// mode if it wants.
    Monitor,
}

/// What a server is made with.
#[derive(Debug, Clone)]
pub struct VncOptions {
    /// Which head is shown.
    pub head: u32,
    /// How its pictures are had from the device.
    pub transport: TransportChoice,
    /// What viewers may show as their window's title.
    pub name: String,
    /// Who may look.
    pub security: Security,
    /// Whether viewers may ask for another size.
    pub resize: Resize,
    /// From where.
    pub exposure: Exposure,
    /// How much a viewer may take.
    pub limits: VncLimits,
}

impl VncOptions {
    /// The first head, for this host only.
    #[must_use]
    pub fn new(security: Security) -> Self {
        Self {
            head: 0,
            transport: TransportChoice::default(),
            name: "irqbroker".to_owned(),
            security,
            resize: Resize::default(),
            exposure: Exposure::default(),
            limits: VncLimits::default(),
        }
    }
}

/// What a server has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VncCounters {
    /// Service calls that found something to do.
    pub wakeups: u64,
    /// Viewers that came and were heard.
    pub accepted: u64,
    /// Viewers closed because there were enough, or for others that came after them while they
    /// were in their handshake or had asked for nothing.
    pub turned_away: u64,
    /// Wrong passwords.
    pub wrong_passwords: u64,
    /// Times the monitor was changed because a viewer asked for another size.
    pub resizes: u64,
    /// Viewers left for another error of theirs.
    pub broken: u64,
    /// Viewers left because they were too slow.
    pub stalled: u64,
    /// What the displays opened so far have done.
    pub display: DisplayCounters,
}
