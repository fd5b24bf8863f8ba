//! Where a percentile and a latency lie in the picture.

use super::canvas::Pixel;

/// The percentiles with a tick: its text, and the share of samples at or below it.
pub(crate) const PERCENTILES: [(&str, f64); 5] = [
    ("50 %", 0.5),
    ("90 %", 0.9),
    ("99 %", 0.99),
    ("99.9 %", 0.999),
    ("99.99 %", 0.9999),
];

/// Where the axis starts: just before the median.
pub(crate) const FIRST_NINES: f64 = 0.15;

/// Where the longest latency is drawn, beyond the last percentile.
pub(crate) const MAX_NINES: f64 = 4.6;

/// The rectangle the curves are drawn in, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Left edge.
    pub(crate) left: i32,
    /// Right edge.
    pub(crate) right: i32,
    /// Upper edge.
    pub(crate) top: i32,
    /// Lower edge.
    pub(crate) bottom: i32,
}

/// Nines to the right, logarithmic microseconds upwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    frame: Frame,
    lowest: f64,
    highest: f64,
}

impl Scale {
    /// A scale that the latencies (in microseconds) fit in; none where there are none.
    pub(crate) fn around(frame: Frame, latencies: impl Iterator<Item = f64>) -> Option<Self> {
        // A histogram may hold 0 ns, which has no logarithm.
        let clamped = latencies.map(|latency| latency.max(0.001));
        let (low, high) = clamped.fold((f64::INFINITY, 0.0_f64), |(low, high), latency| {
            (low.min(latency), high.max(latency))
        });
        low.is_finite().then_some(Self {
            frame,
            lowest: low * 0.8,
            highest: high * 1.25,
        })
    }

    /// The place of a latency, in microseconds, at so many nines.
    pub(crate) fn at(&self, nines: f64, latency: f64) -> Pixel {
        let latency = latency.clamp(self.lowest, self.highest);
        let right = (nines - FIRST_NINES) / (MAX_NINES - FIRST_NINES);
        let up = (latency / self.lowest).ln() / (self.highest / self.lowest).ln();
        let Frame {
            left,
            right: end,
            top,
            bottom,
        } = self.frame;
        (
            between(left, end, right.clamp(0.0, 1.0)),
            between(bottom, top, up),
        )
    }

    /// The latencies with a tick: 1, 2 and 5 times each power of ten, in microseconds.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        // A step of a tenth never skips a tick, and always leaves the one it starts from.
        let from = round_up(self.lowest);
        let ticks = std::iter::successors(Some(from), |tick| Some(round_up(tick * 1.1)));
        ticks.take_while(|tick| *tick <= self.highest).collect()
    }
}

/// The nines of a quantile: 0.9 has one, 0.99 two.
pub(crate) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Moves heights apart until neighbours are `distance` apart, keeping their order and staying
/// within `frame` where they fit.
pub(crate) fn spread(heights: &[i32], distance: i32, frame: Frame) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|&index| heights[index]);
    let mut placed = heights.to_vec();
    let mut free_from = i32::MIN;
    for &index in &order {
        placed[index] = placed[index].max(free_from);
        free_from = placed[index].saturating_add(distance);
    }
    let mut free_to = frame.bottom;
    for &index in order.iter().rev() {
        placed[index] = placed[index].min(free_to);
        free_to = placed[index].saturating_sub(distance);
    }
    placed
}

/// Microseconds without needless digits.
pub(crate) fn short(latency: f64) -> String {
    match latency {
        latency if latency >= 100.0 => format!("{latency:.0}"),
        latency if latency >= 10.0 => format!("{latency:.1}"),
        latency => format!("{latency:.2}"),
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    match value / decade {
        mantissa if mantissa <= 1.0 => decade,
        mantissa if mantissa <= 2.0 => 2.0 * decade,
        mantissa if mantissa <= 5.0 => 5.0 * decade,
        _ => 10.0 * decade,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the share is within 0 to 1, so the result lies between two i32"
)]
fn between(from: i32, to: i32, share: f64) -> i32 {
    (f64::from(from) + f64::from(to - from) * share).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        left: 0,
        right: 1000,
        top: 0,
        bottom: 500,
    };

    #[test]
    fn ticks_are_the_round_numbers_around_the_latencies() {
        let ticks = |latencies: [f64; 2]| {
            let scale = Scale::around(FRAME, latencies.into_iter()).unwrap();
            let ticks = scale.ticks().into_iter().map(|tick| tick.to_string());
            ticks.collect::<Vec<String>>().join(" ")
        };
        assert_eq!(ticks([4.0, 800.0]), "5 10 20 50 100 200 500 1000");
        assert_eq!(ticks([0.02, 0.9]), "0.02 0.05 0.1 0.2 0.5 1");
    }

    #[test]
    fn around_nothing_is_none() {
        assert!(Scale::around(FRAME, std::iter::empty()).is_none());
    }

    #[test]
    fn at_the_corners_is_the_frame() {
        let scale = Scale::around(FRAME, [4.0, 800.0].into_iter()).unwrap();
        assert_eq!(scale.at(FIRST_NINES, 0.0), (0, 500));
        assert_eq!(scale.at(MAX_NINES, 1000.0), (1000, 0));
        assert_eq!(scale.at(f64::INFINITY, 1e9), (1000, 0));
    }

    #[test]
    fn nines_of_a_quantile_count_its_nines() {
        assert!((nines(0.9) - 1.0).abs() < 1e-9);
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn spread_keeps_the_order_and_moves_neighbours_apart() {
        assert_eq!(spread(&[100, 90, 300], 40, FRAME), [130, 90, 300]);
    }

    #[test]
    fn spread_at_the_lower_edge_moves_upwards() {
        assert_eq!(spread(&[495, 500], 40, FRAME), [460, 500]);
    }
}
