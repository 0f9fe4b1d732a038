//! A privacy loss distribution rounded onto the multiples of a step.
//!
//! Upward by connecting the dots (Doroshenko, Ghazi, Kamath, Kumar and
//! Manurangsi 2022, arXiv:2207.04380): each cell's mass is split over its two
//! ends so that both P- and Q-probability are kept, the least rounding that
//! dominates. Downward by merging outputs until a cell's likelihood ratio is
//! one of the multiples: that is post-processing, so it reveals less. Either
//! moves the loss by the square of the step; only what has atoms, or large
//! losses rarer than the cells resolve, is moved down by up to a step.

use super::numeric::{normal_between, normal_tail};
use super::pair::{Body, Bound, Direction, Pair, normal_log_ratio, normal_loss, normal_masses, normal_point};

/// Losses beyond this have a likelihood ratio that floats cannot hold: they
/// are rounded to the next multiple.
const LARGEST_RATIO: f64 = 600.0;

/// Steps of a search for a cell's end; halving alone would do in as many.
const ATTEMPTS: u32 = 40;

/// Where the losses of normal pairs are cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Probability under P of the lower losses, which are raised (or dropped).
    pub low_tail: f64,
    /// Probability under P of the higher losses, which count as infinite (or are dropped).
    pub high_tail: f64,
    /// Losses below this are cut whatever their probability ...
    pub lowest: f64,
    /// ... and above this.
    pub highest: f64,
}

/// The resolution of a lattice: its step, and where cells may be wider.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub step: f64,
    /// `wide[j]`: at losses up to the first number and from the second on, so
    /// little of the answer lies that cells of `2^(j + 1)` steps will do.
    pub wide: Vec<(f64, f64)>,
    /// Widest cell of a normal pair in standard deviations of its output.
    pub cell: f64,
}

impl Grid {
    /// Steps in the cell at the loss `at * step`, which the loss crosses at `slope`.
    fn stride(&self, at: i64, slope: f64) -> i64 {
        let loss = at as f64 * self.step;
        let small = |doubling: usize| self.step * ((2 << doubling) as f64) <= self.cell * slope;
        let wide = self.wide.iter().enumerate();
        1 << wide.take_while(|(i, (low, high))| (loss <= *low || loss >= *high) && small(*i)).count()
    }
}

/// A loss distribution on the multiples of a step, moved by an offset.
#[derive(Clone, Debug)]
pub(super) struct Lattice {
    pub step: f64,
    /// The loss of multiple 0.
    pub offset: f64,
    /// (multiple, mass under P), the multiples rising, the masses above 0.
    pub points: Vec<(i64, f64)>,
    /// Mass at infinite loss (rounding up), or given away (rounding down).
    pub rest: f64,
}

impl Lattice {
    /// Rounds a pair's losses, the tails cut off: the high one into `rest`.
    pub fn of(pair: &Pair, bound: Bound, grid: &Grid, cut: Cut) -> Self {
        let (low, high) = pair.reach(cut);
        let first = (low / grid.step).floor() as i64 - 1;
        let last = (high / grid.step).ceil() as i64 + 1;
        let masses = vec![0.0; (last - first + 1) as usize];
        let mut rounding = Rounding { grid, step: grid.step, offset: 0.0, first, masses, rest: pair.rest };
        rounding.atoms(&pair.atoms, bound);
        match (&pair.body, bound) {
            (Some(Body::Normal { rate, shift, direction }), Bound::Upper) => {
                rounding.normal_up(*rate, *shift, *direction, cut)
            }
            (Some(Body::Normal { rate, shift, direction }), Bound::Lower) => {
                rounding.normal_down(*rate, *shift, *direction, cut)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Upper) => {
                rounding.exponential_up(*largest, *weight)
            }
            (Some(Body::Exponential { bound: largest, weight }), Bound::Lower) => {
                rounding.exponential_down(*largest, *weight)
            }
            (None, _) => {}
        }
        let Rounding { masses, rest, offset, .. } = rounding;
        let points = (first..).zip(masses).filter(|(_, mass)| *mass > 0.0).collect();
        Lattice { step: grid.step, offset, points, rest }
    }
}

/// A lattice being filled.
struct Rounding<'a> {
    grid: &'a Grid,
    step: f64,
    offset: f64,
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
    fn stride(&self, rate: f64, shift: f64, direction: Direction, k: i64) -> i64 {
        let slope = normal_slope(rate, shift, k as f64 * self.step);
        self.grid.stride(if direction == Direction::Remove { k } else { -k }, slope)
    }

    fn normal_up(&mut self, rate: f64, shift: f64, direction: Direction, cut: Cut) {
        let (from, to) = normal_reach(rate, shift, direction, cut);
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
            let next = (k + self.stride(rate, shift, direction, k)).min(high);
            let right = point(next);
            let (base, shifted) = normal_masses(shift, left, right);
            left = right;
            match direction {
                Direction::Remove => {
                    let loss = k as f64 * step;
                    let mass = (1.0 - rate) * base + rate * shifted;
                    let excess =
                        if loss > LARGEST_RATIO { mass } else { rate * shifted - (loss.exp_m1() + rate) * base };
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

    fn normal_down(&mut self, rate: f64, shift: f64, direction: Direction, cut: Cut) {
        let (from, to) = normal_reach(rate, shift, direction, cut);
        let step = self.step;
        if direction == Direction::Remove {
            // Losses are mostly near zero if sampling is rare. Without the few
            // large ones their mean is a little below: that gets a multiple.
            let near = normal_point(rate, shift, step);
            let (base, excess) = (normal_tail(-near), rate * (normal_tail(near) - normal_tail(near - shift)));
            let mean = (excess / base).ln_1p();
            self.offset = mean - (mean / step).ceil() * step;
        }
        let offset = self.offset;
        let multiple_below = |x: f64| ((normal_loss(rate, shift, x) - offset) / step).floor() as i64;
        let high = ((normal_loss(rate, shift, to).min(LARGEST_RATIO) - offset) / step).ceil() as i64;
        let (mut left, end) = (from, to + 1.0);
        let mut k = multiple_below(left) + 1;
        while k <= high {
            let loss = k as f64 * step + offset;
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
            if at >= end || (direction == Direction::Add && balance(end) < 0.0) {
                break;
            }
            let stride = (self.stride(rate, shift, direction, k) / 4).max(1);
            let limit = if direction == Direction::Add {
                end
            } else {
                normal_point(rate, shift, loss + 16.0 * stride as f64 * step).min(end)
            };
            if balance(limit) < 0.0 {
                // Not near: what lies before this multiple goes down to the last.
                let (base, shifted) = normal_masses(shift, left, at);
                self.put(k - 1, (1.0 - rate) * base + rate * shifted);
                left = at;
                k += 1;
                continue;
            }
            let slope = |right: f64| {
                let density = (-0.5 * right * right).exp() / (2.0 * std::f64::consts::PI).sqrt();
                density * ((shift * (right - 0.5 * shift)).exp() - ratio)
            };
            // The cell ends where the balance turns positive: Newton's steps
            // inside a bracket, rounded to the side on which the cell's loss is
            // at least the multiple it goes to.
            let (mut negative, mut positive) = (at, limit);
            let mut right = (2.0 * at - left).min(at + 0.5);
            for attempt in 0..ATTEMPTS {
                if positive - negative <= 1e-6 * (positive - left) {
                    break;
                }
                if attempt > 8 || !(right > negative && right < positive) {
                    right = 0.5 * (negative + positive);
                }
                let off = balance(right);
                if off < 0.0 {
                    negative = right
                } else {
                    positive = right
                }
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
            k = (k + stride).max(multiple_below(left) + 1);
        }
        match direction {
            // What is left has removal losses from that at `left` on ...
            Direction::Remove => {
                let mass = (1.0 - rate) * normal_tail(left) + rate * normal_tail(left - shift);
                self.put(multiple_below(left), mass);
            }
            // ... or is below the last multiple on average, up to `end`.
            Direction::Add => self.put(-k, normal_between(left, end)),
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

/// Outputs of a normal pair between which its losses are kept.
fn normal_reach(rate: f64, shift: f64, direction: Direction, cut: Cut) -> (f64, f64) {
    // P(X > x) <= exp(-x^2 / 2) / 2
    let reach = |tail: f64| (-2.0 * tail.ln()).sqrt();
    let at = |loss: f64| normal_point(rate, shift, loss);
    match direction {
        Direction::Remove => {
            ((-reach(cut.low_tail)).max(at(cut.lowest)), (shift + reach(cut.high_tail)).min(at(cut.highest)))
        }
        Direction::Add => ((-reach(cut.high_tail)).max(at(-cut.highest)), reach(cut.low_tail).min(at(-cut.lowest))),
    }
}

/// How fast the removal loss of a normal pair grows with its output, at a loss.
fn normal_slope(rate: f64, shift: f64, loss: f64) -> f64 {
    shift * (1.0 - (1.0 - rate) * (-loss).exp()).max(0.0)
}

impl Pair {
    /// The step at which a cell at the total loss `epsilon` of a composition
    /// is `cell` wide in a normal pair's output.
    pub(super) fn widest(&self, epsilon: f64, cell: f64) -> f64 {
        match self.body {
            Some(Body::Normal { rate, shift, direction: Direction::Remove }) => {
                cell * normal_slope(rate, shift, epsilon)
            }
            Some(Body::Normal { .. }) | Some(Body::Exponential { .. }) | None => f64::INFINITY,
        }
    }

    /// The range of losses that holds all that is not cut off.
    pub(super) fn reach(&self, cut: Cut) -> (f64, f64) {
        let body = match self.body {
            Some(Body::Normal { rate, shift, direction }) => {
                let (from, to) = normal_reach(rate, shift, direction, cut);
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
    pub(super) fn sketch(&self, cut: Cut) -> Vec<(f64, f64)> {
        const POINTS: i64 = 400;
        let mut points = self.atoms.clone();
        match self.body {
            Some(Body::Normal { rate, shift, direction }) => {
                let (from, to) = normal_reach(rate, shift, direction, cut);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn delta(lattice: &Lattice, epsilon: f64) -> f64 {
        let over =
            |(at, mass): &(i64, f64)| -mass * (epsilon - lattice.offset - *at as f64 * lattice.step).min(0.0).exp_m1();
        lattice.rest + lattice.points.iter().map(over).sum::<f64>()
    }

    /// Up dominates the pair's closed form at every epsilon, down is dominated, both closely.
    #[test]
    fn rounding_stays_on_its_side() {
        let cut = Cut { low_tail: 1e-12, high_tail: 1e-12, lowest: -20.0, highest: 20.0 };
        for event in [
            Event::dp_sgd(0.2, 0.9, 1),
            Event::dp_sgd(0.001, 1.0, 1),
            Event::Gaussian { noise_multiplier: 2.0 },
            Event::Laplace { scale: 0.7 },
            Event::ExponentialMechanism { epsilon: 1.3 },
            Event::DiscreteLaplace { scale: 2.0, sensitivity: 3 },
            Event::DiscreteGaussian { sigma: 1.5, sensitivity: 1 },
        ] {
            for direction in [Direction::Remove, Direction::Add] {
                let pairs = crate::accountant::pair::Pairs::of(&event, direction, Bound::Upper).unwrap();
                let pair = &pairs.pairs[0].0;
                for wide in [vec![], vec![(-0.5, 1.0), (-1.0, 2.0)]] {
                    let grid = Grid { step: 0.013, wide, cell: 0.05 };
                    let [up, down] = [Bound::Upper, Bound::Lower].map(|bound| Lattice::of(pair, bound, &grid, cut));
                    let total = |lattice: &Lattice| lattice.points.iter().map(|p| p.1).sum::<f64>();
                    assert!((total(&up) + up.rest - 1.0).abs() < 1e-9, "{event:?}");
                    assert!(total(&down) <= 1.0 + 1e-12, "{event:?}");
                    let reverse: f64 = up.points.iter().map(|(at, mass)| mass * (-0.013 * *at as f64).exp()).sum();
                    assert!(reverse <= 1.0 + 1e-9, "{event:?}: Q-mass {reverse}");
                    for i in 0..60 {
                        let epsilon = 0.017 * f64::from(i);
                        let exact = pair.delta(epsilon);
                        let (above, below) = (delta(&up, epsilon), delta(&down, epsilon) - down.rest);
                        assert!(above >= exact - 1e-15, "{event:?} {direction:?} {epsilon}: {above} {exact}");
                        assert!(below <= exact + 1e-15, "{event:?} {direction:?} {epsilon}: {below} {exact}");
                        assert!(above - exact < 2e-3 && exact - below < 8e-3, "{event:?} {direction:?} {epsilon}");
                    }
                }
            }
        }
    }
}
