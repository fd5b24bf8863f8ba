//! vfio-user: wire codec, server and client.
//!
//! Holds nothing yet.
#![forbid(unsafe_code)]
