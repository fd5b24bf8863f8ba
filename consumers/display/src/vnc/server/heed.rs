//! When the display's events are waited for.

use rustix::event::epoll;
use rustix::event::epoll::EventFlags;

use super::DISPLAY;
use super::VncServer;
use crate::vnc::error::ServiceError;

impl VncServer {
    /// Whether somebody waits for what is shown.
    pub(super) fn is_waited_for(&self) -> bool {
        self.clients.values().any(|client| client.session.waits())
    }

    /// Waits for the display's events while somebody waits for what they tell of.
    pub(super) fn heed_display(&mut self) -> Result<(), ServiceError> {
        let heed = if self.is_waited_for() {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        if let Some(display) = self.display.as_ref().filter(|_| heed != self.heed) {
            let data = epoll::EventData::new_u64(DISPLAY);
            epoll::modify(&self.epoll, display.poll_fd(), data, heed)
                .map_err(|source| ServiceError::Wait { source })?;
            self.heed = heed;
        }
        Ok(())
    }
}
