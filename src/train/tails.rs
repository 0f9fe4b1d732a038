//! What noisy counts of a partition say of a column: what stands out of the noise, and where the rest may lie.
//!
//! A wide public range has many cells that hold nobody. Their noise, cut off at nothing, would put persons far from all
//! others: a mean and a standard deviation would be those of the range. So counts are taken together until they stand out of
//! their noise, by halves, as in a tree of dyadic sums (Hay et al. 2010, arXiv:0904.0942). What does not stand out even
//! together is a tail: it follows the noisy mass, by an exponential law that goes on where its neighbour ends, and not the
//! range. All counts then add up to the number of units, which costs those most that have the most noise.

use super::measure::Estimate;
use std::ops::Range;

/// Counts stand out that are so many standard deviations of their noise: of a thousand that are noise alone, all stay below in
/// 99.6 % of columns.
const STANDS_OUT: f64 = 4.5;

/// A law is as good as the nearest one to noisy counts whose squared distance from them, in variances, is no more than so much
/// larger.
const DOUBT: f64 = 2.0;

/// Share of the persons that may be anywhere in the range.
const POSSIBLE: f64 = 1e-7;

/// Runs side by side that one number is known of.
struct Stretch {
    runs: Range<usize>,
    count: f64,
    /// Of the noise in the sum of its runs ...
    variance: f64,
    /// ... and of what is left of it in `count`, now that all add up.
    of_count: f64,
    stands_out: bool,
}

/// Replaces the counts of a column's runs, in order of position, and of its missing cells by what they say: none is below zero,
/// and they add up to `total`. How much noise was in each stays what it was: how the persons of a stretch lie in it is no
/// better known than before.
///
/// # Privacy
/// Post-processing: looks at released counts alone.
pub(super) fn settle(runs: &mut [Estimate], missing: &mut Option<Estimate>, total: f64) {
    let mut stretches = Vec::new();
    find(runs, 0..runs.len(), &mut stretches);
    join_quiet(&mut stretches);
    let mut all: Vec<(f64, f64)> = stretches.iter().map(|s: &Stretch| (s.count, s.variance)).collect();
    all.extend(missing.as_ref().map(|missing| (missing.leaf.count, missing.variance)));
    project(&mut all, total.max(1.0));
    let noise: f64 = all.iter().map(|(_, variance)| variance).sum();
    for (stretch, &(count, _)) in stretches.iter_mut().zip(&all) {
        stretch.count = count;
        stretch.of_count = stretch.variance * (1.0 - stretch.variance / noise);
    }
    if let (Some(missing), Some(&(count, _))) = (missing, all.last()) {
        missing.leaf.count = count;
    }
    let noisy: Vec<(f64, f64)> = runs.iter().map(|run| (run.leaf.count, run.variance)).collect();
    runs.iter_mut().for_each(|run| run.leaf.count = 0.0);
    for stretch in &stretches {
        if stretch.stands_out {
            share_out(runs, stretch, stretch.count, width);
        }
    }
    let tails: Vec<Tail<'_>> = (0..stretches.len())
        .filter(|&place| !stretches[place].stands_out)
        .map(|place| Tail::new(runs, &stretches, place))
        .collect();
    for tail in tails {
        tail.share_out(runs, &noisy);
    }
    // Nothing of the public range is impossible: constraints and conditions may ask for it.
    let all: f64 = runs.iter().map(width).sum();
    let known: f64 = runs.iter().map(|run| run.leaf.count).sum();
    runs.iter_mut()
        .for_each(|run| run.leaf.count = (1.0 - POSSIBLE) * run.leaf.count + POSSIBLE * known * width(run) / all);
}

/// The stretches of `range`: halves in which anything stands out by itself, or else all of it as one.
fn find(runs: &[Estimate], range: Range<usize>, stretches: &mut Vec<Stretch>) {
    let before = stretches.len();
    if range.len() > 1 {
        let middle = range.start + range.len() / 2;
        find(runs, range.start..middle, stretches);
        find(runs, middle..range.end, stretches);
        if stretches[before..].iter().any(|stretch| stretch.stands_out) {
            return;
        }
        stretches.truncate(before);
    }
    let own = &runs[range.clone()];
    let (count, variance) = own.iter().fold((0.0, 0.0), |(c, v), run| (c + run.leaf.count, v + run.variance));
    let stands_out = count > STANDS_OUT * variance.sqrt();
    stretches.push(Stretch { runs: range, count, variance, of_count: variance, stands_out });
}

/// Makes one of stretches side by side that do not stand out.
fn join_quiet(stretches: &mut Vec<Stretch>) {
    stretches.dedup_by(|next, last| {
        let are_quiet = !next.stands_out && !last.stands_out;
        if are_quiet {
            last.runs.end = next.runs.end;
            last.count += next.count;
            last.variance += next.variance;
        }
        are_quiet
    });
}

/// Moves counts, each with the variance of its noise, to the nearest ones that are not below zero and add up to `total`: nearest
/// as measured by their noise.
fn project(counts: &mut [(f64, f64)], total: f64) {
    let mut sorted = counts.to_vec();
    sorted.sort_by(|a, b| (b.0 / b.1).total_cmp(&(a.0 / a.1)));
    let (mut sum, mut noise, mut shift) = (0.0, 0.0, 0.0);
    for (count, variance) in sorted {
        sum += count;
        noise += variance;
        if count / variance > (sum - total) / noise {
            shift = (sum - total) / noise;
        }
    }
    for (count, variance) in counts {
        *count = (*count - shift * *variance).max(0.0);
    }
}

fn width(run: &Estimate) -> f64 {
    f64::from(run.leaf.last - run.leaf.first) + 1.0
}

/// Adds a count to the runs of a stretch in proportion to their weights.
fn share_out(runs: &mut [Estimate], stretch: &Stretch, count: f64, weight: impl Fn(&Estimate) -> f64) {
    let own = &mut runs[stretch.runs.clone()];
    let all: f64 = own.iter().map(&weight).sum();
    own.iter_mut().for_each(|run| run.leaf.count += count * weight(run) / all);
}

/// A stretch that does not stand out, beside others that do.
struct Tail<'a> {
    stretch: &'a Stretch,
    sides: Vec<Side>,
    /// Most of what is beside it is one value that has no other near it: how far the tail goes is not to be told from there.
    is_from_atom: bool,
}

/// A run beside a tail.
struct Side {
    is_left: bool,
    count: f64,
    /// Count a position.
    density: f64,
    is_atom: bool,
}

impl<'a> Tail<'a> {
    fn new(runs: &[Estimate], stretches: &'a [Stretch], place: usize) -> Self {
        let stretch = &stretches[place];
        let side = |run: Option<usize>, beside: Option<usize>, beyond: Option<usize>, is_left| {
            let run = &runs[run?];
            let count = run.leaf.count;
            let stands_out = beyond.and_then(|beyond| stretches.get(beyond)).is_some_and(|beyond| beyond.stands_out);
            let is_atom = stretches[beside?].runs.len() == 1 && run.leaf.first == run.leaf.last && !stands_out;
            (count > 0.0).then_some(Side { is_left, count, density: count / width(run), is_atom })
        };
        let left = side(stretch.runs.start.checked_sub(1), place.checked_sub(1), place.checked_sub(2), true);
        let next = (stretch.runs.end < runs.len()).then_some(stretch.runs.end);
        let right = side(next, Some(place + 1), Some(place + 2), false);
        let sides: Vec<Side> = left.into_iter().chain(right).collect();
        let is_from_atom = sides.iter().max_by(|a, b| a.count.total_cmp(&b.count)).is_some_and(|side| side.is_atom);
        Self { stretch, sides, is_from_atom }
    }

    /// Puts what the tail holds there. It begins with the density of the run beside it; from an atom it goes as far as its own
    /// counts say, and no farther than they ask for.
    fn share_out(&self, runs: &mut [Estimate], noisy: &[(f64, f64)]) {
        let Stretch { runs: range, count, of_count, .. } = self.stretch;
        if self.sides.is_empty() {
            return share_out(runs, self.stretch, *count, width);
        }
        let own = &mut runs[range.clone()];
        let law = if self.is_from_atom && *count > STANDS_OUT * of_count.sqrt() {
            let most = own.iter().map(width).sum::<f64>() * 4.0;
            let lengths = std::iter::successors(Some(1.0), |length| Some(length * 1.5)).take_while(|&l| l < most);
            let laws: Vec<Vec<f64>> = lengths.map(|length| self.law(own, length)).collect();
            let distance = |law: &Vec<f64>| -> f64 {
                law.iter()
                    .zip(&noisy[range.clone()])
                    .map(|(law, (count, variance))| (count - law).powi(2) / variance)
                    .sum()
            };
            let nearest = laws.iter().map(distance).fold(f64::INFINITY, f64::min);
            laws.into_iter().find(|law| distance(law) <= nearest + DOUBT)
        } else {
            None
        };
        let law = law.unwrap_or_else(|| self.law(own, 1.0));
        own.iter_mut().zip(law).for_each(|(run, count)| run.leaf.count += count);
    }

    /// What an exponential law of at least this length has in each run: of two sides, each has a share by what stands there.
    fn law(&self, own: &[Estimate], length: f64) -> Vec<f64> {
        let (first, last) = (own[0].leaf.first, own[own.len() - 1].leaf.last);
        let all: f64 = self.sides.iter().map(|side| side.count).sum();
        let mut law = vec![0.0; own.len()];
        for side in &self.sides {
            let count = self.stretch.count * side.count / all;
            let length = (count / side.density).max(length);
            let weight = |run: &Estimate| {
                let (near, far) = match side.is_left {
                    true => (run.leaf.first - first, run.leaf.last - first),
                    false => (last - run.leaf.last, last - run.leaf.first),
                };
                (-f64::from(near) / length).exp() - (-(f64::from(far) + 1.0) / length).exp()
            };
            let weights: f64 = own.iter().map(weight).sum();
            law.iter_mut().zip(own).for_each(|(law, run)| *law += count * weight(run) / weights);
        }
        law
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Leaf;
    use crate::train::measure::LEAST_NOISE_STD;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    const NOISE_STD: f64 = 60.0;

    fn runs(counts: &[f64], width: u32, noise_std: f64) -> Vec<Estimate> {
        let run = |(place, &count): (usize, &f64)| {
            let first = place as u32 * width;
            let leaf = Leaf { first, last: first + width - 1, count };
            Estimate { leaf, variance: noise_std.powi(2), parent: None }
        };
        counts.iter().enumerate().map(run).collect()
    }

    /// Mean and standard deviation of the positions.
    fn moments(runs: &[Estimate]) -> (f64, f64) {
        let total: f64 = runs.iter().map(|run| run.leaf.count).sum();
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            let middle = |run: &Estimate| f64::from(run.leaf.first + run.leaf.last) / 2.0;
            runs.iter().map(|run| run.leaf.count * f(middle(run))).sum::<f64>() / total
        };
        let mean = mean_of(&|x| x);
        (mean, mean_of(&|x| (x - mean).powi(2)).sqrt())
    }

    /// Ten thousand persons in a tenth of the range: noise alone, cut off at nothing, would triple the standard deviation. The
    /// seed is fixed; of a thousand others 46 fail.
    #[test]
    fn noise_of_empty_cells_puts_nobody_there() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let noise = Normal::new(0.0, NOISE_STD).unwrap();
        let exact: Vec<f64> = (0..130).map(|place| if place < 13 { 10_000.0 / 13.0 } else { 0.0 }).collect();
        let noisy: Vec<f64> = exact.iter().map(|count| count + noise.sample(&mut rng)).collect();
        let (mean, std) = moments(&runs(&exact, 40, NOISE_STD));
        let mut settled = runs(&noisy, 40, NOISE_STD);
        settle(&mut settled, &mut None, 10_000.0);
        let (settled_mean, settled_std) = moments(&settled);
        assert!((settled_mean / mean - 1.0).abs() < 0.05, "{settled_mean} for {mean}");
        assert!((settled_std / std - 1.0).abs() < 0.05, "{settled_std} for {std}");
        let cut: Vec<f64> = noisy.iter().map(|count| count.max(0.0)).collect();
        assert!(moments(&runs(&cut, 40, NOISE_STD)).1 > 2.0 * std);
    }

    /// What lies between two groups stays near them, and far more than noise stays where it is.
    #[test]
    fn tails_follow_their_neighbours() {
        let mut counts = vec![0.0; 64];
        (counts[10], counts[11], counts[50]) = (4_000.0, 150.0, 2_000.0);
        let mut settled = runs(&counts, 10, NOISE_STD);
        settle(&mut settled, &mut None, 6_150.0);
        let near: f64 = settled[11..14].iter().map(|run| run.leaf.count).sum();
        assert!(near > 90.0, "{near}");
        assert!((settled[10].leaf.count / 4_000.0 - 1.0).abs() < 0.05);
        assert!((settled[50].leaf.count / 2_000.0 - 1.0).abs() < 0.05);
        let between: f64 = settled[16..45].iter().map(|run| run.leaf.count).sum();
        assert!(between < 10.0, "{between}");
    }

    /// Nine tenths have nothing, and of the others no cell stands out: how far they lie from nothing is told by their counts.
    /// The seed is fixed; of a thousand others 108 fail.
    #[test]
    fn a_tail_of_an_atom_goes_as_far_as_its_counts() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let noise = Normal::new(0.0, NOISE_STD).unwrap();
        let exact = |place: usize| if (40..90).contains(&place) { 20.0 } else { 0.0 };
        let counts: Vec<f64> = (0..128).map(|place| exact(place) + noise.sample(&mut rng)).collect();
        let mut settled = runs(&counts, 40, NOISE_STD);
        settled.insert(0, runs(&[9_000.0], 1, NOISE_STD).remove(0));
        for run in &mut settled[1..] {
            (run.leaf.first, run.leaf.last) = (run.leaf.first + 1, run.leaf.last + 1);
        }
        settle(&mut settled, &mut None, 10_000.0);
        let (mean, _) = moments(&settled);
        assert!((0.5..1.5).contains(&(mean / (0.1 * 65.0 * 40.0))), "{mean}");
    }

    proptest! {
        #[test]
        fn counts_add_up_and_none_is_below_zero(
            counts in prop::collection::vec(-300.0f64..3_000.0, 1..80),
            missing in prop::option::of(-300.0f64..3_000.0),
            total in 1.0f64..20_000.0,
            noise_std in 0.25f64..100.0,
        ) {
            let mut settled = runs(&counts, 7, noise_std);
            let mut missing = missing.map(|count| runs(&[count], 1, noise_std).remove(0));
            settle(&mut settled, &mut missing, total);
            let all: Vec<&Estimate> = settled.iter().chain(&missing).collect();
            prop_assert!((all.iter().map(|run| run.leaf.count).sum::<f64>() / total - 1.0).abs() < 1e-9);
            prop_assert!(all.iter().all(|run| run.leaf.count >= 0.0 && run.variance == noise_std.powi(2)));
        }

        /// Without noise that matters everything stays as it is.
        #[test]
        fn exact_counts_are_kept(counts in prop::collection::vec(0u32..50, 1..80)) {
            let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
            let total: f64 = counts.iter().sum();
            prop_assume!(total >= 1.0);
            let mut settled = runs(&counts, 3, LEAST_NOISE_STD);
            settle(&mut settled, &mut None, total);
            for (run, count) in settled.iter().zip(&counts) {
                prop_assert!((run.leaf.count - count).abs() <= POSSIBLE * total);
            }
        }
    }
}
