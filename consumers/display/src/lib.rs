//! The display's consumer of vGPU events: planes, PNG and VNC.
//!
//! Holds nothing yet.
#![forbid(unsafe_code)]
