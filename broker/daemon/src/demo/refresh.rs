//! Refresh rates as people write them: 60, 59.94, 60000/1001.

use irqbroker_vgpu::Refresh;
use irqbroker_vgpu::RefreshError;

/// Most digits after the point; more cannot be told apart on any clock.
const MAX_DECIMALS: usize = 4;

/// Why a text is no refresh rate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshTextError {
    /// It is neither a decimal number nor a fraction of two whole ones.
    #[error("not a refresh rate; write 60, 59.94 or 60000/1001")]
    Syntax,
    /// It has more digits than a rate can have.
    #[error("too many digits; write 60, 59.94 or 60000/1001")]
    TooLong,
    /// It is a number, but no display refreshes like that.
    #[error(transparent)]
    Refused(#[from] RefreshError),
}

/// Reads a refresh rate exactly as it is written.
///
/// # Errors
///
/// See [`RefreshTextError`].
pub(crate) fn parse(text: &str) -> Result<Refresh, RefreshTextError> {
    match text.split_once('/') {
        Some((frames, seconds)) => Ok(Refresh::new(whole(frames)?, whole(seconds)?)?),
        None => decimal(text),
    }
}

/// Frames per second, rounded as floats are.
pub(crate) fn hz(refresh: Refresh) -> f64 {
    f64::from(refresh.numerator()) / f64::from(refresh.denominator())
}

/// Digits only: `u32::from_str` would take a sign as well.
fn whole(digits: &str) -> Result<u32, RefreshTextError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RefreshTextError::Syntax);
    }
    digits.parse().map_err(|_| RefreshTextError::TooLong)
}

fn decimal(text: &str) -> Result<Refresh, RefreshTextError> {
    let Some((integer, fraction)) = text.split_once('.') else {
        return Ok(Refresh::new(whole(text)?, 1)?);
    };
    let (integer, digits) = (whole(integer)?, whole(fraction)?);
    if fraction.len() > MAX_DECIMALS {
        return Err(RefreshTextError::TooLong);
    }
    let scale = fraction.bytes().fold(1, |scale, _| scale * 10);
    let frames = integer
        .checked_mul(scale)
        .and_then(|frames| frames.checked_add(digits))
        .ok_or(RefreshTextError::TooLong)?;
    Ok(Refresh::new(frames, scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(u32, u32), RefreshTextError> {
        parse(text).map(|refresh| (refresh.numerator(), refresh.denominator()))
    }

    #[test]
    fn parse_takes_whole_decimal_and_fraction_exactly() {
        assert_eq!(parsed("60"), Ok((60, 1)));
        assert_eq!(parsed("59.94"), Ok((2997, 50)));
        assert_eq!(parsed("60000/1001"), Ok((60_000, 1001)));
        assert_eq!(parsed("1000.0000"), Ok((1000, 1)));
    }

    #[test]
    fn parse_refuses_what_is_no_number() {
        for text in [
            "", "fast", "+60", "-60", "60.", ".5", "60/", "/1001", "6e1", "60 ", "1/2/3",
        ] {
            assert_eq!(parsed(text), Err(RefreshTextError::Syntax), "{text:?}");
        }
    }

    #[test]
    fn parse_refuses_more_digits_than_a_rate_has() {
        for text in ["99999999999", "60.00000", "999999.9999"] {
            assert_eq!(parsed(text), Err(RefreshTextError::TooLong), "{text:?}");
        }
    }

    #[test]
    fn parse_refuses_what_no_display_does() {
        for text in ["0", "0.5", "1001", "1000.1", "60/0", "0/1"] {
            let refused = parsed(text);
            assert!(
                matches!(refused, Err(RefreshTextError::Refused(_))),
                "{text:?} is {refused:?}"
            );
        }
    }

    #[test]
    fn hz_of_a_fraction_is_its_value() {
        let ntsc = Refresh::new(60_000, 1001).unwrap();
        assert!((hz(ntsc) - 59.940_06).abs() < 1e-5);
    }
}
