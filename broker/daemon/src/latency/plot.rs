//! The percentiles of each path as a picture.
//!
//! Texts stay texts (`<text>` elements) for the viewer's fonts, so drawing needs no font here.

mod canvas;
mod curve;
mod scale;

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::bail;
use plotters::style::Color;
use plotters::style::RGBColor;

use self::canvas::Canvas;
use self::canvas::Font;
use self::curve::Curve;
use self::scale::Frame;
use self::scale::MAX_NINES;
use self::scale::PERCENTILES;
use self::scale::Scale;
use self::scale::nines;
use self::scale::spread;
use super::report::Measured;
use crate::halt_poll::HaltPoll;
use crate::machine::Machine;

/// Size of the picture in pixels.
const SIZE: (u32, u32) = (1200, 720);

/// Where the curves go; the margin to its right holds their labels.
const FRAME: Frame = Frame {
    left: 92,
    right: 960,
    top: 112,
    bottom: 628,
};

/// Least distance between two labels of two lines each, in pixels.
const LABEL_DISTANCE: i32 = 46;

/// Says what the wide pale lines are.
const FLOORS: &str = "wide pale lines: the floors, measured without the broker";

const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(32, 36, 42);
const MUTED: RGBColor = RGBColor(98, 106, 116);
const GRID: RGBColor = RGBColor(228, 231, 235);

/// Draws the picture into `file`.
///
/// # Errors
///
/// Nothing was measured, or the file could not be written.
pub(crate) fn save(
    file: &Path,
    measured: &[Measured],
    halt_poll: HaltPoll,
    machine: &Machine,
) -> anyhow::Result<()> {
    let svg = draw(measured, halt_poll, machine)?;
    fs::write(file, svg).with_context(|| {
        let file = file.display();
        format!("cannot write the plot to {file}: give a writable file with --plot")
    })
}

/// The picture as SVG text.
fn draw(measured: &[Measured], halt_poll: HaltPoll, machine: &Machine) -> anyhow::Result<String> {
    let curves: Vec<Curve> = measured.iter().filter_map(Curve::of).collect();
    let Some(scale) = Scale::around(FRAME, curves.iter().flat_map(Curve::latencies)) else {
        bail!("nothing was measured, so there is nothing to plot");
    };
    let mut svg = String::new();
    let canvas = Canvas::new(&mut svg, SIZE, PAPER)?;
    draw_title(&canvas, &curves, halt_poll, machine)?;
    draw_axes(&canvas, &scale)?;
    for curve in &curves {
        draw_curve(&canvas, &scale, curve)?;
    }
    draw_labels(&canvas, &scale, &curves)?;
    if curves.iter().any(Curve::is_floor) {
        let at = (FRAME.left + 12, FRAME.top + 4);
        canvas.text(FLOORS, at, &Font::new(13, MUTED))?;
    }
    canvas.finish()?;
    Ok(svg)
}

fn draw_title(
    canvas: &Canvas<'_>,
    curves: &[Curve],
    halt_poll: HaltPoll,
    machine: &Machine,
) -> anyhow::Result<()> {
    let samples = curves.iter().map(|curve| curve.samples).min().unwrap_or(0);
    let title = "Interrupt latency: device event to guest handler";
    canvas.text(title, (36, 40), &Font::new(26, INK).bold())?;
    let conditions = format!(
        "{samples} samples per path · {halt_poll} · kernel {} · {}",
        machine.kernel, machine.cpu
    );
    canvas.text(&conditions, (36, 72), &Font::new(15, MUTED))
}

fn draw_axes(canvas: &Canvas<'_>, scale: &Scale) -> anyhow::Result<()> {
    let label = Font::new(14, MUTED);
    for tick in scale.ticks() {
        let (_, y) = scale.at(0.0, tick);
        canvas.line(vec![(FRAME.left, y), (FRAME.right, y)], GRID.to_rgba(), 1)?;
        let at = (FRAME.left - 12, y);
        canvas.text(&tick.to_string(), at, &label.clone().ending())?;
    }
    let percentiles = PERCENTILES.map(|(text, quantile)| (text, nines(quantile)));
    for (text, nines) in percentiles.into_iter().chain([("max", MAX_NINES)]) {
        let (x, _) = scale.at(nines, 1.0);
        canvas.line(vec![(x, FRAME.top), (x, FRAME.bottom)], GRID.to_rgba(), 1)?;
        canvas.text(text, (x, FRAME.bottom + 22), &label.clone().centred())?;
    }
    let middle = (FRAME.left + FRAME.right) / 2;
    let below = "percentile: this share of the events was handled at least as fast";
    canvas.text(
        below,
        (middle, FRAME.bottom + 56),
        &Font::new(15, INK).centred(),
    )?;
    let beside = (36, (FRAME.top + FRAME.bottom) / 2);
    let upwards = Font::new(15, INK).centred().upwards();
    canvas.text(
        "latency in µs (log scale, lower is better)",
        beside,
        &upwards,
    )
}

fn draw_curve(canvas: &Canvas<'_>, scale: &Scale, curve: &Curve) -> anyhow::Result<()> {
    let stroke = curve.stroke();
    let color = stroke.color.mix(stroke.opacity);
    let at = |&(nines, latency): &(f64, f64)| scale.at(nines, latency);
    canvas.line(curve.points.iter().map(at).collect(), color, stroke.width)?;
    // Between the last known percentile and the longest latency, nothing is known.
    let unknown = curve.points.last().into_iter().chain([&curve.longest]);
    canvas.line(unknown.map(at).collect(), stroke.color.mix(0.45), 1)?;
    canvas.dot(at(&curve.longest), stroke.dot, stroke.color, PAPER)
}

fn draw_labels(canvas: &Canvas<'_>, scale: &Scale, curves: &[Curve]) -> anyhow::Result<()> {
    let ends: Vec<(i32, i32)> = curves
        .iter()
        .map(|curve| scale.at(curve.longest.0, curve.longest.1))
        .collect();
    let heights: Vec<i32> = ends.iter().map(|(_, y)| *y).collect();
    let placed = spread(&heights, LABEL_DISTANCE, FRAME);
    for ((curve, (x, end)), y) in curves.iter().zip(ends).zip(placed) {
        let color = curve.stroke().label;
        let leader = vec![(x + 8, end), (x + 24, y), (x + 30, y)];
        canvas.line(leader, color.mix(0.6), 1)?;
        let name = Font::new(17, color).bold();
        canvas.text(curve.path.as_str(), (x + 36, y - 9), &name)?;
        canvas.text(&curve.note, (x + 36, y + 11), &Font::new(13, MUTED))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
