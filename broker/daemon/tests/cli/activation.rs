//! A daemon that was passed a socket that is not the configured one.

use std::os::fd::AsRawFd;

use anyhow::Context;
use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::io::FdFlags;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketType;

use crate::command::run;
use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::daemon::serve;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "daemon_tells_of_the_socket_it_was_passed_and_hosts_beside_it",
            Need::Nothing,
            elsewhere,
        ),
        story(
            "daemon_refuses_a_socket_without_a_file",
            Need::Nothing,
            no_file,
        ),
    ]
}

fn elsewhere() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let path = folder.path().join("passed.sock").display().to_string();
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    rustix::net::listen(&socket, 16)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::empty())?;
    let mut command = serve(folder.path());
    command
        .args(["--set", "vgpu.run_dir=auto"])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string());
    let daemon = Daemon::launch_with(folder, command)?;

    ensure!(daemon.told["socket"] == path, "{}", daemon.told);
    let at = ["--json", "--control", &path];
    let vgpu = run(&[&["vgpu", "create", "--type", "small"], &at[..]].concat())?.report()?;
    let uuid = vgpu["uuid"].as_str().context("no uuid")?;
    run(&[&["vgpu", "destroy", uuid], &at[..]].concat())?.report()?;
    ensure!(
        vgpu["socket"] == format!("{path}.vgpu/{uuid}.sock"),
        "{vgpu}"
    );
    Ok(())
}

fn no_file() -> anyhow::Result<()> {
    let folder = Daemon::prepare(tempfile::tempdir()?, STRICT)?;
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    // The kernel makes an abstract name up for a socket that is bound to none (`unix(7)`).
    rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
    rustix::net::listen(&socket, 16)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::empty())?;
    let mut command = serve(folder.path());
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string());
    let answer = crate::deadline::ended(&mut command)?;
    ensure!(answer.refusal()?.contains("has no file"), "{answer:?}");
    Ok(())
}
