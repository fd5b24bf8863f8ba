//! Refresh rates in nanoseconds: computed from the exact ratio and rounded down once each.

pub use irqbroker_vfio_abi::Refresh;
pub use irqbroker_vfio_abi::RefreshError;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// Nanoseconds that `frames` frames take, rounded down; saturates.
pub(crate) fn nanos_of(refresh: Refresh, frames: u64) -> u64 {
    // Below 2^64 * 2^30 * 2^32, so the product is exact.
    let scaled = u128::from(frames) * NANOS_PER_SEC * u128::from(refresh.denominator());
    u64::try_from(scaled / u128::from(refresh.numerator())).unwrap_or(u64::MAX)
}

/// The last frame whose [`nanos_of`] is at most `nanos`.
pub(crate) fn frames_in(refresh: Refresh, nanos: u64) -> u64 {
    // floor(n * period) <= nanos  <=>  n * period < nanos + 1: the last integer below a ratio.
    let scaled = (u128::from(nanos) + 1) * u128::from(refresh.numerator());
    let frames = scaled.div_ceil(NANOS_PER_SEC * u128::from(refresh.denominator())) - 1;
    u64::try_from(frames).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanos_of_the_largest_frame_and_denominator_saturates() {
        // The slowest rate with the largest denominator, 1 Hz by a ratio that cannot be reduced.
        let slow = Refresh::new(u32::MAX, u32::MAX - 1).unwrap();
        assert_eq!(nanos_of(slow, u64::MAX), u64::MAX);
    }
}
