//! How `irqbroker vgpu serve` begins and ends.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::process::Pid;
use rustix::process::Signal;
use vnc::VncEncoding;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::command::run;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;
use crate::viewer;
use crate::viewer::Viewer;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_that_a_signal_ends_leaves_no_socket",
            Need::Nothing,
            signals,
        ),
        story(
            "vgpu_serve_that_a_terminal_ends_leaves_no_folder",
            Need::Nothing,
            hung_up,
        ),
        story(
            "vgpu_serve_that_is_to_outlive_its_terminal_does",
            Need::Nothing,
            outlives,
        ),
        story(
            "vgpu_serve_takes_no_password_from_a_pipe_and_does_not_wait_for_one",
            Need::Nothing,
            password_pipe,
        ),
        story(
            "vgpu_serve_tells_of_itself_once_the_test_card_is_shown",
            Need::Nothing,
            first_frame,
        ),
        story(
            "vgpu_serve_reads_no_more_of_a_password_file_than_a_password",
            Need::Nothing,
            password_file,
        ),
    ]
}

/// As a shell of a terminal starts it, whatever the tests ignore themselves.
fn in_a_terminal(command: Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP").arg(command.get_program());
    env.args(command.get_args());
    for (name, value) in command.get_envs() {
        // Names that are taken out have no value.
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

fn signals() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut serving = Serving::start_as("dual", "signal.sock", &[], in_a_terminal)?;
        let mut sockets = vec![serving.socket.clone()];
        sockets.extend([0, 1].map(|head| format!("{}.head{head}", serving.socket)));
        // Somebody uses each of them.
        let clients: Result<Vec<Client>, _> = sockets
            .iter()
            .map(|socket| Client::connect(Path::new(socket), ClientOptions::default()))
            .collect();
        let clients = clients?;

        rustix::process::kill_process(Pid::from_child(&serving.process), signal)?;
        let status = serving.process.wait()?;

        ensure!(status.success(), "{signal:?}: {status}");
        for socket in &sockets {
            ensure!(!std::fs::exists(socket)?, "{signal:?}: {socket} is left");
        }
        drop(clients);
    }
    Ok(())
}

fn hung_up() -> anyhow::Result<()> {
    let session = tempfile::tempdir()?;
    let mut command = irqbroker();
    command.args(["vgpu", "serve", "--json", "--test-card"]);
    command.env("XDG_RUNTIME_DIR", session.path());
    let mut serving = Serving::launch(in_a_terminal(command))?;
    ensure!(std::fs::read_dir(session.path())?.count() == 1);

    rustix::process::kill_process(Pid::from_child(&serving.process), Signal::HUP)?;
    let status = serving.process.wait()?;

    ensure!(status.success(), "{status}");
    let left: Vec<_> = std::fs::read_dir(session.path())?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// As nohup has it.
fn outlives() -> anyhow::Result<()> {
    let socket = fresh_path("outlives.sock")?;
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    command.arg(irqbroker().get_program());
    command.args(["vgpu", "serve", "--json", "--type", "small"]);
    command.args(["--socket", &socket]);
    let serving = Serving::launch(command)?;
    let status = format!("/proc/{}/status", serving.process.id());
    let status = std::fs::read_to_string(status)?;
    let mut lines = status.lines();
    let ignored = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.context("no mask")?.trim(), 16)?;
    // The first bit is that of signal 1.
    ensure!(ignored >> (Signal::HUP.as_raw() - 1) & 1 == 1, "{status}");
    Ok(())
}

fn first_frame() -> anyhow::Result<()> {
    let options = ["--test-card", "--vnc", "127.0.0.1:0", "--vnc-no-password"];
    let serving = Serving::start_with("small", "first.sock", &options)?;
    let address = serving.told["vnc"]["address"].as_str().context("none")?;
    // A viewer that knows no change of the size: it is what the handshake says for good.
    let size = viewer::run(async {
        let mut viewer = Viewer::connect(address, "", &[VncEncoding::Raw]).await?;
        viewer.watch(|viewer| viewer.size() != (0, 0)).await?;
        Ok(viewer.size())
    })?;
    // That of the type.
    ensure!(size == (1024, 768), "{size:?}");
    Ok(())
}

fn password_file() -> anyhow::Result<()> {
    let socket = fresh_path("endless.sock")?;
    let serve = |file| {
        run(&[
            "vgpu",
            "serve",
            "--type",
            "small",
            "--socket",
            &socket,
            "--vnc",
            "127.0.0.1:0",
            "--vnc-password-file",
            file,
        ])
    };
    // A file without an end, and without a line's.
    let endless = serve("/dev/zero")?;
    let line = endless.refusal()?;
    ensure!(line.contains("is no regular file"), "{line}");
    // One that is longer than is read, and without a line's end.
    let file = fresh_path("long-password")?;
    std::fs::write(&file, [b'x'; 4096])?;
    let long = serve(&file)?;
    let line = long.refusal()?;
    ensure!(line.contains("at most 8 bytes, not 256"), "{line}");
    // One that is no text.
    let file = fresh_path("random-password")?;
    std::fs::write(&file, [0xff; 8])?;
    let binary = serve(&file)?;
    let line = binary.refusal()?;
    ensure!(line.contains("is no text"), "{line}");
    Ok(())
}

fn password_pipe() -> anyhow::Result<()> {
    let pipe = fresh_path("password-pipe")?;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, pipe.as_str(), FileType::Fifo, mode, 0)?;
    let socket = fresh_path("pipe.sock")?;
    let mut command = irqbroker();
    command.args(["vgpu", "serve", "--type", "small", "--socket", &socket]);
    command.args(["--vnc", "127.0.0.1:0", "--vnc-password-file", &pipe]);
    // Nobody writes to it.
    let answer = ended(&mut command)?;
    let line = answer.refusal()?;
    ensure!(line.contains("is no regular file"), "{line}");
    Ok(())
}
