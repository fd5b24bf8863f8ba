//! The ioctls of a VFIO device, and of the nodes it is opened through.
#![expect(unsafe_code, reason = "VFIO ioctls that no crate wraps")]
// UNSAFETY: ioctl(2) takes a bare pointer, and two of its answers are new fds.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionIndex;
use libc::c_void;
use vfio_ioctls::VfioContainer;

use crate::query;
use crate::raw::RawDevice;
use crate::raw::Request;
use crate::window::Window;

/// `_IO(';', 100)`, where the numbers of `include/uapi/linux/vfio.h` begin.
const VFIO: u32 = 0x3b64;
const SET_IOMMU: u32 = VFIO + 2;
const GROUP_GET_STATUS: u32 = VFIO + 3;
const GROUP_SET_CONTAINER: u32 = VFIO + 4;
const GROUP_GET_DEVICE_FD: u32 = VFIO + 6;
const DEVICE_BIND_IOMMUFD: u32 = VFIO + 18;
const DEVICE_ATTACH_IOMMUFD_PT: u32 = VFIO + 19;
/// `IOMMU_IOAS_ALLOC` (`include/uapi/linux/iommufd.h`).
const IOAS_ALLOC: u32 = 0x3b81;
/// `VFIO_TYPE1v2_IOMMU`.
const TYPE1_V2: usize = 3;

/// A VFIO device of the running kernel.
pub struct DeviceFd {
    /// Closed before what keeps it: the group and the container, or the iommufd.
    fd: OwnedFd,
    _keep: Arc<dyn Any + Send + Sync>,
    /// Where the regions lie in the fd; they do not move. Innermost: nothing is taken inside.
    regions: Mutex<BTreeMap<RegionIndex, Window>>,
}

impl DeviceFd {
    /// Uses a device fd that the embedder has opened, and holds `keep` for as long: whatever owns
    /// the device's group and container (a `vfio_ioctls::VfioDevice`), or its iommufd.
    pub fn new(fd: OwnedFd, keep: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            fd,
            _keep: keep,
            regions: Mutex::default(),
        }
    }

    /// The region's place, asked for once.
    pub(crate) fn window(&self, index: RegionIndex) -> Result<Window, Errno> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = regions.get(&index) {
            return Ok(*window);
        }
        let info = query::region_info(self, index)?;
        let window = Window::of(&info);
        regions.insert(index, window);
        Ok(window)
    }

    /// `VFIO_DEVICE_GET_GFX_DMABUF`.
    pub(crate) fn dmabuf(&self, id: u32) -> Result<OwnedFd, Errno> {
        let mut id = id.to_ne_bytes();
        let fd = self.ioctl(Request::GetGfxDmabuf, &mut id)?;
        owned(fd)
    }
}

impl RawDevice for DeviceFd {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        if !request.is_covered_by(argument) {
            return Err(Errno::EFAULT);
        }
        let pointer = argument.as_mut_ptr().cast();
        // SAFETY: the kernel reads the fixed part of the request's structure, and beyond it reads
        // and writes no more than `argsz` bytes from its start. Both lie in `argument`, checked
        // above, which is ours alone for the length of the call. No request of the enum carries
        // an address in its structure.
        unsafe { ioctl(self.fd.as_fd(), request.number(), pointer) }
    }
}

impl AsFd for DeviceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for DeviceFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceFd({})", self.fd.as_raw_fd())
    }
}

/// `VFIO_GROUP_GET_STATUS`: the flags, bit 0 viable, bit 1 in a container.
pub(crate) fn group_status(group: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut status = [8, 0];
    // SAFETY: `struct vfio_group_status` is two u32, the size of the array, which outlives the
    // call.
    unsafe { ioctl(group, GROUP_GET_STATUS, status.as_mut_ptr().cast()) }?;
    let [_argsz, flags]: [u32; 2] = status;
    Ok(flags)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(crate) fn set_container(group: BorrowedFd<'_>, container: &VfioContainer) -> Result<(), Errno> {
    let mut container: libc::c_int = container.as_raw_fd();
    // SAFETY: the kernel reads one int behind the pointer, which outlives the call.
    unsafe { ioctl(group, GROUP_SET_CONTAINER, (&raw mut container).cast()) }?;
    Ok(())
}

/// `VFIO_SET_IOMMU` to type 1 version 2. The container must have a group.
pub(crate) fn set_iommu(container: &VfioContainer) -> Result<(), Errno> {
    let model = std::ptr::without_provenance_mut(TYPE1_V2);
    // SAFETY: the fd must stay open for as long as it is borrowed: the container closes it when
    // it is dropped, and is itself borrowed.
    let container = unsafe { BorrowedFd::borrow_raw(container.as_raw_fd()) };
    // SAFETY: the argument is a number; the kernel follows no pointer.
    unsafe { ioctl(container, SET_IOMMU, model) }?;
    Ok(())
}

/// `VFIO_GROUP_GET_DEVICE_FD`.
pub(crate) fn device_of_group(group: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let pointer = name.as_ptr().cast_mut().cast();
    // SAFETY: the kernel reads up to the string's NUL and writes nothing; the string outlives the
    // call.
    let fd = unsafe { ioctl(group, GROUP_GET_DEVICE_FD, pointer) }?;
    owned(fd)
}

/// `VFIO_DEVICE_BIND_IOMMUFD`.
pub(crate) fn bind_iommufd(device: BorrowedFd<'_>, iommufd: BorrowedFd<'_>) -> Result<(), Errno> {
    // argsz, flags, iommufd, out_devid.
    let mut bind: [i32; 4] = [16, 0, iommufd.as_raw_fd(), 0];
    // SAFETY: `struct vfio_device_bind_iommufd` up to its fourth field is the array, which
    // outlives the call; `argsz` keeps the kernel from what newer versions append.
    unsafe { ioctl(device, DEVICE_BIND_IOMMUFD, bind.as_mut_ptr().cast()) }?;
    Ok(())
}

/// `IOMMU_IOAS_ALLOC`: a new, empty address space.
pub(crate) fn alloc_ioas(iommufd: BorrowedFd<'_>) -> Result<u32, Errno> {
    // size, flags, out_ioas_id.
    let mut alloc: [u32; 3] = [12, 0, 0];
    // SAFETY: `struct iommu_ioas_alloc` is three u32, the size of the array, which outlives the
    // call.
    unsafe { ioctl(iommufd, IOAS_ALLOC, alloc.as_mut_ptr().cast()) }?;
    let [_size, _flags, ioas] = alloc;
    Ok(ioas)
}

/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
pub(crate) fn attach_ioas(device: BorrowedFd<'_>, ioas: u32) -> Result<(), Errno> {
    // argsz, flags, pt_id.
    let mut attach: [u32; 3] = [12, 0, ioas];
    // SAFETY: `struct vfio_device_attach_iommufd_pt` up to its third field is the array, which
    // outlives the call; `argsz` keeps the kernel from what newer versions append.
    unsafe { ioctl(device, DEVICE_ATTACH_IOMMUFD_PT, attach.as_mut_ptr().cast()) }?;
    Ok(())
}

/// An fd that an ioctl has just returned.
fn owned(fd: u32) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the fd must be open and have no other owner. Both callers have it from an ioctl
    // that returns a new one, and look at it only here.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Issues an ioctl; what it returned, if that is not an error.
///
/// # Safety
///
/// Whatever the request makes the kernel read or write behind `argument` must be the caller's for
/// the length of the call.
unsafe fn ioctl(fd: BorrowedFd<'_>, number: u32, argument: *mut c_void) -> Result<u32, Errno> {
    // SAFETY: the fd is open because it is borrowed; the argument is the caller's promise.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), number as libc::Ioctl, argument) };
    u32::try_from(answer).map_err(|_| {
        let errno = std::io::Error::last_os_error().raw_os_error();
        errno.map_or(Errno::EIO, Errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn null() -> DeviceFd {
        DeviceFd::new(File::open("/dev/null").unwrap().into(), Arc::new(()))
    }

    #[test]
    fn ioctl_of_a_file_that_is_no_device_is_refused_by_the_kernel() {
        let mut argument = [0; 32];
        for request in [Request::GetInfo, Request::SetIrqs, Request::Unknown] {
            let answer = null().ioctl(request, &mut argument);
            assert_eq!(answer, Err(Errno::ENOTTY), "{request:?}");
        }
    }

    #[test]
    fn ioctl_with_a_short_argument_is_refused_without_the_kernel() {
        let claims_too_much = &mut 64u32.to_ne_bytes().repeat(5);
        let answer = null().ioctl(Request::SetIrqs, claims_too_much);
        assert_eq!(answer, Err(Errno::EFAULT));
        let answer = null().ioctl(Request::GetInfo, &mut [0; 15]);
        assert_eq!(answer, Err(Errno::EFAULT));
    }

    #[test]
    fn nodes_that_are_no_vfio_nodes_are_refused_by_the_kernel() {
        let null = File::open("/dev/null").unwrap();
        let null = null.as_fd();
        assert_eq!(group_status(null), Err(Errno::ENOTTY));
        assert_eq!(
            device_of_group(null, c"0000:00:05.0").unwrap_err(),
            Errno::ENOTTY
        );
        assert_eq!(bind_iommufd(null, null), Err(Errno::ENOTTY));
        assert_eq!(alloc_ioas(null), Err(Errno::ENOTTY));
        assert_eq!(attach_ioas(null, 1), Err(Errno::ENOTTY));
    }

    #[test]
    fn new_keeps_what_owns_the_container_until_the_device_is_closed() {
        let container = Arc::new(());
        let device = DeviceFd::new(File::open("/dev/null").unwrap().into(), container.clone());
        assert_eq!(Arc::strong_count(&container), 2);
        drop(device);
        assert_eq!(Arc::strong_count(&container), 1);
    }
}
