//! The doctor sees what this machine has, and only that.

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

use crate::command::irqbroker;
use crate::findings::Findings;
use crate::machine::Machine;

/// What the emulated machine is known to have.
const THERE: &[&str] = &[
    "kvm device node",
    "irqfd",
    "resample irqfd",
    "vfio container",
    "iommu groups",
    "interrupt remapping",
];

/// What emulation does not do, on any kernel.
const NOT_THERE: &[&str] = &["posting iommu"];

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let report = irqbroker(&["doctor"])?;
    let status = |name: &str| -> anyhow::Result<String> {
        let checks = report["checks"].as_array().context("no checks")?;
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.with_context(|| format!("no check {name}"))?;
        Ok(check["status"].as_str().unwrap_or_default().to_owned())
    };
    let mut findings = Findings::default();
    for (names, wanted) in [(THERE, "found"), (NOT_THERE, "missing")] {
        for name in names {
            let status = status(name)?;
            ensure!(status == wanted, "{name}: {status}");
            findings = findings.fact(name, Value::from(status));
        }
    }
    Ok(findings)
}
