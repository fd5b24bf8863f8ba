//! A client of a vfio-user socket in the story's own process.

use irqbroker_vfio_user::ClientOptions;

use crate::daemon::PATIENCE;

/// Options of one that waits for a server which is kept from running.
pub(crate) fn patient() -> ClientOptions {
    ClientOptions {
        timeout: PATIENCE,
        ..ClientOptions::default()
    }
}
