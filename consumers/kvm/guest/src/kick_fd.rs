//! Gets the vCPU thread out of `KVM_RUN`, or out of its sleep, without losing a kick.
//!
//! ```text
//! kicker                                vCPU thread
//! set the flag or post the interrupt    entering = true
//! fence                                 fence
//! entering?                             flag or interrupt?   --> handle, do not enter
//!   immediate_exit = 1, signal          KVM_RUN
//! unpark                                entering = false, immediate_exit = 0
//! ```
//!
//! One of the two fences comes first: either the thread sees the flag, or the kicker sees `entering`.
//! In the second case `immediate_exit` ends a `KVM_RUN` that has not begun and the signal one that
//! has (`Documentation/virt/kvm/api.rst`, `immediate_exit`).
#![expect(
    unsafe_code,
    reason = "a second mapping of kvm_run, and a signal to one thread"
)]
// UNSAFETY: mmap and munmap of the vCPU's kvm_run page, an atomic inside it, tgkill.

use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::thread::Thread;

use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;
use rustix::io::Errno;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;
use vmm_sys_util::signal;

/// Tells the vCPU thread that there is something to look at; clones reach the same thread.
#[derive(Debug, Clone)]
pub struct Notifier {
    kick: Arc<Kick>,
}

impl Notifier {
    pub(crate) fn new(kick: Arc<Kick>) -> Self {
        Self { kick }
    }

    /// Makes the vCPU thread ask its [`InterruptSource`](crate::InterruptSource) again.
    ///
    /// What was posted to the source before this call is seen by it. From any thread; does nothing
    /// where the guest does not run.
    pub fn notify(&self) {
        self.kick.kick();
    }
}

/// The two ends of a kick, see the module.
#[derive(Debug)]
pub(crate) struct Kick {
    run: NonNull<kvm_run>,
    /// The thread is in `KVM_RUN` or about to be.
    entering: AtomicBool,
    /// The vCPU thread's kernel id, 0 while there is none.
    tid: AtomicI32,
    thread: OnceLock<Thread>,
}

// SAFETY: the page belongs to no thread; only `immediate_exit` is accessed, through an atomic.
unsafe impl Send for Kick {}
// SAFETY: as above.
unsafe impl Sync for Kick {}

extern "C" fn interrupted(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

impl Kick {
    /// Maps the vCPU's `kvm_run` once more, so that any thread can set `immediate_exit`.
    pub(crate) fn new(vcpu: &VcpuFd) -> Result<Self, Errno> {
        // SAFETY: the fd is open as long as `vcpu` is borrowed, which outlives this function.
        let fd = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no mapping of ours can be replaced; offset 0 of a vCPU
        // fd is its kvm_run, and the mapping holds the file open by itself.
        let page = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size_of::<kvm_run>(),
                protection,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        Ok(Self {
            run: NonNull::new(page.cast()).ok_or(Errno::NOMEM)?,
            entering: AtomicBool::new(false),
            tid: AtomicI32::new(0),
            thread: OnceLock::new(),
        })
    }

    /// Called once by the vCPU thread: from now on it can be kicked.
    pub(crate) fn attach_current_thread(&self) -> Result<(), Errno> {
        let number = kick_signal();
        signal::register_signal_handler(number, interrupted)
            .map_err(|error| Errno::from_raw_os_error(error.errno()))?;
        // The mask is inherited from whoever started the thread.
        signal::unblock_signal(number).map_err(|_| Errno::INVAL)?;
        let _first = self.thread.set(std::thread::current());
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        // Release: a kicker that sees the id also sees the handle.
        self.tid.store(tid, Ordering::Release);
        Ok(())
    }

    /// Called by the vCPU thread before it ends: its id may be used again.
    pub(crate) fn detach_thread(&self) {
        // Release: nothing the thread did moves behind it.
        self.tid.store(0, Ordering::Release);
    }

    /// Before the vCPU thread looks at its flags; [`leave`](Self::leave) follows.
    pub(crate) fn enter(&self) {
        // Relaxed: ordered by the fence, which pairs with the one in `kick`.
        self.entering.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// After `KVM_RUN`, or instead of it.
    pub(crate) fn leave(&self) {
        // Relaxed: a kicker that still sees `true` sends a signal too many, which does no harm.
        self.entering.store(false, Ordering::Relaxed);
        // Relaxed: flags are looked at after the next `enter`, whose fence orders this store.
        self.immediate_exit().store(0, Ordering::Relaxed);
    }

    /// Makes the vCPU thread look at what was set before this call.
    pub(crate) fn kick(&self) {
        // Pairs with the fence in `enter`, see the module.
        fence(Ordering::SeqCst);
        // Acquire: pairs with the store in `attach_current_thread`.
        let tid = self.tid.load(Ordering::Acquire);
        if tid == 0 {
            return;
        }
        // Relaxed: ordered by the fence.
        if self.entering.load(Ordering::Relaxed) {
            // Relaxed: the signal's system call orders it before the signal.
            self.immediate_exit().store(1, Ordering::Relaxed);
            send_signal(tid);
        }
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn immediate_exit(&self) -> &AtomicU8 {
        let run = self.run.as_ptr();
        // SAFETY: `run` points to a mapped kvm_run, so the field is inside the mapping.
        let field = unsafe { &raw mut (*run).immediate_exit };
        // SAFETY: the mapping lives as long as the borrow of `self`; a byte is always aligned; this
        // mapping is only accessed here, through atomics, and the kernel reads the byte once.
        unsafe { AtomicU8::from_ptr(field) }
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; borrows of it have ended with `self`.
        let unmapped =
            unsafe { rustix::mm::munmap(self.run.as_ptr().cast(), size_of::<kvm_run>()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// The first real-time signal: it has no meaning of its own in a process.
fn kick_signal() -> libc::c_int {
    signal::SIGRTMIN()
}

fn send_signal(tid: i32) {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: tgkill takes three integers and touches no memory of ours. A thread that has ended gives
    // ESRCH; one that got its id reaches an empty handler.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, kick_signal()) };
}
