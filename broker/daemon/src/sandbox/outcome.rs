//! How much of the sandbox stands, as operators are told.

use std::fmt;

use crate::config::Landlock;

/// How much of the landlock fence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// All of it.
    Fully {
        /// The version of landlock the kernel has.
        abi: u32,
    },
    /// What an older kernel can.
    Partly {
        /// Likewise.
        abi: u32,
    },
    /// The kernel has landlock, and it is not turned on.
    NotEnabled,
    /// The kernel has no landlock.
    Missing,
    /// It was not asked for.
    Off,
}

/// What of the sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// System calls are filtered.
    pub(crate) seccomp: bool,
    /// Files, TCP, signals, abstract sockets.
    pub(crate) landlock: Fenced,
}

impl Fenced {
    /// Whether a daemon of this configuration may go on.
    pub(super) fn satisfies(self, asked: Landlock) -> bool {
        asked != Landlock::Required || matches!(self, Self::Fully { .. })
    }
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fully { abi } => write!(f, "on (abi {abi})"),
            Self::Partly { abi } => write!(f, "partly on (the kernel has abi {abi} of 6)"),
            Self::NotEnabled => f.write_str("not turned on in this kernel (lsm=landlock)"),
            Self::Missing => f.write_str("missing in this kernel"),
            Self::Off => f.write_str("off"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seccomp = match self.seccomp {
            true => "on",
            false => "off",
        };
        write!(f, "seccomp {seccomp}, landlock {}", self.landlock)
    }
}
