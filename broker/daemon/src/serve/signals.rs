//! SIGTERM, SIGINT and SIGHUP as something to poll.

use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

/// What the signals that came mean, the graver after the lighter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// Read the configuration again.
    Reload,
    /// End.
    End,
}

/// The signals the daemon listens to.
#[derive(Debug)]
pub(crate) struct Signals {
    end: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Takes the signals over, for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub(crate) fn take() -> io::Result<Self> {
        let (end, to_end) = UnixStream::pair()?;
        let (reload, to_reload) = UnixStream::pair()?;
        end.set_nonblocking(true)?;
        reload.set_nonblocking(true)?;
        pipe::register(SIGINT, to_end.try_clone()?)?;
        pipe::register(SIGTERM, to_end)?;
        pipe::register(SIGHUP, to_reload)?;
        Ok(Self { end, reload })
    }

    /// The fds that are readable after a signal.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.end.as_fd(), self.reload.as_fd()]
    }

    /// What has come since this was asked last.
    pub(crate) fn told(&mut self) -> Told {
        let came = |stream: &mut UnixStream| stream.read(&mut [0u8; 64]).is_ok_and(|read| read > 0);
        if came(&mut self.end) {
            Told::End
        } else if came(&mut self.reload) {
            Told::Reload
        } else {
            Told::Nothing
        }
    }
}
