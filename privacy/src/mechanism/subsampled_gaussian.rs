//! One noisy gradient step after another: the release behind DP-SGD.
//!
//! # What one unit can move
//! The noise is accounted for a sum that one unit moves by at most C. What is
//! released is no sum of real numbers: contributions are added up in single
//! precision, and rounded to a grid. Here is why one unit moves it by at most
//! `C` times [`sensitivity_margin`], which the noise is multiplied by.
//!
//! **What is summed.** Each unit `v` gives terms, vectors over all parameters, at
//! most [`MOST_TERMS`] of them. They, and their number, depend on `v` alone. The
//! norm of each, and that of their sum, as real numbers, is at most
//! `C (1 - 2^-13)`: the clip takes 2^-12 off, and what comes between, norms and
//! scaling in finite precision, is below 2^-17 (`nn::per_unit`).
//!
//! **What one unit changes.** Two tables, of which one has the unit `u` more.
//! Coins, places and whatever a unit draws are the unit's own and secret; take
//! them alike for all others. Then all leaves but `L` hold the same units in the
//! same order; `L` holds `u`, too, and may be cut ([`leaves`](crate::leaves)).
//! The sum of a leaf is a function of its units alone, to the last bit, so what
//! moves is what `L` becomes, less `L`. In real numbers that is the sum of the
//! terms of `u`. The rest is rounding of these leaves.
//!
//! **Rounding in a leaf.** Each entry of a leaf's sum is made by adding its terms
//! one by one, those of one unit after the other, units with more terms first.
//! Each of these sums so far is rounded once, by a factor `1 + d` with
//! `|d| <= w = 2^-24`, so all entries together by `w` times its norm. The norm of
//! such a sum is at most that of the units that are wholly in it, C each, and of
//! the terms of the one that is not, C each: `b + i` for the i-th term of a unit
//! after `b` others. A unit of `r` terms takes `r b + r (r + 1) / 2` of them; and
//! since `r` falls as `b` grows, `m` units with `T` terms, whose squared numbers
//! add up to `Q`, take `T (m - 1) / 2 + (Q + T) / 2` at most. Products that terms
//! are made of may be rounded, too: `T` times C. Where a leaf is made in several
//! tiles, a tile's sums so far are without the `b` units before it, and adding it
//! takes one rounding of `b` and its own units: `T_t b` less and `b + m_t` more, so
//! at most one more a tile; `m` pays for that. So the leaf is off by
//! `w C (T m + Q + 2 T + 2 m) / 2` at most, half its weight, and by less than
//! 0.1 % of that more, since the sums so far are off themselves: by less than
//! 0.005 C, each of less than 2,000 sums.
//!
//! By the page of [`leaves`](crate::leaves), with `n` = [`largest_leaf`] and
//! `r` = [`MOST_TERMS`], what `L` was and what it becomes are together off by
//! `1.001 w C (n (n + 5) + (n (1 + r) + r^2 + 3 r + 2) / 2)` at most.
//!
//! **The grid.** Leaves are rounded to 2^-32 C and added as integers, exactly. At
//! most `n + 2 <= 322` leaves change, each by half a step in each of the `P`
//! entries: `0.7 w sqrt(P) C`. What a double loses on the way is below `2^-40 C`.
//! The sum is rounded once more, to `w C`: two numbers that are rounded move
//! apart by one step at most, all entries together by `w sqrt(P) C`. No leaf comes
//! near the 2^19 C at which its entries are cut off, and no batch of fewer than
//! 2^31 units near the end of the integers. A sum that were cut off after each
//! leaf would not do: it forgets, and one leaf more or less would show.
//!
//! **Underflow** adds less than 2^-80 to any entry's error, and C is at least
//! 2^-40; that, the doubles and the clip's own rounding are paid by the `2^-13 C`
//! that the terms keep below C.

use crate::leaves::{Batch, cut};
use crate::rng::{BLOCK, GridGaussian, NoiseKey, nearest};
use crate::subsample::{Coins, Drawn};
use crate::{Clip, Error, Event, Sensitive};
use rayon::prelude::*;
use std::ops::Range;

/// Grid steps per clipping norm: sums and noise are integers on this grid.
const GRID: f64 = (1u64 << 24) as f64;
/// Steps per clipping norm of the finer grid on which leaves are added.
const LEAF_GRID: f64 = (1u64 << 32) as f64;
/// The same, as bits that the finer grid has more.
const FINER: u32 = 8;
/// A leaf's entries end here, in steps of the finer grid: the doubles that [`nearest`] makes integers of.
const LARGEST_ENTRY: f64 = (1u64 << 51) as f64;

/// Noise multipliers for which the error of [`GridGaussian`] is bounded: from 16 grid steps to 2^37, the margin included.
const LEAST_NOISE_MULTIPLIER: f64 = 1.0 / (1u64 << 20) as f64;
const LARGEST_NOISE_MULTIPLIER: f64 = 8000.0;

/// Terms that a unit may give, at most.
const MOST_TERMS: usize = 32;
/// Leaves whose sums are held before they are added up.
const PARTS: usize = 32;

/// A leaf weighs no more than so many units of one term: enough for a matrix product to be fast, and few enough for rounding to
/// cost less noise than it would if whole batches were rounded anew, which is what small batches decide.
fn largest_leaf(expected_batch_size: f64) -> usize {
    (85.0 * expected_batch_size).sqrt().clamp(96.0, 320.0) as usize
}

/// How much larger than accounted the noise is, which pays for what rounding adds to the sensitivity: see the module's
/// page.
fn sensitivity_margin(expected_batch_size: f64, parameters: usize) -> f64 {
    let (n, r) = (largest_leaf(expected_batch_size) as f64, MOST_TERMS as f64);
    let roundings = n * (n + 5.0) + 0.5 * (n * (1.0 + r) + r * r + 3.0 * r + 2.0);
    1.0 + 2f64.powi(-24) * (1.001 * roundings + 2.0 * (parameters as f64).sqrt())
}

/// The Poisson-subsampled Gaussian mechanism, step by step (Abadi et al. 2016,
/// arXiv:1607.00133; Mironov, Talwar and Zhang 2019, arXiv:1908.10530).
///
/// Each step draws its units by independent coins, asks for the sum of their
/// clipped contributions, leaf by leaf, rounds it to a fixed grid, adds integer
/// noise on the same grid, and divides by the *expected* batch size. An empty
/// batch is a step like any other. The grid keeps the gaps of floating-point
/// numbers from showing the sum under the noise (Mironov 2012).
///
/// # Privacy
/// Each step is one planned Poisson-subsampled Gaussian event, sensitivity C, add/remove adjacency.
pub struct SubsampledGaussian {
    name: String,
    clip: Clip,
    noise_multiplier: f64,
    expected_batch_size: f64,
    steps: u64,
    done: u64,
    batch: Vec<Drawn>,
    units: Vec<u32>,
    leaves: Vec<Range<usize>>,
    /// Sums of leaves.
    parts: Vec<Vec<f32>>,
    /// Sums of those leaves that there are no parts for, on the finer grid.
    folded: Vec<i64>,
    coins: Coins,
    noise: NoiseKey,
}

impl SubsampledGaussian {
    /// Terms that a unit may give, at most.
    ///
    /// # Privacy
    /// Public parameter.
    pub const MOST_TERMS: usize = MOST_TERMS;

    /// `done` of the `steps` were taken by another process, under keys that nobody has any more.
    pub(crate) fn new(
        name: String,
        clip: Clip,
        sampling_rate: f64,
        noise_multiplier: f64,
        expected_batch_size: f64,
        steps: u64,
        done: u64,
    ) -> Result<Self, Error> {
        Self::check_noise_multiplier(noise_multiplier)?;
        Ok(Self {
            name,
            clip,
            noise_multiplier,
            expected_batch_size,
            steps,
            done,
            batch: Vec::new(),
            units: Vec::new(),
            leaves: Vec::new(),
            parts: Vec::new(),
            folded: Vec::new(),
            coins: Coins::new(NoiseKey::from_system()?, sampling_rate, done),
            noise: NoiseKey::from_system()?,
        })
    }

    /// Refuses noise that the sampler's error is not bounded for; none at all is for plans without a limit.
    pub(crate) fn check_noise_multiplier(noise_multiplier: f64) -> Result<(), Error> {
        let bounded = LEAST_NOISE_MULTIPLIER..=LARGEST_NOISE_MULTIPLIER;
        if noise_multiplier == 0.0 || bounded.contains(&noise_multiplier) {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "noise multiplier",
            found: noise_multiplier.to_string(),
            expected: "at most 8000, for which the sampler's error is proved: ask for a larger epsilon or fewer steps, \
                       or take a model without a network",
        })
    }

    pub(crate) fn event(sampling_rate: f64, noise_multiplier: f64, steps: u64) -> Event {
        Event::Repeated {
            event: Box::new(Event::PoissonSubsampled {
                sampling_rate,
                event: Box::new(Event::Gaussian { noise_multiplier }),
            }),
            count: steps,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Steps taken so far, those of an earlier process among them.
    ///
    /// # Privacy
    /// Public: the number of steps does not depend on the data.
    pub fn steps_done(&self) -> u64 {
        self.done
    }

    /// How much larger than accounted the noise on a sum of so many parameters is, to pay for rounding: one unit moves it
    /// by at most the clipping norm times this.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn sensitivity_margin(&self, parameters: usize) -> f64 {
        sensitivity_margin(self.expected_batch_size, parameters)
    }

    /// Draws the units and their places that another draws, for a test that compares two tables.
    ///
    /// # Privacy
    /// Voids every guarantee: two releases under the same coins.
    #[cfg(feature = "test-noise")]
    pub fn share_coins(&mut self, other: &Self) {
        self.coins = other.coins.again();
    }

    /// Half of a step: draws its units and has their contributions added up, each the unit's whole one times
    /// [`Clip::coefficient`] of the square of its largest norm. `identity(data, unit)` tells a unit from all others in any
    /// table; its coins hang on nothing else. `terms(data, unit)` is the number of terms that a unit
    /// gives; `sums(data, batch, clip, parts)` puts the sum of each leaf of the batch into the part of the same number.
    /// It is called for some leaves at a time, and not at all when no unit was drawn. A part that is left empty is nothing.
    ///
    /// The page of this module says what terms and parts have to be.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: what comes back only opens under noise, in [`ClippedSum::release`].
    /// The step counts as taken.
    ///
    /// # Errors
    /// [`Error::StepsSpent`] when all planned steps were taken.
    ///
    /// # Panics
    /// When a unit has more than [`Self::MOST_TERMS`] terms.
    pub fn accumulate<T>(
        &mut self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        identity: impl Fn(&T, u32) -> u64,
        terms: impl Fn(&T, u32) -> usize,
        mut sums: impl FnMut(&T, Batch<'_>, &Clip, &mut [Vec<f32>]),
    ) -> Result<ClippedSum<'_>, Error> {
        if self.done >= self.steps {
            return Err(Error::StepsSpent { name: self.name.clone(), planned: self.steps });
        }
        let data = data.expose();
        self.coins.toss(self.done, units(data) as u32, |unit| identity(data, unit), &mut self.batch);
        let terms = |unit| {
            let terms = terms(data, unit);
            assert!(terms <= MOST_TERMS, "a unit gives few terms");
            terms
        };
        let n = largest_leaf(self.expected_batch_size);
        cut(&mut self.batch, &terms, n * (n + 5), &mut self.units, &mut self.leaves);
        self.folded.clear();
        let mut open = 0;
        for leaves in self.leaves.chunks(PARTS) {
            fold(&self.parts[..open], LEAF_GRID / self.clip.norm(), &mut self.folded);
            open = leaves.len();
            self.parts.resize_with(open.max(self.parts.len()), Vec::new);
            sums(data, Batch::new(&self.units, leaves), &self.clip, &mut self.parts[..open]);
        }
        self.done += 1;
        Ok(ClippedSum { mechanism: self, open })
    }
}

/// Adds parts to the sums on the finer grid, which are made when there are none.
fn fold(parts: &[Vec<f32>], per_norm: f64, sums: &mut Vec<i64>) {
    sums.resize(parts.iter().map(Vec::len).fold(sums.len(), usize::max), 0);
    sums.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sums)| add_parts(parts, block * BLOCK, per_norm, sums));
}

/// Adds what the parts say of the entries from `start` on.
fn add_parts(parts: &[Vec<f32>], start: usize, per_norm: f64, sums: &mut [i64]) {
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let part = &part[start..start + sums.len()];
        pulp::Arch::new().dispatch(AddPart { sums, part, per_norm });
    }
}

/// The clipped sum of one step, on its way to the noise.
///
/// # Privacy
/// Sensitive: it has no accessor, no `Debug` and no `Clone`; dropping it releases nothing.
#[must_use = "a step that is not released was spent for nothing"]
pub struct ClippedSum<'a> {
    mechanism: &'a SubsampledGaussian,
    /// So many parts are not folded yet.
    open: usize,
}

impl ClippedSum<'_> {
    /// Parameters of a block.
    ///
    /// # Privacy
    /// Public parameter.
    pub const BLOCK: usize = BLOCK;

    /// The other half of a step: the noisy mean of the clipped sum, handed out in blocks of [`Self::BLOCK`], each to
    /// `apply` with its item of `blocks`, on all threads. Parts are summed, rounded to the grid, noised and divided
    /// by the expected batch size in one pass.
    ///
    /// # Panics
    /// When `blocks` are not those of `parameters`, or a part has another length.
    ///
    /// # Privacy
    /// Releases the mean under one planned Poisson-subsampled Gaussian event, sensitivity C, add/remove adjacency.
    pub fn release<B: IndexedParallelIterator>(
        self,
        parameters: usize,
        blocks: B,
        apply: impl Fn(B::Item, &[f32]) + Sync,
    ) {
        let Self { mechanism, open } = self;
        let (parts, folded) = (&mechanism.parts[..open], &mechanism.folded);
        assert_eq!(blocks.len(), parameters.div_ceil(BLOCK), "one item a block");
        let mut lengths = parts.iter().map(Vec::len).chain([folded.len()]);
        assert!(lengths.all(|length| length == parameters || length == 0), "one entry a parameter in each part");
        let (key, step, norm) = (&mechanism.noise, mechanism.done - 1, mechanism.clip.norm());
        let per_norm = LEAF_GRID / norm;
        let margin = mechanism.sensitivity_margin(parameters);
        let noise_steps = mechanism.noise_multiplier * margin * GRID;
        let law = GridGaussian::new(noise_steps);
        let scale = norm / GRID / mechanism.expected_batch_size;
        #[cfg(feature = "test-noise")]
        let replayed = crate::tape::is_on().then(|| {
            let mut sums = folded.clone();
            sums.resize(parameters, 0);
            fold(parts, per_norm, &mut sums);
            let steps = sums.iter().map(|&sum| coarser(sum)).collect();
            crate::tape::play("DP-SGD step", steps, margin * GRID)
        });
        blocks.enumerate().for_each(|(block, item)| {
            let start = block * BLOCK;
            let length = BLOCK.min(parameters - start);
            let (mut sums, mut noise, mut means) = ([0; BLOCK], [0; BLOCK], [0.0; BLOCK]);
            let (sums, noise, means) = (&mut sums[..length], &mut noise[..length], &mut means[..length]);
            if !folded.is_empty() {
                sums.copy_from_slice(&folded[start..start + length]);
            }
            add_parts(parts, start, per_norm, sums);
            #[cfg(feature = "test-noise")]
            if let Some(replayed) = &replayed {
                sums.iter_mut().zip(&replayed[start..]).for_each(|(sum, steps)| *sum = steps << FINER);
            }
            key.integers(step, block as u64, law, noise);
            pulp::Arch::new().dispatch(AddNoise { sums, noise, scale, means });
            apply(item, means);
        });
    }
}

/// The nearest step of the grid to a sum on the finer one.
#[inline(always)]
fn coarser(sum: i64) -> i64 {
    sum.wrapping_add(1 << (FINER - 1)) >> FINER
}

/// Adds a part to the sums, in steps of the finer grid: integers, so that nothing is lost and the order is all one.
struct AddPart<'a> {
    sums: &'a mut [i64],
    part: &'a [f32],
    /// Steps of the finer grid per unit of the part.
    per_norm: f64,
}

impl pulp::NullaryFnOnce for AddPart<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (sum, &part) in self.sums.iter_mut().zip(self.part) {
            let entry = (f64::from(part) * self.per_norm).clamp(-LARGEST_ENTRY, LARGEST_ENTRY);
            *sum = sum.wrapping_add(nearest(entry));
        }
    }
}

/// Rounds sums to the grid, adds integer noise and scales what comes out.
struct AddNoise<'a> {
    /// In steps of the finer grid.
    sums: &'a [i64],
    noise: &'a [i64],
    /// Unit of the means per grid step.
    scale: f64,
    means: &'a mut [f32],
}

impl pulp::NullaryFnOnce for AddNoise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((mean, &sum), noise) in self.means.iter_mut().zip(self.sums).zip(self.noise) {
            *mean = ((coarser(sum) + noise) as f64 * self.scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mechanism(noise_multiplier: f64, sampling_rate: f64, steps: u64) -> SubsampledGaussian {
        let clip = Clip::new(2.0).unwrap();
        SubsampledGaussian::new("t".into(), clip, sampling_rate, noise_multiplier, 10.0, steps, 0).unwrap()
    }

    /// One whole step over `data`, in which a leaf's sum is `sum(units)` in every entry.
    fn step(m: &mut SubsampledGaussian, units: usize, length: usize, sum: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut gradient = vec![f32::NAN; length];
        let data = Sensitive::new(vec![(); units]);
        let summed = m.accumulate(
            &data,
            Vec::len,
            |_, unit| unit.into(),
            |_, _| 1,
            |_, batch, _, parts| {
                for (leaf, part) in parts.iter_mut().enumerate() {
                    *part = vec![sum(batch.leaf(leaf).len()); length];
                }
            },
        );
        summed.unwrap().release(length, gradient.par_chunks_mut(BLOCK), |out, mean| out.copy_from_slice(mean));
        gradient
    }

    #[test]
    fn divides_by_the_expected_batch_size_not_the_realised_one() {
        let gradient = step(&mut mechanism(0.0, 1.0, 1), 40, 3, |units| units as f32);
        assert_eq!(gradient, [4.0; 3], "40 units over an expected batch of 10");
    }

    #[test]
    fn an_empty_batch_adds_noise_and_counts() {
        let mut m = mechanism(1.0, 0.5, 2);
        let gradient = step(&mut m, 0, 64, |_| panic!("no unit was drawn"));
        assert!(gradient.iter().all(|&g| g != 0.0));
        assert_eq!(m.steps_done(), 1);
    }

    /// Ten times the expected units, and a thousand times: each leaf is summed once, whether its sum is held or folded.
    #[test]
    fn every_leaf_counts_once_however_many_there_are() {
        for units in [100, 10_000] {
            let gradient = step(&mut mechanism(0.0, 1.0, 1), units, BLOCK + 3, |units| units as f32);
            assert_eq!(gradient, vec![units as f32 / 10.0; BLOCK + 3], "{units} units");
        }
    }

    #[test]
    fn noise_is_fresh_each_step_and_of_the_stated_scale() {
        let mut m = mechanism(5.0, 1.0, 2);
        let (first, second) = (step(&mut m, 4, 20_000, |_| 0.0), step(&mut m, 4, 20_000, |_| 0.0));
        let variance = |x: &[f32]| x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
        // Standard deviation 5 * C / expected batch = 1, times the margin of 0.06 %;
        // four standard errors of the variance are 0.04 (false-alarm rate 1.3e-4).
        for noise in [&first, &second] {
            assert!((variance(noise) - 1.001).abs() < 0.04, "{}", variance(noise));
        }
        let correlation = first.iter().zip(&second).map(|(a, b)| f64::from(a * b)).sum::<f64>() / 20_000.0;
        assert!(correlation.abs() < 0.03, "{correlation}");
        let data = Sensitive::new(vec![(); 4]);
        let beyond = m.accumulate(&data, Vec::len, |_, unit| unit.into(), |_, _| 1, |_, _, _, _| ());
        assert!(beyond.is_err(), "no step beyond the plan");
    }

    /// The largest noise is drawn as stated: 64 values within six standard deviations of 1,600, and one beyond one
    /// (false-alarm rate 2e-6).
    #[test]
    fn noise_that_the_sampler_is_not_proved_for_is_refused() {
        for noise_multiplier in [8001.0, 1e-7, -1.0, f64::NAN, f64::INFINITY] {
            let clip = Clip::new(2.0).unwrap();
            let refused = SubsampledGaussian::new("t".into(), clip, 1.0, noise_multiplier, 10.0, 1, 0);
            assert!(matches!(refused, Err(Error::Parameter { .. })));
        }
        let noisy = step(&mut mechanism(LARGEST_NOISE_MULTIPLIER, 1.0, 1), 4, 64, |_| 0.0);
        assert!(noisy.iter().all(|value| value.abs() < 6.0 * 1650.0) && noisy.iter().any(|value| value.abs() > 1600.0));
    }

    /// The range that the bound on the sampler's error holds for: 16 to 2^37 grid steps, up to ten billion parameters.
    #[test]
    fn allowed_noise_is_within_the_samplers_proved_range() {
        for (batch, parameters) in [(1.0, 1), (1e9, 10_000_000_000)] {
            let margin = sensitivity_margin(batch, parameters);
            assert!(LEAST_NOISE_MULTIPLIER * margin * GRID >= 16.0);
            assert!(LARGEST_NOISE_MULTIPLIER * margin * GRID <= 2f64.powi(37));
        }
    }

    /// As the module's page has it; never above what was paid before there was a proof, and at large batches far below.
    #[test]
    fn the_margin_pays_for_rounding_and_is_small() {
        for parameters in [1_000, 150_000, 1_000_000, 4_000_000] {
            for batch in [1, 10, 96, 128, 200, 256, 512, 1000, 1024, 2048, 4096, 8192, 1 << 20] {
                let (batch, grid) = (f64::from(batch), 2f64.powi(-24) * (f64::from(parameters)).sqrt());
                let measured_once = 1.0 + (batch * 2f64.powi(-17) + grid).max(1.0 / 1024.0);
                let margin = sensitivity_margin(batch, parameters as usize);
                assert!(margin <= measured_once, "{batch} {parameters}: {margin}, {measured_once}");
                assert!(batch < 2048.0 || margin - 1.0 < 0.5 * (measured_once - 1.0));
                assert!(margin < 1.0075);
                let (n, r, p) = (largest_leaf(batch) as f64, MOST_TERMS as f64, f64::from(parameters));
                let weights = 2.0 * n * (n + 5.0) + n * (1.0 + r) + r * r + 3.0 * r + 2.0;
                assert!(margin >= 1.0 + 2f64.powi(-24) * (weights / 2.0 + 1.7 * p.sqrt()));
            }
        }
    }

    #[test]
    fn entries_off_the_grid_are_cut_off() {
        let (mut sums, mut means) = ([0; 4], [0.0; 4]);
        let part = [f32::MAX, f32::NEG_INFINITY, 3.0, f32::NAN];
        for _ in 0..2 {
            pulp::Arch::new().dispatch(AddPart { sums: &mut sums, part: &part, per_norm: LEAF_GRID });
        }
        pulp::Arch::new().dispatch(AddNoise { sums: &sums, noise: &[5; 4], scale: 1.0, means: &mut means });
        let largest = 2f32.powi(52 - 8);
        assert_eq!(means[..3], [largest, -largest, 6.0 * GRID as f32 + 5.0]);
        assert!(means[3].is_finite());
    }

    /// A million leaves one way, and one more that was cut into a large one and its opposite: where sums were cut off after
    /// each leaf, the two would leave a trace.
    #[test]
    fn a_large_batch_forgets_nothing() {
        let mut sums = [0; 1];
        let mut add = |part: f32, times: usize| {
            (0..times).for_each(|_| {
                pulp::Arch::new().dispatch(AddPart { sums: &mut sums, part: &[part], per_norm: LEAF_GRID })
            });
            sums[0]
        };
        let before = add(256.0, 1 << 20);
        assert_eq!(before, 1 << 60);
        add(100.0, 1);
        assert_eq!(add(-100.0, 1), before);
    }

    proptest! {
        /// Parts add up exactly, in any order.
        #[test]
        fn the_order_of_parts_is_all_one(
            parts in prop::collection::vec(prop::collection::vec(-300f32..300.0, 5..=5), 1..9),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(parts.len());
            let (mut forward, mut backward) = (vec![], vec![]);
            fold(&parts, LEAF_GRID, &mut forward);
            fold(&parts[cut..], LEAF_GRID, &mut backward);
            fold(&parts[..cut], LEAF_GRID, &mut backward);
            prop_assert_eq!(&forward, &backward);
            for (entry, &sum) in forward.iter().enumerate() {
                let steps = parts.iter().map(|part| (f64::from(part[entry]) * LEAF_GRID).round_ties_even()).sum::<f64>();
                prop_assert_eq!(sum as f64, steps);
            }
        }
    }

    #[test]
    fn outputs_lie_on_the_grid() {
        for value in step(&mut mechanism(1.0, 1.0, 1), 4, 128, |_| 0.123_456_7) {
            let steps = f64::from(value) * 10.0 * GRID / 2.0;
            // Single precision keeps 24 bits, the grid value may have a few more.
            assert!((steps - steps.round()).abs() < 1e-6 * steps.abs().max(1.0), "{steps}");
        }
    }
}
