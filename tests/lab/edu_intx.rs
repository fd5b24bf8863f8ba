//! The edu device's INTx line: masked by VFIO with each event, unmasked by the guest's EOI.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Served;
use irqbroker_vfio::abi::IrqIndex;

use crate::devices;
use crate::edu;
use crate::edu::Edu;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::PIN;
use crate::nested::PIN_VECTOR;

/// The device as the guest's handler serves it: sees what caused the interrupt, and acknowledges it.
#[derive(Debug)]
struct Driver {
    edu: Edu,
    /// Causes acknowledged.
    served: AtomicU64,
    /// Interrupts without a cause, and accesses that failed.
    idle: AtomicU64,
}

impl Served for Driver {
    fn serve(&self, _vector: GuestVector) {
        let causes = self.edu.causes().unwrap_or(0);
        let done = self.edu.acknowledge(causes);
        let counter = match causes != 0 && done.is_ok() {
            true => &self.served,
            false => &self.idle,
        };
        // Relaxed: read once the guest is at rest, and the probe of that orders it.
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(edu::ID)?;
    let edu = Edu::new(opened.device())?;
    let driver = Arc::new(Driver {
        edu: edu.clone(),
        served: AtomicU64::new(0),
        idle: AtomicU64::new(0),
    });
    let nested = Nested::serving(Arc::<Driver>::clone(&driver))?;
    let broker = Broker::new()?;
    let consumer = nested.domain().pin("edu.intx", PIN)?;
    let index = opened.index(IrqIndex::INTX)?;
    let mut link = Link::new(&broker, index.bind_only()?, consumer, PIN_VECTOR)?;
    let raise = || edu.raise(1);

    link.require(DeliveryState::Bypass)?;
    let before = (nested.ioctls(), broker.relayed());
    link.paced(&nested, &raise)?;
    let after = (nested.ioctls(), broker.relayed());
    ensure!(
        before == after,
        "the broker took part: {before:?}, {after:?}"
    );

    link.relayed(&nested, &raise)?;
    let account = link.account;
    let served = driver.served.load(Ordering::Relaxed);
    let idle = driver.idle.load(Ordering::Relaxed);
    ensure!(served == account.delivered, "{served} served: {account:?}");
    ensure!(idle == 0, "{idle} interrupts had no cause");
    ensure!(account.coalesced == 0, "events merged: {account:?}");
    Ok(Findings::counted(account))
}
