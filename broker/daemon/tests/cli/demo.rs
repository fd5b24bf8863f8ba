//! The demo: a vGPU's vblanks in a real guest.

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::report::has_latencies;
use crate::report::is_even;
use crate::report::rows;

/// Two seconds at 60 Hz are 120 vblanks; the device may come too late for a few where the machine
/// is busy.
const LEAST: u64 = 115;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story("demo_bypass_wakes_nobody", Need::Kvm, bypass),
        story("demo_relay_injects_what_is_delivered", Need::Kvm, relay),
        story("demo_eight_heads_each_take_their_own", Need::Kvm, heads),
        story("demo_posted_wakes_nobody_but_the_vcpu", Need::Kvm, posted),
    ]
}

fn bypass() -> anyhow::Result<()> {
    let report = run(&["demo", "--seconds", "2", "--json"])?.report()?;
    ensure!(report["source"] == "vgpu", "{report}");
    ensure!(report["path"] == "bypass", "{report}");
    is_even(&report)?;
    let delivered = count(&report, "delivered")?;
    ensure!(delivered == count(&report, "produced")?, "{report}");
    ensure!(count(&report, "coalesced")? == 0, "{report}");
    ensure!(delivered >= LEAST, "{report}");
    ensure!(count(&report, "broker_wakeups")? == 0, "{report}");
    has_latencies(&report)
}

fn relay() -> anyhow::Result<()> {
    let answer = run(&["demo", "--seconds", "2", "--path", "relay", "--json"])?;
    let report = answer.report()?;
    ensure!(report["path"] == "relay", "{report}");
    ensure!(report["reason"] == "relay requested", "{report}");
    is_even(&report)?;
    let delivered = count(&report, "delivered")?;
    ensure!(delivered >= LEAST, "{report}");
    let injections = count(&report["relay"], "injections")?;
    ensure!(injections == delivered, "{report}");
    has_latencies(&report)
}

fn heads() -> anyhow::Result<()> {
    let answer = run(&[
        "demo",
        "--heads=8",
        "--refresh-hz=240",
        "--seconds=2",
        "--json",
    ])?;
    let report = answer.report()?;
    is_even(&report)?;
    let heads = rows(&report, "interrupts")?;
    ensure!(heads.len() == 8, "{report}");
    for (number, head) in heads.iter().enumerate() {
        ensure!(head["name"] == format!("head{number}.vblank"), "{report}");
        ensure!(count(head, "delivered")? > 0, "{report}");
        is_even(head)?;
    }
    Ok(())
}

fn posted() -> anyhow::Result<()> {
    let answer = run(&["demo", "--seconds", "2", "--path", "posted", "--json"])?;
    let report = answer.report()?;
    ensure!(report["path"] == "posted", "{report}");
    ensure!(report["reason"] == "best path", "{report}");
    is_even(&report)?;
    let delivered = count(&report, "delivered")?;
    ensure!(delivered == count(&report, "produced")?, "{report}");
    ensure!(delivered >= LEAST, "{report}");
    ensure!(count(&report, "broker_wakeups")? == 0, "{report}");
    has_latencies(&report)
}
