//! A link as operators see it.

use serde::Deserialize;
use serde::Serialize;

use crate::delivery::PathPolicy;
use crate::delivery::ReasonCode;
use crate::delivery::Route;
use crate::delivery::State;
use crate::name::Name;

/// A link as it stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// Its number, one of a kind in this run of the daemon.
    pub id: u64,
    /// Its name, where its sides gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Name>,
    /// The kernel's number of the producer's eventfd; of the consumer's while there is no producer.
    pub token: u64,
    /// The producer's name.
    pub producer: Option<Name>,
    /// The consumer's name.
    pub consumer: Option<Name>,
    /// How interrupts travel.
    pub state: State,
    /// Why not on a better way, for people.
    pub reason: String,
    /// The same, for programs.
    pub reason_code: ReasonCode,
    /// Where interrupts go.
    #[serde(default, deserialize_with = "Route::of_a_row")]
    pub route: Option<Route>,
    /// Events the daemon relayed in this run. What the kernel delivers it does not see.
    pub events: u64,
    /// What the operator allows.
    pub path: PathPolicy,
}
