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

/// Steps of a search for a cell's end; halving alone would do in as many.
const ATTEMPTS: u32 = 40;

/// The resolution of a lattice: its step, and where cells may be wider.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub step: f64,
    /// `wide[j]`: at losses up to the first number and from the second on, so
    /// little of the answer lies that cells of `2^(j + 1)` steps will do.
    pub wide: Vec<(f64, f64)>,
}

impl Grid {
    /// Steps in the cell above (or below) the loss `at * step`.
    fn stride(&self, at: i64) -> i64 {
        let loss = at as f64 * self.step;
        1 << self.wide.iter().take_while(|(low, high)| loss <= *low || loss >= *high).count()
    }
}

/// A loss distribution on the multiples of a step.
#[derive(Clone, Debug)]
pub(super) struct Lattice {
    pub step: f64,
    /// (multiple, mass under P), the multiples rising, the masses above 0.
    pub points: Vec<(i64, f64)>,
    /// Mass at infinite loss (rounding up), or given away (rounding down).
    pub rest: f64,
}

impl Lattice {
    /// Rounds a pair's losses; normal tails of less than `tail` probability
    /// under P are cut off into `rest`.
    pub fn of(pair: &Pair, bound: Bound, grid: &Grid, tail: f64) -> Self {
        let (low, high) = pair.reach(tail);
        let first = (low / grid.step).floor() as i64 - 1;
        let last = (high / grid.step).ceil() as i64 + 1;
        let masses = vec![0.0; (last - first + 1) as usize];
        let mut rounding = Rounding { grid, step: grid.step, first, masses, rest: pair.rest };
        rounding.atoms(&pair.atoms, bound);
        match (&pair.body, bound) {
            (Some(Body::Normal { rate, shift, direction }), Bound::Upper) => {
                rounding.normal_up(*rate, *shift, *direction, tail)
            }
            (Some(Body::Normal { rate, shift, direction }), Bound::Lower) => {
                rounding.normal_down(*rate, *shift, *direction, tail)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Upper) => {
                rounding.exponential_up(*largest, *weight)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Lower) => {
                rounding.exponential_down(*largest, *weight)
            }
            (None, _) => {}
        }
        let Rounding { masses, rest, .. } = rounding;
        let points = (first..).zip(masses).filter(|(_, mass)| *mass > 0.0).collect();
        Lattice { step: grid.step, points, rest }
    }
}

/// A lattice being filled.
struct Rounding<'a> {
    grid: &'a Grid,
    step: f64,
    /// Multiple of the first mass.
    first: i64,
    masses: Vec<f64>,
    rest: f64,
}

impl Rounding<'_> {
    fn atoms(&mut self, atoms: &[(f64, f64)], bound: Bound) {
        let step = self.step;
        for &(loss, mass) in atoms {
            let cell = (loss / step).floor();
            let up = match bound {
                Bound::Upper => mass * ((cell * step - loss).exp_m1() / (-step).exp_m1()).clamp(0.0, 1.0),
                Bound::Lower => 0.0,
            };
            self.put(cell as i64, mass - up);
            self.put(cell as i64 + 1, up);
        }
    }

    fn put(&mut self, at: i64, mass: f64) {
        if let Some(slot) = usize::try_from(at - self.first).ok().and_then(|i| self.masses.get_mut(i)) {
            *slot += mass;
        } else {
            self.rest += mass;
        }
    }

    /// Splits a cell of P-mass `mass` from `low * step` to `high * step`;
    /// `excess` is its P-mass less `exp(low * step)` times its Q-mass.
    fn split(&mut self, low: i64, high: i64, mass: f64, excess: f64) {
        let up = (excess / -((low - high) as f64 * self.step).exp_m1()).clamp(0.0, mass);
        self.put(low, mass - up);
        self.put(high, up);
    }

    /// Steps in the cell of a normal pair that begins at the removal loss `k * step`.
    fn stride(&self, direction: Direction, k: i64) -> i64 {
        self.grid.stride(if direction == Direction::Remove { k } else { -k })
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
        let mut k = low;
        while k < high {
            let next = (k + self.stride(direction, k)).min(high);
            let right = point(next);
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
                    self.split(k, next, mass, excess);
                }
                Direction::Add => {
                    let shrink = (-next as f64 * step).exp();
                    let excess = (1.0 - (1.0 - rate) * shrink) * base - rate * shrink * shifted;
                    self.split(-next, -k, base, excess);
                }
            }
            k = next;
        }
    }

    fn normal_down(&mut self, rate: f64, shift: f64, direction: Direction, tail: f64) {
        let (from, to) = normal_reach(shift, direction, tail);
        let step = self.step;
        let multiple_below = |x: f64| (normal_loss(rate, shift, x) / step).floor() as i64;
        let high = (normal_loss(rate, shift, to).min(LARGEST_RATIO) / step).ceil() as i64;
        let (mut left, end) = (from, to + 1.0);
        let mut k = multiple_below(left) + 1;
        while k <= high {
            let loss = k as f64 * step;
            let at = normal_point(rate, shift, loss);
            if at <= left {
                k += 1;
                continue;
            }
            let ratio = normal_log_ratio(rate, loss).exp();
            // Positive where the removal loss of the cell that ends there is above `loss`.
            let balance = |right: f64| {
                let (base, shifted) = normal_masses(shift, left, right);
                shifted - ratio * base
            };
            if at >= end || balance(end) < 0.0 {
                break;
            }
            let slope = |right: f64| {
                let density = (-0.5 * right * right).exp() / (2.0 * std::f64::consts::PI).sqrt();
                density * ((shift * (right - 0.5 * shift)).exp() - ratio)
            };
            // The cell ends where the balance turns positive: Newton's steps
            // inside a bracket, rounded to the side on which the cell's loss is
            // at least the multiple it goes to.
            let (mut negative, mut positive) = (at, end);
            let mut right = (2.0 * at - left).min(at + 0.5);
            for attempt in 0..ATTEMPTS {
                if positive - negative <= 1e-6 * (positive - left) {
                    break;
                }
                if attempt > 8 || !(right > negative && right < positive) {
                    right = 0.5 * (negative + positive);
                }
                let off = balance(right);
                if off < 0.0 { negative = right } else { positive = right }
                // A little past the root, so that the bracket closes from both sides.
                let past = if off < 0.0 { 4e-7 } else { -4e-7 } * (right - left);
                right += past - off / slope(right);
            }
            let right = if direction == Direction::Remove { positive } else { negative };
            let (base, shifted) = normal_masses(shift, left, right);
            match direction {
                Direction::Remove => self.put(k, (1.0 - rate) * base + rate * shifted),
                Direction::Add => self.put(-k, base),
            }
            left = right;
            // Wide cells reach over several multiples: keep them well inside.
            k = (k + (self.stride(direction, k) / 4).max(1)).max(multiple_below(left) + 1);
        }
        // What is left has removal losses from that at `left` on.
        if direction == Direction::Remove {
            let mass = (1.0 - rate) * normal_tail(left) + rate * normal_tail(left - shift);
            self.put(multiple_below(left), mass);
        }
    }

    fn exponential_up(&mut self, bound: f64, weight: f64) {
        let step = self.step;
        for k in (-bound / step).floor() as i64..(bound / step).ceil() as i64 {
            let low = k as f64 * step;
            let (from, to) = (low.max(-bound), (low + step).min(bound));
            let (mass, reverse) = exponential_masses(bound, weight, from, to);
            self.split(k, k + 1, mass, mass - (low - bound).exp() * reverse);
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
