//! What a thread that uses this library asks of the kernel.

/// The system calls and ioctls of each mode, in JSON, for whoever writes a seccomp filter. What the
/// modes are is said in it and in `design/embedding.md`.
pub const SYSCALLS: &str = include_str!("../syscalls.json");
