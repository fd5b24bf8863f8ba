//! All five MSI-X vectors of a network card, raised by the card.

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::abi::IrqIndex;

use crate::devices;
use crate::e1000e;
use crate::e1000e::E1000e;
use crate::findings::Account;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::message;

/// The guest's vectors, one for each of the card's.
const FIRST_VECTOR: u8 = 0x50;
/// Where the vector in the middle moves to.
const OTHER_VECTOR: u8 = 0x60;
const MIDDLE: usize = 2;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(e1000e::ID)?;
    let card = E1000e::new(opened.device())?;
    let nested = Nested::new()?;
    let broker = Broker::new()?;

    let index = opened.index(IrqIndex::MSIX)?;
    let before = nested.ioctls();
    let hold = broker.registry.hold_promotions();
    let mut links = Vec::new();
    for (source, vector) in index
        .bind(0..e1000e::VECTORS)?
        .into_iter()
        .zip(FIRST_VECTOR..)
    {
        let name = format!("e1000e.{vector:#04x}");
        let consumer = nested.domain().msi(name, message(vector), None)?;
        links.push(Link::new(&broker, source, consumer, vector)?);
    }
    let promoted = hold.release();
    ensure!(promoted.bypassed == links.len(), "{promoted:?}");
    let commits = (nested.ioctls() - before).commits;
    ensure!(commits == 1, "{commits} table writes for five vectors");

    each(&card, &nested, &mut links)?;
    links[MIDDLE].retarget(OTHER_VECTOR)?;
    links[MIDDLE].require(DeliveryState::Bypass)?;
    each(&card, &nested, &mut links)?;
    let raise = || card.raise(2);
    links[MIDDLE].relayed(&nested, &raise)?;
    links[MIDDLE].masked(&nested, &raise)?;
    each(&card, &nested, &mut links)?;

    let mut account = Account::default();
    links.iter().for_each(|link| account.add(link.account));
    Ok(Findings::counted(account)
        .fact("vectors", links.len())
        .fact("table_writes_for_all", commits))
}

/// Every vector in turn, each reaching its own handler.
fn each(card: &E1000e, nested: &Nested, links: &mut [Link]) -> anyhow::Result<()> {
    for (n, link) in (0..).zip(links) {
        link.paced(nested, &|| card.raise(n))?;
    }
    Ok(())
}
