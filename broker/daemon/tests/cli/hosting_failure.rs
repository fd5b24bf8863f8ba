//! Hosted vGPUs whose process cannot start: the reason is told, and nothing is left.

use std::fs;
use std::net::TcpListener;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::report::rows;

/// Some UUID.
const UUID: &str = "6d1f4c9e-0000-4000-8000-000000000019";

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "hosted_vgpu_that_fails_tells_why_and_leaves_its_place_and_uuid",
            Need::Nothing,
            fails,
        ),
        story(
            "hosted_vgpu_with_vnc_beyond_loopback_is_refused_at_once",
            Need::Nothing,
            exposed,
        ),
    ]
}

fn fails() -> anyhow::Result<()> {
    let daemon = Daemon::start(&format!("vgpu.max_devices = 1\n{STRICT}"))?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let vnc = taken.local_addr()?.to_string();
    let create = ["vgpu", "create", "--type", "small", "--id", UUID];
    let failed = daemon.run(&[&create[..], &["--vnc", &vnc]].concat())?;
    let line = failed.refusal()?;
    let expected = format!("vgpu {UUID} did not start: ");
    ensure!(line.starts_with(&expected), "{line}");
    // The kernel's answer to bind (`bind(2)`).
    ensure!(line.contains("in use"), "{line}");
    ensure!(rows(&daemon.report(&["vgpu", "list"])?, "vgpus")?.is_empty());
    let left: Vec<_> = fs::read_dir(daemon.path("vgpu"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    // The one place and the UUID are free.
    let created = daemon.report(&create)?;
    ensure!(created["state"] == "running", "{created}");
    daemon.report(&["vgpu", "destroy", UUID])?;
    Ok(())
}

fn exposed() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let refused = daemon.run(&["vgpu", "create", "--type", "small", "--vnc", "0.0.0.0:0"])?;
    ensure!(
        refused
            .refusal()?
            .starts_with("invalid-field: vnc is no loopback address"),
        "{refused:?}"
    );
    ensure!(rows(&daemon.report(&["vgpu", "list"])?, "vgpus")?.is_empty());
    Ok(())
}
