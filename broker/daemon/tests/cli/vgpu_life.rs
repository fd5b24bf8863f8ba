//! How `irqbroker vgpu serve` begins and ends.

use std::path::Path;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;
use vnc::VncEncoding;

use crate::command::fresh_path;
use crate::command::run;
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

fn signals() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut serving = Serving::start("dual", "signal.sock")?;
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
    ensure!(line.contains("at most 8 bytes"), "{line}");
    // One that is no text.
    let file = fresh_path("random-password")?;
    std::fs::write(&file, [0xff; 8])?;
    let binary = serve(&file)?;
    let line = binary.refusal()?;
    ensure!(line.contains("is no text"), "{line}");
    Ok(())
}
