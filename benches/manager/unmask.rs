//! An unmask on the guest's thread.

use std::time::Instant;

use anyhow::ensure;
use kvm_ioctls::Kvm;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use serde_json::Value;
use serde_json::json;

use crate::median::median;
use crate::vm::Vm;
use crate::vm::enable;

/// An unmask of a vector that has been up before, beside the write of an eventfd that nobody waits
/// for, and beside the wake-up of the service loop, the one system call of it.
pub(crate) fn unmask(kvm: &Kvm, vectors: u16, rounds: usize) -> anyhow::Result<Value> {
    let vm = Vm::new(kvm, 1, vectors)?;
    let device = &vm.devices[0];
    enable(device, vectors, 0);
    vm.service()?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = u64::from(vectors - 1) * 16 + 12;
    let (mut own, mut writes, mut wakes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds * 100 {
        device.bar_write(0, control, &[1, 0, 0, 0]);
        let before = vm.seam.counts();
        let start = Instant::now();
        device.bar_write(0, control, &[0; 4]);
        let ours = start.elapsed();
        ensure!(vm.seam.counts() == before, "an unmask made an ioctl");
        let start = Instant::now();
        rustix::io::write(&event, &1u64.to_ne_bytes())?;
        let write = start.elapsed();
        vm.service()?;
        let start = Instant::now();
        vm.manager.wake();
        let wake = start.elapsed();
        vm.service()?;
        own.push(ours.as_secs_f64() * 1e3);
        writes.push(ours.as_secs_f64() / write.as_secs_f64());
        wakes.push(ours.as_secs_f64() / wake.as_secs_f64());
    }
    Ok(json!({
        "name": "unmask",
        "vms": 1,
        "devices": 1,
        "vectors": vectors,
        "ms": median(own),
        "eventfd_write_ratio": median(writes),
        "wake_ratio": median(wakes),
    }))
}
