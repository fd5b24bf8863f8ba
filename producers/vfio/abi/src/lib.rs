//! The VFIO device ABI as plain types.
//!
//! Holds nothing yet: info structures, capability chains, `SET_IRQS` decoding and the device
//! trait shared by the vGPU, the simulator and the vfio-user server belong here.
#![forbid(unsafe_code)]
