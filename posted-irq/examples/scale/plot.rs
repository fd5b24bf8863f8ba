//! The sweep as a picture: what becomes of posts, how long they wait, what changes cost.

use anyhow::Context;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use plotters::style::text_anchor::Pos;
use plotters::style::text_anchor::VPos;
use posted_irq::sim::SimCause;

use super::Point;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Pixel = (i32, i32);

const INK: RGBColor = RGBColor(32, 36, 42);
const MUTED: RGBColor = RGBColor(98, 106, 116);
const GRID: RGBColor = RGBColor(228, 231, 235);
const BLUE: RGBColor = RGBColor(0, 90, 156);

/// Left, top, right, bottom of the three panels.
const FATES: [i32; 4] = [92, 140, 640, 600];
const WAITS: [i32; 4] = [860, 140, 1160, 330];
const CHANGES: [i32; 4] = [880, 436, 1060, 601];

/// What may become of a post: name, explanation, colour (Okabe and Ito's), and where in the panel
/// there is room to say so, in shares of its width and height.
const LAYERS: [(&str, &str, RGBColor, (f64, f64)); 4] = [
    (
        "a blocked vCPU",
        "is woken by the wakeup vector",
        RGBColor(190, 116, 0),
        (0.03, 0.38),
    ),
    (
        "a running vCPU",
        "is notified, with no exit",
        BLUE,
        (0.03, 0.87),
    ),
    (
        "a preempted vCPU",
        "finds it when it runs again",
        RGBColor(0, 128, 96),
        (0.58, 0.34),
    ),
    (
        "nobody need hear of it",
        "pending, or being notified already",
        RGBColor(122, 130, 140),
        (0.5, 0.76),
    ),
];

/// Draws the picture as SVG text.
pub(crate) fn draw(points: &[Point]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (1200, 690)).into_drawing_area();
    area.fill(&WHITE).context("cannot draw the paper")?;
    let title = "What posting costs when vCPUs share processors";
    text(&area, title, (36, 40), 26, INK, HPos::Left)?;
    let conditions = "simulated: 4096 vCPUs in 256 VMs, 100 000 remapping entries over two units, \
                      2000 interrupts a second to each vCPU · no interrupt lost or invented";
    text(&area, conditions, (36, 72), 15, MUTED, HPos::Left)?;
    draw_fates(&area, points)?;
    draw_waits(&area, points)?;
    draw_changes(&area, points)?;
    area.present().context("cannot finish the plot")?;
    drop(area);
    Ok(svg)
}

fn draw_fates(area: &Area<'_>, points: &[Point]) -> anyhow::Result<()> {
    let [left, top, right, bottom] = FATES;
    text(
        area,
        "What becomes of a post",
        (left, top - 24),
        18,
        INK,
        HPos::Left,
    )?;
    let y = |share: f64| at(bottom, top, share);
    let sums: Vec<[f64; 5]> = points.iter().map(shares).collect();
    for (layer, (_, _, color, _)) in LAYERS.into_iter().enumerate() {
        let edge = |side: usize| {
            let place = move |(point, sums): (&Point, &[f64; 5])| {
                (across(FATES, point), y(sums[layer + side]))
            };
            points.iter().zip(&sums).map(place)
        };
        let outline: Vec<Pixel> = edge(0).chain(edge(1).rev()).collect();
        fill(area, Polygon::new(outline, color.filled()))?;
    }
    for percent in [0, 25, 50, 75, 100] {
        let y = y(f64::from(percent) / 100.0);
        line(area, vec![(left, y), (right, y)], WHITE.mix(0.3), 1)?;
        let label = format!("{percent} %");
        text(area, &label, (left - 10, y), 14, MUTED, HPos::Right)?;
    }
    for (name, why, _, (right_by, up_by)) in LAYERS {
        let (x, y) = (at(left, right, right_by), y(up_by));
        text(area, name, (x, y - 10), 16, WHITE, HPos::Left)?;
        text(area, why, (x, y + 11), 13, WHITE, HPos::Left)?;
    }
    draw_ratios(area, FATES, points)
}

/// Running sums of the shares of posts, lowest layer first.
fn shares(point: &Point) -> [f64; 5] {
    let report = &point.report;
    let running = report.notifications - report.wakeup_notifications;
    let mut sums = [0.0; 5];
    let fates = [report.wakeup_notifications, running, report.suppressed];
    let mut sum = 0;
    for (place, fate) in sums[1..].iter_mut().zip(fates) {
        sum += fate;
        *place = sum as f64 / report.posted as f64;
    }
    sums[4] = 1.0;
    sums
}

fn draw_waits(area: &Area<'_>, points: &[Point]) -> anyhow::Result<()> {
    let [left, top, right, bottom] = WAITS;
    let heading = "Mean time until a vCPU takes a post";
    text(area, heading, (left - 170, top - 24), 18, INK, HPos::Left)?;
    // From 1 µs to 100 ms.
    let y = |ns: f64| at(bottom, top, (ns.log10() - 3.0) / 5.0);
    for (ns, label) in [
        (1e3, "1 µs"),
        (1e4, "10 µs"),
        (1e5, "100 µs"),
        (1e6, "1 ms"),
        (1e7, "10 ms"),
        (1e8, "100 ms"),
    ] {
        line(area, vec![(left, y(ns)), (right, y(ns))], GRID.to_rgba(), 1)?;
        text(area, label, (left - 10, y(ns)), 14, MUTED, HPos::Right)?;
    }
    let wait = |point: &Point| point.per_delivered(point.report.waited_ns);
    let curve: Vec<Pixel> = points
        .iter()
        .map(|point| (across(WAITS, point), y(wait(point))))
        .collect();
    line(area, curve.clone(), BLUE.to_rgba(), 3)?;
    for place in curve {
        fill(area, Circle::new(place, 4, BLUE.filled()))?;
    }
    draw_ratios(area, WAITS, points)
}

fn draw_changes(area: &Area<'_>, points: &[Point]) -> anyhow::Result<()> {
    let [left, top, right, bottom] = CHANGES;
    let heading = "Entries changed, and invalidations for them";
    text(area, heading, (left - 190, top - 24), 18, INK, HPos::Left)?;
    let rows = [
        (SimCause::Retarget, "another vCPU or vector"),
        (SimCause::Demote, "cannot be posted any more"),
        (SimCause::StayRemapped, "still cannot"),
        (SimCause::HostMovedPosted, "host moves its interrupt"),
        (SimCause::Unplug, "device taken out"),
    ];
    let sum = |cause| {
        let changes = points.iter().map(|point| point.report.changes(cause));
        changes.fold((0, 0), |(events, invalidations), one| {
            (events + one.events, invalidations + one.invalidations)
        })
    };
    let most = rows
        .map(|(cause, _)| sum(cause).0)
        .into_iter()
        .max()
        .unwrap_or(1);
    let height = (bottom - top) / 5;
    for (row, (cause, name)) in (0..).zip(rows) {
        let y = top + row * height;
        let (events, invalidations) = sum(cause);
        let x = |count: u64| at(left, right, count as f64 / most as f64);
        let bar = |end, from, to, color: RGBAColor| {
            Rectangle::new([(left, y + from), (end, y + to)], color.filled())
        };
        fill(area, bar(x(events), 6, 26, BLUE.mix(0.22)))?;
        fill(area, bar(x(invalidations), 12, 20, BLUE.to_rgba()))?;
        text(area, name, (left - 10, y + 16), 14, INK, HPos::Right)?;
        let counts = format!("{} k, {} k", thousands(events), thousands(invalidations));
        text(
            area,
            &counts,
            (x(events) + 10, y + 16),
            13,
            MUTED,
            HPos::Left,
        )?;
    }
    let below = "pale: entries; dark: invalidations, one for a device's whole block";
    text(
        area,
        below,
        (left - 190, bottom + 16),
        13,
        MUTED,
        HPos::Left,
    )
}

fn draw_ratios(area: &Area<'_>, panel: [i32; 4], points: &[Point]) -> anyhow::Result<()> {
    let [left, _, right, bottom] = panel;
    for point in points {
        let place = (across(panel, point), bottom + 18);
        text(
            area,
            &point.ratio.to_string(),
            place,
            14,
            MUTED,
            HPos::Center,
        )?;
    }
    let middle = (left + right) / 2;
    text(
        area,
        "vCPUs to a processor",
        (middle, bottom + 42),
        14,
        INK,
        HPos::Center,
    )
}

/// Where the ratio is, on a logarithmic axis up to 64.
fn across([left, _, right, _]: [i32; 4], point: &Point) -> i32 {
    at(left, right, f64::from(point.ratio).log2() / 6.0)
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a small picture")]
fn at(from: i32, to: i32, share: f64) -> i32 {
    from + (f64::from(to - from) * share).round() as i32
}

fn thousands(count: u64) -> u64 {
    (count + 500) / 1000
}

fn text(
    area: &Area<'_>,
    text: &str,
    at: Pixel,
    size: i32,
    color: RGBColor,
    anchor: HPos,
) -> anyhow::Result<()> {
    /// plotters divides font sizes by this before it writes them.
    const SHRINK: f64 = 1.24;
    let style = if size > 15 {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    let family = "Inter, Segoe UI, Helvetica Neue, Arial, DejaVu Sans, sans-serif";
    let style = (family, f64::from(size) * SHRINK, style)
        .into_text_style(area)
        .color(&color)
        .pos(Pos::new(anchor, VPos::Center));
    let text = Text::new(text.to_owned(), at, style);
    area.draw(&text).context("cannot draw a text")
}

fn line(area: &Area<'_>, points: Vec<Pixel>, color: RGBAColor, width: u32) -> anyhow::Result<()> {
    let path = PathElement::new(points, color.stroke_width(width));
    area.draw(&path).context("cannot draw a line")
}

fn fill<E>(area: &Area<'_>, element: E) -> anyhow::Result<()>
where
    for<'e> &'e E: plotters::element::PointCollection<'e, Pixel>,
    for<'b> E: plotters::element::Drawable<SVGBackend<'b>>,
{
    area.draw(&element).context("cannot draw an area")
}
