//! The control socket of the irqbroker daemon.
//!
//! Holds nothing yet: the daemon's messages, fd passing and the blocking client belong here.
#![forbid(unsafe_code)]
