//! Where the socket files of a vGPU are made.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use tempfile::TempDir;

/// Where a session keeps its sockets (XDG Base Directory Specification).
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// What a folder made here is called; letters at random follow.
const PREFIX: &str = "irqbroker-vgpu-";
/// Nobody but the owner enters it: whoever reaches the socket has the device.
const OWNER: u32 = 0o700;

/// Where the socket is to be; a folder that was made for it goes with this.
#[derive(Debug)]
pub(super) struct Place {
    socket: PathBuf,
    _folder: Option<TempDir>,
}

impl Place {
    /// The socket asked for, or one in a new folder that only this user can enter: the session's, or
    /// one for temporary files where there is no session.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub(super) fn of(socket: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(socket) = socket {
            return Ok(Self {
                socket: socket.to_owned(),
                _folder: None,
            });
        }
        let runtime = std::env::var_os(RUNTIME).map(PathBuf::from);
        let parent = runtime.filter(|folder| folder.is_absolute());
        Self::within(&parent.unwrap_or_else(std::env::temp_dir))
    }

    fn within(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(OWNER))
            .tempdir_in(parent)
            .with_context(|| {
                let parent = parent.display();
                format!("cannot make a folder in {parent}; give --socket PATH")
            })?;
        Ok(Self {
            socket: folder.path().join("vgpu.sock"),
            _folder: Some(folder),
        })
    }

    /// The socket of the vGPU.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_that_was_asked_for_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let wanted = parent.path().join("wanted.sock");
        let place = Place::of(Some(&wanted)).unwrap();
        assert_eq!(place.socket(), wanted);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn folder_made_for_a_socket_is_its_users_alone_and_goes_with_its_place() {
        let parent = tempfile::tempdir().unwrap();
        let (first, second) = (Place::within(parent.path()), Place::within(parent.path()));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(first.socket(), second.socket());
        let folder = first.socket().parent().unwrap().to_owned();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        // What is left in it does not keep it.
        std::fs::write(first.socket(), "").unwrap();
        drop(first);
        assert!(!folder.exists());
    }

    #[test]
    fn place_where_no_folder_can_be_made_names_the_option_that_helps() {
        let parent = tempfile::tempdir().unwrap();
        let error = Place::within(&parent.path().join("none")).unwrap_err();
        assert!(error.to_string().ends_with("give --socket PATH"), "{error}");
    }
}
