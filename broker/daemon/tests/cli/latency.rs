//! The latency measurement: what is exact in it, and its picture.
//!
//! How long a path takes is for benches to judge.

use std::fs;

use anyhow::bail;
use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::report::count;
use crate::report::has_latencies;
use crate::report::is_even;
use crate::report::rows;

/// In the order of the report.
const PATHS: [&str; 7] = [
    "raw-irqfd",
    "bypass",
    "bare-relay",
    "relay",
    "signal-msi",
    "posted",
    "userspace",
];

/// What a relayed event takes at most: one each to wait, claim and inject.
const RELAY_SYSCALLS: f64 = 3.0;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "latency_measures_and_draws_every_path",
            Need::Kvm,
            every_path,
        ),
        story(
            "latency_of_posting_is_held_against_the_plain_way",
            Need::Kvm,
            posted,
        ),
    ]
}

fn every_path() -> anyhow::Result<()> {
    let plot = fresh_path("latency.svg")?;
    let answer = run(&["latency", "--samples", "300", "--json", "--plot", &plot])?;
    let report = answer.report()?;

    let paths = rows(&report, "paths")?;
    let names: Vec<Option<&str>> = paths.iter().map(|path| path["path"].as_str()).collect();
    ensure!(names == PATHS.map(Some), "{report}");
    for path in paths {
        is_even(path)?;
        ensure!(count(path, "samples")? == 300, "{path}");
        has_latencies(path)?;
    }
    let (bypass, relay) = (&paths[1], &paths[3]);
    ensure!(count(bypass, "broker_wakeups")? == 0, "{bypass}");
    ensure!(bypass["syscalls_per_event"] == 0.0, "{bypass}");
    let syscalls = relay["syscalls_per_event"].as_f64();
    ensure!(syscalls.is_some_and(|n| n <= RELAY_SYSCALLS), "{relay}");

    let posted = &paths[5];
    ensure!(count(posted, "broker_wakeups")? == 0, "{posted}");
    ensure!(posted["syscalls_per_event"] == 0.0, "{posted}");

    let picture = fs::read_to_string(&plot)?;
    ensure!(picture.starts_with("<svg"), "{plot} is no SVG");
    for name in PATHS {
        ensure!(picture.contains(name), "{name} is not in {plot}");
    }
    Ok(())
}

fn posted() -> anyhow::Result<()> {
    let chosen = ["posted", "userspace"];
    for path in chosen {
        let report = run(&["latency", "--path", path, "--samples=100", "--json"])?.report()?;
        let [alone] = rows(&report, "paths")? else {
            bail!("not one path: {report}");
        };
        ensure!(alone["path"] == path, "{report}");
        ensure!(count(alone, "samples")? == 100, "{report}");
        is_even(alone)?;
    }
    let both = chosen.join(",");
    let report = run(&["latency", "--path", &both, "--samples=100", "--json"])?.report()?;
    for path in rows(&report, "paths")? {
        is_even(path)?;
        let ratio = path["ratio_to_userspace"].as_f64();
        ensure!(ratio.is_some_and(|ratio| ratio > 0.0), "{report}");
    }
    Ok(())
}
