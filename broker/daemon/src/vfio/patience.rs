//! How long the server of a socket may take to answer.

use std::time::Duration;

use irqbroker_vfio_user::ClientOptions;

/// Far longer than any answer takes: a server that is kept from running for seconds, as on a machine
/// with much else to do, is no failure.
const ANSWER: Duration = Duration::from_secs(60);

/// Options of a client that waits for such a server.
pub(crate) fn patient() -> ClientOptions {
    ClientOptions {
        timeout: ANSWER,
        ..ClientOptions::default()
    }
}
