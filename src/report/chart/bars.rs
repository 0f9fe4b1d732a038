//! One column, real bars against synthetic ticks or steps.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{AXIS_HEIGHT, GRID, LABEL_WIDTH, REAL, ROW_HEIGHT, SYNTHETIC, WIDTH, draw, shortened, ticks, write};
use crate::error::Result;
use crate::report::marginal::MarginalPlot;

const SUPPRESSED: &str = "fewer than 10";
const SUPPRESSED_WIDTH: i32 = 190;

/// The plot of one column.
pub(in crate::report) fn marginal(plot: &MarginalPlot) -> Result<String> {
    match &plot.range {
        Some(range) => numbers(plot, range),
        None => categories(plot),
    }
}

/// The largest share in the plot, so that the axis ends above it.
fn highest(plot: &MarginalPlot) -> f64 {
    let real = plot.real.iter().flatten();
    real.chain(&plot.synthetic).copied().fold(0.0, f64::max).max(1e-3)
}

fn percent(share: f64, highest: f64) -> String {
    if highest < 0.04 { format!("{:.1}%", share * 100.0) } else { format!("{:.0}%", share * 100.0) }
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
