//! The name of a vGPU that its creator chooses, as with mediated devices.

use std::fmt;
use std::str::FromStr;

/// The UUID a vGPU is created, found and destroyed by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VgpuUuid(u128);

/// A text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no uuid; write 8-4-4-4-12 hexadecimal digits")]
pub struct UuidError {
    /// As it was given.
    pub text: String,
}

impl VgpuUuid {
    /// The UUID of these 16 bytes, the first ones written first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its bytes, in the order in which they are written.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl FromStr for VgpuUuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let refused = || UuidError { text: text.into() };
        let groups: Vec<&str> = text.split('-').collect();
        let digits = groups.concat();
        let shape = groups.iter().map(|group| group.len());
        // `from_str_radix` takes a sign.
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !shape.eq([8, 4, 4, 4, 12]) || !plain {
            return Err(refused());
        }
        u128::from_str_radix(&digits, 16)
            .map(Self)
            .map_err(|_| refused())
    }
}

impl fmt::Display for VgpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
        f.write_str(&groups.map(|group| &digits[group]).join("-"))
    }
}

impl fmt::Debug for VgpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VgpuUuid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

    #[test]
    fn uuid_is_written_as_it_is_read_and_in_lower_case() {
        let uuid: VgpuUuid = TEXT.parse().unwrap();
        assert_eq!(uuid.to_string(), TEXT);
        assert_eq!(TEXT.to_uppercase().parse(), Ok(uuid));
        assert_eq!(VgpuUuid::from_bytes(uuid.to_bytes()), uuid);
        assert_eq!(uuid.to_bytes()[0], 0x83);
    }

    #[test]
    fn text_of_another_shape_is_refused() {
        for text in [
            "",
            "83b8f4f2509f382f3c1ee6bfe0fa1001",
            "83b8f4f2-509f-382f-3c1e-e6bfe0fa100",
            "83b8f4f2-509f-382f-3c1ee-6bfe0fa1001",
            "83b8f4f2-509f-382f-3c1e-e6bfe0fa100g",
            "+3b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
        ] {
            text.parse::<VgpuUuid>().unwrap_err();
        }
    }
}
