//! Composition of privacy loss distributions by FFT.
//!
//! One direction of one event is answered so:
//! 1. each mechanism becomes a dominating pair ([`super::pair`]);
//! 2. the best Renyi order of a sketch of the pairs gives an exponential tilt,
//!    under which the loss at the sought epsilon is typical instead of rare;
//! 3. the step of the lattice is chosen from how far rounding would move
//!    epsilon, the window from Chernoff bounds of the tilted sum;
//! 4. the tilted lattices ([`super::lattice`]) are transformed, raised to their
//!    counts, multiplied and transformed back, so that round-off is small
//!    beside the tail that is read, not beside one;
//! 5. delta is summed from the top. All errors are charged: the cut tails, what
//!    wraps around the window, and the round-off of transforms and sums.
//!
//! Literature: Koskela, Jalko and Honkela 2020 (arXiv:1906.03049); Gopi, Lee and
//! Wutschitz 2021 (arXiv:2106.02848); Doroshenko et al. 2022 (arXiv:2207.04380);
//! the tilt is Cramer's.

use super::lattice::{Cut, Grid, Lattice};
use super::numeric::valley;
use super::pair::{Bound, Direction, Pair, Pairs};
use super::{AccountingError, rdp};
use crate::event::Event;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// Rounding may move epsilon by about this much, relative.
const DRIFT: f64 = 3e-5;
/// Rounding may move delta by about this much, relative, where delta is asked for.
const DELTA_DRIFT: f64 = 2e-4;
/// Part of the rounding that each doubling of the cells far from where the answer lies may add.
const WIDE: f64 = 0.02;
/// Widest cell of a normal pair in standard deviations of its output: a tail
/// that falls like a normal one moves by about this squared.
const CELL: f64 = 0.007;
/// How often the lattice is made finer when epsilon turns out far below its Renyi bound.
const PASSES: u32 = 3;
/// Most doublings of a cell.
const DOUBLINGS: u32 = 12;
/// The longest transform; beyond it the lattice gets coarser and the answer, still sound, looser.
const LONGEST: usize = 1 << 21;
/// Tilted probability that may fall outside the window, as a logarithm.
const LOG_OUTSIDE: f64 = -24.0;
/// Mass of all cut high tails together, relative to delta.
const TAILS: f64 = 1e-9;
/// Mass of all cut low tails together; their losses are raised, or the mass given away.
const LOW_TAILS: f64 = 1e-9;

/// An upper or lower bound on epsilon at `delta`.
pub(super) fn epsilon(event: &Event, delta: f64, bound: Bound) -> Result<f64, AccountingError> {
    let mut worst: f64 = 0.0;
    let mut tight = true;
    for direction in [Direction::Remove, Direction::Add] {
        let pairs = Pairs::of(event, direction, bound)?;
        tight = pairs.tight;
        worst = worst.max(pairs.epsilon(delta, bound));
        if pairs.symmetric {
            break;
        }
    }
    if bound == Bound::Upper && !(tight && worst.is_finite()) {
        worst = worst.min(rdp::epsilon(event, delta)?);
    }
    Ok(worst)
}

/// An upper or lower bound on delta at `epsilon`.
pub(super) fn delta(event: &Event, epsilon: f64, bound: Bound) -> Result<f64, AccountingError> {
    let mut worst: f64 = 0.0;
    let mut tight = true;
    for direction in [Direction::Remove, Direction::Add] {
        let pairs = Pairs::of(event, direction, bound)?;
        tight = pairs.tight;
        worst = worst.max(pairs.delta(epsilon, bound));
        if pairs.symmetric {
            break;
        }
    }
    if bound == Bound::Upper && !(tight && worst < 1.0) {
        worst = worst.min(rdp::delta(event, epsilon)?);
    }
    Ok(worst)
}

/// What is asked of a composition.
#[derive(Clone, Copy)]
enum Query {
    /// Epsilon at this delta.
    Epsilon { delta: f64 },
    /// Delta at this epsilon.
    Delta { epsilon: f64 },
}

impl Pairs {
    fn epsilon(&self, delta: f64, bound: Bound) -> f64 {
        let sign = if bound == Bound::Upper { 1.0 } else { -1.0 };
        let delta = (delta - self.failure) / (1.0 - self.failure) * (-sign * self.blur).exp();
        if self.failure >= 1.0 || delta <= 0.0 {
            return f64::INFINITY;
        }
        if delta >= 1.0 || self.pairs.is_empty() {
            return 0.0;
        }
        let epsilon = match self.pairs.as_slice() {
            [(pair, 1)] => single_epsilon(pair, delta),
            _ => self.compose(Query::Epsilon { delta }, bound),
        };
        (epsilon.min(self.largest_loss()) + sign * self.blur).max(0.0)
    }

    fn delta(&self, epsilon: f64, bound: Bound) -> f64 {
        let sign = if bound == Bound::Upper { 1.0 } else { -1.0 };
        let epsilon = epsilon - sign * self.blur;
        let rest = match self.pairs.as_slice() {
            [] => 0.0,
            _ if epsilon < 0.0 => 1.0,
            _ if epsilon >= self.largest_loss() => 0.0,
            [(pair, 1)] => pair.delta(epsilon),
            _ => self.compose(Query::Delta { epsilon }, bound),
        };
        self.failure + (1.0 - self.failure) * (rest * (sign * self.blur).exp()).min(1.0)
    }

    /// The largest total loss, infinite if there is none.
    fn largest_loss(&self) -> f64 {
        self.pairs.iter().map(|(pair, count)| pair.largest_loss() * *count as f64).sum()
    }

    fn compose(&self, query: Query, bound: Bound) -> f64 {
        let total: f64 = self.pairs.iter().map(|(_, count)| *count as f64).sum();
        let cut = |high_tails: f64| Cut {
            low_tail: LOW_TAILS / total,
            high_tail: (high_tails / total).clamp(1e-300, 1e-6),
            lowest: f64::NEG_INFINITY,
            highest: f64::INFINITY,
        };
        // A first look with generous tails tells how small delta is.
        let first = Sketch::new(&self.pairs, cut(1e-20));
        let delta = match query {
            Query::Epsilon { delta } => delta,
            Query::Delta { epsilon } => first.log_chernoff(first.tilt(query), epsilon).exp().min(1.0),
        };
        let cut = cut(TAILS * delta);
        let sketch = Sketch::new(&self.pairs, cut);
        let tilt = sketch.tilt(query);
        match query {
            Query::Delta { epsilon } => self.resolve(query, bound, &sketch, tilt, cut, epsilon),
            Query::Epsilon { delta } => {
                // The Renyi bound guesses epsilon; where losses are rare and
                // large it guesses much too high, and the lattice must be finer.
                let mut guess = sketch.epsilon(tilt, delta).max(0.01 * sketch.deviation);
                let mut found = guess;
                for _ in 0..PASSES {
                    found = self.resolve(query, bound, &sketch, tilt, cut, guess);
                    if !(found > 0.0 && found < 0.7 * guess) {
                        break;
                    }
                    guess = found;
                }
                found
            }
        }
    }

    /// One composition on a lattice that is fine enough for an answer near `epsilon`.
    fn resolve(&self, query: Query, bound: Bound, sketch: &Sketch, tilt: f64, cut: Cut, epsilon: f64) -> f64 {
        let allowed = match query {
            Query::Epsilon { .. } => DRIFT * tilt * epsilon,
            Query::Delta { .. } => DELTA_DRIFT,
        };
        let widest = self.pairs.iter().map(|(pair, _)| pair.widest(epsilon, CELL)).fold(0.5 / tilt, f64::min);
        let step = sketch.step(tilt, allowed, bound, widest);
        let window = sketch.window(tilt, query, step);
        let (step, length) = fit(window.top - window.bottom, step);
        let wide = sketch.wide(tilt, step, WIDE * allowed);
        let grids = wide.into_iter().map(|wide| Grid { step, wide, cell: CELL });
        // Losses far below zero have no weight under the tilt; those above the
        // window are as unlikely as all that lies beyond it.
        let cut = Cut { lowest: -50.0 / tilt, highest: window.top - window.bottom.min(0.0), ..cut };
        let lattices: Vec<(Lattice, f64)> = self
            .pairs
            .iter()
            .zip(grids)
            .map(|((pair, count), grid)| (Lattice::of(pair, bound, &grid, cut), *count as f64))
            .collect();
        let composed = Composed::new(&lattices, bound, tilt, step, length, window);
        match query {
            Query::Epsilon { delta } => composed.epsilon(delta),
            Query::Delta { epsilon } => composed.delta(epsilon),
        }
    }
}

/// Epsilon of one release, from its closed form, rounded to the safe side.
fn single_epsilon(pair: &Pair, delta: f64) -> f64 {
    if pair.delta(0.0) <= delta {
        return 0.0;
    }
    let mut high = 1.0;
    while pair.delta(high) > delta {
        high *= 2.0;
        if high > 1e12 {
            return f64::INFINITY;
        }
    }
    super::numeric::last_holding(high, 0.0, |epsilon| pair.delta(epsilon) <= delta)
}

/// A transform length that is a product of small primes and the step that makes it cover `width`.
fn fit(width: f64, step: f64) -> (f64, usize) {
    let needed = ((width / step).ceil() + 8.0).min(LONGEST as f64) as usize;
    let length = (4..=21)
        .flat_map(|e| [1usize << e, 9 << (e - 3), 5 << (e - 2), 3 << (e - 1)])
        .filter(|length| *length >= needed && *length <= LONGEST)
        .min()
        .unwrap_or(LONGEST);
    (step.max(width / (length - 8) as f64), length)
}

/// A few points of each pair: they guide the search and prove nothing.
struct Sketch {
    outlines: Vec<Outline>,
    /// Standard deviation of the total loss.
    deviation: f64,
}

/// A few points of one pair.
struct Outline {
    /// (loss, mass), the atoms first.
    points: Vec<(f64, f64)>,
    /// How many of the points are atoms.
    atoms: usize,
    /// How often the pair is composed.
    count: f64,
}

/// Where the tilted sum lies, and the orders whose Chernoff bounds say so.
#[derive(Clone, Copy)]
struct Window {
    bottom: f64,
    top: f64,
    /// Order at which the mass below the bottom is bounded.
    below: f64,
    /// Order at which the mass above the top is bounded.
    above: f64,
}

impl Sketch {
    fn new(pairs: &[(Pair, u64)], cut: Cut) -> Self {
        let outline = |(pair, count): &(Pair, u64)| Outline {
            points: pair.sketch(cut),
            atoms: pair.atoms.len(),
            count: *count as f64,
        };
        let outlines: Vec<Outline> = pairs.iter().map(outline).collect();
        let variance = outlines.iter().map(|Outline { points, count, .. }| {
            let mean: f64 = points.iter().map(|(loss, mass)| mass * loss).sum();
            count * points.iter().map(|(loss, mass)| mass * (loss - mean).powi(2)).sum::<f64>()
        });
        let deviation = variance.sum::<f64>().sqrt().max(1e-150);
        Self { outlines, deviation }
    }

    /// `ln E[exp(order * total loss)]`.
    fn log_moment(&self, order: f64) -> f64 {
        let one = |points: &[(f64, f64)]| {
            let top = points.iter().map(|p| order * p.0).fold(f64::NEG_INFINITY, f64::max);
            let masses: f64 = points.iter().map(|p| p.1).sum();
            top + (points.iter().map(|p| p.1 * (order * p.0 - top).exp()).sum::<f64>() / masses).ln()
        };
        self.outlines.iter().map(|outline| outline.count * one(&outline.points)).sum()
    }

    /// The Renyi bound on `ln delta` with order `1 + tilt`.
    fn log_chernoff(&self, tilt: f64, epsilon: f64) -> f64 {
        self.log_moment(tilt) - tilt * epsilon + tilt * tilt.ln() - (tilt + 1.0) * tilt.ln_1p()
    }

    /// The Renyi bound on epsilon with order `1 + tilt`.
    fn epsilon(&self, tilt: f64, delta: f64) -> f64 {
        (self.log_chernoff(tilt, 0.0) - delta.ln()) / tilt
    }

    /// The tilt with the best Renyi bound.
    fn tilt(&self, query: Query) -> f64 {
        let cost = |log_tilt: f64| match query {
            Query::Epsilon { delta } => self.epsilon(log_tilt.exp(), delta),
            Query::Delta { epsilon } => self.log_chernoff(log_tilt.exp(), epsilon),
        };
        let (low, high) = ((1e-2 / self.deviation).min(1e-2), (1e3 / self.deviation).max(1e-1));
        valley(low.ln(), high.ln(), cost).exp()
    }

    /// The interval outside of which the tilted total loss is unlikely,
    /// stretched to hold every epsilon that may be the answer.
    fn window(&self, tilt: f64, query: Query, step: f64) -> Window {
        let (least, most) = match query {
            Query::Epsilon { delta } => (0.0, self.epsilon(tilt, delta)),
            Query::Delta { epsilon } => (epsilon, epsilon),
        };
        let here = self.log_moment(tilt);
        let top = |log_order: f64| (self.log_moment(tilt + log_order.exp()) - here - LOG_OUTSIDE) / log_order.exp();
        let bottom = |log_order: f64| (self.log_moment(tilt - log_order.exp()) - here - LOG_OUTSIDE) / log_order.exp();
        // At higher orders the lattice would be too coarse for its own bound.
        let high = (1e4 / self.deviation).min(0.5 / step);
        let (low, high) = ((1e-2 / self.deviation).min(0.01 * high).ln(), high.ln());
        let (above, below) = (valley(low, high, top), valley(low, high, bottom));
        Window {
            bottom: (-bottom(below)).min(least),
            top: top(above).max(most),
            below: below.exp(),
            above: above.exp(),
        }
    }

    /// The outlines with probabilities under the tilt for masses.
    fn tilted(&self, tilt: f64) -> Vec<Outline> {
        let one = |outline: &Outline| {
            let top = outline.points.iter().map(|p| tilt * p.0).fold(f64::NEG_INFINITY, f64::max);
            let weight = |p: &(f64, f64)| p.1 * (tilt * p.0 - top).exp();
            let sum: f64 = outline.points.iter().map(weight).sum();
            Outline { points: outline.points.iter().map(|p| (p.0, weight(p) / sum)).collect(), ..*outline }
        };
        self.outlines.iter().map(one).collect()
    }

    /// The largest step up to `widest` whose rounding changes the tilted
    /// log-moment by at most `allowed`: a loss `l` moved within a cell of width `h` adds
    /// `tilt (tilt + 1) / 2` times `h^2 / 6` on average, or `|l| h` if it lies
    /// near zero; an atom rounded down loses `tilt` times `h / 2`, of which a fifth
    /// is counted, so that lower bounds do not take much longer.
    fn step(&self, tilt: f64, allowed: f64, bound: Bound, widest: f64) -> f64 {
        let tilted = self.tilted(tilt);
        let added = |step: f64| {
            let moved = |outline: &Outline| {
                let squares = outline.points.iter().map(|(loss, weight)| weight * (step / 6.0).min(loss.abs()));
                let atoms: f64 = outline.points[..outline.atoms].iter().map(|p| p.1).sum();
                let down = if bound == Bound::Lower { 0.1 * tilt * step * atoms } else { 0.0 };
                outline.count * (0.5 * tilt * (tilt + 1.0) * step * squares.sum::<f64>() + down)
            };
            tilted.iter().map(moved).sum::<f64>()
        };
        let (mut low, mut high) = ((1e-9 * widest).ln(), widest.ln());
        if added(high.exp()) <= allowed {
            return high.exp();
        }
        while high - low > 0.01 {
            let middle = 0.5 * (low + high);
            if added(middle.exp()) <= allowed { low = middle } else { high = middle }
        }
        low.exp()
    }

    /// For each pair, the losses beyond which cells of 2, 4, 8 ... steps add at
    /// most `allowed` to the tilted log-moment.
    fn wide(&self, tilt: f64, step: f64, allowed: f64) -> Vec<Vec<(f64, f64)>> {
        let one = |Outline { mut points, count, .. }: Outline| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let reach = |width: f64| {
                let spare = 12.0 * allowed / (tilt * (tilt + 1.0) * width * width * count);
                let low = edge(points.iter(), spare).unwrap_or(f64::INFINITY);
                let high = edge(points.iter().rev(), spare).unwrap_or(f64::NEG_INFINITY);
                (low - width, high + width)
            };
            let widths = (1..=DOUBLINGS).map(|j| step * f64::from(1u32 << j));
            widths.take_while(|width| width * tilt < 0.5).map(reach).collect()
        };
        self.tilted(tilt).into_iter().map(one).collect()
    }
}

/// The first loss up to which the weights exceed `spare`.
fn edge<'a>(mut points: impl Iterator<Item = &'a (f64, f64)>, spare: f64) -> Option<f64> {
    let mut sum = 0.0;
    points
        .find(|(_, weight)| {
            sum += weight;
            sum > spare
        })
        .map(|point| point.0)
}

/// The composed, tilted loss distribution on its window, with bounds on what it misses.
struct Composed {
    bound: Bound,
    tilt: f64,
    step: f64,
    /// The loss of index 0.
    offset: f64,
    /// Index of the window's lowest loss.
    first: i64,
    /// Tilted probabilities.
    masses: Vec<f64>,
    /// Log-moment at the tilt: `exp(log_moment - tilt * loss)` takes the tilt back.
    log_moment: f64,
    /// Bound on the error of each mass.
    error: f64,
    /// Bound on delta from losses beyond the window and from cut tails.
    beyond: f64,
    /// Bound on the tilted mass that was wrapped around the window.
    wrapped: f64,
}

impl Composed {
    fn new(lattices: &[(Lattice, f64)], bound: Bound, tilt: f64, step: f64, length: usize, window: Window) -> Self {
        let total: f64 = lattices.iter().map(|(_, count)| count).sum();
        let offset: f64 = lattices.iter().map(|(lattice, count)| count * lattice.offset).sum();
        let first = ((window.bottom - offset) / step).floor() as i64 - 2;
        // Relative error of one output of a transform of masses that sum to one:
        // a few roundings for each of its butterfly stages.
        let transform_error = 8.0 * f64::EPSILON * (length as f64).log2();
        let bins = length / 2 + 1;
        let (mut log_size, mut log_bound, mut angle) = (vec![0.0; bins], vec![0.0; bins], vec![0.0; bins]);
        let mut planner = RealFftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(length);
        let mut moments = [0.0; 3];
        let mut rest = 0.0;
        let mut spectrum = forward.make_output_vec();
        let mut input = forward.make_input_vec();
        let mut scratch = forward.make_scratch_vec();
        // The most frequent first: where its spectrum is negligible, so is the product's.
        let mut ordered: Vec<&(Lattice, f64)> = lattices.iter().collect();
        ordered.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (lattice, count) in ordered {
            rest += count * lattice.rest;
            for (moment, order) in moments.iter_mut().zip([tilt, tilt + window.above, tilt - window.below]) {
                *moment += count * lattice.log_moment(order);
            }
            lattice.tilt_into(tilt, &mut input);
            forward.process_with_scratch(&mut input, &mut spectrum, &mut scratch).expect(OWN_BUFFERS);
            for (bin, value) in spectrum.iter().enumerate() {
                if log_bound[bin] > NEGLIGIBLE {
                    let size = value.norm();
                    log_bound[bin] += count * (size + transform_error).ln();
                    log_size[bin] += count * size.ln();
                    angle[bin] += count * value.arg();
                }
            }
        }
        let [log_moment, at_top, at_bottom] = moments;
        let mut error = 0.0;
        let mut sizes = 0.0;
        for (bin, value) in spectrum.iter_mut().enumerate() {
            // Bins stand for themselves and their conjugates.
            let twice = if bin == 0 || bin == length / 2 { 1.0 } else { 2.0 };
            if log_bound[bin] > NEGLIGIBLE {
                let size = log_size[bin].exp();
                *value = Complex::from_polar(size, angle[bin]);
                error += twice * (log_bound[bin].exp() - size);
                sizes += twice * size;
            } else {
                *value = Complex::default();
                error += twice * log_bound[bin].exp();
            }
        }
        spectrum[0].im = 0.0;
        spectrum[length / 2].im = 0.0;
        // Turn the window's lowest loss to the front of the array.
        let inverse = planner.plan_fft_inverse(length);
        inverse.process(&mut spectrum, &mut input).expect(OWN_BUFFERS);
        input.rotate_left(first.rem_euclid(length as i64) as usize);
        let scale = 1.0 / length as f64;
        input.iter_mut().for_each(|mass| *mass *= scale);
        let (bottom, top) = (first as f64 * step + offset, (first + length as i64) as f64 * step + offset);
        // Sums of n terms and count-fold multiples of their logarithms.
        let sum_error = 1024.0 * f64::EPSILON * (total + 1.0);
        let sign = if bound == Bound::Upper { 1.0 } else { -1.0 };
        Self {
            bound,
            tilt,
            step,
            offset,
            first,
            masses: input,
            log_moment: log_moment + sign * sum_error,
            error: scale * (error + transform_error * sizes),
            beyond: rest + (at_top - (tilt + window.above) * top).exp(),
            wrapped: (at_top - log_moment - window.above * top).exp()
                + (at_bottom - log_moment + window.below * bottom).exp(),
        }
    }

    fn loss(&self, index: i64) -> f64 {
        index as f64 * self.step + self.offset
    }

    /// Delta at an epsilon `before` below the loss at `index`, from the sums at that index.
    fn delta_at(&self, index: i64, before: f64, sums: Sums) -> f64 {
        let untilt = (self.log_moment - self.tilt * self.loss(index)).exp();
        let sum = -(-before).exp_m1() * sums.all + (-before).exp() * sums.above;
        match self.bound {
            Bound::Upper => untilt * sum + self.beyond,
            Bound::Lower => untilt * (sum - self.wrapped),
        }
    }

    /// Visits indices from the top down with their sums until `stop` says so;
    /// ends at the window's bottom at the latest.
    fn descend(&self, mut stop: impl FnMut(i64, Sums) -> bool) {
        let (shrink, gap) = ((-self.tilt * self.step).exp(), -(-self.step).exp_m1());
        let sign = if self.bound == Bound::Upper { 1.0 } else { -1.0 };
        let mut sums = Sums::default();
        for (i, mass) in self.masses.iter().enumerate().rev() {
            sums.above = shrink * (gap * sums.all + (1.0 - gap) * sums.above);
            sums.all = (mass + sign * self.error).max(0.0) + shrink * sums.all;
            if stop(self.first + i as i64, sums) {
                return;
            }
        }
    }

    fn delta(&self, epsilon: f64) -> f64 {
        let index = ((epsilon - self.offset) / self.step).ceil() as i64;
        let before = self.loss(index) - epsilon;
        let mut found = if self.bound == Bound::Upper { 1.0 } else { 0.0 };
        self.descend(|at, sums| {
            if at == index {
                found = self.delta_at(at, before, sums);
            }
            at <= index
        });
        found.clamp(0.0, 1.0)
    }

    fn epsilon(&self, delta: f64) -> f64 {
        // The lowest index known to have a small enough delta, and its sums.
        let mut last: Option<(i64, Sums)> = None;
        let mut crossed = false;
        self.descend(|at, sums| {
            let small = self.delta_at(at, 0.0, sums) <= delta;
            crossed = !small;
            if small {
                last = Some((at, sums));
            }
            crossed || self.loss(at) <= 0.0
        });
        let Some((index, sums)) = last else {
            return if self.bound == Bound::Upper { f64::INFINITY } else { 0.0 };
        };
        // Between `index - 1` and `index` delta is linear in exp(-before).
        let reaches = |before: f64| self.delta_at(index, before, sums) <= delta;
        let before = if reaches(self.step) { self.step } else { super::numeric::last_holding(0.0, self.step, reaches) };
        match (crossed, self.bound) {
            (false, Bound::Lower) => 0.0,
            _ => (self.loss(index) - before).max(0.0),
        }
    }
}

/// Tilted sums from an index upward, each loss `j` steps above it damped by
/// `exp(-tilt j step)`.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Of the masses.
    all: f64,
    /// Of the masses times `1 - exp(-j step)`.
    above: f64,
}

/// Why a transform cannot fail.
const OWN_BUFFERS: &str = "the buffers were made for this transform";

/// Logarithm of a spectrum's size that is left out (and charged).
const NEGLIGIBLE: f64 = -60.0;

impl Lattice {
    /// `ln sum mass exp(order * loss)`.
    fn log_moment(&self, order: f64) -> f64 {
        let (top, sum) = self.tilted(order, |_, _| {});
        top + sum.ln()
    }

    /// Writes the tilted masses, normalised, around a cyclic array in which
    /// index 0 is loss 0.
    fn tilt_into(&self, order: f64, cyclic: &mut [f64]) {
        cyclic.fill(0.0);
        let length = cyclic.len() as i64;
        let (_, sum) = self.tilted(order, |at, weight| cyclic[at.rem_euclid(length) as usize] += weight);
        cyclic.iter_mut().for_each(|weight| *weight /= sum);
    }

    /// Visits `mass exp(order * loss - top)`; returns top and the sum, which
    /// is compensated (Kahan).
    fn tilted(&self, order: f64, mut visit: impl FnMut(i64, f64)) -> (f64, f64) {
        // A mass can be as far below one as its tilt is above: logarithms.
        let log = |(at, mass): &(i64, f64)| order * (*at as f64 * self.step + self.offset) + mass.ln();
        let top = self.points.iter().map(log).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut lost) = (0.0, 0.0);
        for point @ (at, _) in &self.points {
            let weight = (log(point) - top).exp();
            visit(*at, weight);
            let term = weight - lost;
            let next = sum + term;
            lost = (next - sum) - term;
            sum = next;
        }
        (top, sum)
    }
}
