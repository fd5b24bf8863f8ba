//! Opening the KVM device node, and what to do where that fails.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use kvm_ioctls::Kvm;
use rustix::io::Errno;

/// Where the node is unless the user says otherwise.
pub(crate) const DEFAULT: &str = "/dev/kvm";

/// `KVM_API_VERSION`; any other is not KVM as everybody knows it (`Documentation/virt/kvm/api.rst`).
pub(crate) const API_VERSION: i32 = 12;

/// Why KVM is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvmNodeError {
    /// There is no node, or no driver behind it.
    #[error(
        "{path} does not exist: load kvm_intel or kvm_amd; inside a virtual machine, enable \
         nested virtualisation on its host"
    )]
    Missing {
        /// The node.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// This user may not open it.
    #[error(
        "no permission to open {path}: run as root, or join its group (usermod -aG kvm USER) and \
         log in again"
    )]
    Denied {
        /// The node.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// It could not be opened for another reason.
    #[error("cannot open {path}: give the kvm device node with --kvm")]
    Open {
        /// The node.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// It opens, but does not answer as KVM does.
    #[error("{path} is not a kvm device node: give the right one with --kvm")]
    NotKvm {
        /// The node.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// It is KVM, but not the API that everybody uses.
    #[error("{path} speaks kvm api version {version}, not {API_VERSION}: use a newer kernel")]
    ApiVersion {
        /// The node.
        path: PathBuf,
        /// What it speaks.
        version: i32,
    },
}

/// Opens the node and checks that KVM is behind it.
///
/// # Errors
///
/// See [`KvmNodeError`]; its text names the remedy.
pub(crate) fn open(path: &Path) -> Result<Kvm, KvmNodeError> {
    let kvm = open_unchecked(path).map_err(|errno| cannot_open(path, errno))?;
    match api_version(&kvm) {
        Ok(API_VERSION) => Ok(kvm),
        Ok(version) => Err(KvmNodeError::ApiVersion {
            path: path.to_owned(),
            version,
        }),
        Err(source) => Err(not_kvm(path, source)),
    }
}

/// Opens the node, whatever is behind it.
///
/// # Errors
///
/// The kernel's answer to the open.
pub(crate) fn open_unchecked(path: &Path) -> Result<Kvm, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::NOENT)?;
    Kvm::new_with_path(path).map_err(errno)
}

/// What the node answers to `KVM_GET_API_VERSION`.
///
/// # Errors
///
/// The kernel's answer: `ENOTTY` where it is not KVM.
pub(crate) fn api_version(kvm: &Kvm) -> Result<i32, Errno> {
    match kvm.get_api_version() {
        // kvm-ioctls hands the -1 on; nothing has touched errno since.
        version if version < 0 => Err(last_errno()),
        version => Ok(version),
    }
}

/// The error number in an error of kvm-ioctls.
pub(crate) fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

/// The error number of the system call that has just failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// What to tell of a node that does not answer as KVM does.
pub(crate) fn not_kvm(path: &Path, source: Errno) -> KvmNodeError {
    KvmNodeError::NotKvm {
        path: path.to_owned(),
        source,
    }
}

/// What to tell of a node that does not open.
pub(crate) fn cannot_open(path: &Path, source: Errno) -> KvmNodeError {
    let path = path.to_owned();
    match source {
        // A static node exists before its module does; opening it then gives ENODEV or ENXIO.
        Errno::NOENT | Errno::NODEV | Errno::NXIO => KvmNodeError::Missing { path, source },
        Errno::ACCESS | Errno::PERM => KvmNodeError::Denied { path, source },
        _ => KvmNodeError::Open { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_of_an_absent_node_is_missing_and_says_what_to_load() {
        let error = open(Path::new("/nonexistent/kvm")).unwrap_err();
        assert!(matches!(error, KvmNodeError::Missing { .. }), "{error:?}");
        assert!(error.to_string().contains("load kvm_intel or kvm_amd"));
    }

    #[test]
    fn open_of_another_device_is_not_kvm() {
        let error = open(Path::new("/dev/null")).unwrap_err();
        assert!(
            matches!(
                error,
                KvmNodeError::NotKvm {
                    source: Errno::NOTTY,
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn cannot_open_for_want_of_permission_names_the_group() {
        let error = cannot_open(Path::new(DEFAULT), Errno::ACCESS);
        assert!(matches!(error, KvmNodeError::Denied { .. }));
        assert!(error.to_string().contains("usermod -aG kvm"));
    }

    #[test]
    fn cannot_open_for_another_reason_is_neither_missing_nor_denied() {
        let error = cannot_open(Path::new(DEFAULT), Errno::MFILE);
        assert!(matches!(error, KvmNodeError::Open { .. }));
    }
}
