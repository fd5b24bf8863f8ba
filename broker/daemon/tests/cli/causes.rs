//! What is told of a failure is enough to mend it, and one line.

use std::fs::File;
use std::net::TcpListener;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::command::run;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;
use crate::vgpu::screenshot;

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
            "report_that_cannot_be_written_tells_the_cause",
            Need::Nothing,
            full,
        ),
        story(
            "vgpu_screenshot_of_a_head_that_there_is_not_says_so",
            Need::Nothing,
            no_head,
        ),
        story(
            "vgpu_screenshot_of_a_server_that_is_stopped_says_so",
            Need::Nothing,
            stopped,
        ),
        story(
            "vfio_probe_of_a_socket_tells_the_cause_and_how_to_write_it",
            Need::Nothing,
            probe,
        ),
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

fn full() -> anyhow::Result<()> {
    for command in [
        &["vgpu", "types"][..],
        &["vgpu", "types", "--json"],
        &["man"],
    ] {
        // Never has room.
        let full = File::options().write(true).open("/dev/full")?;
        let output = irqbroker().args(command).stdout(full).output()?;
        let told = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{told}");
        let expected = "irqbroker: cannot write to stdout: No space left on device";
        ensure!(told.starts_with(expected), "{told}");
        ensure!(told.lines().count() == 1, "{told}");
    }
    Ok(())
}

fn no_head() -> anyhow::Result<()> {
    for (vgpu_type, head, last) in [("small", "1", 0), ("dual", "255", 1)] {
        let serving = Serving::start(vgpu_type, &format!("no-head-{vgpu_type}.sock"))?;
        let answer = run(&screenshot(&serving, head, "none.png"))?;
        let line = answer.refusal()?;
        let expected = format!(
            "the vgpu at {} has no head {head}; the last is {last}",
            serving.socket
        );
        ensure!(line == expected, "{line}");
    }
    Ok(())
}

fn stopped() -> anyhow::Result<()> {
    let serving = Serving::start("small", "stopped.sock")?;
    rustix::process::kill_process(Pid::from_child(&serving.process), Signal::STOP)?;
    let mut command = irqbroker();
    command.args(screenshot(&serving, "0", "none.png"));
    let start = Instant::now();
    let answer = ended(&mut command)?;
    // It waits for ten seconds, and once waited for sixty.
    ensure!(start.elapsed() < Duration::from_secs(50), "{answer:?}");
    let line = answer.refusal()?;
    let socket = &serving.socket;
    let expected = format!("the vgpu at {socket} does not answer; it is stopped or hangs: ");
    ensure!(line.starts_with(&expected), "{line}");
    ensure!(line.ends_with("timed out"), "{line}");
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
