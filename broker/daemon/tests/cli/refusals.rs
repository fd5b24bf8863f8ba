//! What the command refuses: the text, where it stands, the exit code.

use std::fs::File;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::run;
use crate::command::unprivileged;
use crate::doctor::check;
use crate::need::Need;
use crate::need::story;

/// The commands that need KVM.
const ON_KVM: [&str; 2] = ["demo", "latency"];

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "missing_node_is_refused_in_one_line_that_says_what_to_do",
            Need::Nothing,
            missing_node,
        ),
        story(
            "missing_node_when_verbose_is_told_with_its_cause",
            Need::Nothing,
            missing_node_verbose,
        ),
        story(
            "another_device_is_refused_as_not_kvm",
            Need::Nothing,
            another_device,
        ),
        story(
            "denied_node_is_refused_with_the_group_to_join",
            Need::Unprivileged,
            denied_node,
        ),
        story(
            "usage_error_exits_with_two_and_names_the_range",
            Need::Nothing,
            usage,
        ),
    ]
}

fn missing_node() -> anyhow::Result<()> {
    for command in ON_KVM {
        let answer = run(&[command, "--kvm", "/nonexistent/kvm", "--json"])?;
        let text = answer.refusal()?;
        ensure!(
            text.starts_with("/nonexistent/kvm does not exist"),
            "{text}"
        );
        ensure!(text.contains("load kvm_intel or kvm_amd"), "{text}");
    }
    Ok(())
}

fn missing_node_verbose() -> anyhow::Result<()> {
    for command in ON_KVM {
        let terse = run(&[command, "--kvm", "/nonexistent/kvm"])?;
        let verbose = run(&[command, "--kvm", "/nonexistent/kvm", "-v"])?;
        let cause = verbose
            .refusal()?
            .strip_prefix(terse.refusal()?)
            .with_context(|| format!("another text: {verbose:?}"))?;
        ensure!(cause.contains("os error 2"), "no ENOENT: {verbose:?}");
    }
    Ok(())
}

fn another_device() -> anyhow::Result<()> {
    for command in ON_KVM {
        let answer = run(&[command, "--kvm", "/dev/null"])?;
        let text = answer.refusal()?;
        ensure!(
            text.starts_with("/dev/null is not a kvm device node"),
            "{text}"
        );
    }
    Ok(())
}

fn denied_node() -> anyhow::Result<()> {
    // A plain file will do: nobody gets to see what it is.
    let node = fresh_path("denied-kvm")?;
    File::create(&node)?.set_permissions(Permissions::from_mode(0o000))?;

    for command in ON_KVM {
        let answer = unprivileged(&[command, "--kvm", &node])?;
        let text = answer.refusal()?;
        let denied = format!("no permission to open {node}");
        ensure!(text.starts_with(&denied), "{text}");
        ensure!(text.contains("usermod -aG kvm"), "{text}");
    }
    let report = unprivileged(&["doctor", "--kvm", &node, "--json"])?.report()?;
    let opened = check(&report, "kvm device node")?;
    ensure!(opened["status"] == "denied", "{opened}");
    Ok(())
}

fn usage() -> anyhow::Result<()> {
    for (option, text) in [
        ("--heads=0", "1 to 16 heads"),
        ("--heads=17", "1 to 16 heads"),
        ("--path=teleport", "auto, bypass, relay, posted"),
        ("--seconds=0", "above 0 to 86400"),
    ] {
        let answer = run(&["demo", option])?;
        ensure!(answer.code == Some(2), "{answer:?}");
        ensure!(answer.stdout.is_empty(), "{answer:?}");
        ensure!(answer.stderr.contains(text), "{answer:?}");
    }
    Ok(())
}
