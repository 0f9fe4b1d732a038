//! Noise and coins, as the mechanisms of a plan draw them.

use super::Check;
use crate::error::Result;
use rayon::prelude::*;
use statrs::function::erf::erfc;
use statrs::function::gamma::{gamma_lr, gamma_ur};
use std::collections::HashSet;
use std::f64::consts::SQRT_2;
use synthward_privacy::mechanism::ClippedSum;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive, UnitKey};

/// Keys that must differ.
const KEYS: usize = 1_000;
/// Units whose coins are looked at, and the steps that they are tossed in.
const UNITS: usize = 1_000;
const STEPS: u64 = 1_000;
const RATE: f64 = 0.1;
/// Numbers of Gaussian noise: enough to see a scale that is off by 1.5 %.
const NORMALS: usize = 1 << 20;
/// Counts of one histogram.
const COUNTS: usize = 20_000;
/// Equally likely cells of the discrete Gaussian.
const CELLS: usize = 100;
/// Counts are whole multiples of one in so many.
const GRID: f64 = (1u64 << 20) as f64;
/// Low ends of a count, all equally likely.
const ENDS: usize = 16;

/// What the parts of the program drew.
#[derive(Clone)]
pub(super) struct Samples {
    /// Keys as bytes.
    keys: Vec<[u8; 32]>,
    /// Units of each step of Poisson sampling.
    batches: Vec<Vec<u32>>,
    /// Noise of two mechanisms of DP-SGD, in standard deviations as they were accounted.
    normals: [Vec<f64>; 2],
    /// Noise of a histogram: its counts, and their standard deviation.
    counts: Vec<f64>,
    counts_std: f64,
}

impl Samples {
    /// Draws everything.
    ///
    /// # Errors
    /// The operating system has no randomness.
    ///
    /// # Privacy
    /// Touches no data: releases the noise of mechanisms that nothing was put into.
    pub fn draw() -> Result<Self> {
        let keys = (0..KEYS).map(|_| Ok(UnitKey::from_system()?.bytes())).collect::<Result<_>>()?;
        let mut plan = plan()?;
        let histogram = plan.histogram("counts")?;
        let counts_std = histogram.noise_std();
        let counts = histogram.release(&Sensitive::new(()), |()| 0, COUNTS, |(), _, _| {})?.into_inner();
        let (batches, first) = steps(&mut plan, "first", STEPS)?;
        let (_, second) = steps(&mut plan, "second", 1)?;
        Ok(Self { keys, batches, normals: [first, second], counts, counts_std })
    }
}

fn plan() -> Result<Plan> {
    let steps = |name: &str, steps| Request {
        name: name.into(),
        share: Share::Train,
        weight: 1.0,
        mechanism: Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: RATE, steps },
    };
    let counts = Request { name: "counts".into(), share: Share::Measure, weight: 1.0, mechanism: Mechanism::Histogram };
    let requests = vec![steps("first", STEPS), steps("second", 1), counts];
    Ok(Plan::calibrate(PrivacyUnit::Row, Budget::new(1.0, 1e-6)?, requests)?)
}

/// The units of all planned steps, and the noise of the last.
fn steps(plan: &mut Plan, name: &str, steps: u64) -> Result<(Vec<Vec<u32>>, Vec<f64>)> {
    let entry = plan.entries().iter().find(|entry| entry.name == name);
    let accounted = entry.map_or(f64::NAN, |entry| entry.noise_multiplier) / (RATE * UNITS as f64);
    let mut mechanism = plan.subsampled_gaussian(name, UNITS as f64)?;
    let (data, mut batches, mut noise) = (Sensitive::new(()), Vec::new(), vec![0.0; NORMALS]);
    for step in 0..steps {
        batches.push(Vec::new());
        let sum = mechanism.accumulate(
            &data,
            |()| UNITS,
            |(), unit| unit.into(),
            |(), _| 1,
            |(), batch, _, _| batches.last_mut().into_iter().for_each(|units| units.extend(batch.units())),
        )?;
        if step + 1 == steps {
            let blocks = noise.par_chunks_mut(ClippedSum::BLOCK);
            sum.release(NORMALS, blocks, |out, mean| {
                out.iter_mut().zip(mean).for_each(|(out, &mean)| *out = f64::from(mean) / accounted);
            });
        }
    }
    Ok((batches, noise))
}

/// All checks of what was drawn.
pub(super) fn checks(samples: &Samples) -> Vec<Check> {
    let Samples { keys, batches, normals: [first, second], counts, counts_std } = samples;
    let repeated = keys.len() - keys.iter().collect::<HashSet<_>>().len();
    let variance = RATE * (1.0 - RATE);
    let sizes: Vec<f64> = batches.iter().map(|batch| batch.len() as f64).collect();
    let mut joined = vec![0.0; UNITS];
    batches.iter().flatten().for_each(|&unit| joined[unit as usize] += 1.0);
    let chi_square = |found: &[f64], mean: f64, variance: f64| {
        two_sided(found.iter().map(|x| (x - mean).powi(2) / variance).sum(), found.len())
    };
    let (mut cells, mut ends, mut off_grid) = (vec![0.0; CELLS], vec![0.0; ENDS], 0);
    for count in counts {
        cells[((normal(count / counts_std) * CELLS as f64) as usize).min(CELLS - 1)] += 1.0;
        let steps = count * GRID;
        off_grid += usize::from(steps.fract() != 0.0);
        ends[steps.rem_euclid(ENDS as f64) as usize] += 1.0;
    }
    vec![
        Check::new("keys of two generators differ", format!("repeated among {KEYS}"), repeated as f64, 0.0..=0.0),
        Check::of_chance(
            "noise of two generators differs",
            format!("their correlation, {NORMALS} numbers each"),
            erfc((correlation(first, second) * (NORMALS as f64).sqrt()).abs() / SQRT_2),
        ),
        Check::of_chance(
            "noise of DP-SGD is Gaussian, as accounted",
            format!("Kolmogorov-Smirnov, {NORMALS} numbers"),
            kolmogorov_smirnov(first),
        ),
        Check::new("noise of counts is on its grid", "numbers beside it", off_grid as f64, 0.0..=0.0),
        Check::of_chance(
            "noise of counts is a discrete Gaussian",
            format!("chi-square, {CELLS} cells, {COUNTS} numbers"),
            goodness_of_fit(&cells),
        ),
        Check::of_chance(
            "noise of counts reaches every grid point",
            format!("chi-square, {ENDS} low ends, {COUNTS} numbers"),
            goodness_of_fit(&ends),
        ),
        Check::of_chance(
            "coins of Poisson sampling: each unit",
            format!("chi-square, {UNITS} units in {STEPS} steps"),
            chi_square(&joined, RATE * STEPS as f64, variance * STEPS as f64),
        ),
        Check::of_chance(
            "coins of Poisson sampling: each batch",
            format!("chi-square, sizes of {STEPS} batches"),
            chi_square(&sizes, RATE * UNITS as f64, variance * UNITS as f64),
        ),
    ]
}

/// The distribution function of the standard normal law.
fn normal(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

/// A bound of the p of the largest distance to the standard normal law, for every sample size (Massart 1990, "The tight
/// constant in the Dvoretzky-Kiefer-Wolfowitz inequality"). DP-SGD's noise is 0.1 % wider than accounted, to pay for
/// rounding: a distance of 0.00024, which costs nothing of the level.
fn kolmogorov_smirnov(sample: &[f64]) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.par_sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = |(i, &x): (usize, &f64)| {
        let expected = normal(x);
        (expected - i as f64 / n).abs().max((expected - (i + 1) as f64 / n).abs())
    };
    let distance = sorted.par_iter().enumerate().map(distance).reduce(|| 0.0, f64::max);
    let wider = 1.0 / 1024.0 * 0.25;
    (2.0 * (-2.0 * n * (distance - wider).max(0.0).powi(2)).exp()).min(1.0)
}

/// The two-sided p of a chi-square statistic: a sample that fits too well is as wrong as one that does not fit.
fn two_sided(statistic: f64, degrees: usize) -> f64 {
    let (shape, at) = (degrees as f64 / 2.0, statistic / 2.0);
    if at <= 0.0 || !at.is_finite() {
        return 0.0;
    }
    2.0 * gamma_lr(shape, at).min(gamma_ur(shape, at))
}

/// Pearson's test that all cells are equally likely.
fn goodness_of_fit(cells: &[f64]) -> f64 {
    let expected = cells.iter().sum::<f64>() / cells.len() as f64;
    two_sided(cells.iter().map(|found| (found - expected).powi(2) / expected).sum(), cells.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static SOUND: LazyLock<Samples> = LazyLock::new(|| Samples::draw().unwrap());

    /// The names of the checks that fail once `fault` was done to what was drawn.
    fn failed(fault: impl Fn(&mut Samples)) -> Vec<String> {
        let mut samples = SOUND.clone();
        fault(&mut samples);
        checks(&samples).into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    fn assert_fails(fault: impl Fn(&mut Samples), name: &str) {
        let failed = failed(fault);
        assert!(failed.iter().any(|failed| failed == name), "{name}: {failed:?}");
    }

    #[test]
    fn sound_noise_passes() {
        assert_eq!(failed(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn a_key_that_comes_twice_is_found() {
        assert_fails(|samples| samples.keys[7] = samples.keys[901], "keys of two generators differ");
        assert_fails(|samples| samples.normals[1] = samples.normals[0].clone(), "noise of two generators differs");
    }

    #[test]
    fn noise_that_is_not_gaussian_is_found() {
        let name = "noise of DP-SGD is Gaussian, as accounted";
        for scale in [0.0, 0.98, 1.02] {
            assert_fails(|samples| samples.normals[0].iter_mut().for_each(|x| *x *= scale), name);
        }
        assert_fails(|samples| samples.normals[0].iter_mut().for_each(|x| *x += 0.02), name);
        assert_fails(|samples| samples.normals[0].iter_mut().for_each(|x| *x = x.clamp(-2.0, 2.0)), name);
    }

    #[test]
    fn counts_off_their_law_are_found() {
        let law = "noise of counts is a discrete Gaussian";
        for scale in [0.0, 0.9, 1.1] {
            assert_fails(
                |samples| samples.counts.iter_mut().for_each(|x| *x = (*x * scale * GRID).round() / GRID),
                law,
            );
        }
        assert_fails(|samples| samples.counts[3] += 0.3 / GRID, "noise of counts is on its grid");
        let coarse = |x: f64| (x * GRID / 2.0).round() * 2.0 / GRID;
        let points = "noise of counts reaches every grid point";
        assert_fails(|samples| samples.counts.iter_mut().for_each(|x| *x = coarse(*x)), points);
    }

    #[test]
    fn batches_that_are_no_coins_are_found() {
        let (units, sizes) = ("coins of Poisson sampling: each unit", "coins of Poisson sampling: each batch");
        // A shuffle: batches of one size.
        let shuffled = |samples: &mut Samples| {
            let units: Vec<u32> = samples.batches.iter().flatten().copied().collect();
            samples.batches = units.chunks_exact(100).map(<[u32]>::to_vec).collect();
        };
        assert_fails(shuffled, sizes);
        // The last units join more often than they are accounted for.
        let unfair = |samples: &mut Samples| {
            samples.batches.iter_mut().filter(|batch| batch.len() % 4 == 0).for_each(|batch| batch.extend(990..1000));
        };
        assert_fails(unfair, units);
        // The same coins in every step.
        assert_fails(|samples| samples.batches = vec![samples.batches[0].clone(); STEPS as usize], units);
        assert_fails(|samples| samples.batches.iter_mut().for_each(Vec::clear), sizes);
    }

    /// Ends of the tables of Abramowitz and Stegun, 26.8: chi-square of 10 degrees exceeds 18.307 with 5 %.
    #[test]
    fn chi_square_has_its_known_quantiles() {
        assert!((two_sided(18.307, 10) - 0.1).abs() < 1e-4);
        assert!((two_sided(3.940, 10) - 0.1).abs() < 1e-4);
        assert!((normal(-1.959_964) - 0.025).abs() < 1e-6);
    }
}
