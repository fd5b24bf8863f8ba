//! Stories that need real VFIO and real irqbypass: the machine that `tests/lab/run` boots.
//!
//! Everywhere else they are listed as ignored; `IRQBROKER_REQUIRE=lab` turns that into a failure.
//! `stories.table` says which kernel runs which story. Inside, each prints one JSON object.

mod cdev;
mod command;
mod demo;
mod devices;
mod doctor;
mod drm_fd;
mod drm_layout;
mod e1000e;
mod e1000e_device;
mod e1000e_loopback;
mod edu;
mod edu_intx;
mod edu_msi;
mod errno_conformance;
mod findings;
#[path = "../it/guest_rig.rs"]
mod guest_rig;
mod irqbypass;
mod kvm_conformance;
mod link;
mod machine;
mod manager_nvme;
mod nested;
mod registers;
mod story;
mod tracefs;
mod vfio_probe;
mod vgpu;
mod vgpu_bochs;
mod vgpu_console;
mod vgpu_dmabuf;
mod vgpu_dmabuf_display;
mod vgpu_fbdev;
mod vgpu_flips;
mod vgpu_picture;
mod vgpu_resize;
mod vgpu_vfio;
mod vgpu_vnc;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::story::Story;

/// Every story, in no order: the machine is told what to run.
const STORIES: &[Story] = &[
    Story::new("doctor", doctor::run),
    Story::new("kvm-conformance", kvm_conformance::run),
    Story::new("demo-vgpu", demo::vgpu),
    Story::new("vfio-probe", vfio_probe::run),
    Story::new("demo-vfio", demo::vfio),
    Story::new("demo-listen", demo::listen),
    Story::new("errno-conformance", errno_conformance::run),
    Story::new("edu-msi", edu_msi::run),
    Story::new("edu-intx", edu_intx::run),
    Story::new("e1000e-loopback", e1000e_loopback::run),
    Story::new("e1000e-device", e1000e_device::run),
    Story::new("vgpu-dmabuf", vgpu_dmabuf::run),
    Story::new("vgpu-dmabuf-display", vgpu_dmabuf_display::run),
    Story::new("vgpu-no-dmabuf", vgpu_dmabuf::none),
    Story::new("vgpu-qemu-console", vgpu_console::run),
    Story::new("vgpu-qemu-bochs", vgpu_bochs::run),
    Story::new("vgpu-qemu-flips", vgpu_flips::run),
    Story::new("vgpu-qemu-vnc", vgpu_vnc::run),
    Story::new("vgpu-qemu-resize", vgpu_resize::run),
    Story::new("vgpu-qemu-vfio", vgpu_vfio::run),
    Story::new("manager-nvme", manager_nvme::run),
    Story::new("cdev", cdev::run),
    Story::new("irqbypass-producer-first", irqbypass::producer_first),
    Story::new("irqbypass-consumer-first", irqbypass::consumer_first),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share the machine's devices, and its two emulated processors.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, story::trials(STORIES)).exit_code()
}
