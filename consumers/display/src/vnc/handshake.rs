//! The words of RFB's handshake (RFC 6143 section 7.1).

use super::error::ProtocolError;

/// What the server speaks, and a viewer at least.
pub(super) const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// Its minor version: an older one is refused.
pub(super) const MINOR: u16 = 8;

/// The minor version of RFB 3 in `RFB 003.yyy\n`; 9 for any later major one.
pub(super) fn minor_version(version: &[u8; 12]) -> Option<u16> {
    let digits = version.strip_prefix(b"RFB ")?.strip_suffix(b"\n")?;
    let (major, minor) = (digits.get(..3)?, digits.get(3..)?.strip_prefix(b".")?);
    let number = |digits: &[u8]| {
        let known = digits.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(digits).ok().filter(|_| known)?;
        text.parse::<u16>().ok()
    };
    match number(major)? {
        3 => number(minor),
        4.. => number(minor).map(|_| MINOR),
        _ => None,
    }
}

/// Appends a SecurityResult of failure, and returns why.
pub(super) fn failed(error: ProtocolError, out: &mut Vec<u8>) -> ProtocolError {
    out.extend(1u32.to_be_bytes());
    reason(error, out);
    error
}

/// Appends why, as a text.
pub(super) fn reason(error: ProtocolError, out: &mut Vec<u8>) {
    text(&error.to_string(), out);
}

/// Appends a text behind its length.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    // None is that long.
    let len = u32::try_from(text.len()).unwrap_or(0);
    out.extend(len.to_be_bytes());
    out.extend(text.bytes().take(usize::try_from(len).unwrap_or(0)));
}
