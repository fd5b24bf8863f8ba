//! RFB's handshake, in the words of each version (RFC 6143 section 7.1 and appendix A).

use super::error::ProtocolError;
use super::password::CHALLENGE;
use super::password::Password;
use super::security::Security;

/// What the server speaks; a viewer may answer with an older one.
pub(super) const VERSION: &[u8; 12] = b"RFB 003.008\n";

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Version,
    Choice(Dialect),
    Response(Dialect),
    Init,
    Running,
}

/// How a viewer is told of its security type, and of what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The server chooses. Versions that are none of the others, too (section 7.1.1).
    V3_3,
    /// The viewer chooses. That nothing was asked for is no result, and a failure has no reason.
    V3_7,
    /// The viewer chooses, and is told the result, and why.
    V3_8,
}

impl Dialect {
    /// That of `RFB xxx.yyy\n`. A later version than 3.8 is spoken as that.
    fn of(version: &[u8; 12]) -> Option<Self> {
        let digits = version.strip_prefix(b"RFB ")?.strip_suffix(b"\n")?;
        let (major, minor) = (digits.get(..3)?, digits.get(3..)?.strip_prefix(b".")?);
        match (number(major)?, number(minor)?) {
            (3, ..7) => Some(Self::V3_3),
            (3, 7) => Some(Self::V3_7),
            (3.., _) => Some(Self::V3_8),
            _ => None,
        }
    }

    /// Appends that the viewer may go on.
    fn accept(self, security: &Security, out: &mut Vec<u8>) {
        let is_told = match security {
            Security::None => self == Self::V3_8,
            Security::Password(_) => true,
        };
        if is_told {
            out.extend([0; 4]);
        }
    }

    /// Appends a SecurityResult of failure, and returns why.
    fn fail(self, error: ProtocolError, out: &mut Vec<u8>) -> ProtocolError {
        out.extend(1u32.to_be_bytes());
        if self == Self::V3_8 {
            reason(error, out);
        }
        error
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    let known = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| known)?;
    text.parse().ok()
}

/// Looks at the viewer's version, and offers a security type, or says why nobody is let in for now.
pub(super) fn offer(
    security: Result<&Security, ProtocolError>,
    challenge: [u8; CHALLENGE],
    version: &[u8; 12],
    out: &mut Vec<u8>,
) -> Result<Phase, ProtocolError> {
    let dialect = Dialect::of(version).ok_or(ProtocolError::Version)?;
    let types = match security {
        // No type, and why.
        Err(_) => &[0][..],
        Ok(security) => &[1, security.number()],
    };
    match (dialect, security) {
        // There it is one type, as a word.
        (Dialect::V3_3, _) => {
            out.extend([0; 3]);
            out.extend(types.last());
        }
        _ => out.extend(types),
    }
    let security = security.inspect_err(|&refusal| reason(refusal, out))?;
    Ok(match dialect {
        Dialect::V3_3 => begin(dialect, security, challenge, out),
        Dialect::V3_7 | Dialect::V3_8 => Phase::Choice(dialect),
    })
}

/// Looks at the type that the viewer has chosen.
pub(super) fn choose(
    dialect: Dialect,
    security: Result<&Security, ProtocolError>,
    challenge: [u8; CHALLENGE],
    choice: u8,
    out: &mut Vec<u8>,
) -> Result<Phase, ProtocolError> {
    match security {
        Ok(security) if security.number() == choice => Ok(begin(dialect, security, challenge, out)),
        Ok(_) => Err(dialect.fail(ProtocolError::Security { wanted: choice }, out)),
        Err(refusal) => Err(dialect.fail(refusal, out)),
    }
}

/// Begins the security type.
fn begin(
    dialect: Dialect,
    security: &Security,
    challenge: [u8; CHALLENGE],
    out: &mut Vec<u8>,
) -> Phase {
    match security {
        Security::Password(_) => {
            out.extend(challenge);
            Phase::Response(dialect)
        }
        Security::None => {
            dialect.accept(security, out);
            Phase::Init
        }
    }
}

/// Looks at the answer to the challenge, unless nobody is let in by now.
pub(super) fn authenticate(
    dialect: Dialect,
    security: Result<&Security, ProtocolError>,
    challenge: [u8; CHALLENGE],
    response: [u8; CHALLENGE],
    out: &mut Vec<u8>,
) -> Result<Phase, ProtocolError> {
    let admits = |password: &Password| password.admits(challenge, response);
    match security {
        Ok(security @ Security::Password(password)) if admits(password) => {
            dialect.accept(security, out);
            Ok(Phase::Init)
        }
        Ok(_) => Err(dialect.fail(ProtocolError::Password, out)),
        Err(refusal) => Err(dialect.fail(refusal, out)),
    }
}

/// Appends why, as a text.
fn reason(error: ProtocolError, out: &mut Vec<u8>) {
    text(&error.to_string(), out);
}

/// Appends a text behind its length.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    // None is that long.
    let len = u32::try_from(text.len()).unwrap_or(0);
    out.extend(len.to_be_bytes());
    out.extend(text.bytes().take(usize::try_from(len).unwrap_or(0)));
}
