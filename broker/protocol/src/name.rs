//! Names of links and of their sides.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Visitor;

/// Longest name, in bytes.
const LONGEST: usize = 64;

/// A name for people and scripts: 1 to 64 of `A-Z a-z 0-9 . _ : -`, not starting with `-`. Cloning
/// shares the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty, or longer than 64 bytes.
    #[error("a name has 1 to {LONGEST} bytes, not {length}")]
    Length {
        /// Its length.
        length: usize,
    },
    /// A byte that is not allowed where it stands.
    #[error("a name is made of A-Z a-z 0-9 . _ : - and starts with none of the last: byte {at}")]
    Byte {
        /// Where, from 0.
        at: usize,
    },
}

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let length = text.len();
        if length == 0 || length > LONGEST {
            return Err(NameError::Length { length });
        }
        let allowed = |(at, byte): (usize, u8)| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'_' | b':')
                || byte == b'-' && at > 0
        };
        match text.bytes().enumerate().find(|&one| !allowed(one)) {
            None => Ok(Self(text.into())),
            Some((at, _)) => Err(NameError::Byte { at }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                Name::new(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_the_allowed_bytes_is_taken_and_others_refused() {
        Name::new("vm0.gpu-1:vblank_0").unwrap();
        assert_eq!(Name::new(""), Err(NameError::Length { length: 0 }));
        assert_eq!(Name::new("-x"), Err(NameError::Byte { at: 0 }));
        assert_eq!(Name::new("a b"), Err(NameError::Byte { at: 1 }));
        assert_eq!(Name::new("a\u{e9}"), Err(NameError::Byte { at: 1 }));
    }

    #[test]
    fn name_of_64_bytes_is_taken_and_of_65_refused() {
        Name::new(&"a".repeat(64)).unwrap();
        let long = "a".repeat(65);
        assert_eq!(Name::new(&long), Err(NameError::Length { length: 65 }));
    }
}
