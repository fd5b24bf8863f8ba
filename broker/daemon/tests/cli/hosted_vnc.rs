//! A vGPU that a daemon hosts, over VNC: it goes on while the daemon is killed and started again.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_display::Picture;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use libtest_mimic::Trial;
use vnc::VncEncoding;

use crate::daemon::Daemon;
use crate::daemon::STRICT;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::viewer;
use crate::viewer::Viewer;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "hosted_vgpu_is_seen_over_vnc_before_and_after_a_kill_of_the_daemon",
        Need::Nothing,
        seen,
    )]
}

fn seen() -> anyhow::Result<()> {
    let daemon = Daemon::start(STRICT)?;
    let create = ["vgpu", "create", "--type", "small", "--vnc", "127.0.0.1:0"];
    let created = daemon.report(&create)?;
    let told = |key: &str| created[key].as_str().with_context(|| created.to_string());
    let (uuid, socket, address) = (told("uuid")?, told("socket")?, told("vnc")?);
    let password = fs::read_to_string(format!("{socket}.vnc-password"))?;
    // A client turns head 0 on, draws two pixels, and stays.
    let client = Client::connect(Path::new(socket), patient())?;
    let mode = [(0x506, 32), (0x502, 64), (0x504, 2), (0x508, 0x41)];
    for (at, value) in mode {
        client.region_write(RegionIndex::BAR2, at, &u16::to_le_bytes(value))?;
    }
    client.region_write(RegionIndex::BAR0, 0, &[3, 2, 1, 0, 6, 5, 4, 0])?;
    let file = daemon.path("picture.png").display().to_string();
    daemon.report(&["vgpu", "screenshot", "--id", uuid, &file])?;
    let expected = Picture::from_png(&fs::read(&file)?)?;
    ensure!(
        expected.rgb().starts_with(&[1, 2, 3, 4, 5, 6, 0]),
        "{expected:?}"
    );
    let look = || {
        viewer::run(async {
            let mut viewer = Viewer::connect(address, &password, &[VncEncoding::Raw]).await?;
            viewer
                .watch(|viewer| viewer.picture().as_ref() == Some(&expected))
                .await
        })
    };
    look()?;
    let daemon = daemon.kill_and_restart()?;
    look()?;
    drop(client);
    daemon.report(&["vgpu", "destroy", uuid])?;
    let left = fs::exists(format!("{socket}.vnc-password"))?;
    ensure!(!left, "the password of a vgpu that is gone");
    Ok(())
}
