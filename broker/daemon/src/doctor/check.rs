//! One thing the host was asked for, and the answer.

use rustix::io::Errno;
use serde::Serialize;

/// What a host answers: a value, or the kernel's error number.
pub(crate) type Answer<T> = Result<T, Errno>;

/// Where a check belongs in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// What KVM can do.
    Kvm,
    /// What delivers without an exit.
    Posting,
    /// What device assignment and sharing need.
    Devices,
    /// What the identity of an eventfd rests on.
    Eventfd,
    /// Limits and facts of the host.
    Host,
}

impl Group {
    /// All groups, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [
        Self::Kvm,
        Self::Posting,
        Self::Devices,
        Self::Eventfd,
        Self::Host,
    ];

    /// The heading for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Posting => "Delivery without an exit",
            Self::Devices => "Devices",
            Self::Eventfd => "Eventfd identity",
            Self::Host => "Host",
        }
    }
}

/// Whether the host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It has.
    Found,
    /// It has not.
    Missing,
    /// It may, but not for this user.
    Denied,
    /// It does not tell, or could not be asked.
    Unknown,
}

impl Status {
    /// The mark for people.
    pub(crate) const fn mark(self) -> char {
        match self {
            Self::Found => '✓',
            Self::Missing => '✗',
            Self::Denied => '⊘',
            Self::Unknown => '?',
        }
    }

    /// Found or missing.
    pub(crate) const fn found_if(found: bool) -> Self {
        match found {
            true => Self::Found,
            false => Self::Missing,
        }
    }

    /// What an error number says about the thing asked for.
    pub(crate) const fn of_error(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::NOTTY => Self::Missing,
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => Self::Missing,
            _ => Self::Unknown,
        }
    }
}

/// One thing the host was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Where it belongs.
    pub(crate) group: Group,
    /// What it is called.
    pub(crate) name: &'static str,
    /// Whether the host has it.
    pub(crate) status: Status,
    /// What that means.
    pub(crate) detail: String,
    /// What its absence costs.
    pub(crate) cost: &'static str,
    /// What was asked, exactly.
    pub(crate) call: String,
    /// What came back, exactly.
    pub(crate) answer: String,
}

/// An answer in one word, as `strace` would show it.
pub(crate) fn answer_text<T: ToString>(answer: &Answer<T>) -> String {
    match answer {
        Ok(value) => value.to_string(),
        Err(errno) => errno_text(*errno),
    }
}

/// The error number with its name.
pub(crate) fn errno_text(errno: Errno) -> String {
    let name = match errno {
        Errno::ACCESS => " EACCES",
        Errno::BUSY => " EBUSY",
        Errno::EXIST => " EEXIST",
        Errno::INVAL => " EINVAL",
        Errno::IO => " EIO",
        Errno::ISDIR => " EISDIR",
        Errno::MFILE => " EMFILE",
        Errno::NFILE => " ENFILE",
        Errno::NODEV => " ENODEV",
        Errno::NOENT => " ENOENT",
        Errno::NOMEM => " ENOMEM",
        Errno::NOSYS => " ENOSYS",
        Errno::NOTTY => " ENOTTY",
        Errno::NXIO => " ENXIO",
        Errno::OPNOTSUPP => " EOPNOTSUPP",
        Errno::PERM => " EPERM",
        _ => "",
    };
    format!("errno {}{name}", errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_text_is_the_value_or_the_named_errno() {
        assert_eq!(answer_text(&Ok(4096)), "4096");
        assert_eq!(answer_text::<i32>(&Err(Errno::NOENT)), "errno 2 ENOENT");
        // An error number the table does not name.
        assert_eq!(answer_text::<i32>(&Err(Errno::XDEV)), "errno 18");
    }

    #[test]
    fn of_error_tells_denied_from_missing_from_unknown() {
        assert_eq!(Status::of_error(Errno::ACCESS), Status::Denied);
        assert_eq!(Status::of_error(Errno::NODEV), Status::Missing);
        assert_eq!(Status::of_error(Errno::MFILE), Status::Unknown);
    }
}
