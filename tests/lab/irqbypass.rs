//! The kernel's irqbypass manager pairs what the broker pairs, seen by the kernel's own probes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqAction;
use irqbroker_vfio::abi::IrqData;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqSet;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use serde_json::Value;

use crate::devices;
use crate::edu;
use crate::edu::Edu;
use crate::findings::Account;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::message;
use crate::tracefs::Hit;
use crate::tracefs::Probe;
use crate::tracefs::Probes;

const VECTOR: u8 = 0x43;
/// Interrupts through the pair, as a check that it is no mere formality.
const ROUNDS: u64 = 20;

/// Second member of the list-based `struct irq_bypass_producer` and `irq_bypass_consumer`: the
/// eventfd context by which they are paired (`include/linux/irqbypass.h` up to Linux 6.16).
const TOKEN: &str = "token=+16(%di):x64";
/// KVM's callback has the consumer first and the producer second.
const PAIR: &str = "consumer=+16(%di):x64 producer=+16(%si):x64 host_irq=+24(%si):s32";

const PROBES: &[Probe] = &[
    Probe::new("register_producer", "irq_bypass_register_producer", TOKEN),
    Probe::new("register_consumer", "irq_bypass_register_consumer", TOKEN),
    Probe::new("add_producer", "kvm_arch_irq_bypass_add_producer", PAIR),
    Probe::new("del_producer", "kvm_arch_irq_bypass_del_producer", PAIR),
    Probe::new(
        "unregister_producer",
        "irq_bypass_unregister_producer",
        TOKEN,
    ),
    Probe::new(
        "unregister_consumer",
        "irq_bypass_unregister_consumer",
        TOKEN,
    ),
];

/// As the broker does it: VFIO has its eventfd, then the link is promoted. A link in relay is
/// unknown to the kernel.
pub(crate) fn producer_first(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(edu::ID)?;
    let edu = Edu::new(opened.device())?;
    let nested = Nested::new()?;
    let broker = Broker::new()?;
    let index = opened.index(IrqIndex::MSI)?;
    let consumer = nested.domain().msi("edu.msi0", message(VECTOR), None)?;
    let raise = || edu.raise(1).and_then(|()| edu.acknowledge(1));
    let probes = Probes::on(PROBES)?;

    let mut link = Link::new(&broker, index.bind_only()?, consumer, VECTOR)?;
    link.require(DeliveryState::Bypass)?;
    let connected = probes.take()?;
    link.paced(&nested, &raise)?;
    probes.take()?;
    link.relayed(&nested, &raise)?;
    let relayed_and_back = probes.take()?;
    let account = link.account;
    drop(link);
    drop(index);
    let disconnected = probes.take()?;

    const JOIN: [&str; 2] = ["register_consumer", "add_producer"];
    const LEAVE: [&str; 2] = ["unregister_consumer", "del_producer"];
    expect(&connected, &[&["register_producer"], &JOIN[..]].concat())?;
    expect(&relayed_and_back, &[LEAVE, JOIN].concat())?;
    expect(
        &disconnected,
        &[&LEAVE[..], &["unregister_producer"]].concat(),
    )?;
    same_token(&[&connected, &relayed_and_back, &disconnected])?;
    Ok(Findings::counted(account)
        .fact("connected", quoted(&connected))
        .fact("relayed_and_back", quoted(&relayed_and_back))
        .fact("disconnected", quoted(&disconnected)))
}

/// As a VMM may do it that keeps one eventfd for a vector: the irqfd is there before the device
/// has the eventfd, and after it has lost it.
pub(crate) fn consumer_first(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(edu::ID)?;
    let device = opened.device();
    let edu = Edu::new(opened.device())?;
    let nested = Nested::new()?;
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let probes = Probes::on(PROBES)?;

    let mut transaction = nested.domain().transaction();
    transaction.arm(Arc::clone(&event), message(VECTOR), None)?;
    let irqfds = transaction.commit()?;
    set_msi(&*device, IrqData::Eventfds(&[Some(event.as_fd())]))?;
    let connected = probes.take()?;
    let mut account = Account::default();
    for round in 1..=ROUNDS {
        edu.raise(1)?;
        edu.acknowledge(1)?;
        nested.wait(VECTOR, round)?;
    }
    nested.settle()?;
    account.round(ROUNDS, nested.delivered(VECTOR));
    probes.take()?;
    set_msi(&*device, IrqData::None { count: 0 })?;
    let disconnected = probes.take()?;
    drop(irqfds);

    let join = ["register_consumer", "register_producer", "add_producer"];
    expect(&connected, &join)?;
    expect(&disconnected, &["unregister_producer", "del_producer"])?;
    same_token(&[&connected, &disconnected])?;
    ensure!(account.coalesced == 0, "events merged: {account:?}");
    Ok(Findings::counted(account)
        .fact("connected", quoted(&connected))
        .fact("disconnected", quoted(&disconnected)))
}

/// Binds the device's MSI, or disables it.
fn set_msi(device: &dyn Device, data: IrqData<'_>) -> anyhow::Result<()> {
    device.set_irqs(&IrqSet {
        index: IrqIndex::MSI,
        start: 0,
        action: IrqAction::Trigger,
        data,
    })?;
    Ok(())
}

/// Fails unless these probes were hit, in this order and no others.
fn expect(hits: &[Hit], wanted: &[&str]) -> anyhow::Result<()> {
    let names: Vec<&str> = hits.iter().map(|hit| hit.probe.as_str()).collect();
    ensure!(names == wanted, "{wanted:?} wanted: {:?}", quoted(hits));
    Ok(())
}

/// Fails unless all of it is about one eventfd.
fn same_token(hits: &[&[Hit]]) -> anyhow::Result<()> {
    let names = ["token", "consumer", "producer"];
    let of = |hit: &'_ Hit| names.map(|name| hit.argument(name).map(str::to_owned));
    let tokens = hits.iter().copied().flatten().flat_map(of).flatten();
    let tokens: BTreeSet<String> = tokens.collect();
    ensure!(tokens.len() == 1, "not one token: {tokens:?}");
    Ok(())
}

/// The kernel's own lines.
fn quoted(hits: &[Hit]) -> Vec<Value> {
    hits.iter().map(|hit| hit.line.clone().into()).collect()
}
