//! Lines, dots and texts in pixels, on plotters' SVG backend.

use anyhow::Context;
use plotters::coord::Shift;
use plotters::prelude::Circle;
use plotters::prelude::DrawingArea;
use plotters::prelude::FontStyle;
use plotters::prelude::FontTransform;
use plotters::prelude::IntoDrawingArea;
use plotters::prelude::IntoFont;
use plotters::prelude::IntoTextStyle;
use plotters::prelude::PathElement;
use plotters::prelude::SVGBackend;
use plotters::prelude::Text;
use plotters::style::Color;
use plotters::style::RGBAColor;
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;
use plotters::style::text_anchor::Pos;
use plotters::style::text_anchor::VPos;

/// The viewer takes the first of these it has.
const FAMILY: &str = "Inter, Segoe UI, Helvetica Neue, Arial, DejaVu Sans, sans-serif";

/// plotters divides font sizes by this before it writes them.
const SHRINK: f64 = 1.24;

/// A place in the picture, in pixels from its upper left corner.
pub(crate) type Pixel = (i32, i32);

/// What is drawn on.
pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// How a text looks.
#[derive(Clone)]
pub(crate) struct Font {
    size: i32,
    color: RGBColor,
    style: FontStyle,
    anchor: HPos,
    turn: FontTransform,
}

impl Font {
    /// A font of this many pixels whose texts start at their place.
    pub(crate) fn new(size: i32, color: RGBColor) -> Self {
        Self {
            size,
            color,
            style: FontStyle::Normal,
            anchor: HPos::Left,
            turn: FontTransform::None,
        }
    }

    /// The same, bold.
    pub(crate) fn bold(self) -> Self {
        Self {
            style: FontStyle::Bold,
            ..self
        }
    }

    /// The same, centred at its place.
    pub(crate) fn centred(self) -> Self {
        Self {
            anchor: HPos::Center,
            ..self
        }
    }

    /// The same, ending at its place.
    pub(crate) fn ending(self) -> Self {
        Self {
            anchor: HPos::Right,
            ..self
        }
    }

    /// The same, reading upwards.
    pub(crate) fn upwards(self) -> Self {
        Self {
            turn: FontTransform::Rotate270,
            ..self
        }
    }
}

impl<'a> Canvas<'a> {
    /// A picture of this size that is written into `svg` by [`finish`](Self::finish).
    pub(crate) fn new(
        svg: &'a mut String,
        size: (u32, u32),
        paper: RGBColor,
    ) -> anyhow::Result<Self> {
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        area.fill(&paper).context("cannot draw the paper")?;
        Ok(Self { area })
    }

    /// Writes a text whose vertical middle is at `at`.
    pub(crate) fn text(&self, text: &str, at: Pixel, font: &Font) -> anyhow::Result<()> {
        let style = (FAMILY, f64::from(font.size) * SHRINK, font.style)
            .into_font()
            .transform(font.turn.clone())
            .into_text_style(&self.area)
            .color(&font.color)
            .pos(Pos::new(font.anchor, VPos::Center));
        self.area
            .draw(&Text::new(text.to_owned(), at, style))
            .context("cannot draw a text")
    }

    /// Draws a line through the points.
    pub(crate) fn line(
        &self,
        points: Vec<Pixel>,
        color: RGBAColor,
        width: u32,
    ) -> anyhow::Result<()> {
        self.area
            .draw(&PathElement::new(points, color.stroke_width(width)))
            .context("cannot draw a line")
    }

    /// Draws a dot with an edge in another colour.
    pub(crate) fn dot(
        &self,
        at: Pixel,
        radius: u32,
        color: RGBColor,
        edge: RGBColor,
    ) -> anyhow::Result<()> {
        for (radius, color) in [(radius + 2, edge), (radius, color)] {
            self.area
                .draw(&Circle::new(at, radius, color.filled()))
                .context("cannot draw a dot")?;
        }
        Ok(())
    }

    /// Completes the SVG text.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.area.present().context("cannot finish the plot")
    }
}
