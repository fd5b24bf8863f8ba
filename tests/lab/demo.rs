//! The demo, as in the README, with the nested guest.

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::abi::IrqIndex;

use crate::command::irqbroker;
use crate::devices;
use crate::e1000e;
use crate::edu;
use crate::findings::Account;
use crate::findings::Findings;
use crate::machine::Machine;

/// The vGPU's vblanks.
pub(crate) fn vgpu(_machine: &Machine) -> anyhow::Result<Findings> {
    bypassed(&["demo", "--seconds", "2"])
}

/// A network card's MSI-X and an edu's MSI and line, raised by VFIO's loopback.
pub(crate) fn vfio(_machine: &Machine) -> anyhow::Result<Findings> {
    let mut account = Account::default();
    let mut findings = Findings::default();
    for (name, id, irq, vectors) in [
        ("e1000e", e1000e::ID, IrqIndex::MSIX, e1000e::VECTORS),
        ("edu", edu::ID, IrqIndex::MSI, 1),
        ("edu-intx", edu::ID, IrqIndex::INTX, 1),
    ] {
        let source = format!("vfio:{}", devices::address(id)?);
        let irq = irq.to_string();
        let told = bypassed(&["demo", "--seconds", "2", "--source", &source, "--irq", &irq])?;
        let counted = told.account.context("nothing counted")?;
        // Two seconds of sixty each, less what a slow start costs.
        let least = u64::from(vectors) * 60;
        ensure!(counted.produced >= least, "{name}: {counted:?}");
        account.add(counted);
        findings = findings.fact(name, told.facts);
    }
    findings.account = Some(account);
    Ok(findings)
}

/// Runs a demo that must be bypassed.
fn bypassed(arguments: &[&str]) -> anyhow::Result<Findings> {
    let report = irqbroker(arguments)?;
    let number = |name: &str| report[name].as_u64().with_context(|| format!("no {name}"));
    let account = Account {
        produced: number("produced")?,
        delivered: number("delivered")?,
        coalesced: number("coalesced")?,
        lost: number("lost")?,
        invented: number("invented")?,
    };
    let path = report["path"].as_str().context("no path")?;
    ensure!(path == "bypass", "{path}: {}", report["reason"]);
    Ok(Findings::counted(account)
        .fact("path", path)
        .fact("latency_us", report["latency_us"].clone()))
}
