//! The demo, as in the README, with the nested guest.

use std::fs;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::abi::IrqIndex;

use crate::command::irqbroker;
use crate::devices;
use crate::e1000e;
use crate::edu;
use crate::findings::Account;
use crate::findings::Findings;
use crate::machine::Machine;

/// Interrupts from outside: a few, as processes are slow to start in here.
const LEAST: u64 = 10;
/// For a demo to begin.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at the kernel's table, which tells of nothing by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

/// An edu's MSI, which something else than the demo has the device raise: this program, past VFIO.
pub(crate) fn listen(_machine: &Machine) -> anyhow::Result<Findings> {
    let address = devices::address(edu::ID)?.to_string();
    let source = format!("vfio:{address}");
    let irq = IrqIndex::MSI.to_string();
    let raiser = std::thread::spawn(move || raise_from_outside(&address));
    let demo = ["demo", "--listen", "--seconds", "8", "--source", &source];
    let told = bypassed(&[&demo[..], &["--irq", &irq]].concat())?;
    let raised = raiser.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    let counted = told.account.context("nothing counted")?;
    // Those that are raised before the demo counts are drained.
    ensure!(
        (LEAST..=raised).contains(&counted.produced),
        "{raised} raised: {counted:?}"
    );
    Ok(told.fact("raised", raised))
}

/// Raises the edu's interrupt while it is bound, each time by a process of its own that maps the
/// device's memory; how often.
fn raise_from_outside(address: &str) -> anyhow::Result<u64> {
    let host = HostIrq::of(address, IrqIndex::MSI, 0).context("no such row")?;
    let deadline = Instant::now() + PATIENCE;
    while host.count().is_err() {
        ensure!(Instant::now() < deadline, "the demo binds nothing");
        std::thread::park_timeout(LOOK_AGAIN);
    }
    let resources = fs::read_to_string(format!("/sys/bus/pci/devices/{address}/resource"))?;
    let bar = resources.split_whitespace().next().context("no BAR")?;
    let bar = u64::from_str_radix(bar.trim_start_matches("0x"), 16)?;
    let mut raised = 0;
    while host.count().is_ok() {
        raised += 1;
        for register in [edu::RAISE, edu::ACKNOWLEDGE] {
            let register = format!("{:#x}", bar + register);
            let status = Command::new("devmem")
                .args([&register, "32", "1"])
                .status()?;
            ensure!(status.success(), "devmem {register}: {status}");
        }
    }
    Ok(raised)
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
