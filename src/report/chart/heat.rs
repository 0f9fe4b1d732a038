//! Squares of numbers in shades.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{LABEL_WIDTH, REAL, SYNTHETIC, TEXT, WIDTH, draw, shortened, write};
use crate::error::Result;

/// With more columns than this there is no room for their names.
const MOST_NAMES: usize = 20;
/// Shades that are told apart.
const SHADES: f64 = 12.0;
/// A difference of this size has the darkest shade.
const DARKEST_DIFFERENCE: f64 = 0.2;

/// Associations of each pair of columns: the stronger, the darker.
pub(in crate::report) fn heat(names: &[String], values: &[Vec<f64>]) -> Result<String> {
    square(names, |i, j| (TEXT, values[i][j].abs()))
}

/// Differences of associations: in the colour of the table where they are stronger.
pub(in crate::report) fn difference(names: &[String], real: &[Vec<f64>], synthetic: &[Vec<f64>]) -> Result<String> {
    square(names, |i, j| {
        let more = synthetic[i][j].abs() - real[i][j].abs();
        (if more > 0.0 { SYNTHETIC } else { REAL }, more.abs() / DARKEST_DIFFERENCE)
    })
}

/// Cells of a colour and a strength from 0 to 1.
fn square(names: &[String], cell: impl Fn(usize, usize) -> (RGBColor, f64)) -> Result<String> {
    let named = names.len() <= MOST_NAMES;
    let left = if named { LABEL_WIDTH + 12 } else { 0 };
    let side = WIDTH - left;
    let edge = |i: usize| (i as f64 / names.len().max(1) as f64 * f64::from(side)).round() as i32;
    draw(WIDTH, side, |canvas| {
        for (i, name) in names.iter().enumerate() {
            if named {
                write(canvas, &shortened(name), (LABEL_WIDTH, (edge(i) + edge(i + 1)) / 2), HPos::Right, VPos::Center)?;
            }
            for j in (0..names.len()).filter(|&j| j != i) {
                let (colour, strength) = cell(i, j);
                let shade = (strength.min(1.0) * SHADES).round() / SHADES;
                if shade > 0.0 {
                    let corners = [(left + edge(j), edge(i)), (left + edge(j + 1), edge(i + 1))];
                    canvas.draw(&Rectangle::new(corners, colour.mix(shade).filled()))?;
                }
            }
        }
        Ok(())
    })
}
