//! A guest with one vector for each path, and the ways to raise one.
//!
//! Two paths need a guest of their own each, without local APICs in the kernel; it is there only if
//! its path is measured.
//!
//! On two cores the device's thread spins on the first; the vCPU, the relay and the bare relay
//! share the second. With more cores the relays have one of their own.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use irqbroker::ConsumerHandle;
use irqbroker::ConsumerInfo;
use irqbroker::DeliveryState;
use irqbroker::Gsi;
use irqbroker::LocalProducer;
use irqbroker::MsiMessage;
use irqbroker::PathPolicy;
use irqbroker::PeerError;
use irqbroker::Producer;
use irqbroker::ProducerHandle;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::RelayCounters;
use irqbroker::RelayThread;
use irqbroker::ResampleBinding;
use irqbroker::Rid;
use irqbroker::Token;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::MsiRoute;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrq;
use irqbroker::kvm::VmIrqFd;
use irqbroker_guest::GuestVector;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::pin_current_thread;
use kvm_ioctls::VmFd;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use super::bare_relay::BareRelay;
use super::path::LatencyPath;
use super::userspace::Userspace;
use crate::guest;
use crate::halt_poll::HaltPoll;
use crate::posted_guest;

/// Vector of the first path; the others follow.
const FIRST_VECTOR: u8 = 0x40;
/// The first GSI above the IOAPIC's pins, for the two paths that know nothing of the broker.
const RAW_GSI: u32 = 24;
const BARE_GSI: u32 = 25;
/// Requester id of the device that posts, 00:01.0; any will do.
const DEVICE: Rid = Rid(1 << 3);

/// A producer whose eventfd somebody else signals, as with a device in the kernel.
#[derive(Debug)]
struct Device(&'static str);

impl Producer for Device {
    fn name(&self) -> String {
        self.0.into()
    }

    fn info(&self) -> ProducerInfo {
        ProducerInfo::edge()
    }

    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        Ok(ResampleBinding::Relay)
    }

    fn del_consumer(&self) {}
}

/// Everything a run needs; dropping it takes it apart.
#[derive(Debug)]
pub(super) struct Rig {
    // The order of the fields is the order of their drop: links before the threads that serve
    // them, the guest last.
    _links: Vec<(ProducerHandle, ConsumerHandle)>,
    _relay: RelayThread,
    _bare: BareRelay,
    raw: OwnedFd,
    bypass: OwnedFd,
    bare_source: Arc<OwnedFd>,
    relay: OwnedFd,
    registry: Registry,
    vm: Arc<VmFd>,
    guest: RunningGuest,
    posted: Option<Posted>,
    userspace: Option<Userspace>,
}

/// A link that posts, into a guest of its own.
#[derive(Debug)]
struct Posted {
    _link: (ProducerHandle, ConsumerHandle),
    device: Arc<LocalProducer>,
    guest: RunningGuest,
}

impl Rig {
    /// With what these paths need.
    pub(super) fn new(
        node: &Path,
        halt_poll_ns: Option<u32>,
        paths: &[LatencyPath],
    ) -> anyhow::Result<Self> {
        let guest = guest::boot(node, halt_poll_ns, &[])?;
        let vm = guest.vm();
        let own = |path| -> anyhow::Result<MsiRoute> {
            Ok(MsiRoute {
                message: message(path)?,
                device: None,
            })
        };
        let routes = EmbedderRoutes::pc_pins()
            .with_msi(Gsi(RAW_GSI), own(LatencyPath::RawIrqfd)?)
            .with_msi(Gsi(BARE_GSI), own(LatencyPath::BareRelay)?);
        let irqs = Arc::new(VmIrqFd::new(vm.clone()));
        let domain = VmDomain::new(irqs.clone(), routes, DestinationIds::Bits8)?;
        domain.commit_routes()?;

        let raw = irqfd(&irqs, RAW_GSI)?;
        let bare = BareRelay::spawn(irqfd(&irqs, BARE_GSI)?, guest::relay_core())?;
        let registry = Registry::new()?;
        let relay_thread = RelayThread::spawn(registry.clone(), || {
            if let Some(core) = guest::relay_core()
                && let Err(error) = pin_current_thread(core)
            {
                tracing::warn!(%error, "the relay's core is left to the scheduler");
            }
        })?;
        let mut links = Vec::new();
        let mut link = |path: LatencyPath, policy, state| -> anyhow::Result<OwnedFd> {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let token = Token::of(&event)?;
            let consumer = domain.msi(path.as_str(), message(path)?, None)?;
            let producer =
                registry.register_producer(token.clone(), Arc::new(Device(path.as_str())))?;
            registry.set_path(producer.link(), policy)?;
            let consumer = registry.register_consumer(token, consumer)?;
            let delivery = consumer.delivery()?;
            anyhow::ensure!(
                delivery.state == state,
                "no {path} to be had: {}",
                delivery.reason
            );
            links.push((producer, consumer));
            Ok(event)
        };
        let posted = paths.contains(&LatencyPath::Posted);
        let userspace = paths.contains(&LatencyPath::Userspace);
        Ok(Self {
            posted: posted
                .then(|| Posted::new(node, halt_poll_ns, &registry))
                .transpose()?,
            userspace: userspace
                .then(|| {
                    let vector = vector(LatencyPath::Userspace)?;
                    Userspace::boot(node, halt_poll_ns, vector, guest::relay_core())
                })
                .transpose()?,
            bypass: link(LatencyPath::Bypass, PathPolicy::Auto, DeliveryState::Bypass)?,
            relay: link(LatencyPath::Relay, PathPolicy::Relay, DeliveryState::Relay)?,
            _links: links,
            _relay: relay_thread,
            bare_source: bare.source(),
            _bare: bare,
            raw,
            registry,
            vm,
            guest,
        })
    }

    /// Raises the path's vector, as the device's thread would.
    pub(super) fn raise(&self, path: LatencyPath) -> anyhow::Result<()> {
        let event = match path {
            LatencyPath::RawIrqfd => &self.raw,
            LatencyPath::Bypass => &self.bypass,
            LatencyPath::BareRelay => &*self.bare_source,
            LatencyPath::Relay => &self.relay,
            LatencyPath::Posted => {
                if let Some(posted) = &self.posted {
                    posted.device.signal();
                }
                return Ok(());
            }
            LatencyPath::Userspace => match &self.userspace {
                Some(userspace) => userspace.event(),
                None => return Ok(()),
            },
            LatencyPath::SignalMsi => {
                return self
                    .vm
                    .signal_msi(vector(path)?.kvm_msi())
                    .map(drop)
                    .context("KVM_SIGNAL_MSI failed");
            }
        };
        rustix::io::write(event, &1u64.to_ne_bytes())?;
        Ok(())
    }

    /// The guest that the path leads into.
    pub(super) fn guest(&self, path: LatencyPath) -> &RunningGuest {
        match path {
            LatencyPath::Posted => self.posted.as_ref().map(|posted| &posted.guest),
            LatencyPath::Userspace => self.userspace.as_ref().map(|plain| &plain.guest),
            _ => None,
        }
        .unwrap_or(&self.guest)
    }

    /// The halt polling in effect in all guests.
    pub(super) fn halt_poll(&self) -> HaltPoll {
        self.guest.halt_poll().into()
    }

    /// What the broker's relay did so far.
    pub(super) fn relay_counters(&self) -> RelayCounters {
        self.registry.relay_counters()
    }
}

impl Posted {
    fn new(node: &Path, halt_poll_ns: Option<u32>, registry: &Registry) -> anyhow::Result<Self> {
        let path = LatencyPath::Posted;
        let (guest, vm) = posted_guest::boot(node, halt_poll_ns)?;
        let device = LocalProducer::new(path.as_str())?;
        let consumer = vm.msi(path.as_str(), DEVICE, message(path)?)?;
        let producer = registry.register_producer(device.token().clone(), device.clone())?;
        let consumer = registry.register_consumer(device.token().clone(), consumer)?;
        let delivery = consumer.delivery()?;
        anyhow::ensure!(
            delivery.state == DeliveryState::Posted,
            "not posted: {}",
            delivery.reason
        );
        Ok(Self {
            _link: (producer, consumer),
            device,
            guest,
        })
    }
}

/// The vector of a path.
pub(super) fn vector(path: LatencyPath) -> anyhow::Result<GuestVector> {
    let at = LatencyPath::ALL
        .iter()
        .position(|listed| *listed == path)
        .unwrap_or(0);
    let number = FIRST_VECTOR + u8::try_from(at)?;
    GuestVector::new(number).context("the guest has no handler for the vector")
}

fn message(path: LatencyPath) -> anyhow::Result<MsiMessage> {
    let vector = vector(path)?;
    Ok(MsiMessage {
        address: vector.msi_address(),
        data: vector.msi_data(),
    })
}

/// A new eventfd bound to `gsi`: the one ioctl, and nobody who knows of it.
fn irqfd(vm: &VmIrqFd, gsi: u32) -> anyhow::Result<OwnedFd> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    vm.assign_irqfd(event.as_fd(), Gsi(gsi))
        .context("KVM_IRQFD failed")?;
    Ok(event)
}
