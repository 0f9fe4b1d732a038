//! The pictures: SVG in fixed colours, which the page's style sheet maps to
//! light and dark ones.
//!
//! In every picture a filled bar is real and a line or tick is synthetic, so
//! that shape alone tells them apart. Units are half a CSS pixel.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::marginal::MarginalPlot;
use crate::error::{Error, Result};

// The style sheet selects on these.
const REAL: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const SYNTHETIC: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

const WIDTH: i32 = 720;
const FONT: i32 = 30;
/// Characters of a category's name that fit beside its bar.
const LABEL_CHARS: usize = 17;
const LABEL_WIDTH: i32 = 230;
const SUPPRESSED: &str = "fewer than 10";
const SUPPRESSED_WIDTH: i32 = 190;
const ROW_HEIGHT: i32 = 36;
const AXIS_HEIGHT: i32 = 40;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The plot of one column.
pub(super) fn marginal(plot: &MarginalPlot) -> Result<String> {
    match &plot.range {
        Some(range) => numbers(plot, range),
        None => categories(plot),
    }
}

/// A figure between its floor and its ceiling, on a track from `axis.0` to `axis.1`.
pub(super) fn gauge(axis: (f64, f64), floor: Option<f64>, ceiling: Option<f64>, value: f64) -> Result<String> {
    const HEIGHT: i32 = 40;
    const MARGIN: i32 = 16;
    let x = |v: f64| {
        let span = axis.1 - axis.0;
        let at = if span > 0.0 { ((v - axis.0) / span).clamp(0.0, 1.0) } else { 0.0 };
        MARGIN + (at * f64::from(WIDTH / 2 - 2 * MARGIN)).round() as i32
    };
    draw(WIDTH / 2, HEIGHT, |canvas| {
        let middle = HEIGHT / 2;
        canvas.draw(&Rectangle::new([(MARGIN, middle - 2), (WIDTH / 2 - MARGIN, middle + 2)], GRID.filled()))?;
        for mark in [floor, ceiling].into_iter().flatten() {
            canvas.draw(&Rectangle::new([(x(mark) - 3, middle - 14), (x(mark) + 3, middle + 14)], REAL.filled()))?;
        }
        let (x, r) = (x(value), 11);
        let diamond = vec![(x - r, middle), (x, middle - r), (x + r, middle), (x, middle + r)];
        canvas.draw(&Polygon::new(diamond, SYNTHETIC.filled()))
    })
}

/// True positive rate over false positive rate, both in logarithm from 0.001 to 1, with its band.
///
/// `points` are (false positive rate, true positive rate, lower, upper bound) with rising false positive rate. The
/// diagonal is chance.
pub(super) fn roc(points: &[(f64, f64, f64, f64)]) -> Result<String> {
    const SIDE: i32 = 640;
    const LEFT: i32 = 110;
    const BOTTOM: i32 = 80;
    const TOP: i32 = 20;
    const LEAST: f64 = 1e-3;
    let at = |rate: f64| (rate.max(LEAST) / LEAST).log10() / -LEAST.log10();
    let x = |rate: f64| LEFT + (at(rate) * f64::from(WIDTH - LEFT - 60)).round() as i32;
    let y = |rate: f64| SIDE - BOTTOM - (at(rate) * f64::from(SIDE - BOTTOM - TOP)).round() as i32;
    draw(WIDTH, SIDE, |canvas| {
        for (rate, text) in [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")] {
            canvas.draw(&PathElement::new(vec![(x(rate), y(LEAST)), (x(rate), y(1.0))], GRID.stroke_width(2)))?;
            canvas.draw(&PathElement::new(vec![(x(LEAST), y(rate)), (x(1.0), y(rate))], GRID.stroke_width(2)))?;
            write(canvas, text, (x(rate), y(LEAST) + 14), HPos::Center, VPos::Top)?;
            write(canvas, text, (LEFT - 14, y(rate)), HPos::Right, VPos::Center)?;
        }
        let low = points.iter().map(|&(fpr, _, low, _)| (x(fpr), y(low)));
        let high = points.iter().rev().map(|&(fpr, _, _, high)| (x(fpr), y(high)));
        canvas.draw(&Polygon::new(low.chain(high).collect::<Vec<_>>(), SYNTHETIC.mix(0.25).filled()))?;
        canvas.draw(&PathElement::new(vec![(x(LEAST), y(LEAST)), (x(1.0), y(1.0))], REAL.stroke_width(4)))?;
        let line: Vec<(i32, i32)> = points.iter().map(|&(fpr, tpr, ..)| (x(fpr), y(tpr))).collect();
        canvas.draw(&PathElement::new(line, SYNTHETIC.stroke_width(6)))
    })
}

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

/// The largest share in the plot, so that the axis ends above it.
fn highest(plot: &MarginalPlot) -> f64 {
    let real = plot.real.iter().flatten();
    real.chain(&plot.synthetic).copied().fold(0.0, f64::max).max(1e-3)
}

/// Round shares for the axis: at most four steps of 1, 2 or 5 times a power of ten.
fn ticks(highest: f64) -> Vec<f64> {
    let power = 10f64.powf((highest / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| highest / step <= 4.0);
    let step = step.unwrap_or(10.0 * power);
    (0..).map(|i| f64::from(i) * step).take_while(|tick| *tick <= highest * 1.000_001).collect()
}

fn percent(share: f64, highest: f64) -> String {
    if highest < 0.04 { format!("{:.1}%", share * 100.0) } else { format!("{:.0}%", share * 100.0) }
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    let start: String = label.chars().take(LABEL_CHARS - 1).collect();
    format!("{start}\u{2026}")
}

/// One row for each category: a bar for the real share, a tick for the synthetic one.
fn categories(plot: &MarginalPlot) -> Result<String> {
    let highest = highest(plot);
    let left = LABEL_WIDTH + 12;
    let x = |share: f64| left + (share / highest * f64::from(WIDTH - left - 40)).round() as i32;
    let bottom = plot.labels.len() as i32 * ROW_HEIGHT;
    draw(WIDTH, bottom + AXIS_HEIGHT, |canvas| {
        for tick in ticks(highest) {
            canvas.draw(&PathElement::new(vec![(x(tick), 0), (x(tick), bottom)], GRID.stroke_width(2)))?;
            write(canvas, &percent(tick, highest), (x(tick), bottom + 8), HPos::Center, VPos::Top)?;
        }
        for (row, label) in plot.labels.iter().enumerate() {
            let top = row as i32 * ROW_HEIGHT;
            let middle = top + ROW_HEIGHT / 2;
            write(canvas, &shortened(label), (LABEL_WIDTH, middle), HPos::Right, VPos::Center)?;
            let tick = x(plot.synthetic[row]);
            match plot.real[row] {
                Some(share) => {
                    canvas.draw(&Rectangle::new([(left, top + 7), (x(share), top + ROW_HEIGHT - 7)], REAL.filled()))?;
                }
                None => {
                    let start = if tick - left < SUPPRESSED_WIDTH { tick + 14 } else { left };
                    write(canvas, SUPPRESSED, (start, middle), HPos::Left, VPos::Center)?;
                }
            }
            canvas
                .draw(&Rectangle::new([(tick - 3, top + 2), (tick + 3, top + ROW_HEIGHT - 2)], SYNTHETIC.filled()))?;
        }
        Ok(())
    })
}

/// One column for each bin, bars for the real shares, a stepped line for the synthetic ones.
fn numbers(plot: &MarginalPlot, range: &[String; 2]) -> Result<String> {
    const TOP: i32 = 16;
    const BOTTOM: i32 = 264;
    let highest = highest(plot);
    let left = 76;
    let bins = plot.labels.len().saturating_sub(usize::from(plot.has_missing));
    // The missing cell stands apart, one bin's width to the right.
    let slots = if plot.has_missing { bins + 3 } else { bins };
    let edge = |slot: usize| left + (slot as f64 / slots as f64 * f64::from(WIDTH - left - 16)).round() as i32;
    let y = |share: f64| BOTTOM - (share / highest * f64::from(BOTTOM - TOP)).round() as i32;
    draw(WIDTH, BOTTOM + AXIS_HEIGHT, |canvas| {
        for tick in ticks(highest) {
            canvas.draw(&PathElement::new(vec![(left, y(tick)), (WIDTH - 16, y(tick))], GRID.stroke_width(2)))?;
            write(canvas, &percent(tick, highest), (left - 8, y(tick)), HPos::Right, VPos::Center)?;
        }
        let slot_of =
            |cell: usize| if cell < bins { edge(cell)..edge(cell + 1) } else { edge(bins + 1)..edge(bins + 3) };
        for (cell, share) in plot.real.iter().enumerate() {
            if let Some(share) = share {
                let slot = slot_of(cell);
                canvas.draw(&Rectangle::new([(slot.start + 1, y(*share)), (slot.end - 1, BOTTOM)], REAL.filled()))?;
            }
        }
        let steps = |cells: std::ops::Range<usize>| -> Vec<(i32, i32)> {
            let corners = cells.map(|cell| (slot_of(cell), y(plot.synthetic[cell])));
            corners.flat_map(|(slot, y)| [(slot.start, y), (slot.end, y)]).collect()
        };
        canvas.draw(&PathElement::new(steps(0..bins), SYNTHETIC.stroke_width(5)))?;
        if plot.has_missing {
            canvas.draw(&PathElement::new(steps(bins..bins + 1), SYNTHETIC.stroke_width(5)))?;
            write(canvas, "missing", (WIDTH - 8, BOTTOM + 8), HPos::Right, VPos::Top)?;
        }
        write(canvas, &range[0], (edge(0), BOTTOM + 8), HPos::Left, VPos::Top)?;
        write(canvas, &range[1], (edge(bins), BOTTOM + 8), HPos::Right, VPos::Top)?;
        Ok(())
    })
}
