//! The doctor: what it tells of a node, and that a missing one is no failure.

use std::fs::File;
use std::io::ErrorKind;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::report::rows;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "doctor_tells_whether_this_hosts_kvm_opens",
            Need::Nothing,
            this_host,
        ),
        story(
            "doctor_without_a_kvm_node_rules_bypass_out",
            Need::Nothing,
            missing_node,
        ),
        story(
            "doctor_on_another_device_says_it_is_not_kvm",
            Need::Nothing,
            another_device,
        ),
    ]
}

/// The check of this name.
pub(crate) fn check<'a>(report: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    let mut checks = rows(report, "checks")?.iter();
    checks
        .find(|check| check["name"] == name)
        .with_context(|| format!("no check of {name} in {report}"))
}

fn this_host() -> anyhow::Result<()> {
    let opened = File::options().read(true).write(true).open("/dev/kvm");
    let expected = match opened.map_err(|error| error.kind()) {
        Ok(_) => "found",
        Err(ErrorKind::PermissionDenied) => "denied",
        Err(_) => "missing",
    };
    let report = run(&["doctor", "--json"])?.report()?;
    let node = check(&report, "kvm device node")?;
    ensure!(node["status"] == expected, "{node}");
    Ok(())
}

fn missing_node() -> anyhow::Result<()> {
    let report = run(&["doctor", "--kvm", "/nonexistent/kvm", "--json"])?.report()?;
    let node = check(&report, "kvm device node")?;
    ensure!(node["status"] == "missing", "{node}");
    ensure!(report["verdict"]["bypass"] == "no", "{report}");
    Ok(())
}

fn another_device() -> anyhow::Result<()> {
    let report = run(&["doctor", "--kvm", "/dev/null", "--json"])?.report()?;
    let api = check(&report, "kvm api")?;
    ensure!(api["status"] == "missing", "{api}");
    let detail = api["detail"].as_str().unwrap_or_default();
    ensure!(
        detail.contains("/dev/null is not a kvm device node"),
        "{api}"
    );
    ensure!(report["verdict"]["bypass"] == "no", "{report}");
    Ok(())
}
