//! What a good client sends, and what all others do.

mod bad_fds;
mod bad_input;
mod qemu;
mod qemu_irqs;
mod saved_device;
