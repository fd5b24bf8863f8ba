//! One VM's routing table and the GSIs in it.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use irqbroker_core::BypassRefused;
use irqbroker_core::Committed;
use irqbroker_core::DeviceId;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::Reason;
use irqbroker_core::RouteDomain;

use crate::capabilities::Capabilities;
use crate::capabilities::IrqchipMode;
use crate::capabilities::ProbeError;
use crate::capabilities::probe_irqchip;
use crate::embedder::EmbedderRoutes;
use crate::embedder::EmbedderRoutesError;
use crate::errno::KvmErrno;
use crate::message::DestinationIds;
use crate::message::MessageRefused;
use crate::message::route_for;
use crate::route::MsiRoute;
use crate::route::Route;
use crate::route::RouteEntry;
use crate::table::GsiExhausted;
use crate::table::RouteTable;
use crate::transaction::Transaction;
use crate::vm_irq::VmIrq;

/// One VM's routing table: hands out GSIs, and writes the table when somebody needs it written.
///
/// Whoever creates it gives the VM's table over: nobody else may write it from then on, because a
/// write replaces the whole table. The first commit writes the embedder's own routes too, even
/// where the kernel has them from `KVM_CREATE_IRQCHIP`.
pub struct VmDomain {
    vm: Arc<dyn VmIrq>,
    capabilities: Capabilities,
    /// Held across `KVM_SET_GSI_ROUTING`. Taken after a consumer's state; nothing is taken inside.
    table: Mutex<Table>,
    /// GSIs whose last lease was dropped while a write was under way, which nobody who drops one
    /// (a guest that gives a vector another message) waits for. A leaf: taken inside `table`.
    returned: Mutex<Vec<Gsi>>,
    /// Tables the kernel took. Changed under `table`; what is leased now is in each of them.
    writes: AtomicU64,
}

struct Table {
    routes: RouteTable,
    /// Kept between commits for its allocation.
    entries: Vec<RouteEntry>,
}

/// Why a [`VmDomain`] could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// What the VM can do could not be found out.
    #[error("cannot find out what the vm can do")]
    Probe(#[from] ProbeError),
    /// The kernel would refuse the embedder's routes, and with them every table.
    #[error("the embedder's routes cannot be part of a table")]
    EmbedderRoutes(#[from] EmbedderRoutesError),
}

/// Why a message got no GSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The kernel would refuse the message.
    #[error("the message cannot be routed")]
    Message(#[from] MessageRefused),
    /// The table is full.
    #[error("the message has no place in the table")]
    Exhausted(#[from] GsiExhausted),
    /// The message must carry a device id (arm64 ITS), and none was given.
    #[error("the message of address {address:#x} needs a device id")]
    NoDeviceId {
        /// The message's address.
        address: u64,
    },
    /// The VM has no in-kernel irqchip, so it takes no table.
    #[error("a vm without an in-kernel irqchip takes no routes")]
    NoIrqchip,
}

impl LeaseError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            // Not met by links: a consumer's message is checked when it is set.
            Self::Message(_) => Reason::ConnectRefused,
            Self::Exhausted(GsiExhausted { limit }) => Reason::GsiExhausted { limit: *limit },
            Self::NoDeviceId { .. } => Reason::NoDeviceId,
            Self::NoIrqchip => Reason::NoInKernelIrqchip,
        }
    }
}

/// The kernel refused the table; the old one is live.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused a routing table of {entries} entries, gsi {gsi} the first new one")]
pub struct CommitError {
    /// Entries of the refused table.
    pub entries: usize,
    /// The first GSI that was to become live.
    pub gsi: Gsi,
    /// The kernel's answer.
    #[source]
    pub source: KvmErrno,
}

impl VmDomain {
    /// Finds out what the VM can do, and takes its routing table over. Writes nothing.
    ///
    /// # Errors
    ///
    /// See [`DomainError`].
    pub fn new(
        vm: Arc<dyn VmIrq>,
        embedder: EmbedderRoutes,
        destination_ids: DestinationIds,
    ) -> Result<Arc<Self>, DomainError> {
        let kernel = vm.capabilities();
        let capabilities = Capabilities {
            irqchip: probe_irqchip(&*vm, &kernel)?,
            kernel,
            destination_ids,
        };
        embedder.check(&capabilities)?;
        Ok(Arc::new(Self {
            vm,
            capabilities,
            table: Mutex::new(Table {
                routes: RouteTable::new(kernel.max_routes, embedder),
                entries: Vec::new(),
            }),
            returned: Mutex::default(),
            writes: AtomicU64::new(0),
        }))
    }

    /// What the VM can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Takes a GSI for a message, the same one for equal messages. It is free again when the last
    /// lease is dropped, and live after [`commit_routes`](Self::commit_routes).
    ///
    /// # Errors
    ///
    /// See [`LeaseError`]; nothing is taken.
    pub fn lease(
        self: &Arc<Self>,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<RouteLease, LeaseError> {
        self.lease_route(self.msi_route(message, device)?)
    }

    /// Writes the table if a wanted route is not live yet. A route that nobody wants any more
    /// leaves with the next write, and needs none of its own.
    ///
    /// # Errors
    ///
    /// The kernel refused; the old table stays live, and what was staged stays staged until its
    /// leases are dropped.
    pub fn commit_routes(&self) -> Result<Committed, CommitError> {
        let mut table = self.table();
        let Table { routes, entries } = &mut *table;
        let Some(gsi) = routes.first_staged() else {
            return Ok(Committed::Unchanged);
        };
        entries.clear();
        routes.entries(entries);
        let written = entries.len();
        self.vm.commit_routes(entries).map_err(|source| {
            tracing::debug!(entries = written, %gsi, error = %source, "routing table refused");
            CommitError {
                entries: written,
                gsi,
                source,
            }
        })?;
        routes.written();
        // Release: whoever sees the new count finds the kernel with the table.
        self.writes.fetch_add(1, Ordering::Release);
        tracing::trace!(entries = written, "routing table written");
        Ok(Committed::Written(written))
    }

    /// Changes where one of the embedder's own GSIs leads, with the next commit: what a user-space
    /// IOAPIC does when the guest writes a redirection entry. No target means nowhere.
    ///
    /// # Errors
    ///
    /// The GSI is not the embedder's, or the kernel would refuse the routes; nothing changes.
    pub fn reroute(&self, gsi: Gsi, targets: &[Route]) -> Result<(), EmbedderRoutesError> {
        let mut table = self.table();
        let mut embedder = table.routes.embedder().clone();
        embedder.reroute(gsi, targets)?;
        embedder.check(&self.capabilities)?;
        table.routes.check_room(&embedder)?;
        table.routes.replace_embedder(embedder);
        Ok(())
    }

    /// A batch of irqfds to bind and unbind with one write of the table.
    pub fn transaction(self: &Arc<Self>) -> Transaction {
        Transaction::new(Arc::clone(self))
    }

    /// GSIs leased now.
    #[must_use]
    pub fn leased(&self) -> u32 {
        self.table().routes.taken()
    }

    pub(crate) fn vm(&self) -> &dyn VmIrq {
        &*self.vm
    }

    /// Whether the kernel has the embedder's routes.
    pub(crate) fn is_embedder_live(&self) -> bool {
        self.table().routes.is_embedder_live()
    }

    pub(crate) fn is_embedders(&self, gsi: Gsi) -> bool {
        self.table().routes.embedder().owns(gsi)
    }

    /// The route of a message: translated, and with a device id exactly where the kernel has them.
    pub(crate) fn msi_route(
        &self,
        message: MsiMessage,
        device: Option<DeviceId>,
    ) -> Result<MsiRoute, MessageRefused> {
        // An id that the kernel ignores would only keep equal messages from sharing a GSI.
        let device = device.filter(|_| self.capabilities.kernel.msi_devid);
        route_for(message, device, self.capabilities.destination_ids)
    }

    /// Makes room for `count` leases, as far as the table can have them.
    pub(crate) fn reserve(&self, count: usize) {
        self.table().routes.reserve(count);
    }

    /// What keeps this route from having a GSI whatever the table holds.
    pub(crate) fn check_route(&self, route: &MsiRoute) -> Result<(), LeaseError> {
        if self.capabilities.irqchip == IrqchipMode::None {
            return Err(LeaseError::NoIrqchip);
        }
        if self.capabilities.kernel.msi_devid && route.device.is_none() {
            return Err(LeaseError::NoDeviceId {
                address: route.message.address,
            });
        }
        Ok(())
    }

    pub(crate) fn lease_route(self: &Arc<Self>, route: MsiRoute) -> Result<RouteLease, LeaseError> {
        self.check_route(&route)?;
        let mut table = self.table();
        let gsi = table.routes.take(route)?;
        // Relaxed: changed only under the lock that is held here.
        let writes = self.writes.load(Ordering::Relaxed);
        let live_from = match table.routes.is_live(gsi) {
            true => writes,
            false => writes + 1,
        };
        drop(table);
        Ok(RouteLease {
            domain: Arc::clone(self),
            gsi,
            live_from,
            on_drop: OnDrop::GiveBack,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic inside leaves no half-made change: the table is changed in one step at the end.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for gsi in std::mem::take(&mut *self.returned()) {
            table.routes.give_back(gsi);
        }
        table
    }

    fn returned(&self) -> MutexGuard<'_, Vec<Gsi>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One user of `gsi` less, now or with whatever looks at the table next.
    fn give_back(&self, gsi: Gsi) {
        match self.table.try_lock() {
            Ok(mut table) => table.routes.give_back(gsi),
            Err(_) => self.returned().push(gsi),
        }
    }
}

impl RouteDomain for VmDomain {
    fn commit(&self) -> Result<Committed, BypassRefused> {
        self.commit_routes().map_err(|error| BypassRefused {
            reason: Reason::RouteRefused {
                gsi: error.gsi,
                errno: error.source.0,
            },
            source: Some(Box::new(error)),
        })
    }
}

impl fmt::Debug for VmDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmDomain")
            .field("vm", &self.vm)
            .field("capabilities", &self.capabilities)
            .field("leased", &self.leased())
            .finish()
    }
}

/// One user's hold on a GSI; dropping it lets go.
#[must_use = "dropping the lease frees the gsi"]
pub struct RouteLease {
    domain: Arc<VmDomain>,
    gsi: Gsi,
    /// The write that has the route for certain, as [`VmDomain`] counts them.
    live_from: u64,
    on_drop: OnDrop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    GiveBack,
    Keep,
}

impl RouteLease {
    /// The GSI.
    #[must_use]
    pub fn gsi(&self) -> Gsi {
        self.gsi
    }

    /// Whether the kernel has the route, so that an irqfd on the GSI delivers.
    #[must_use]
    pub fn is_live(&self) -> bool {
        // Acquire: pairs with the Release of the write that made it true.
        self.domain.writes.load(Ordering::Acquire) >= self.live_from
    }

    pub(crate) fn domain(&self) -> &Arc<VmDomain> {
        &self.domain
    }

    /// Takes the GSI out of use: an eventfd that could not be unbound may still raise it.
    pub(crate) fn keep_for_good(mut self) {
        self.on_drop = OnDrop::Keep;
    }
}

impl Drop for RouteLease {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::GiveBack {
            self.domain.give_back(self.gsi);
        }
    }
}

impl fmt::Debug for RouteLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteLease({})", self.gsi)
    }
}

#[cfg(test)]
mod tests;
