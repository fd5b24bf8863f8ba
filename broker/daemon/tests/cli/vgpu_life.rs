//! How `irqbroker vgpu serve` begins and ends.

use std::path::Path;

use anyhow::ensure;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use libtest_mimic::Trial;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_that_a_signal_ends_leaves_no_socket",
            Need::Nothing,
            signals,
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
