//! Our command, as an operator runs it.

use std::process::Command;

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

/// Where the initial RAM disk has it.
pub(crate) const IRQBROKER: &str = "/lab/irqbroker";

/// Runs `irqbroker` with these arguments and `--json`; what it printed.
pub(crate) fn irqbroker(arguments: &[&str]) -> anyhow::Result<Value> {
    let told = format!("irqbroker {}", arguments.join(" "));
    let output = Command::new(IRQBROKER)
        .args(arguments)
        .arg("--json")
        .output()
        .with_context(|| told.clone())?;
    ensure!(
        output.status.success(),
        "{told}: {}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        // A demo that fails has reported first.
        String::from_utf8_lossy(&output.stdout).trim()
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("{told}: not JSON"))
}
