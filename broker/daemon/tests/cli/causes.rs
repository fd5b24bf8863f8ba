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
