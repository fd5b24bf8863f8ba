//! The seam below the typed device: one ioctl, bytes in, bytes out.
//!
//! [`Device`](irqbroker_vfio_abi::Device) can only say what is well formed. What a kernel answers
//! to the rest is asked here, of a real device and of the simulator alike.

use std::fmt::Debug;
use std::sync::Arc;

use irqbroker_vfio_abi::Errno;

/// `VFIO_TYPE` and `VFIO_BASE` (`include/uapi/linux/vfio.h`): all requests are plain `_IO`.
const BASE: u32 = (b';' as u32) << 8 | 100;

/// A request to a VFIO device.
///
/// Requests that carry addresses inside their argument (`VFIO_DEVICE_FEATURE`, hot reset) are
/// not here: no byte slice can say that these are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// `VFIO_DEVICE_GET_INFO`.
    GetInfo,
    /// `VFIO_DEVICE_GET_REGION_INFO`.
    GetRegionInfo,
    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    GetIrqInfo,
    /// `VFIO_DEVICE_SET_IRQS`.
    SetIrqs,
    /// `VFIO_DEVICE_RESET`; takes no argument.
    Reset,
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`.
    QueryGfxPlane,
    /// `VFIO_DEVICE_GET_GFX_DMABUF`; the argument is the plane's id, 4 bytes. A positive answer
    /// is a new fd that belongs to the caller.
    GetGfxDmabuf,
    /// `VFIO_DEVICE_IOEVENTFD`.
    Ioeventfd,
    /// A number of VFIO's that no kernel knows.
    Unknown,
}

impl Request {
    /// The ioctl number.
    #[must_use]
    pub const fn number(self) -> u32 {
        BASE + match self {
            Self::GetInfo => 7,
            Self::GetRegionInfo => 8,
            Self::GetIrqInfo => 9,
            Self::SetIrqs => 10,
            Self::Reset => 11,
            Self::QueryGfxPlane => 14,
            Self::GetGfxDmabuf => 15,
            Self::Ioeventfd => 16,
            // The last number of the type: `_IO(';', 255)`.
            Self::Unknown => 155,
        }
    }

    /// Bytes that the kernel reads before it has looked at `argsz`.
    #[must_use]
    pub const fn fixed_size(self) -> usize {
        match self {
            Self::GetInfo | Self::GetIrqInfo => 16,
            Self::GetRegionInfo => 32,
            Self::SetIrqs => 20,
            Self::QueryGfxPlane => 60,
            Self::GetGfxDmabuf => 4,
            Self::Ioeventfd => 28,
            Self::Reset | Self::Unknown => 0,
        }
    }

    /// Whether the argument opens with its own size.
    #[must_use]
    pub const fn has_argsz(self) -> bool {
        !matches!(self, Self::GetGfxDmabuf | Self::Reset | Self::Unknown)
    }

    /// Whether `argument` is as long as it has to be and says it is. A kernel asked with less
    /// would reach beyond it, and answers EFAULT if nothing is there; so do the seams.
    #[must_use]
    pub fn is_covered_by(self, argument: &[u8]) -> bool {
        let claimed = match argument.first_chunk() {
            Some(argsz) if self.has_argsz() => u32::from_ne_bytes(*argsz),
            _ => 0,
        };
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        argument.len() >= self.fixed_size().max(claimed)
    }
}

/// A VFIO device's ioctls as bytes.
pub trait RawDevice: Debug + Send + Sync {
    /// Issues `request`. `argument` is in the layout of the kernel's structure, native endian,
    /// and is changed where the kernel changes it. The answer is what the ioctl returned.
    ///
    /// # Errors
    ///
    /// The kernel's answer. EFAULT, also without asking it, for an argument that is
    /// [shorter](Request::is_covered_by) than the request needs or than it says itself.
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno>;
}

impl<D: RawDevice + ?Sized> RawDevice for Arc<D> {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        D::ioctl(self, request, argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_numbers_are_the_kernels() {
        let numbers = [
            (Request::GetInfo, 0x3b6b),
            (Request::GetRegionInfo, 0x3b6c),
            (Request::GetIrqInfo, 0x3b6d),
            (Request::SetIrqs, 0x3b6e),
            (Request::Reset, 0x3b6f),
            (Request::QueryGfxPlane, 0x3b72),
            (Request::GetGfxDmabuf, 0x3b73),
            (Request::Ioeventfd, 0x3b74),
            (Request::Unknown, 0x3bff),
        ];
        for (request, number) in numbers {
            assert_eq!(request.number(), number, "{request:?}");
        }
    }

    #[test]
    fn argument_is_covered_only_if_as_long_as_needed_and_as_it_says() {
        let mut argument = vec![0; 20];
        assert!(Request::SetIrqs.is_covered_by(&argument));
        assert!(!Request::SetIrqs.is_covered_by(&argument[..19]));
        argument[..4].copy_from_slice(&21u32.to_ne_bytes());
        assert!(!Request::SetIrqs.is_covered_by(&argument));
        argument[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(!Request::SetIrqs.is_covered_by(&argument));
        assert!(Request::Reset.is_covered_by(&[]));
    }
}
