//! Curves in a frame: found over false alarms, survival over time, observed over predicted.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{AXIS_HEIGHT, Canvas, Drawn, GRID, REAL, SYNTHETIC, WIDTH, diamond, draw, ticks, write};
use crate::error::Result;

/// True positive rate over false positive rate, both in logarithm from 0.001 to 1, with its band.
///
/// `points` are (false positive rate, true positive rate, lower, upper bound) with rising false positive rate. The
/// diagonal is chance.
pub(in crate::report) fn roc(points: &[(f64, f64, f64, f64)]) -> Result<String> {
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

/// Where a share of both axes stands in a picture whose axes go from 0 to 1.
struct Frame;

impl Frame {
    const LEFT: i32 = 90;
    const TOP: i32 = 20;
    const HEIGHT: i32 = 400;
    const BOTTOM: i32 = Self::HEIGHT - AXIS_HEIGHT;

    fn x(share: f64) -> i32 {
        Self::LEFT + (share.clamp(0.0, 1.0) * f64::from(WIDTH - Self::LEFT - 30)).round() as i32
    }

    fn y(share: f64) -> i32 {
        Self::BOTTOM - (share.clamp(0.0, 1.0) * f64::from(Self::BOTTOM - Self::TOP)).round() as i32
    }

    /// Lines across at the shares of the height, with their texts.
    fn rule_across(canvas: &Canvas, rules: impl Iterator<Item = (f64, String)>) -> Drawn {
        for (share, text) in rules {
            let line = vec![(Self::LEFT, Self::y(share)), (Self::x(1.0), Self::y(share))];
            canvas.draw(&PathElement::new(line, GRID.stroke_width(2)))?;
            write(canvas, &text, (Self::LEFT - 12, Self::y(share)), HPos::Right, VPos::Center)?;
        }
        Ok(())
    }

    fn label_below(canvas: &Canvas, share: f64, text: &str, h_pos: HPos) -> Drawn {
        write(canvas, text, (Self::x(share), Self::BOTTOM + 8), h_pos, VPos::Top)
    }
}

/// Kaplan-Meier curves: the real one as the band of its interval, the synthetic one as a line.
///
/// Both have a survival (and the real one an interval) at each of the equally spaced times from `ends.0` to `ends.1`, as
/// far as enough people are at risk. `noisy` is the synthetic one with the ends of its interval that includes the noise of the
/// release, which are thin lines.
pub(in crate::report) fn survival(
    ends: (f64, f64),
    real: &[Option<(f64, f64)>],
    synthetic: &[Option<f64>],
    noisy: Option<&[Option<[f64; 3]>]>,
) -> Result<String> {
    let at = |i: usize| Frame::x(i as f64 / real.len().saturating_sub(1).max(1) as f64);
    draw(WIDTH, Frame::HEIGHT, |canvas| {
        let rules = [0.0, 0.25, 0.5, 0.75, 1.0];
        Frame::rule_across(canvas, rules.into_iter().map(|share| (share, format!("{:.0}%", share * 100.0))))?;
        let known: Vec<(usize, (f64, f64))> = real.iter().enumerate().filter_map(|(i, r)| Some((i, (*r)?))).collect();
        let low = known.iter().map(|&(i, (low, _))| (at(i), Frame::y(low)));
        let high = known.iter().rev().map(|&(i, (_, high))| (at(i), Frame::y(high)));
        canvas.draw(&Polygon::new(low.chain(high).collect::<Vec<_>>(), REAL.mix(0.5).filled()))?;
        let line = synthetic.iter().enumerate().filter_map(|(i, s)| Some((at(i), Frame::y((*s)?))));
        canvas.draw(&PathElement::new(line.collect::<Vec<_>>(), SYNTHETIC.stroke_width(5)))?;
        for end in [1, 2] {
            let points =
                noisy.into_iter().flatten().enumerate().filter_map(|(i, s)| Some((at(i), Frame::y((*s)?[end]))));
            canvas.draw(&PathElement::new(points.collect::<Vec<_>>(), SYNTHETIC.stroke_width(1)))?;
        }
        Frame::label_below(
            canvas,
            0.0,
            format!("{:.4}", ends.0).trim_end_matches('0').trim_end_matches('.'),
            HPos::Left,
        )?;
        Frame::label_below(
            canvas,
            1.0,
            format!("{:.4}", ends.1).trim_end_matches('0').trim_end_matches('.'),
            HPos::Right,
        )
    })
}

/// Observed over predicted shares: squares for the model that was trained on real rows, diamonds on a line for the one
/// that was trained on synthetic rows; the straight line is where a calibrated model stands.
pub(in crate::report) fn calibration(real: &[(f64, f64)], synthetic: &[(f64, f64)]) -> Result<String> {
    let values = real.iter().chain(synthetic).flat_map(|&(predicted, observed)| [predicted, observed]);
    let highest = values.fold(0.0, f64::max).max(1e-3);
    let place = |&(predicted, observed): &(f64, f64)| (Frame::x(predicted / highest), Frame::y(observed / highest));
    draw(WIDTH, Frame::HEIGHT, |canvas| {
        let text = |share: f64| {
            if highest < 0.04 { format!("{:.1}%", share * 100.0) } else { format!("{:.0}%", share * 100.0) }
        };
        Frame::rule_across(canvas, ticks(highest).into_iter().map(|tick| (tick / highest, text(tick))))?;
        for tick in ticks(highest).into_iter().skip(1) {
            Frame::label_below(canvas, tick / highest, &text(tick), HPos::Center)?;
        }
        let straight = vec![(Frame::x(0.0), Frame::y(0.0)), (Frame::x(1.0), Frame::y(1.0))];
        canvas.draw(&PathElement::new(straight, GRID.stroke_width(4)))?;
        for (x, y) in real.iter().map(place) {
            canvas.draw(&Rectangle::new([(x - 9, y - 9), (x + 9, y + 9)], REAL.filled()))?;
        }
        let line: Vec<(i32, i32)> = synthetic.iter().map(place).collect();
        canvas.draw(&PathElement::new(line.clone(), SYNTHETIC.stroke_width(3)))?;
        line.into_iter().try_for_each(|at| canvas.draw(&diamond(at, 11)))
    })
}
