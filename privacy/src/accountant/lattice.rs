//! A privacy loss distribution rounded onto the multiples of a step.
//!
//! Upward by connecting the dots (Doroshenko, Ghazi, Kamath, Kumar and
//! Manurangsi 2022, arXiv:2207.04380): each cell's mass is split over its two
//! ends so that both P- and Q-probability are kept, the least rounding that
//! dominates. Downward by merging outputs until a cell's likelihood ratio is
//! one of the multiples: that is post-processing, so it reveals less. Either
//! moves the loss by the square of the step.

use super::numeric::{normal_tail};
use super::pair::{Body, Bound, Direction, Pair, normal_log_ratio, normal_loss, normal_masses, normal_point};

/// Losses beyond this have a likelihood ratio that floats cannot hold: they
/// are rounded to the next multiple.
const LARGEST_RATIO: f64 = 600.0;

/// Masses under P at the losses `first * step, (first + 1) * step, ...`
#[derive(Clone, Debug)]
pub(super) struct Lattice {
    pub step: f64,
    pub first: i64,
    pub masses: Vec<f64>,
    /// Mass at infinite loss (rounding up), or given away (rounding down).
    pub rest: f64,
}

impl Lattice {
    /// Rounds a pair's losses; normal tails of less than `tail` probability
    /// under P are cut off into `rest`.
    pub fn of(pair: &Pair, bound: Bound, step: f64, tail: f64) -> Self {
        let (low, high) = pair.reach(tail);
        let first = (low / step).floor() as i64 - 1;
        let last = (high / step).ceil() as i64 + 1;
        let masses = vec![0.0; (last - first + 1) as usize];
        let mut lattice = Lattice { step, first, masses, rest: pair.rest };
        for &(loss, mass) in &pair.atoms {
            let cell = (loss / step).floor();
            let up = match bound {
                Bound::Upper => mass * ((cell * step - loss).exp_m1() / (-step).exp_m1()).clamp(0.0, 1.0),
                Bound::Lower => 0.0,
            };
            lattice.put(cell as i64, mass - up);
            lattice.put(cell as i64 + 1, up);
        }
        match (&pair.body, bound) {
            (Some(Body::Normal { rate, shift, direction }), Bound::Upper) => {
                lattice.normal_up(*rate, *shift, *direction, tail)
            }
            (Some(Body::Normal { rate, shift, direction }), Bound::Lower) => {
                lattice.normal_down(*rate, *shift, *direction, tail)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Upper) => {
                lattice.exponential_up(*largest, *weight)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Lower) => {
                lattice.exponential_down(*largest, *weight)
            }
            (None, _) => {}
        }
        lattice
    }

    fn put(&mut self, at: i64, mass: f64) {
        if let Some(slot) = usize::try_from(at - self.first).ok().and_then(|i| self.masses.get_mut(i)) {
            *slot += mass;
        } else {
            self.rest += mass;
        }
    }

    /// Splits a cell of P-mass `mass` above `low * step`; `excess` is its
    /// P-mass less `exp(low * step)` times its Q-mass.
    fn split(&mut self, low: i64, mass: f64, excess: f64) {
        let up = (excess / -(-self.step).exp_m1()).clamp(0.0, mass);
        self.put(low, mass - up);
        self.put(low + 1, up);
    }

    fn normal_up(&mut self, rate: f64, shift: f64, direction: Direction, tail: f64) {
        let (from, to) = normal_reach(shift, direction, tail);
        let step = self.step;
        let low = (normal_loss(rate, shift, from) / step).floor() as i64;
        let high = (normal_loss(rate, shift, to) / step).ceil() as i64;
        let point = |k: i64| normal_point(rate, shift, k as f64 * step);
        // What lies outside goes up: to the lowest multiple, or out.
        let (below, above) = (point(low), point(high));
        match direction {
            Direction::Remove => {
                let mixed = |base: f64, shifted: f64| (1.0 - rate) * base + rate * shifted;
                self.put(low, mixed(normal_tail(-below), normal_tail(shift - below)));
                self.rest += mixed(normal_tail(above), normal_tail(above - shift));
            }
            Direction::Add => {
                self.put(-high, normal_tail(above));
                self.rest += normal_tail(-below);
            }
        }
        let mut left = below;
        for k in low..high {
            let right = point(k + 1);
            let (base, shifted) = normal_masses(shift, left, right);
            left = right;
            match direction {
                Direction::Remove => {
                    let loss = k as f64 * step;
                    let mass = (1.0 - rate) * base + rate * shifted;
                    let excess = if loss > LARGEST_RATIO {
                        mass
                    } else {
                        rate * shifted - (loss.exp_m1() + rate) * base
                    };
                    self.split(k, mass, excess);
                }
                Direction::Add => {
                    let shrink = (-(k + 1) as f64 * step).exp();
                    let excess = (1.0 - (1.0 - rate) * shrink) * base - rate * shrink * shifted;
                    self.split(-k - 1, base, excess);
                }
            }
        }
    }

    fn normal_down(&mut self, rate: f64, shift: f64, direction: Direction, tail: f64) {
        let (from, to) = normal_reach(shift, direction, tail);
        let step = self.step;
        let low = (normal_loss(rate, shift, from) / step).floor() as i64;
        let high = (normal_loss(rate, shift, to) / step).ceil() as i64;
        let (mut left, end) = (from, to + 1.0);
        for k in low..=high {
            let loss = k as f64 * step;
            let at = normal_point(rate, shift, loss);
            if loss > LARGEST_RATIO || at <= left {
                continue;
            }
            let log_ratio = normal_log_ratio(rate, loss);
            let ratio = log_ratio.exp();
            // Positive where the cell's removal loss is above `loss`.
            let balance = |right: f64| {
                let (base, shifted) = normal_masses(shift, left, right);
                shifted - ratio * base
            };
            let slope = |right: f64| {
                let density = (-0.5 * right * right).exp() / (2.0 * std::f64::consts::PI).sqrt();
                density * ((shift * (right - 0.5 * shift)).exp() - ratio)
            };
            // The cell's end is where the balance turns positive: Newton's steps
            // inside a bracket, rounded to the side on which the cell's loss is
            // at least the multiple it goes to.
            let (mut negative, mut positive) = (at, end);
            if balance(positive) < 0.0 {
                break;
            }
            let mut right = (2.0 * at - left).min(at + 0.5);
            let mut newton_steps = 8;
            while positive - negative > 1e-6 * (positive - left) {
                if newton_steps == 0 || !(right > negative && right < positive) {
                    right = 0.5 * (negative + positive);
                } else {
                    newton_steps -= 1;
                }
                let off = balance(right);
                if off < 0.0 { negative = right } else { positive = right }
                let newton = right - off / slope(right);
                // A little past the root, so that the bracket closes from both sides.
                right = newton + if off < 0.0 { 4e-7 } else { -4e-7 } * (right - left);
            }
            right = match direction {
                Direction::Remove => positive,
                Direction::Add => negative,
            };
            let (base, shifted) = normal_masses(shift, left, right);
            left = right;
            match direction {
                Direction::Remove => self.put(k, (1.0 - rate) * base + rate * shifted),
                Direction::Add => self.put(-k, base),
            }
        }
    }

    fn exponential_up(&mut self, bound: f64, weight: f64) {
        let step = self.step;
        for k in (-bound / step).floor() as i64..(bound / step).ceil() as i64 {
            let low = k as f64 * step;
            let (from, to) = (low.max(-bound), (low + step).min(bound));
            let (mass, reverse) = exponential_masses(bound, weight, from, to);
            self.split(k, mass, mass - (low - bound).exp() * reverse);
        }
    }

    fn exponential_down(&mut self, bound: f64, weight: f64) {
        let step = self.step;
        for k in (-bound / step).floor() as i64..=(bound / step).ceil() as i64 {
            // The likelihood ratio of an interval is that at its middle.
            let (from, to) = (((k as f64 - 0.5) * step).max(-bound), ((k as f64 + 0.5) * step).min(bound));
            if from < to {
                let (mass, _) = exponential_masses(bound, weight, from, to);
                self.put((0.5 * (from + to) / step + 1e-9).floor() as i64, mass);
            }
        }
    }
}

/// P-mass of an interval of an exponential body, and its Q-mass times `exp(bound)`.
fn exponential_masses(bound: f64, weight: f64, from: f64, to: f64) -> (f64, f64) {
    let width = (0.5 * (to - from)).exp_m1();
    (weight * (0.5 * (from - bound)).exp() * width, weight * (0.5 * (bound - to)).exp() * width)
}

/// Outputs of a normal pair between which all but `tail` of P lies on each side.
fn normal_reach(shift: f64, direction: Direction, tail: f64) -> (f64, f64) {
    // P(X > x) <= exp(-x^2 / 2) / 2
    let reach = (-2.0 * tail.ln()).sqrt();
    match direction {
        Direction::Remove => (-reach, shift + reach),
        Direction::Add => (-reach, reach),
    }
}

impl Pair {
    /// The range of losses that holds all but `tail` of P on each side.
    pub fn reach(&self, tail: f64) -> (f64, f64) {
        let body = match self.body {
            Some(Body::Normal { rate, shift, direction }) => {
                let (from, to) = normal_reach(shift, direction, tail);
                let (low, high) = (normal_loss(rate, shift, from), normal_loss(rate, shift, to));
                if direction == Direction::Remove { (low, high) } else { (-high, -low) }
            }
            Some(Body::Exponential { bound, .. }) => (-bound, bound),
            None => (f64::INFINITY, f64::NEG_INFINITY),
        };
        self.atoms.iter().fold(body, |(low, high), &(loss, _)| (low.min(loss), high.max(loss)))
    }

    /// A few hundred (loss, P-mass) points that stand for the distribution
    /// where only a good guess is needed.
    pub fn sketch(&self, tail: f64) -> Vec<(f64, f64)> {
        const POINTS: i64 = 400;
        let mut points = self.atoms.clone();
        match self.body {
            Some(Body::Normal { rate, shift, direction }) => {
                let (from, to) = normal_reach(shift, direction, tail);
                let width = (to - from) / POINTS as f64;
                points.extend((0..POINTS).map(|i| {
                    let left = from + i as f64 * width;
                    let (base, shifted) = normal_masses(shift, left, left + width);
                    let loss = normal_loss(rate, shift, left + 0.5 * width);
                    match direction {
                        Direction::Remove => (loss, (1.0 - rate) * base + rate * shifted),
                        Direction::Add => (-loss, base),
                    }
                }));
            }
            Some(Body::Exponential { bound, weight }) => {
                let width = 2.0 * bound / POINTS as f64;
                points.extend((0..POINTS).map(|i| {
                    let left = -bound + i as f64 * width;
                    (left + 0.5 * width, exponential_masses(bound, weight, left, left + width).0)
                }));
            }
            None => {}
        }
        points
    }
}
