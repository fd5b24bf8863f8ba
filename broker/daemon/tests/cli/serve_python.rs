//! The example client, which uses no library of ours.

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::need::Need;
use crate::need::story;
use crate::serve_rig::Daemon;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "serve_is_spoken_to_by_a_python_client",
        Need::Nothing,
        python,
    )]
}

fn python() -> anyhow::Result<()> {
    let daemon = Daemon::start("python.sock")?;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let output = std::process::Command::new("python3")
        .args([example, &daemon.socket])
        .output()
        .context("python3")?;
    ensure!(output.status.success(), "{output:?}");
    let line: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(line["delivered"] == line["produced"], "{line}");
    ensure!(line["state"] == "relay", "{line}");
    Ok(())
}
