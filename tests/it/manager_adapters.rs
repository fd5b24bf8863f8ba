//! The adapters below traits of the shapes that VMMs have, and the list for their seccomp filters.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::adapters::MessageGroup;
use irqbroker::adapters::MessageRoute;
use irqbroker::adapters::RouteCommit;
use irqbroker::adapters::UpdateError;
use irqbroker::adapters::VectorMask;
use irqbroker_core::DeliveryState;
use irqbroker_core::MsiMessage;
use irqbroker_core::Registry;
use irqbroker_core::Vector;
use irqbroker_kvm::IoctlCounts;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::bench::settle;
use crate::need::Need;
use crate::need::story;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

pub(crate) fn stories() -> Vec<Trial> {
    let mut stories = vec![story(
        "syscalls_json_names_what_linux_has",
        Need::Nothing,
        syscalls,
    )];
    for (name, body) in [
        (
            "adapter_serves_a_source_group_that_commits_once_a_batch",
            source_group as fn(&dyn World) -> anyhow::Result<()>,
        ),
        (
            "adapter_serves_an_irqfd_route_and_keeps_what_is_pending",
            irqfd_route,
        ),
        (
            "adapter_serves_a_request_server_that_routes_before_it_binds",
            request_server,
        ),
        ("adapter_that_is_refused_does_what_it_did_before", refused),
    ] {
        stories.extend(on_both(name, body));
    }
    stories
}

/// The shape of `vm_device::interrupt::InterruptSourceGroup` (Cloud Hypervisor), and of
/// `MsixVectorGroup` (Firecracker) but for the names.
trait InterruptSourceGroup {
    fn disable(&self) -> anyhow::Result<()>;
    fn trigger(&self, index: usize) -> anyhow::Result<()>;
    fn notifier(&self, index: usize) -> Option<BorrowedFd<'_>>;
    fn update(
        &self,
        index: usize,
        config: (u32, u32, u32),
        masked: bool,
        set_gsi: bool,
    ) -> anyhow::Result<()>;
    fn set_gsi(&self) -> anyhow::Result<()>;
}

impl InterruptSourceGroup for MessageGroup {
    fn disable(&self) -> anyhow::Result<()> {
        Ok(self.disable()?)
    }
    fn trigger(&self, index: usize) -> anyhow::Result<()> {
        self.vector(index)?.trigger();
        Ok(())
    }
    fn notifier(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.notifier(index)
    }
    fn update(
        &self,
        index: usize,
        (high, low, data): (u32, u32, u32),
        masked: bool,
        set_gsi: bool,
    ) -> anyhow::Result<()> {
        let address = u64::from(high) << 32 | u64::from(low);
        let mask = match masked {
            true => VectorMask::Masked,
            false => VectorMask::Unmasked,
        };
        let commit = match set_gsi {
            true => RouteCommit::Now,
            false => RouteCommit::Later,
        };
        Ok(self.update(index, MsiMessage { address, data }, mask, commit)?)
    }
    fn set_gsi(&self) -> anyhow::Result<()> {
        self.commit();
        Ok(())
    }
}

fn source_group(world: &dyn World) -> anyhow::Result<()> {
    const VECTORS: u8 = 64;
    let registry = Registry::new()?;
    let group = MessageGroup::new(&registry, world.domain(), "disk", None, VECTORS.into())?;
    ensure!(group.count() == usize::from(VECTORS));
    let group: &dyn InterruptSourceGroup = &group;
    let before = world.ioctls();
    for at in 0..VECTORS {
        let config = (0, 0xfee0_0000, u32::from(0x40 + at));
        group.update(at.into(), config, false, false)?;
    }
    group.set_gsi()?;
    let spent = world.ioctls() - before;
    let wanted = IoctlCounts {
        commits: 1,
        assigns: VECTORS.into(),
        ..IoctlCounts::default()
    };
    ensure!(spent == wanted, "{spent:?}");
    group.trigger(5)?;
    let event = group.notifier(6).context("no notifier")?;
    rustix::io::write(event, &1u64.to_ne_bytes())?;
    settle(&registry, world)?;
    ensure!([5, 6].map(|at| world.delivered(Vector(0x40 + at))) == [1, 1]);
    group.disable()?;
    group.trigger(5)?;
    settle(&registry, world)?;
    ensure!(world.delivered(Vector(0x45)) == 1, "fires while disabled");
    group.update(5, (0, 0xfee0_0000, 0x45), false, true)?;
    settle(&registry, world)?;
    ensure!(world.delivered(Vector(0x45)) == 2, "what waited is lost");
    Ok(())
}

/// The shape of `vmcore::irqfd::IrqFdRoute` (OpenVMM).
trait IrqFdRoute {
    fn event(&self) -> BorrowedFd<'_>;
    fn enable(&self, address: u64, data: u32, devid: Option<u32>);
    fn disable(&self);
}

/// Its calls cannot fail: an error is held for whoever inspects.
struct Held(MessageRoute, std::sync::Mutex<Option<String>>);

impl IrqFdRoute for Held {
    fn event(&self) -> BorrowedFd<'_> {
        self.0.event()
    }
    fn enable(&self, address: u64, data: u32, _devid: Option<u32>) {
        let enabled = self.0.enable(MsiMessage { address, data });
        if let (Err(error), Ok(mut held)) = (enabled, self.1.lock()) {
            *held = Some(error.to_string());
        }
    }
    fn disable(&self) {
        if let (Err(error), Ok(mut held)) = (self.0.disable(), self.1.lock()) {
            *held = Some(error.to_string());
        }
    }
}

fn irqfd_route(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let route = MessageRoute::new(&registry, world.domain(), "route", None)?;
    let held = Held(route, std::sync::Mutex::default());
    let route: &dyn IrqFdRoute = &held;
    let signal = || rustix::io::write(route.event(), &1u64.to_ne_bytes());
    signal()?;
    ensure!(held.0.is_pending(), "an event of before is not seen");
    route.enable(0xfee0_0000, 0x50, None);
    settle(&registry, world)?;
    ensure!(world.delivered(Vector(0x50)) == 1);
    route.disable();
    signal()?;
    ensure!(held.0.is_pending());
    ensure!(held.0.is_pending(), "the first look has drained it");
    route.enable(0xfee0_0000, 0x51, None);
    settle(&registry, world)?;
    ensure!(world.delivered(Vector(0x51)) == 1);
    ensure!(!held.0.is_pending());
    ensure!(held.1.lock().is_ok_and(|error| error.is_none()));
    Ok(())
}

/// The shape of crosvm's `VmIrqRequest`, whose eventfd comes from another process.
enum VmIrqRequest {
    AllocateOneMsi { irqfd: std::os::fd::OwnedFd },
    AddMsiRoute { gsi: u32, address: u64, data: u32 },
    ReleaseOneIrq { gsi: u32 },
}

/// Its GSIs are names only: the real ones are had when there is a message for them.
struct Server<'a> {
    registry: &'a Registry,
    world: &'a dyn World,
    routes: BTreeMap<u32, MessageRoute>,
}

impl Server<'_> {
    fn execute(&mut self, request: VmIrqRequest) -> anyhow::Result<u32> {
        match request {
            VmIrqRequest::AllocateOneMsi { irqfd } => {
                let name = (0..).find(|gsi| !self.routes.contains_key(gsi));
                let gsi = name.context("no name left")?;
                let domain = self.world.domain();
                let route = MessageRoute::with_event(self.registry, domain, "msi", None, irqfd)?;
                self.routes.insert(gsi, route);
                Ok(gsi)
            }
            VmIrqRequest::AddMsiRoute { gsi, address, data } => {
                let route = self.routes.get(&gsi).context("no such gsi")?;
                route.enable(MsiMessage { address, data })?;
                Ok(gsi)
            }
            VmIrqRequest::ReleaseOneIrq { gsi } => {
                drop(self.routes.remove(&gsi));
                Ok(gsi)
            }
        }
    }
}

fn request_server(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let mut server = Server {
        registry: &registry,
        world,
        routes: BTreeMap::new(),
    };
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let irqfd = event.try_clone()?;
    let gsi = server.execute(VmIrqRequest::AllocateOneMsi { irqfd })?;
    // An event between the two requests: with an irqfd and no route it would be swallowed.
    rustix::io::write(event.as_fd(), &1u64.to_ne_bytes())?;
    settle(&registry, world)?;
    let MsiMessage { address, data } = message(Vector(0x60));
    server.execute(VmIrqRequest::AddMsiRoute { gsi, address, data })?;
    settle(&registry, world)?;
    ensure!(world.delivered(Vector(0x60)) == 1);
    server.execute(VmIrqRequest::ReleaseOneIrq { gsi })?;
    ensure!(world.domain().leased() == 0);
    Ok(())
}

fn refused(world: &dyn World) -> anyhow::Result<()> {
    let registry = Registry::new()?;
    let group = MessageGroup::new(&registry, world.domain(), "disk", None, 1)?;
    let update = |index, vector| {
        let mask = VectorMask::Unmasked;
        group.update(index, message(Vector(vector)), mask, RouteCommit::Now)
    };
    update(0, 0x40)?;
    ensure!(matches!(update(1, 0x41), Err(UpdateError::Unknown(_))));
    // Its eventfd twice in one registry.
    let twice = MessageRoute::with_event(
        &registry,
        world.domain(),
        "twice",
        None,
        group.notifier(0).context("no notifier")?,
    )?;
    ensure!(twice.enable(message(Vector(0x42))).is_err());
    ensure!(twice.delivery().is_none());
    let delivery = group.vector(0)?.delivery().context("no link")?;
    ensure!(delivery.state == DeliveryState::Bypass, "{delivery:?}");
    group.vector(0)?.trigger();
    settle(&registry, world)?;
    ensure!([0x40, 0x42].map(|at| world.delivered(Vector(at))) == [1, 0]);
    Ok(())
}

/// System calls of x86-64 and arm64 that a list of interrupt work can name.
const KNOWN: &str = "brk close dup3 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 \
     fcntl futex getrandom ioctl madvise mmap mprotect mremap munmap open \
     openat ppoll pread64 preadv2 read timerfd_create timerfd_settime write";

fn syscalls() -> anyhow::Result<()> {
    let list: serde_json::Value = serde_json::from_str(irqbroker::SYSCALLS)?;
    let numbers = list["ioctl_numbers"].as_object().context("no numbers")?;
    let modes = list["modes"].as_array().context("no modes")?;
    let names: Vec<_> = modes
        .iter()
        .filter_map(|mode| mode["name"].as_str())
        .collect();
    let known: Vec<&str> = KNOWN.split_whitespace().collect();
    let strings = |mode: &serde_json::Value, key: &str| -> Vec<String> {
        let list = mode[key].as_array().into_iter().flatten();
        list.filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    for mode in modes {
        for name in strings(mode, "syscalls") {
            ensure!(known.contains(&name.as_str()), "{name} in {mode}");
        }
        for name in strings(mode, "ioctls") {
            ensure!(numbers.contains_key(&name), "{name} has no number");
        }
        for name in strings(mode, "includes") {
            ensure!(names.contains(&name.as_str()), "{name} is no mode");
        }
    }
    for (name, number) in numbers {
        let number = number.as_str().and_then(|text| text.strip_prefix("0x"));
        let number = u32::from_str_radix(number.context("not hexadecimal")?, 16)?;
        // The type byte: KVMIO, or VFIO's ';'.
        let wanted = match name.starts_with("KVM_") {
            true => 0xae,
            false => 0x3b,
        };
        ensure!(number >> 8 & 0xff == wanted, "{name} is {number:#x}");
    }
    Ok(())
}
