//! Dominating pairs: for each mechanism two distributions P and Q of its output
//! that are as far apart as any neighbouring datasets can push them, seen
//! through their privacy loss `L = ln(dP/dQ)` under P.
//!
//! Pairs compose (Zhu, Dong and Wang 2022, arXiv:2106.08567, theorem 10), and
//! a composition's delta is `E[(1 - exp(epsilon - L))+]` over the summed losses.

use super::AccountingError;
use super::numeric::{log_normal_tail, normal_between, normal_tail};
use crate::event::Event;

/// Which neighbour the numerator P is: the dataset with the unit, so that the
/// pair shows its removal, or the dataset without it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Direction {
    Remove,
    Add,
}

/// Which way a pair may err: at least as revealing as the mechanism, or at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    Upper,
    Lower,
}

/// The part of a pair that has a density.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// `(1 - rate) N(0, 1) + rate N(shift, 1)` against `N(0, 1)`, or the reverse.
    Normal { rate: f64, shift: f64, direction: Direction },
    /// Losses in `[-bound, bound]` of density `weight / 2 exp((loss - bound) / 2)`
    /// under P, hence `weight / 2 exp(-(loss + bound) / 2)` under Q.
    Exponential { bound: f64, weight: f64 },
}

/// One dominating pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pair {
    /// The part with a density, if any.
    pub body: Option<Body>,
    /// (loss, probability under P) of the outcomes with mass.
    pub atoms: Vec<(f64, f64)>,
    /// Probability under P of outcomes left out, whose loss is unbounded.
    pub rest: f64,
}

/// All mechanisms of an event as pairs to be composed.
pub(super) struct Pairs {
    /// Distinct pairs and how often each is composed.
    pub pairs: Vec<(Pair, u64)>,
    /// Probability of no guarantee at all, from the deltas of approximate events.
    pub failure: f64,
    /// The pairs hold up to this factor on densities: the mechanism's delta at
    /// epsilon is within `exp(+-blur)` of the pairs' at `epsilon -+ blur`.
    pub blur: f64,
    /// Whether P and Q can be swapped, so that one direction is enough.
    pub symmetric: bool,
    /// Whether the pairs are the mechanisms themselves, not something a little worse.
    pub tight: bool,
}

/// Discrete Gaussians up to this sigma are summed atom by atom.
const LARGEST_EXACT_SIGMA: f64 = 300.0;
/// Discrete Laplace mechanisms up to this sensitivity are summed atom by atom.
const LARGEST_EXACT_SENSITIVITY: u64 = 10_000;

impl Pairs {
    /// The pairs of an event, seen from one direction.
    ///
    /// # Errors
    /// A parameter out of range; [`Event::ZeroConcentrated`], which has no
    /// pair that composes without loss.
    pub fn of(event: &Event, direction: Direction, bound: Bound) -> Result<Self, AccountingError> {
        let mut found = Pairs { pairs: Vec::new(), failure: 0.0, blur: 0.0, symmetric: true, tight: true };
        let (mut log_success, mut squared_shift) = (0.0, 0.0);
        for (event, count) in event.mechanisms()? {
            let times = count as f64;
            let pair = match event {
                Event::Gaussian { noise_multiplier } => {
                    squared_shift += times / (noise_multiplier * noise_multiplier);
                    continue;
                }
                Event::DiscreteGaussian { sigma, sensitivity: 1 } if sigma <= LARGEST_EXACT_SIGMA => {
                    discrete_gaussian(sigma)
                }
                Event::DiscreteGaussian { sigma, sensitivity } => {
                    let (shift, blur) = smoothed(sigma, sensitivity as f64, times, bound);
                    squared_shift += times * shift * shift;
                    found.blur += times * blur;
                    found.tight = false;
                    continue;
                }
                Event::PoissonSubsampled { sampling_rate, event: inner } => match *inner {
                    Event::Gaussian { noise_multiplier } => {
                        found.symmetric = false;
                        Pair::normal(sampling_rate, 1.0 / noise_multiplier, direction)
                    }
                    other => return Err(AccountingError::Unsupported { accountant: "PLD", event: other.name() }),
                },
                Event::Laplace { scale } => Pair::laplace(1.0 / scale),
                Event::DiscreteLaplace { scale, sensitivity } if sensitivity <= LARGEST_EXACT_SENSITIVITY => {
                    discrete_laplace(scale, sensitivity)
                }
                Event::DiscreteLaplace { scale, sensitivity } => {
                    found.tight = false;
                    match bound {
                        Bound::Upper => Pair::randomized_response(sensitivity as f64 / scale),
                        Bound::Lower => continue,
                    }
                }
                Event::ExponentialMechanism { epsilon } => {
                    found.tight = false;
                    match bound {
                        Bound::Upper => Pair::bounded_range(epsilon),
                        Bound::Lower => Pair::randomized_response(0.5 * epsilon),
                    }
                }
                Event::ReportNoisyMax { epsilon } | Event::PureDp { epsilon } => Pair::randomized_response(epsilon),
                Event::ApproximateDp { epsilon, delta } => {
                    log_success += times * (-delta).ln_1p();
                    Pair::randomized_response(epsilon)
                }
                Event::NonPrivate => {
                    log_success = f64::NEG_INFINITY;
                    continue;
                }
                other @ (Event::ZeroConcentrated { .. } | Event::Repeated { .. } | Event::Composed { .. }) => {
                    return Err(AccountingError::Unsupported { accountant: "PLD", event: other.name() });
                }
            };
            found.pairs.push((pair, count));
        }
        if squared_shift > 0.0 {
            found.pairs.push((Pair::normal(1.0, squared_shift.sqrt(), direction), 1));
        }
        found.failure = -f64::exp_m1(log_success);
        Ok(found)
    }
}

/// The shift of a continuous Gaussian pair that stands for one release of a
/// discrete Gaussian vector, and the blur it holds up to.
///
/// Rounding a continuous Gaussian of variance `sigma^2 - r^2` to the integers
/// by a discrete Gaussian of parameter `r` gives a discrete Gaussian of
/// parameter `sigma`, and adding continuous noise of variance `r^2` to a
/// discrete Gaussian gives a continuous one of variance `sigma^2 + r^2`, both up
/// to a factor `(1 + eta) / (1 - eta)` on the density of each coordinate, with
/// `eta = 2 sum_j exp(-2 pi^2 r^2 j^2)` by Poisson summation (for the second, `r`
/// is replaced by `r sigma / sqrt(sigma^2 + r^2)`); compare Peikert 2010, theorem
/// 3.1. So the first, continuous mechanism reveals at least as much as the
/// discrete one, and the second at most. Coordinates on which neighbours agree
/// cancel, and integers differ in at most `sensitivity^2` coordinates. `r` is
/// chosen so that smaller noise and blur cost least together.
fn smoothed(sigma: f64, sensitivity: f64, times: f64, bound: Bound) -> (f64, f64) {
    let squared = sensitivity * sensitivity;
    let at = |r: f64| {
        let (variance, width) = match bound {
            Bound::Upper => (sigma * sigma - r * r, r),
            Bound::Lower => (sigma * sigma + r * r, r * sigma / sigma.hypot(r)),
        };
        let decay = (-2.0 * (std::f64::consts::PI * width).powi(2)).exp();
        // sum_j decay^(j^2) <= decay / (1 - decay^3)
        let eta = 2.0 * decay / (1.0 - decay.powi(3));
        let blur = if eta < 1.0 { squared * (eta.ln_1p() - (-eta).ln_1p()) } else { f64::INFINITY };
        (sensitivity / variance.sqrt(), blur)
    };
    let cost = |&(shift, blur): &(f64, f64)| {
        let total = shift * times.sqrt();
        0.5 * total * total + 6.0 * (total - sensitivity / sigma * times.sqrt()).abs() + times * blur
    };
    let widths = (1..200).map(|i| 0.04 * f64::from(i)).take_while(|r| *r < 0.99 * sigma);
    let best = widths.map(at).min_by(|a, b| cost(a).total_cmp(&cost(b)));
    best.unwrap_or((sensitivity / sigma, f64::INFINITY))
}

/// The discrete Gaussian on integers of sensitivity 1: whatever the dimension,
/// neighbours differ by one in one coordinate, so one coordinate tells all.
fn discrete_gaussian(sigma: f64) -> Pair {
    let reach = (20.0 * sigma).ceil() as i64 + 2;
    let density = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let norm: f64 = (-reach..=reach).map(density).sum();
    let atoms = (-reach..=reach).map(|k| ((0.5 - k as f64) / (sigma * sigma), density(k) / norm)).collect();
    // Beyond 20 sigma: less than exp(-200).
    Pair { body: None, atoms, rest: 1e-85 }
}

fn discrete_laplace(scale: f64, sensitivity: u64) -> Pair {
    let ratio = (-1.0 / scale).exp();
    let norm = 1.0 + ratio;
    let largest = sensitivity as f64 / scale;
    let mut atoms = vec![(largest, 1.0 / norm), (-largest, (-largest).exp() / norm)];
    atoms.extend((1..sensitivity).map(|k| {
        let k = k as f64;
        (largest - 2.0 * k / scale, -(-1.0 / scale).exp_m1() * (-k / scale).exp() / norm)
    }));
    Pair { body: None, atoms, rest: 0.0 }
}

impl Pair {
    pub fn normal(rate: f64, shift: f64, direction: Direction) -> Self {
        Pair { body: Some(Body::Normal { rate, shift, direction }), ..Pair::default() }
    }

    /// The worst `epsilon`-DP mechanism (Kairouz, Oh and Viswanath 2015, arXiv:1311.0776).
    fn randomized_response(epsilon: f64) -> Self {
        let truth = 1.0 / (1.0 + (-epsilon).exp());
        Pair { atoms: vec![(epsilon, truth), (-epsilon, truth * (-epsilon).exp())], ..Pair::default() }
    }

    /// Laplace noise of scale `1 / epsilon` on a number of sensitivity 1.
    fn laplace(epsilon: f64) -> Self {
        Pair {
            body: Some(Body::Exponential { bound: epsilon, weight: 0.5 }),
            atoms: vec![(epsilon, 0.5), (-epsilon, 0.5 * (-epsilon).exp())],
            rest: 0.0,
        }
    }

    /// Bounded range: for each pair of neighbours all losses lie in some
    /// `[t - epsilon, t]`, the worst having only the two ends (Dong, Durfee and
    /// Rogers 2020, arXiv:1909.13830). The upper envelope over t of their
    /// hockey-stick curves is
    /// `(exp(epsilon / 2) - exp(x / 2))^2 / (exp(epsilon) - 1)`, convex in
    /// `exp(x)`, hence itself the curve of a pair (Zhu, Dong and Wang 2022,
    /// proposition 8): this one.
    fn bounded_range(epsilon: f64) -> Self {
        let weight = -1.0 / (-epsilon).exp_m1();
        Pair { body: Some(Body::Exponential { bound: epsilon, weight }), ..Pair::default() }
    }

    /// The largest loss; infinite for a normal pair that shows removal.
    pub fn largest_loss(&self) -> f64 {
        let body = match self.body {
            Some(Body::Normal { rate, direction: Direction::Add, .. }) => -(-rate).ln_1p(),
            Some(Body::Normal { .. }) => f64::INFINITY,
            Some(Body::Exponential { bound, .. }) => bound,
            None => f64::NEG_INFINITY,
        };
        if self.rest > 0.0 { f64::INFINITY } else { self.atoms.iter().map(|a| a.0).fold(body, f64::max) }
    }

    /// Delta of one release at `epsilon >= 0`, in closed form.
    pub fn delta(&self, epsilon: f64) -> f64 {
        let body = match self.body {
            Some(Body::Normal { rate, shift, direction: Direction::Remove }) => {
                let x = normal_point(rate, shift, epsilon);
                let log_weight = if epsilon > 30.0 { epsilon } else { (epsilon.exp_m1() + rate).ln() };
                rate * normal_tail(x - shift) - (log_weight + log_normal_tail(x)).exp()
            }
            Some(Body::Normal { rate, shift, direction: Direction::Add }) => {
                let x = normal_point(rate, shift, -epsilon);
                let inside = 1.0 - epsilon.exp() * (1.0 - rate);
                if inside <= 0.0 || x == f64::NEG_INFINITY {
                    0.0
                } else {
                    inside * normal_tail(-x) - rate * (epsilon + log_normal_tail(shift - x)).exp()
                }
            }
            Some(Body::Exponential { bound, weight }) if epsilon < bound => {
                weight * (0.5 * (epsilon - bound)).exp_m1().powi(2)
            }
            _ => 0.0,
        };
        let over = |&(loss, mass): &(f64, f64)| if loss > epsilon { -mass * (epsilon - loss).exp_m1() } else { 0.0 };
        (body + self.atoms.iter().map(over).sum::<f64>() + self.rest).clamp(0.0, 1.0)
    }
}

/// `ln((exp(loss) - 1 + rate) / rate)`: the log-likelihood ratio of the two
/// normals at which the mixture has this loss; minus infinity below the least.
pub(super) fn normal_log_ratio(rate: f64, loss: f64) -> f64 {
    if rate == 1.0 {
        loss
    } else if loss > 1.0 {
        loss + (-(1.0 - rate) * (-loss).exp()).ln_1p() - rate.ln()
    } else {
        let ratio = loss.exp_m1() / rate;
        if ratio <= -1.0 { f64::NEG_INFINITY } else { ratio.ln_1p() }
    }
}

/// The output at which the removal loss of a normal pair is `loss`.
pub(super) fn normal_point(rate: f64, shift: f64, loss: f64) -> f64 {
    normal_log_ratio(rate, loss) / shift + 0.5 * shift
}

/// The removal loss of a normal pair at output `x`.
pub(super) fn normal_loss(rate: f64, shift: f64, x: f64) -> f64 {
    let log_ratio = shift * (x - 0.5 * shift);
    if rate == 1.0 {
        log_ratio
    } else if log_ratio < 30.0 {
        (rate * log_ratio.exp_m1()).ln_1p()
    } else {
        rate.ln() + log_ratio + ((1.0 - rate) / rate * (-log_ratio).exp()).ln_1p()
    }
}

/// Probabilities of an interval under both normals of a pair.
pub(super) fn normal_masses(shift: f64, from: f64, to: f64) -> (f64, f64) {
    (normal_between(from, to), normal_between(from - shift, to - shift))
}
