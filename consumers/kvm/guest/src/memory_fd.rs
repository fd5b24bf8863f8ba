//! The guest's memory: mapped, handed to KVM, accessed atomically.
#![expect(
    unsafe_code,
    reason = "memory shared with a guest is reached through a raw mapping"
)]
// UNSAFETY: mmap, munmap, KVM_SET_USER_MEMORY_REGION and atomics placed inside the mapping.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use rustix::io::Errno;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// Zeroed shared memory, guest-physical address 0 at offset 0.
///
/// The guest is one more thread to whoever reads here: x86 keeps its stores in order (TSO), so an
/// Acquire load of a counter also sees the stamp stored before it.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to no thread, and is only ever accessed through atomics.
unsafe impl Send for GuestMemory {}
// SAFETY: as above; atomics may be used from several threads at once.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    pub(crate) fn new(bytes: usize) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no mapping of ours can be replaced.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                protection,
                MapFlags::SHARED | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, bytes })
    }

    /// Makes this the VM's memory slot 0.
    ///
    /// The caller keeps `self` until the VM runs no vCPU any more.
    pub(crate) fn attach(&self, vm: &VmFd) -> Result<(), Errno> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: self.bytes as u64,
            userspace_addr: self.base.as_ptr() as u64,
        };
        // SAFETY: address and size are those of our live mapping, which holds nothing but the guest's
        // bytes, and the caller keeps it while the guest runs.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(|error| Errno::from_raw_os_error(error.errno()))
    }

    /// Stores bytes that the guest reads after it has been started.
    pub(crate) fn write(&self, address: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            // Relaxed: starting the vCPU thread orders these before everything the guest does.
            self.byte(address + index).store(*byte, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn read_byte(&self, address: usize) -> u8 {
        self.byte(address).load(Ordering::Relaxed)
    }

    /// The 32-bit word at a guest-physical address that is a multiple of 4.
    pub(crate) fn word(&self, address: usize) -> &AtomicU32 {
        let pointer = self.pointer_to::<u32>(address);
        // SAFETY: `pointer_to` checked bounds and alignment; the mapping lives as long as the borrow
        // of `self`; all access is atomic.
        unsafe { AtomicU32::from_ptr(pointer) }
    }

    /// The 64-bit word at a guest-physical address that is a multiple of 8.
    pub(crate) fn double_word(&self, address: usize) -> &AtomicU64 {
        let pointer = self.pointer_to::<u64>(address);
        // SAFETY: as for `word`.
        unsafe { AtomicU64::from_ptr(pointer) }
    }

    fn byte(&self, address: usize) -> &AtomicU8 {
        let pointer = self.pointer_to::<u8>(address);
        // SAFETY: as for `word`.
        unsafe { AtomicU8::from_ptr(pointer) }
    }

    fn pointer_to<T>(&self, address: usize) -> *mut T {
        let size = size_of::<T>();
        // Addresses come from the layout, never from the guest: a failure is a bug of this crate.
        assert!(
            address.is_multiple_of(size) && address <= self.bytes - size,
            "guest address {address:#x} is unaligned or outside its memory"
        );
        // SAFETY: inside the mapping by the check above.
        let pointer = unsafe { self.base.as_ptr().add(address) };
        pointer.cast()
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; borrows of it have ended with `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
