//! What the reports of demo and latency have in common.

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

/// A count of the report.
pub(crate) fn count(report: &Value, key: &str) -> anyhow::Result<u64> {
    report[key]
        .as_u64()
        .with_context(|| format!("{key} is no count in {report}"))
}

/// The rows under a key.
pub(crate) fn rows<'a>(report: &'a Value, key: &str) -> anyhow::Result<&'a [Value]> {
    report[key]
        .as_array()
        .map(Vec::as_slice)
        .with_context(|| format!("{key} is no list in {report}"))
}

/// No interrupt was lost and none invented.
pub(crate) fn is_even(report: &Value) -> anyhow::Result<()> {
    for key in ["lost", "invented"] {
        ensure!(count(report, key)? == 0, "{key}: {report}");
    }
    Ok(())
}

/// What merged while the machine kept the guest from running is coalesced, and nothing else is missing.
pub(crate) fn adds_up(report: &Value) -> anyhow::Result<()> {
    is_even(report)?;
    let sum = count(report, "delivered")? + count(report, "coalesced")?;
    ensure!(count(report, "produced")? == sum, "{report}");
    Ok(())
}

/// Each vblank that was due on this row of a report, which ran for so long at `hz`, was produced, or
/// missed by a device that the machine kept from running.
pub(crate) fn has_each_vblank(report: &Value, row: &Value, hz: f64) -> anyhow::Result<()> {
    let seconds = report["seconds"].as_f64().context("no seconds")?;
    let told = count(row, "produced")? + count(row, "missed")?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 vblanks")]
    let told = told as f64;
    ensure!(told >= (seconds * hz).floor(), "{report}");
    Ok(())
}

/// Every percentile was measured.
pub(crate) fn has_latencies(report: &Value) -> anyhow::Result<()> {
    for key in ["p50", "p90", "p99", "p999", "max"] {
        let latency = report["latency_us"][key].as_f64();
        ensure!(latency.is_some_and(|us| us > 0.0), "{key}: {report}");
    }
    Ok(())
}
