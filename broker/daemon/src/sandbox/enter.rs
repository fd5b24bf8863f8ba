//! Goes into the sandbox: landlock first, since the filter lets no rule be made any more.

use std::path::PathBuf;

use landlock::PathFd;
use landlock::RulesetError;
use seccompiler::BackendError;

use super::fence;
use super::filter;
use super::outcome::Fenced;
use super::outcome::Outcome;
use crate::config::Landlock;
use crate::config::Sandbox;
use crate::config::Seccomp;

/// Folders a running daemon touches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// It reads files here: the configuration's folder, since an editor replaces the file.
    pub(crate) read: Vec<PathBuf>,
    /// It removes files here: those of its own sockets.
    pub(crate) remove: Vec<PathBuf>,
}

/// The sandbox the calling thread is in, as long as it lives.
#[derive(Debug)]
pub(crate) struct Sandboxed {
    /// What of it stands.
    pub(crate) outcome: Outcome,
    /// Keeps the rule for it alive; see [`fence::restrict`].
    _fdinfo: Option<PathFd>,
}

/// Why the daemon is not as confined as it was told to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The kernel refused the rules.
    #[error("cannot fence off files with landlock")]
    Landlock(#[source] RulesetError),
    /// The kernel lacks something that is required.
    #[error("landlock is {fenced}, and sandbox.landlock is \"required\"")]
    Required {
        /// What stands.
        fenced: Fenced,
    },
    /// The list makes no filter on this machine.
    #[error("cannot make a seccomp filter")]
    Compile(#[source] BackendError),
    /// The kernel refused the filter.
    #[error("cannot filter system calls")]
    Seccomp(#[source] seccompiler::Error),
}

/// Confines the calling thread for good.
///
/// # Errors
///
/// See [`SandboxError`]. What is confined by then stays so: the daemon ends.
pub(crate) fn enter(config: &Sandbox, needs: &Needs) -> Result<Sandboxed, SandboxError> {
    let (landlock, fdinfo) = match config.landlock {
        Landlock::Off => (Fenced::Off, None),
        Landlock::IfAvailable | Landlock::Required => {
            fence::restrict(needs).map_err(SandboxError::Landlock)?
        }
    };
    if !landlock.satisfies(config.landlock) {
        return Err(SandboxError::Required { fenced: landlock });
    }
    let seccomp = config.seccomp == Seccomp::On;
    if seccomp {
        let program = filter::compile(config.on_violation).map_err(SandboxError::Compile)?;
        seccompiler::apply_filter(&program).map_err(SandboxError::Seccomp)?;
    }
    Ok(Sandboxed {
        outcome: Outcome { seccomp, landlock },
        _fdinfo: fdinfo,
    })
}
