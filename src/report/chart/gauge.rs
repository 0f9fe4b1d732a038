//! A figure between its floor and its ceiling.

use plotters::prelude::*;

use super::{GRID, REAL, WIDTH, diamond, draw};
use crate::error::Result;

/// A figure between its floor and its ceiling, on a track from `axis.0` to `axis.1`.
pub(in crate::report) fn gauge(
    axis: (f64, f64),
    floor: Option<f64>,
    ceiling: Option<f64>,
    value: f64,
) -> Result<String> {
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
        canvas.draw(&diamond((x(value), middle), 11))
    })
}
