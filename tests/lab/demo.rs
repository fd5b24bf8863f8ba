//! The demo, as in the README, with the nested guest.

use std::fs;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
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

/// Events that a demo is to see of each interrupt: a second's at 60 Hz.
const EACH: u64 = 60;
/// Interrupts from outside: a few, as processes are slow to start in here.
const LEAST: u64 = 10;
/// Seconds that a demo runs, which is to see enough events in the shortest time if nothing stalls. A machine that
/// was slow gets longer ones.
const LENGTHS: [u64; 4] = [2, 8, 30, 120];
/// Between two looks at the kernel's table, which tells of nothing by itself, and two interrupts: in between
/// everything comes to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The vGPU's vblanks.
pub(crate) fn vgpu(_machine: &Machine) -> anyhow::Result<Findings> {
    with_events(EACH, &LENGTHS, |seconds| {
        bypassed(&["demo", "--seconds", seconds])
    })
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
        let device = ["--source", &source, "--irq", &irq];
        let told = with_events(u64::from(vectors) * EACH, &LENGTHS, |seconds| {
            bypassed(&[&["demo", "--seconds", seconds], &device[..]].concat())
        })
        .context(name)?;
        account.add(told.account.context("nothing counted")?);
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
    // Two seconds are too few for so many processes.
    with_events(LEAST, &LENGTHS[1..], |seconds| {
        let over = AtomicBool::new(false);
        let demo = ["demo", "--listen", "--seconds", seconds];
        let demo = [&demo[..], &["--source", &source, "--irq", &irq]].concat();
        let (told, raised) = std::thread::scope(|scope| {
            let raiser = scope.spawn(|| raise_from_outside(&address, &over));
            let told = bypassed(&demo);
            // Relaxed: it says nothing of anything else.
            over.store(true, Ordering::Relaxed);
            (told, raiser.join())
        });
        let (told, raised) = (told?, raised.map_err(|_| anyhow::anyhow!("a panic"))??);
        let counted = told.account.context("nothing counted")?;
        // Those that are raised before the demo counts are drained.
        ensure!(counted.produced <= raised, "{raised} raised: {counted:?}");
        Ok(told.fact("raised", raised))
    })
}

/// Raises the edu's interrupt while it is bound and the demo not over, each time by a process of its own that maps
/// the device's memory; how often.
fn raise_from_outside(address: &str, over: &AtomicBool) -> anyhow::Result<u64> {
    let host = HostIrq::of(address, IrqIndex::MSI, 0).context("no such row")?;
    let is_over = || over.load(Ordering::Relaxed);
    while host.count().is_err() && !is_over() {
        std::thread::park_timeout(LOOK_AGAIN);
    }
    let resources = fs::read_to_string(format!("/sys/bus/pci/devices/{address}/resource"))?;
    let bar = resources.split_whitespace().next().context("no BAR")?;
    let bar = u64::from_str_radix(bar.trim_start_matches("0x"), 16)?;
    let mut raised = 0;
    while host.count().is_ok() && !is_over() {
        raised += 1;
        for register in [edu::RAISE, edu::ACKNOWLEDGE] {
            let register = format!("{:#x}", bar + register);
            let status = Command::new("devmem")
                .args([&register, "32", "1"])
                .status()?;
            ensure!(status.success(), "devmem {register}: {status}");
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Ok(raised)
}

/// Runs demos, each longer than the one before, until one has seen at least so many events.
fn with_events(
    least: u64,
    lengths: &[u64],
    demo: impl Fn(&str) -> anyhow::Result<Findings>,
) -> anyhow::Result<Findings> {
    let mut seen = Vec::new();
    for &seconds in lengths {
        let told = demo(&seconds.to_string())?;
        let counted = told.account.context("nothing counted")?;
        if counted.produced >= least {
            return Ok(told);
        }
        seen.push((seconds, counted.produced));
    }
    bail!("not {least} events, but in seconds {seen:?}")
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
