//! What a host says of itself in the run directory.

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use rustix::fs::Mode;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use super::process::ProcessId;

/// A hosted vGPU and the process that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its UUID, which is the file's name too.
    pub(super) uuid: Uuid,
    /// Its type's name.
    pub(super) vgpu_type: String,
    /// Where VNC shows it, as asked for.
    pub(super) vnc: Option<String>,
    /// Who serves it.
    pub(super) process: ProcessId,
}

/// Bytes of a record that is read: one is a tenth of that.
const RECORD_LIMIT: u64 = 4096;

/// The most that is given of a vGPU's sockets: nobody has one by being on the same host.
const SOCKET_MODE: u32 = 0o660;

impl Record {
    /// Puts it into its file, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        write_private(file, &serde_json::to_vec(self)?)
    }

    /// What operators see of it.
    pub(super) fn row(&self, run_dir: &Path, state: VgpuState) -> VgpuRow {
        VgpuRow {
            uuid: self.uuid.to_string(),
            vgpu_type: self.vgpu_type.clone(),
            socket: socket(run_dir, self.uuid).display().to_string(),
            vnc: self.vnc.clone(),
            state,
            pid: (state == VgpuState::Running).then_some(self.process.pid),
        }
    }
}

/// Puts `bytes` into a file that only its owner can read, whole or not at all.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&unfinished)?.write_all(bytes)?;
    fs::rename(unfinished, file)
}

/// The VNC password of a vGPU, beside its socket.
pub(super) fn vnc_password(record: &Path, uuid: Uuid) -> PathBuf {
    record.with_file_name(format!("{uuid}.sock.vnc-password"))
}

/// The record of one vGPU, if there is one.
pub(super) fn read_one(run_dir: &Path, uuid: Uuid) -> Option<Record> {
    read(&file(run_dir, uuid)).filter(|record| record.uuid == uuid)
}

/// The records in a run directory. What is none is passed over: it is not ours to remove.
pub(super) fn read_all(run_dir: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let entries = match fs::read_dir(run_dir) {
        Ok(entries) => entries,
        // Nothing was hosted yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&path) {
            Some(record) if file(run_dir, record.uuid) == path => records.push(record),
            _ => tracing::warn!(file = %path.display(), "not a record of a vgpu"),
        }
    }
    Ok(records)
}

fn read(path: &Path) -> Option<Record> {
    let length = fs::symlink_metadata(path).ok()?.len();
    if length > RECORD_LIMIT {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The record of a vGPU.
pub(super) fn file(run_dir: &Path, uuid: Uuid) -> PathBuf {
    run_dir.join(format!("{uuid}.json"))
}

/// The vfio-user socket of a vGPU.
pub(super) fn socket(run_dir: &Path, uuid: Uuid) -> PathBuf {
    run_dir.join(format!("{uuid}.sock"))
}

/// Where the host of a vGPU is asked to end.
pub(super) fn end_socket(run_dir: &Path, uuid: Uuid) -> PathBuf {
    run_dir.join(format!("{uuid}.sock.end"))
}

/// Removes everything of a vGPU whose process has ended: its record last, so that nothing stays
/// behind without one.
pub(super) fn remove(run_dir: &Path, uuid: Uuid) {
    let prefix = format!("{uuid}.sock");
    let entries = fs::read_dir(run_dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // Somebody else may have removed it.
            let _gone = fs::remove_file(entry.path());
        }
    }
    let _gone = fs::remove_file(file(run_dir, uuid));
}

/// The permission bits of a vGPU's sockets: its daemon's user's, and the group's as far as the umask leaves it
/// any. For the spawner, which has one thread: the umask is the process's, and away for a moment.
pub(super) fn socket_mode() -> u32 {
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(umask);
    SOCKET_MODE & !umask.bits()
}

/// Makes the run directory. Others may reach the sockets in it, whose names they must know, if
/// [their bits](socket_mode) let them.
pub(super) fn make_run_dir(run_dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(run_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            uuid: Uuid::from_u128(7),
            vgpu_type: "small".into(),
            vnc: None,
            process: ProcessId::own().unwrap(),
        }
    }

    #[test]
    fn record_is_read_as_it_was_written_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let record = record();
        record.write(&file(folder.path(), record.uuid)).unwrap();
        // Another's name, no record, too long, another kind of file.
        record
            .write(&file(folder.path(), Uuid::from_u128(8)))
            .unwrap();
        fs::write(folder.path().join("a.json"), "{}").unwrap();
        fs::write(folder.path().join("b.json"), " ".repeat(5000)).unwrap();
        fs::write(folder.path().join("c.txt"), "text").unwrap();
        assert_eq!(read_all(folder.path()).unwrap(), [record]);
    }

    #[test]
    fn remove_removes_the_sockets_and_the_record_of_one_vgpu() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = [7, 8].map(Uuid::from_u128);
        for uuid in [one, other] {
            fs::write(file(folder.path(), uuid), "").unwrap();
            fs::write(socket(folder.path(), uuid), "").unwrap();
            fs::write(folder.path().join(format!("{uuid}.sock.head0")), "").unwrap();
        }
        remove(folder.path(), one);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 3);
        let all_others = left.iter().all(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&other.to_string())
        });
        assert!(all_others, "{left:?}");
    }
}
