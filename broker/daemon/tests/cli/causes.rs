//! What is told of a failure is enough to mend it, and one line.

use std::net::TcpListener;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::run;
use crate::need::Need;
use crate::need::story;

/// ENOENT in words.
const NONE: &str = "No such file or directory";

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_commands_that_fail_tell_the_cause",
            Need::Nothing,
            causes,
        ),
        story(
            "vfio_probe_of_a_socket_tells_the_cause_and_how_to_write_it",
            Need::Nothing,
            probe,
        ),
        story("usage_errors_are_one_line", Need::Nothing, usage),
    ]
}

fn causes() -> anyhow::Result<()> {
    let socket = fresh_path("causes.sock")?;
    // Somebody listens there as long as this is kept.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let serve = ["vgpu", "serve", "--type", "small", "--socket"];
    let shot = ["vgpu", "screenshot", "none.png", "--socket"];
    for (command, options, cause) in [
        (&serve[..], vec!["/nonexistent/x.sock"], NONE),
        (
            &serve,
            vec![&socket, "--vnc", &address],
            "Address already in use",
        ),
        (&shot, vec!["/nonexistent/x.sock"], NONE),
    ] {
        let arguments: Vec<&str> = command.iter().copied().chain(options).collect();
        let answer = run(&arguments)?;
        let line = answer.refusal()?;
        ensure!(line.contains(cause), "no {cause}: {line}");
    }
    Ok(())
}

fn probe() -> anyhow::Result<()> {
    let nowhere = run(&["vfio", "probe", "./none.sock"])?;
    let line = nowhere.refusal()?;
    ensure!(line.contains(NONE), "{line}");
    // Without a slash it could be the name of anything.
    let bare = run(&["vfio", "probe", "none.sock"])?;
    ensure!(bare.stderr.contains("./vgpu.sock"), "{bare:?}");
    Ok(())
}

fn usage() -> anyhow::Result<()> {
    for (arguments, text) in [
        (vec!["vgpu", "serve"], "--socket <PATH>"),
        (vec!["vgpu", "serve", "--sockt", "x"], "'--socket'"),
        (vec!["demo", "--heads", "0"], "1 to 16 heads"),
        (vec!["vfio", "probe", "none.sock"], "is no device"),
        (vec!["vgpuu"], "vgpuu"),
    ] {
        let answer = run(&arguments)?;
        // That of a usage error, by the convention of shells.
        ensure!(answer.code == Some(2), "{answer:?}");
        ensure!(answer.stdout.is_empty(), "{answer:?}");
        let line = answer.stderr.strip_suffix('\n').unwrap_or_default();
        ensure!(line.starts_with("irqbroker: "), "{answer:?}");
        ensure!(!line.contains('\n'), "{answer:?}");
        ensure!(line.contains(text), "no {text}: {line}");
    }
    // Help is help, and as long as it is.
    let help = run(&["vgpu", "--help"])?;
    ensure!(help.code == Some(0) && help.stderr.is_empty(), "{help:?}");
    ensure!(help.stdout.lines().count() > 1, "{help:?}");
    Ok(())
}
