//! The demo: a vGPU's vblanks in a real guest.

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::report::adds_up;
use crate::report::count;
use crate::report::has_each_vblank;
use crate::report::has_latencies;
use crate::report::rows;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story("demo_bypass_wakes_nobody", Need::Kvm, bypass),
        story("demo_relay_injects_what_is_delivered", Need::Kvm, relay),
        story("demo_eight_heads_each_take_their_own", Need::Kvm, heads),
        story("demo_posted_wakes_nobody_but_the_vcpu", Need::Kvm, posted),
    ]
}

fn bypass() -> anyhow::Result<()> {
    let report = run(&["demo", "--seconds", "1", "--json"])?.report()?;
    ensure!(report["source"] == "vgpu", "{report}");
    ensure!(report["path"] == "bypass", "{report}");
    adds_up(&report)?;
    has_each_vblank(&report, &report, 60.0)?;
    ensure!(count(&report, "broker_wakeups")? == 0, "{report}");
    has_latencies(&report)
}

fn relay() -> anyhow::Result<()> {
    let answer = run(&["demo", "--seconds", "2", "--path", "relay", "--json"])?;
    let report = answer.report()?;
    ensure!(report["path"] == "relay", "{report}");
    ensure!(report["reason"] == "relay requested", "{report}");
    adds_up(&report)?;
    has_each_vblank(&report, &report, 60.0)?;
    // The guest's local APIC may merge what was injected one by one while the vCPU does not run.
    let injections = count(&report["relay"], "injections")?;
    ensure!(injections >= count(&report, "delivered")?, "{report}");
    ensure!(injections <= count(&report, "produced")?, "{report}");
    has_latencies(&report)
}

fn heads() -> anyhow::Result<()> {
    let answer = run(&[
        "demo",
        "--heads=8",
        "--refresh-hz=240",
        "--seconds=1",
        "--json",
    ])?;
    let report = answer.report()?;
    adds_up(&report)?;
    let heads = rows(&report, "interrupts")?;
    ensure!(heads.len() == 8, "{report}");
    for (number, head) in heads.iter().enumerate() {
        ensure!(head["name"] == format!("head{number}.vblank"), "{report}");
        ensure!(count(head, "delivered")? > 0, "{report}");
        adds_up(head)?;
        has_each_vblank(&report, head, 240.0)?;
    }
    Ok(())
}

fn posted() -> anyhow::Result<()> {
    let answer = run(&["demo", "--seconds", "1", "--path", "posted", "--json"])?;
    let report = answer.report()?;
    ensure!(report["path"] == "posted", "{report}");
    ensure!(report["reason"] == "best path", "{report}");
    adds_up(&report)?;
    has_each_vblank(&report, &report, 60.0)?;
    ensure!(count(&report, "broker_wakeups")? == 0, "{report}");
    has_latencies(&report)
}
