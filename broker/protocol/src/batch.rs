//! Several requests as one, of which all or none take effect.

use serde::Deserialize;
use serde::Serialize;

use crate::object::Registered;
use crate::request::Request;

/// Registrations, withdrawals and reports that take effect together or not at all. The packet
/// carries their fds one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// What to do, in this order. Only requests with [`Request::may_be_batched`].
    pub requests: Vec<Request>,
}

/// Answer to a batch, of which everything was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchDone {
    /// One for each registration of the batch, in its order.
    pub registered: Vec<Registered>,
}
