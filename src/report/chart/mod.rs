//! The pictures: SVG in fixed colours, which the page's style sheet maps to
//! light and dark ones.
//!
//! In every picture a filled bar or band is real and a line, tick or diamond is synthetic, so
//! that shape alone tells them apart. Units are half a CSS pixel.

mod bars;
mod curves;
mod forest;
mod gauge;
mod heat;

pub(super) use bars::marginal;
pub(super) use curves::{calibration, roc, survival};
pub(super) use forest::{Interval, forest};
pub(super) use gauge::gauge;
pub(super) use heat::{difference, heat};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

// The style sheet selects on these.
const REAL: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const SYNTHETIC: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

const WIDTH: i32 = 720;
const FONT: i32 = 30;
/// Characters of a category's name that fit beside its bar.
const LABEL_CHARS: usize = 15;
const LABEL_WIDTH: i32 = 230;
const ROW_HEIGHT: i32 = 36;
const AXIS_HEIGHT: i32 = 40;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw(width: i32, height: i32, paint: impl FnOnce(&Canvas) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    let canvas = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
    let drawn = paint(&canvas).and_then(|()| canvas.present());
    drop(canvas);
    drawn.map_err(|e| Error::failed(format!("a picture of the report could not be drawn ({e})")))?;
    Ok(svg)
}

fn write(canvas: &Canvas, text: &str, at: (i32, i32), h_pos: HPos, v_pos: VPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", FONT).into_font()).color(&TEXT).pos(Pos::new(h_pos, v_pos));
    canvas.draw(&Text::new(text.to_owned(), at, style))
}

/// A diamond around a point.
fn diamond((x, y): (i32, i32), r: i32) -> Polygon<(i32, i32)> {
    Polygon::new(vec![(x - r, y), (x, y - r), (x + r, y), (x, y + r)], SYNTHETIC.filled())
}

/// Round numbers for the axis: at most four steps of 1, 2 or 5 times a power of ten.
fn ticks(highest: f64) -> Vec<f64> {
    let power = 10f64.powf((highest / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| highest / step <= 4.0);
    let step = step.unwrap_or(10.0 * power);
    (0..).map(|i| f64::from(i) * step).take_while(|tick| *tick <= highest * 1.000_001).collect()
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    let start: String = label.chars().take(LABEL_CHARS - 1).collect();
    format!("{start}\u{2026}")
}
