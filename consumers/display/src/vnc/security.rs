//! Who may look.

use super::password::Password;

/// What a viewer has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// The password.
    Password(Password),
    /// Nothing: everybody on this host may look. Only on a loopback address.
    None,
}

/// From where viewers may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// From this host.
    #[default]
    Loopback,
    /// From wherever the address can be reached. What is sent is not encrypted.
    Anywhere,
}

impl Security {
    /// The number of the security type (RFC 6143 section 7.1.2).
    pub(super) const fn number(&self) -> u8 {
        match self {
            Self::None => 1,
            Self::Password(_) => 2,
        }
    }
}
