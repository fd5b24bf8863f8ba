//! What a vGPU server does besides serving when a daemon hosts it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use irqbroker::vgpu::VgpuType;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use super::end_socket::EndSocket;
use super::process::ProcessId;
use super::record;
use super::record::Record;

/// How the spawner tells a server that it is hosted.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HostedArgs {
    /// The record to write
    #[arg(long, value_name = "FILE", hide = true, requires = "uuid")]
    record: Option<PathBuf>,
    /// The UUID to write into it
    #[arg(long, value_name = "UUID", hide = true)]
    uuid: Option<Uuid>,
}

/// Characters kept of a reason: with escapes still less than a pipe takes at once.
const LONGEST_REASON: usize = 200;

/// What a host says instead of its report, where it cannot serve.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Why.
    pub(super) failed: String,
}

impl HostedArgs {
    /// The arguments that say so.
    pub(super) fn arguments(record: &Path, uuid: Uuid) -> Vec<std::ffi::OsString> {
        let uuid = uuid.to_string();
        vec![
            "--record".into(),
            record.into(),
            "--uuid".into(),
            uuid.into(),
        ]
    }

    /// Leaves the daemon's session: neither its terminal nor its group ends this process.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(crate) fn leave_session(&self) -> anyhow::Result<()> {
        if self.record.is_some() {
            rustix::process::setsid().context("cannot begin a session")?;
        }
        Ok(())
    }

    /// Tells the spawner why this process ends before it has served.
    pub(crate) fn tell_failure(&self, error: &anyhow::Error) {
        if self.record.is_some() {
            let text: String = format!("{error:#}").chars().take(LONGEST_REASON).collect();
            if let Ok(line) = serde_json::to_string(&Failure { failed: text }) {
                // A spawner that is gone is told nothing.
                let _told = writeln!(std::io::stdout(), "{line}");
            }
        }
    }

    /// Where the spawner asks it to end, if it is hosted. To be made before the vGPU's own socket: whoever
    /// uses the vGPU is then known to whoever asks.
    ///
    /// # Errors
    ///
    /// The socket cannot be made.
    pub(crate) fn end_socket(&self) -> anyhow::Result<Option<EndSocket>> {
        let (Some(file), Some(uuid)) = (&self.record, self.uuid) else {
            return Ok(None);
        };
        let run_dir = file.parent().context("the record has no folder")?;
        let path = record::end_socket(run_dir, uuid);
        crate::vgpu::remove_stale(&path)?;
        let socket = EndSocket::bind(&path);
        let socket = socket.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Some(socket))
    }

    /// Writes the record, once the sockets are there: whoever finds it finds them.
    ///
    /// `vnc` is where a head is shown, with the port it got, and the password if it was made here: that goes into
    /// a file beside the socket, which only the daemon's user can read, and nowhere else.
    ///
    /// # Errors
    ///
    /// A file could not be written.
    pub(crate) fn announce(
        &self,
        vgpu_type: &VgpuType,
        vnc: Option<(SocketAddr, Option<&str>)>,
    ) -> anyhow::Result<()> {
        let (Some(file), Some(uuid)) = (&self.record, self.uuid) else {
            return Ok(());
        };
        let cannot = |file: &Path| format!("cannot write {}", file.display());
        if let Some(password) = vnc.and_then(|(_, password)| password) {
            let file = record::vnc_password(file, uuid);
            record::write_private(&file, password.as_bytes()).with_context(|| cannot(&file))?;
        }
        let record = Record {
            uuid,
            vgpu_type: vgpu_type.name.to_string(),
            vnc: vnc.map(|(address, _)| address.to_string()),
            process: ProcessId::own()?,
        };
        record.write(file).with_context(|| cannot(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn announce_leaves_a_record_and_a_password_for_its_own_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let uuid = Uuid::from_u128(7);
        let hosted = HostedArgs {
            record: Some(record::file(folder.path(), uuid)),
            uuid: Some(uuid),
        };
        let vnc = (SocketAddr::from(([127, 0, 0, 1], 5901)), Some("7secret7"));
        let small = VgpuType::find("small").unwrap();
        hosted.announce(&small, Some(vnc)).unwrap();
        let records = record::read_all(folder.path()).unwrap();
        assert_eq!(records[0].vnc.as_deref(), Some("127.0.0.1:5901"));
        let file = folder.path().join(format!("{uuid}.sock.vnc-password"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "7secret7");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        record::remove(folder.path(), uuid);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn announce_of_a_server_that_nobody_hosts_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let small = VgpuType::find("small").unwrap();
        let vnc = (SocketAddr::from(([127, 0, 0, 1], 5901)), Some("7secret7"));
        // The command line has a record only together with a UUID; neither alone is written.
        let record = Some(record::file(folder.path(), Uuid::from_u128(7)));
        for hosted in [
            HostedArgs::default(),
            HostedArgs { record, uuid: None },
            HostedArgs {
                record: None,
                uuid: Some(Uuid::from_u128(7)),
            },
        ] {
            hosted.announce(&small, Some(vnc)).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
