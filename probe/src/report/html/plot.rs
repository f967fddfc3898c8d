//! Plots as SVG, in two sizes and in the page's colours.
//!
//! The library draws in fixed colours, which are replaced by the page's variables afterwards: one plot fits light and
//! dark. A plot that is scaled down to a phone has letters that nobody can read, so each is drawn twice and the page
//! shows the one that fits.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Colours by their names in the style sheet, each drawn as a near-black that nothing else uses.
const COLOURS: [(&str, RGBColor); 14] = [
    ("ink", RGBColor(1, 1, 1)),
    ("muted", RGBColor(2, 2, 2)),
    ("grid", RGBColor(3, 3, 3)),
    ("shade", RGBColor(4, 4, 4)),
    ("bad", RGBColor(5, 5, 5)),
    ("c0", RGBColor(6, 6, 6)),
    ("c1", RGBColor(7, 7, 7)),
    ("c2", RGBColor(8, 8, 8)),
    ("c3", RGBColor(9, 9, 9)),
    ("c4", RGBColor(10, 10, 10)),
    ("c5", RGBColor(11, 11, 11)),
    ("c6", RGBColor(12, 12, 12)),
    ("c7", RGBColor(13, 13, 13)),
    ("tint", RGBColor(14, 14, 14)),
];
/// Where the colours of series begin among them.
const FIRST_SERIES: usize = 5;
/// How many series can be told apart.
pub(super) const N_SERIES: usize = 8;
/// Height of letters, pixels.
const LETTERS: u32 = 14;

/// A colour of the page, by its name there.
pub(super) fn colour(name: &str) -> RGBColor {
    COLOURS.iter().find(|(known, _)| *known == name).map_or(BLACK, |(_, colour)| *colour)
}

/// The colour of a series, and its name in the style sheet.
pub(super) fn series(index: usize) -> (&'static str, RGBColor) {
    COLOURS[FIRST_SERIES + index % N_SERIES]
}

/// Numbers with labels where we want them: the library's own choice is not bound to fit.
pub(super) struct Scale {
    numbers: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.numbers.map(value, limit)
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.numbers.range()
    }
}

/// What is drawn on.
pub(super) type Canvas<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;
/// The canvas is a string, so nothing can go wrong; the library asks all the same.
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// An axis: its range, where its labels stand, and what they say.
pub(super) struct Axis<'a> {
    pub(super) range: Range<f64>,
    pub(super) ticks: Vec<f64>,
    pub(super) label: &'a dyn Fn(f64) -> String,
}

impl<'a> Axis<'a> {
    /// An axis from 0 with about five round labels.
    pub(super) fn linear(end: f64, label: &'a dyn Fn(f64) -> String) -> Self {
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        Self { range: 0.0..end, ticks: round_steps(end), label }
    }
}

/// Steps of 1, 2 or 5 times a power of ten, four to nine of them.
fn round_steps(end: f64) -> Vec<f64> {
    let raw = end / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|n| n * power).rfind(|step| *step <= raw).unwrap_or(power);
    (0u32..=12).map(|n| f64::from(n) * step).take_while(|tick| *tick <= end).collect()
}

/// How wide a plot stands on the page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    /// All of it.
    Full,
    /// Half of it where there is room for two.
    Half,
}

impl Width {
    /// Pixels, for a wide page and for a phone, with the class that shows the one or the other.
    const fn sizes(self) -> [(u32, u32, &'static str); 2] {
        match self {
            Self::Full => [(1000, 260, "wide"), (350, 220, "narrow")],
            Self::Half => [(490, 190, "wide"), (350, 190, "narrow")],
        }
    }
}

/// Draws a plot in both its sizes; `title` says what it shows to who cannot see it.
pub(super) fn plot(
    width: Width,
    title: &str,
    x: &Axis<'_>,
    y: &Axis<'_>,
    draw: impl Fn(&mut Canvas<'_, '_>) -> Drawn,
) -> Markup {
    html! {
        @for (width, height, class) in width.sizes() {
            // A plot that could not be drawn is no reason to be without the rest of the report.
            @if let Ok(svg) = one((width, height), x, y, &draw) {
                div class={ "plot " (class) } role="img" aria-label=(title) { (PreEscaped(svg)) }
            }
        }
    }
}

fn one(
    size: (u32, u32),
    x: &Axis<'_>,
    y: &Axis<'_>,
    draw: impl Fn(&mut Canvas<'_, '_>) -> Drawn,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(8)
            .margin_right(14)
            .margin_bottom(2)
            .x_label_area_size(24)
            .y_label_area_size(58)
            .build_cartesian_2d(
                Scale { numbers: x.range.clone().into(), ticks: fitting(&x.ticks, size.0 / 75) },
                Scale { numbers: y.range.clone().into(), ticks: fitting(&y.ticks, size.1 / 24) },
            )?;
        let letters = ("sans-serif", LETTERS).into_font().color(&colour("muted"));
        chart
            .configure_mesh()
            .axis_style(colour("grid"))
            .bold_line_style(colour("grid"))
            .light_line_style(TRANSPARENT)
            .label_style(letters)
            .x_label_formatter(&|value| (x.label)(*value))
            .y_label_formatter(&|value| (y.label)(*value))
            .draw()?;
        draw(&mut chart)?;
        area.present()?;
    }
    Ok(themed(&svg))
}

/// Every second, third, ... label where there is no room for all.
fn fitting(ticks: &[f64], room: u32) -> Vec<f64> {
    let room = usize::try_from(room).unwrap_or(1).max(2);
    ticks.iter().copied().step_by(ticks.len().div_ceil(room).max(1)).collect()
}

/// The page's colours for the drawn ones; the size is the page's business too.
fn themed(svg: &str) -> String {
    let mut out = svg.to_owned();
    for (name, RGBColor(r, g, b)) in COLOURS {
        out = out.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"var(--{name})\""));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        assert_eq!(round_steps(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(round_steps(60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        for end in [1e-9, 0.003, 7.0, 99.0, 123_456.0] {
            let n = round_steps(end).len();
            assert!((4..=12).contains(&n), "{end}: {n}");
        }
    }

    #[test]
    fn colours_are_the_page_s() {
        let axis = Axis::linear(10.0, &|value| format!("<{value}>"));
        let line = |canvas: &mut Canvas<'_, '_>| {
            canvas.draw_series(LineSeries::new([(0.0, 0.0), (5.0, 5.0)], series(0).1))?;
            Ok(())
        };
        let svg = plot(Width::Full, "a \"title\"", &axis, &axis, line).into_string();
        assert!(svg.contains("stroke=\"var(--c0)\"") && svg.contains("fill=\"var(--muted)\""), "{svg}");
        assert!(!svg.contains("\"#0"), "a colour was left: {svg}");
        assert!(svg.contains("&lt;4&gt;") && svg.contains("a &quot;title&quot;"), "{svg}");
    }
}
