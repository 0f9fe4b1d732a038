//! Estimates with their intervals, one row each.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{
    AXIS_HEIGHT, GRID, LABEL_WIDTH, REAL, ROW_HEIGHT, SYNTHETIC, TEXT, WIDTH, diamond, draw, shortened, write,
};
use crate::error::Result;

/// An estimate between the ends of its interval.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Interval {
    pub estimate: f64,
    pub lower: f64,
    pub upper: f64,
}

/// One row for each term: a bar for the real interval, a line with a diamond for the synthetic one. Odds `ratios` stand
/// on a logarithmic axis around 1, coefficients around 0.
pub(in crate::report) fn forest(rows: &[(String, Option<Interval>, Option<Interval>)], ratios: bool) -> Result<String> {
    let scale = |value: f64| if ratios { value.max(f64::MIN_POSITIVE).ln() } else { value };
    let neutral = if ratios { 1.0 } else { 0.0 };
    let intervals = rows.iter().flat_map(|(_, real, synthetic)| [*real, *synthetic]).flatten();
    let reach = intervals
        .flat_map(|interval| [interval.lower, interval.upper])
        .map(|end| (scale(end) - scale(neutral)).abs())
        .filter(|reach| reach.is_finite())
        .fold(0.0, f64::max)
        .max(1e-9);
    let left = LABEL_WIDTH + 12;
    let x = |value: f64| {
        let share = (scale(value) - scale(neutral)) / reach;
        left + ((share.clamp(-1.0, 1.0) + 1.0) / 2.0 * f64::from(WIDTH - left - 40)).round() as i32
    };
    let bottom = rows.len() as i32 * ROW_HEIGHT;
    draw(WIDTH, bottom + AXIS_HEIGHT, |canvas| {
        let unscale = |scaled: f64| if ratios { scaled.exp() } else { scaled };
        for end in [unscale(scale(neutral) - reach), neutral, unscale(scale(neutral) + reach)] {
            canvas.draw(&PathElement::new(vec![(x(end), 0), (x(end), bottom)], GRID.stroke_width(2)))?;
            write(canvas, &format!("{end:.2}"), (x(end), bottom + 8), HPos::Center, VPos::Top)?;
        }
        canvas.draw(&PathElement::new(vec![(x(neutral), 0), (x(neutral), bottom)], TEXT.stroke_width(2)))?;
        for (row, (name, real, synthetic)) in rows.iter().enumerate() {
            let top = row as i32 * ROW_HEIGHT;
            let middle = top + ROW_HEIGHT / 2;
            write(canvas, &shortened(name), (LABEL_WIDTH, middle), HPos::Right, VPos::Center)?;
            if let Some(real) = real {
                let corners = [(x(real.lower), top + 7), (x(real.upper), top + ROW_HEIGHT - 7)];
                canvas.draw(&Rectangle::new(corners, REAL.filled()))?;
            }
            if let Some(synthetic) = synthetic {
                let line = vec![(x(synthetic.lower), middle), (x(synthetic.upper), middle)];
                canvas.draw(&PathElement::new(line, SYNTHETIC.stroke_width(4)))?;
                canvas.draw(&diamond((x(synthetic.estimate), middle), 9))?;
            }
        }
        Ok(())
    })
}
