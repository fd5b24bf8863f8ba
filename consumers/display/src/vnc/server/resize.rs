//! Other sizes that viewers ask for, by way of the head's monitor.

use std::time::Instant;

use super::VncServer;
use crate::monitor::Preference;
use crate::monitor_error::PreferError;
use crate::vnc::replies::Status;

impl VncServer {
    /// Has the monitor prefer the last size that viewers have asked for and it can, if it is time to.
    /// Who asked before that is answered as if it had been carried out, too.
    pub(super) fn carry_out_wishes(&mut self, now: Instant) {
        let Some(monitor) = &mut self.monitor else {
            return;
        };
        let shown = self.screen.size();
        let mut is_carried_out = false;
        let wishes = self.wishes.take(now, self.options.limits.resize);
        for (viewer, (width, height)) in wishes.into_iter().rev() {
            let preferred = match is_carried_out {
                false => monitor.prefer(width, height),
                true => monitor.allows(width, height).map(|()| Preference::AsBefore),
            };
            let status = match preferred {
                Ok(preference) => {
                    is_carried_out = true;
                    self.counters.resizes += u64::from(preference == Preference::Changed);
                    match (width, height) == shown {
                        true => Status::Done,
                        false => Status::Forwarded,
                    }
                }
                Err(error) => {
                    tracing::info!(id = viewer, %error, "another size refused");
                    status_of(&error)
                }
            };
            if let Some(client) = self.clients.get_mut(&viewer) {
                client.session.answer(status);
            }
        }
    }
}

const fn status_of(error: &PreferError) -> Status {
    match error {
        PreferError::Unplugged => Status::Prohibited,
        PreferError::Size { .. } => Status::InvalidLayout,
        PreferError::Read { .. } | PreferError::Build { .. } | PreferError::Write { .. } => {
            Status::OutOfResources
        }
    }
}
