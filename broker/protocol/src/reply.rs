//! The empty answer.

use serde::Deserialize;
use serde::Serialize;

/// It is done, and there is nothing to tell: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done {}
