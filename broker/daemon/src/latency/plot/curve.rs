//! One path's distribution as points, and how it is drawn.

use plotters::style::RGBColor;

use super::scale::FIRST_NINES;
use super::scale::MAX_NINES;
use super::scale::nines;
use super::scale::short;
use crate::latency::path::LatencyPath;
use crate::latency::report::Measured;

/// Points to a nine: far enough apart that whole pixels do not make a staircase of the line.
const POINTS_PER_NINE: u32 = 16;

/// Nines the axis goes to before the longest latency.
const LAST_NINES: u32 = 4;

/// The percentiles of one path.
#[derive(Debug)]
pub(crate) struct Curve {
    /// The path.
    pub(crate) path: LatencyPath,
    /// How many latencies it rests on.
    pub(crate) samples: u64,
    /// Nines and microseconds, up to what the samples can tell.
    pub(crate) points: Vec<(f64, f64)>,
    /// The longest latency, at its place beyond the nines.
    pub(crate) longest: (f64, f64),
    /// The label's second line.
    pub(crate) note: String,
}

/// How a path is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    /// Colour of the line.
    pub(crate) color: RGBColor,
    /// Colour of the label, dark enough to be read on white.
    pub(crate) label: RGBColor,
    /// Opacity of the line.
    pub(crate) opacity: f64,
    /// Width of the line in pixels.
    pub(crate) width: u32,
    /// Radius of the dot at its end in pixels.
    pub(crate) dot: u32,
}

impl Curve {
    /// The curve of what was measured; none where nothing was.
    pub(crate) fn of(measured: &Measured) -> Option<Self> {
        let latencies = &measured.latencies;
        let samples = latencies.count();
        let longest = latencies.at(1.0)?;
        // With n samples, nothing is known beyond the share 1 - 1/n.
        let known = nines(1.0 - 1.0 / approximately(samples));
        let points = (0..=LAST_NINES * POINTS_PER_NINE)
            .map(|step| f64::from(step) / f64::from(POINTS_PER_NINE))
            .filter(|at| (FIRST_NINES..=known).contains(at))
            .filter_map(|at| Some((at, latencies.at(1.0 - 10_f64.powf(-at))?)));
        Some(Self {
            path: measured.path,
            samples,
            points: points.collect(),
            longest: (MAX_NINES, longest),
            note: format!(
                "p50 {} · p99 {} µs",
                short(latencies.at(0.5)?),
                short(latencies.at(0.99)?)
            ),
        })
    }

    /// Every latency that the picture must have room for, in microseconds.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = f64> {
        let points = self.points.iter().chain([&self.longest]);
        points.map(|(_, latency)| *latency)
    }

    /// Whether nothing of the broker's is in the path, so that it is what others are held against.
    pub(crate) fn is_floor(&self) -> bool {
        match self.path {
            LatencyPath::RawIrqfd | LatencyPath::BareRelay | LatencyPath::Userspace => true,
            LatencyPath::Bypass
            | LatencyPath::Relay
            | LatencyPath::SignalMsi
            | LatencyPath::Posted => false,
        }
    }

    /// How it is drawn: a floor as a wide pale band, and what is held against it as a thin line of
    /// the same family on top. The families are Okabe and Ito's, safe for the colour-blind.
    pub(crate) fn stroke(&self) -> Stroke {
        let (color, label) = match self.path {
            LatencyPath::RawIrqfd => (RGBColor(86, 180, 233), RGBColor(36, 124, 178)),
            LatencyPath::Bypass => (RGBColor(0, 90, 156), RGBColor(0, 90, 156)),
            LatencyPath::BareRelay => (RGBColor(230, 159, 0), RGBColor(163, 107, 0)),
            LatencyPath::Relay => (RGBColor(190, 74, 0), RGBColor(190, 74, 0)),
            LatencyPath::SignalMsi => (RGBColor(0, 140, 105), RGBColor(0, 124, 92)),
            LatencyPath::Posted => (RGBColor(150, 60, 120), RGBColor(150, 60, 120)),
            LatencyPath::Userspace => (RGBColor(204, 121, 167), RGBColor(160, 80, 126)),
        };
        let (opacity, width, dot) = match self.is_floor() {
            true => (0.55, 9, 7),
            false => (1.0, 3, 4),
        };
        Stroke {
            color,
            label,
            opacity,
            width,
            dot,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the axis cannot show the difference of 2^53 samples and one more"
)]
fn approximately(samples: u64) -> f64 {
    samples as f64
}
