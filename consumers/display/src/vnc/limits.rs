//! How much a viewer may take.

use std::time::Duration;

/// Bounds of what viewers can make a server do and keep.
///
/// Beside these a viewer costs a frame at most (the one it is being sent, if the display has gone on
/// since), one piece of an update (below 8 MiB while it is encoded), a flag for each 64x16 tile,
/// the compressors of the encodings it uses (below 2 MiB), and what the kernel keeps of its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VncLimits {
    /// Viewers at once. One more that has been let in takes the place of the one that has been in for
    /// longest of those who have asked for no update so far; if all have, it is told so and closed. As
    /// many again may be in their handshake: one more takes the place of the one that has been in it
    /// for longest.
    pub clients: usize,
    /// From connecting to the first message behind the handshake.
    pub handshake: Duration,
    /// How long a viewer may take nothing of what it is being sent.
    pub stall: Duration,
    /// Bytes of a clipboard text, which is passed over.
    pub cut_text: u32,
    /// Wrong passwords in a row, whoever sends them, after which nobody's is looked at for
    /// [`lockout`](Self::lockout).
    pub failures: u32,
    /// How long.
    pub lockout: Duration,
    /// How long the monitor stays as it is once a viewer has changed it. Of the wishes that come meanwhile
    /// the last one counts.
    pub resize: Duration,
}

impl Default for VncLimits {
    fn default() -> Self {
        Self {
            clients: 16,
            handshake: Duration::from_secs(20),
            stall: Duration::from_secs(10),
            cut_text: 1 << 20,
            failures: 5,
            lockout: Duration::from_secs(10),
            resize: Duration::from_millis(250),
        }
    }
}
