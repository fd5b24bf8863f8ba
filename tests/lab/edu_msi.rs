//! The edu device's one MSI, through every path and every change of a link.

use std::cell::Cell;

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::abi::IrqIndex;

use crate::devices;
use crate::edu;
use crate::edu::Edu;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::message;

/// Any vector with a handler, and another to move to.
const VECTORS: [u8; 2] = [0x41, 0x42];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(edu::ID)?;
    let edu = Edu::new(opened.device())?;
    let nested = Nested::new()?;
    let broker = Broker::new()?;
    let [first, second] = VECTORS;
    let consumer = nested.domain().msi("edu.msi0", message(first), None)?;
    let index = opened.index(IrqIndex::MSI)?;
    let mut link = Link::new(&broker, index.bind_only()?, consumer, first)?;
    let raised = Cell::new(0);
    let raise = || {
        raised.set(raised.get() + 1);
        edu.raise(1)?;
        edu.acknowledge(1)
    };

    link.require(DeliveryState::Bypass)?;
    let before = (nested.ioctls(), broker.relayed());
    link.paced(&nested, &raise)?;
    let after = (nested.ioctls(), broker.relayed());
    ensure!(
        before == after,
        "the broker took part: {before:?}, {after:?}"
    );

    link.relayed(&nested, &raise)?;
    link.masked(&nested, &raise)?;
    link.retarget(second)?;
    link.require(DeliveryState::Bypass)?;
    link.paced(&nested, &raise)?;
    let account = link.account;
    ensure!(
        account.produced == raised.get(),
        "{raised:?} raised: {account:?}"
    );
    ensure!(account.coalesced == 0, "events merged: {account:?}");
    Ok(Findings::counted(account))
}
