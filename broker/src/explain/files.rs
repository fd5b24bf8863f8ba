//! The files a host is asked by.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use rustix::io::Errno;

/// The remapping tables of debugfs are the longest file: 65536 lines for each IOMMU.
const LONGEST: u64 = 64 << 20;

/// Files of a host; each question leaves it as it was.
pub trait HostFiles {
    /// Reads a text file, without white space at its ends. `path` is absolute.
    ///
    /// # Errors
    ///
    /// The system's error number.
    fn read(&self, path: &str) -> Result<String, Errno>;

    /// Names what is in a directory, sorted. `path` is absolute.
    ///
    /// # Errors
    ///
    /// The system's error number.
    fn list(&self, path: &str) -> Result<Vec<String>, Errno>;
}

/// The files below a directory that is taken for the host's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoot(PathBuf);

impl HostRoot {
    /// A tree that was captured elsewhere.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    fn path(&self, path: &str) -> PathBuf {
        // Joined as it is, an absolute path would replace the root.
        self.0.join(path.trim_start_matches('/'))
    }
}

impl Default for HostRoot {
    /// This host.
    fn default() -> Self {
        Self::at("/")
    }
}

impl HostFiles for HostRoot {
    fn read(&self, path: &str) -> Result<String, Errno> {
        let bytes = read(&self.path(path)).map_err(errno)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let entries = fs::read_dir(self.path(path)).map_err(errno)?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(errno)?;
        names.sort_unstable();
        Ok(names)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// What was asked, and what came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The file.
    pub path: String,
    /// Its text, or why there is none.
    pub answer: Result<String, Errno>,
}

impl Reading {
    pub(super) fn of(files: &dyn HostFiles, path: impl Into<String>) -> Self {
        let path = path.into();
        let answer = files.read(&path);
        Self { path, answer }
    }

    /// Whether the file is there, readable or not.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.answer != Err(Errno::NOENT)
    }

    /// What a switch among the module parameters says: `Y` or `1`, `N` or `0`. None for anything
    /// else.
    #[must_use]
    pub fn switch(&self) -> Option<bool> {
        match self.answer.as_deref() {
            Ok("Y" | "y" | "1") => Some(true),
            Ok("N" | "n" | "0") => Some(false),
            _ => None,
        }
    }
}
