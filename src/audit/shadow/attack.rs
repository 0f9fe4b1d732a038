//! Attacks that compare a model's score of a unit with those of models of which it is known who was in them.

/// Weight of the shared variance beside a unit's own, in degrees of freedom: a few models say little of one unit's.
const SHARED_FREEDOM: f64 = 8.0;

/// One shadow model.
#[derive(Clone, Copy)]
pub struct Reference<'a> {
    /// A score a unit.
    pub scores: &'a [f64],
    /// Whether it was fitted to the unit.
    pub within: &'a [bool],
}

/// What the models say of one unit.
struct Laws {
    /// Half way between the mean of the models with the unit and that of those without it.
    middle: f64,
    /// The difference of those means.
    apart: f64,
    /// Sum of squares around them.
    squares: f64,
    /// Variance of `apart`, in variances of a score.
    chance: f64,
}

impl Laws {
    fn of(unit: usize, references: &[Reference]) -> Self {
        let part = |within: bool| -> Vec<f64> {
            references.iter().filter(|r| r.within[unit] == within).map(|r| r.scores[unit]).collect()
        };
        let (inside, outside) = (part(true), part(false));
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (m, o) = (mean(&inside), mean(&outside));
        let squares = |part: &[f64], mean: f64| part.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Self {
            middle: f64::midpoint(m, o),
            apart: m - o,
            squares: squares(&inside, m) + squares(&outside, o),
            chance: 1.0 / inside.len() as f64 + 1.0 / outside.len() as f64,
        }
    }
}

/// LiRA, online (2112.03570, algorithm 1): the logarithm of how much likelier a score is under the normal law of models
/// with the unit than under that of models without it. Both laws have one variance, drawn towards that of all units, as
/// the paper advises for few models. The distance of the means is drawn to that of all units as far as its spread among
/// them is chance (empirical Bayes): eight models on either side say of hardly any unit which of its means is higher.
///
/// # Shapes
/// `scores` has an entry a unit, and so has the result. Each unit is in some of the references and not in others.
pub fn lira(scores: &[f64], references: &[Reference]) -> Vec<f64> {
    let laws: Vec<Laws> = (0..scores.len()).map(|unit| Laws::of(unit, references)).collect();
    let units = laws.len() as f64;
    let freedom = references.len() as f64 - 2.0;
    let shared = laws.iter().map(|law| law.squares).sum::<f64>() / (units * freedom);
    let deviation = |law: &Laws| {
        let variance = (law.squares + SHARED_FREEDOM * shared) / (freedom + SHARED_FREEDOM);
        variance.max(f64::MIN_POSITIVE).sqrt()
    };
    let effects: Vec<f64> = laws.iter().map(|law| law.apart / deviation(law)).collect();
    let mean = effects.iter().sum::<f64>() / units;
    let spread = effects.iter().map(|effect| (effect - mean).powi(2)).sum::<f64>() / units;
    let real = (spread - laws.iter().map(|law| law.chance).sum::<f64>() / units).max(0.0);
    let score = |((law, effect), score): ((&Laws, &f64), &f64)| {
        let effect = mean + (effect - mean) * if real > 0.0 { real / (real + law.chance) } else { 0.0 };
        effect * (score - law.middle) / deviation(law)
    };
    laws.iter().zip(&effects).zip(scores).map(score).collect()
}

/// RMIA, online (2312.03262, equation 3 and algorithm 1): the share of all units `z` whose ratio of probabilities, under
/// the model against the mean of the references, the unit's own ratio reaches (gamma is 1). Scores are logarithms of
/// probabilities.
///
/// # Shapes
/// As [`lira`].
pub fn rmia(scores: &[f64], references: &[Reference]) -> Vec<f64> {
    let ratio = |(unit, score): (usize, &f64)| {
        let logs = references.iter().map(|r| r.scores[unit]);
        let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
        let mean = logs.map(|log| (log - largest).exp()).sum::<f64>() / references.len() as f64;
        score - largest - mean.ln()
    };
    let ratios: Vec<f64> = scores.iter().enumerate().map(ratio).collect();
    let mut sorted = ratios.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    ratios.iter().map(|r| sorted.partition_point(|z| z <= r) as f64 / ratios.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::statistics::membership_test;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    fn references<'a>(scores: &'a [Vec<f64>], within: &'a [Vec<bool>]) -> Vec<Reference<'a>> {
        scores.iter().zip(within).map(|(scores, within)| Reference { scores, within }).collect()
    }

    /// Means 4 and 1, variance 2: log N(4; 4, 2) - log N(4; 1, 2) = 9 / 4.
    #[test]
    fn lira_is_the_log_ratio_of_two_normal_laws() {
        let scores = [[3.0], [5.0], [0.0], [2.0]].map(|score| score.to_vec());
        let within = [[true], [true], [false], [false]].map(|within| within.to_vec());
        let of = |score| lira(&[score], &references(&scores, &within))[0];
        assert!((of(4.0) - 2.25).abs() < 1e-12 && (of(1.0) + 2.25).abs() < 1e-12 && of(2.5).abs() < 1e-12);
    }

    /// Probabilities 0.4, 0.2 and 0.1 where the references' mean is 0.2: ratios 2, 1 and 1/2.
    #[test]
    fn rmia_is_the_share_of_units_that_the_ratio_reaches() {
        let log = |p: [f64; 3]| p.map(f64::ln).to_vec();
        let scores = [log([0.1, 0.1, 0.2]), log([0.3, 0.3, 0.2])];
        let within = [vec![true; 3], vec![false; 3]];
        let shares = rmia(&log([0.4, 0.2, 0.1]), &references(&scores, &within));
        for (share, wanted) in shares.iter().zip([1.0, 2.0 / 3.0, 1.0 / 3.0]) {
            assert!((share - wanted).abs() < 1e-12, "{shares:?}");
        }
        let far = rmia(&[-900.0, -800.0], &references(&[vec![-800.0, -800.0]], &[vec![true; 2]]));
        assert_eq!(far, [0.5, 1.0], "where probabilities are too small for a float");
    }

    /// Units of different levels and spreads, whose scores are higher by `effect` spreads where they are in.
    fn planted(effect: f64, seed: u64) -> [f64; 2] {
        const UNITS: usize = 600;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let units: Vec<(f64, f64)> =
            (0..UNITS).map(|_| (rng.random_range(-40.0..-5.0), rng.random_range(0.2..2.0))).collect();
        let mut model = |_: usize| -> (Vec<f64>, Vec<bool>) {
            let of = |&(level, spread): &(f64, f64)| {
                let within: bool = rng.random();
                let noise: f64 = rng.sample(StandardNormal);
                (level + spread * (noise + if within { effect } else { 0.0 }), within)
            };
            units.iter().map(of).unzip()
        };
        let (scores, within): (Vec<_>, Vec<_>) = (0..32).map(&mut model).unzip();
        let (observed, member) = model(0);
        let references = references(&scores, &within);
        [lira, rmia].map(|attack| membership_test(&attack(&observed, &references), &member).p)
    }

    /// The test is exact, so that a false alarm at 0.001 in eight tests has a probability of at most 0.008.
    #[test]
    fn members_are_found_where_they_are_scored_higher_and_only_there() {
        for seed in 0..4 {
            let [lira, rmia] = planted(0.7, seed);
            assert!(lira < 1e-6 && rmia < 1e-6, "{lira} {rmia}");
            let [lira, rmia] = planted(0.0, seed);
            assert!(lira > 1e-3 && rmia > 1e-3, "{lira} {rmia}");
        }
    }
}
