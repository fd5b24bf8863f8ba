//! Error numbers as the kernel answers them.

use std::error::Error;
use std::fmt;

use rustix::io::Errno as HostErrno;

/// A positive error number of the kernel, whoever answered it: an ioctl, a peer over a socket, or
/// a device of this process.
///
/// Made of any number: a peer may send one that no kernel knows, and it is passed on as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $host:ident, $text:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self(HostErrno::$host.raw_os_error());)*

            /// The symbol and the meaning.
            const fn named(self) -> Option<(&'static str, &'static str)> {
                match self {
                    $(Self::$name => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        const NAMED: &[Errno] = &[$(Errno::$name),*];
    };
}

errnos! {
    /// Not the owner, or a field that is not to be written.
    EPERM = PERM, "operation not permitted";
    /// Nothing of that name or id.
    ENOENT = NOENT, "no such file or directory";
    /// The device did not answer, or not in a way that makes sense.
    EIO = IO, "input/output error";
    /// A node without a device behind it.
    ENXIO = NXIO, "no such device or address";
    /// Not an open file.
    EBADF = BADF, "bad file descriptor";
    /// Try again.
    EAGAIN = AGAIN, "resource temporarily unavailable";
    /// No memory.
    ENOMEM = NOMEM, "cannot allocate memory";
    /// Permission denied.
    EACCES = ACCESS, "permission denied";
    /// An argument that cannot be read or written.
    EFAULT = FAULT, "bad address";
    /// In use.
    EBUSY = BUSY, "device or resource busy";
    /// Exists already.
    EEXIST = EXIST, "file exists";
    /// No such device, or no interrupt line.
    ENODEV = NODEV, "no such device";
    /// An argument that makes no sense; what nearly all checks of VFIO answer.
    EINVAL = INVAL, "invalid argument";
    /// Too many files.
    EMFILE = MFILE, "too many open files";
    /// A request, or an action of an interrupt index, that does not exist.
    ENOTTY = NOTTY, "inappropriate ioctl for device";
    /// No space.
    ENOSPC = NOSPC, "no space left on device";
    /// The other end is gone.
    EPIPE = PIPE, "broken pipe";
    /// Out of range.
    ERANGE = RANGE, "numerical result out of range";
    /// Not implemented.
    ENOSYS = NOSYS, "function not implemented";
    /// What came does not follow the protocol.
    EPROTO = PROTO, "protocol error";
    /// More than fits.
    EOVERFLOW = OVERFLOW, "value too large for defined data type";
    /// Message too long.
    EMSGSIZE = MSGSIZE, "message too long";
    /// Not supported.
    EOPNOTSUPP = OPNOTSUPP, "operation not supported";
    /// The connection was reset.
    ECONNRESET = CONNRESET, "connection reset by peer";
    /// Not connected.
    ENOTCONN = NOTCONN, "transport endpoint is not connected";
    /// No answer in time.
    ETIMEDOUT = TIMEDOUT, "connection timed out";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Some((_, text)) => f.write_str(text),
            None => write!(f, "error number {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl Error for Errno {}

impl From<HostErrno> for Errno {
    fn from(errno: HostErrno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_each_named_errno_is_that_of_the_c_library() {
        for &errno in NAMED {
            let host = std::io::Error::from(errno).to_string().to_lowercase();

            assert!(host.starts_with(&errno.to_string()), "{errno:?}: {host}");
        }
    }

    #[test]
    fn debug_is_the_symbol_or_the_number() {
        assert_eq!(format!("{:?}", Errno::EINVAL), "EINVAL");
        // No kernel answers 4000; error numbers end at 4095.
        assert_eq!(format!("{:?}", Errno(4000)), "Errno(4000)");
        assert_eq!(Errno(4000).to_string(), "error number 4000");
    }

    #[test]
    fn named_errnos_have_the_numbers_of_linux() {
        assert_eq!(Errno::from(HostErrno::INVAL), Errno(22));
        assert_eq!(Errno::ENOTTY, Errno(25));
    }
}
