//! All five MSI-X vectors of a network card, fired by VFIO's loopback: no register is touched.

use anyhow::ensure;
use irqbroker_core::DeliveryState;
use irqbroker_vfio::abi::IrqIndex;

use crate::devices;
use crate::e1000e;
use crate::findings::Account;
use crate::findings::Findings;
use crate::link::Broker;
use crate::link::Link;
use crate::machine::Machine;
use crate::nested::Nested;
use crate::nested::message;

const FIRST_VECTOR: u8 = 0x70;
/// Rounds of each kind.
const ROUNDS: u64 = 10;

/// What is fired at once, and which vectors have to hear of it.
const ALL: &[bool] = &[true; 5];
const EVERY_OTHER: &[bool] = &[true, false, true, false, true];
const NONE: &[bool] = &[false; 5];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let opened = devices::open(e1000e::ID)?;
    let nested = Nested::new()?;
    let broker = Broker::new()?;
    let index = opened.index(IrqIndex::MSIX)?;
    let mut links = Vec::new();
    for (source, vector) in index
        .bind(0..e1000e::VECTORS)?
        .into_iter()
        .zip(FIRST_VECTOR..)
    {
        let name = format!("e1000e.{vector:#04x}");
        let consumer = nested.domain().msi(name, message(vector), None)?;
        let link = Link::new(&broker, source, consumer, vector)?;
        link.require(DeliveryState::Bypass)?;
        links.push(link);
    }

    let mut account = Account::default();
    let mut expected = [0; e1000e::VECTORS as usize];
    for _ in 0..ROUNDS {
        for pattern in [ALL, EVERY_OTHER, NONE] {
            index.0.fire_where(0, pattern)?;
            account.add(arrived(&nested, &mut expected, pattern)?);
        }
        index.0.fire(0..e1000e::VECTORS)?;
        account.add(arrived(&nested, &mut expected, ALL)?);
        // The last one alone.
        index.0.fire(4..5)?;
        let last = [false, false, false, false, true];
        account.add(arrived(&nested, &mut expected, &last)?);
    }
    ensure!(account.coalesced == 0, "events merged: {account:?}");
    Ok(Findings::counted(account).fact("vectors", links.len()))
}

/// Waits until exactly the vectors of the pattern have interrupted once more.
fn arrived(nested: &Nested, expected: &mut [u64], pattern: &[bool]) -> anyhow::Result<Account> {
    let mut account = Account::default();
    for ((count, fired), vector) in expected.iter_mut().zip(pattern).zip(FIRST_VECTOR..) {
        *count += u64::from(*fired);
        nested.wait(vector, *count)?;
    }
    nested.settle()?;
    for ((count, fired), vector) in expected.iter().zip(pattern).zip(FIRST_VECTOR..) {
        let before = *count - u64::from(*fired);
        account.round(u64::from(*fired), nested.delivered(vector) - before);
    }
    Ok(account)
}
