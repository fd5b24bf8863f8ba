//! A device opened through its own node and an iommufd, and then through its group.

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::Through;
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
const FIRST_VECTOR: u8 = 0x48;

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let mut account = Account::default();
    let mut nodes = Vec::new();
    // What nobody asks otherwise for is the node.
    let ways = [
        (Through::Node, "/dev/vfio/devices/vfio"),
        (Through::Group, "/dev/vfio/"),
        (Through::Either, "/dev/vfio/devices/vfio"),
    ];
    for (through, prefix) in ways {
        let opened = devices::open_through(e1000e::ID, through)?;
        let number = opened.node.strip_prefix(prefix).unwrap_or_default();
        ensure!(
            number.parse::<u32>().is_ok(),
            "{through:?}: {}",
            opened.node
        );
        nodes.push(opened.node.clone());
        let card = E1000e::new(opened.device())?;
        let nested = Nested::new()?;
        let broker = Broker::new()?;
        let index = opened.index(IrqIndex::MSIX)?;
        let sources = index.bind(0..e1000e::VECTORS)?;
        for (n, (source, vector)) in (0..).zip(sources.into_iter().zip(FIRST_VECTOR..)) {
            let consumer = nested.domain().msi("e1000e", message(vector), None)?;
            let mut link = Link::new(&broker, source, consumer, vector)?;
            link.require(DeliveryState::Bypass)?;
            link.paced(&nested, &|| card.raise(n))?;
            account.add(link.account);
        }
    }
    Ok(Findings::counted(account).fact("nodes", nodes))
}
