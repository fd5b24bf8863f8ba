//! What a VFIO display shows: its plane as a picture, and that as a PNG.
//!
//! [`screenshot`] takes the picture of any [`Device`](irqbroker_vfio_abi::Device) that hands it out in a
//! region (`VFIO_GFX_PLANE_TYPE_REGION`): the kernel's, a simulator, or a peer over a socket. Nothing of
//! what the device tells is trusted.
//!
//! A display that is told of flips, and VNC, are not here yet.
#![forbid(unsafe_code)]

mod picture;
mod pixels;
mod screenshot;
mod screenshot_error;

pub use picture::DecodeError;
pub use picture::EncodeError;
pub use picture::Picture;
pub use picture::SIDE_MAX;
pub use screenshot::screenshot;
pub use screenshot_error::ScreenshotError;
