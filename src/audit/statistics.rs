//! Tests whose random unit is membership, and what corrects for many of them.
//!
//! Under the null hypothesis the labels "member" and "holdout" are a random arrangement over the pooled units, whatever
//! the synthetic table is. So a score that was computed without the labels is compared with that arrangement, and no
//! assumption about the rows of the synthetic table is needed.

use super::bound::{binomial_tail, normal_cdf, normal_quantile};
use statrs::function::gamma::ln_gamma;

/// Fewest of the highest units that a scan for few, extreme scores looks at; then twice as many, and so on.
const SCAN_FROM: usize = 8;
/// The scan is for few units: at most this share of them, or this number.
const SCAN_SHARE: f64 = 0.05;
const SCAN_UNITS: usize = 100;
/// The body test asks for an area under the ROC curve above this. A release of noisy marginals at epsilon 1 moves the
/// best of the counting attacks to 0.52 on the average at 3,000 members: that is what its guarantee allows, no leak.
const TOLERATED_AUC: f64 = 0.52;
/// A body test needs scores: where this share of the units is tied, the scan alone is used.
const MOST_TIED: f64 = 0.5;
/// Fewest members and fewest others of a body test.
const LEAST_BODY: usize = 10;

/// `P[X >= hits]`, where X counts members among `drawn` of `units` units, `members` of which are members.
pub(super) fn hypergeometric_tail(units: usize, members: usize, drawn: usize, hits: usize) -> f64 {
    let ln_choose =
        |n: usize, k: usize| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
    let (least, most) = ((drawn + members).saturating_sub(units), drawn.min(members));
    if hits <= least {
        return 1.0;
    }
    let mut term =
        (ln_choose(members, hits) + ln_choose(units - members, drawn - hits) - ln_choose(units, drawn)).exp();
    let mut sum = 0.0;
    for x in hits..=most {
        sum += term;
        let others = units - members + x + 1;
        term *= (members - x) as f64 * (drawn - x) as f64 / ((x + 1) as f64 * (others - drawn) as f64);
        if term < sum * 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

/// One-sided bounds of a proportion, each at `significance` (Clopper and Pearson 1934).
pub(super) fn clopper_pearson(hits: usize, of: usize, significance: f64) -> (f64, f64) {
    // The tail grows with the probability.
    let solve = |tail: &dyn Fn(f64) -> f64, wanted: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if tail(middle) < wanted { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let low = if hits == 0 { 0.0 } else { solve(&|p| binomial_tail(of, p, hits), significance) };
    let high = if hits == of { 1.0 } else { solve(&|p| binomial_tail(of, p, hits + 1), 1.0 - significance) };
    (low, high)
}

/// The outcome of a test of scores: members should have the higher ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct MembershipTest {
    pub auc: f64,
    pub auc_interval: (f64, f64),
    pub p: f64,
}

/// Tests whether members have the higher scores: as a body by the rank-sum test, and in the extreme by the exact law
/// of the number of members among the highest, scanned over a fixed grid of numbers. Bonferroni over all of them.
///
/// `scores` and `member` have one entry a unit.
pub(super) fn membership_test(scores: &[f64], member: &[bool]) -> MembershipTest {
    let units = scores.len();
    let members = member.iter().filter(|&&m| m).count();
    let others = units - members;
    if members == 0 || others == 0 {
        return MembershipTest { auc: 0.5, auc_interval: (0.0, 1.0), p: 1.0 };
    }
    let mut order: Vec<usize> = (0..units).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let runs: Vec<&[usize]> = order.chunk_by(|&a, &b| scores[a] == scores[b]).collect();
    let (auc, deviation) = delong(&runs, member, members, others);
    let z = normal_quantile(0.975);
    let auc_interval = ((auc - z * deviation).max(0.0), (auc + z * deviation).min(1.0));
    let longest = runs.iter().map(|run| run.len()).max().unwrap_or(0);
    let body = if members.min(others) < LEAST_BODY || longest as f64 > MOST_TIED * units as f64 {
        1.0
    } else {
        let n = units as f64;
        let ties: f64 = runs.iter().map(|run| (run.len() as f64).powi(3) - run.len() as f64).sum();
        let variance = members as f64 * others as f64 / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
        let excess = (auc - TOLERATED_AUC) * members as f64 * others as f64 - 0.5;
        if variance > 0.0 { normal_cdf(-excess / variance.sqrt()) } else { 1.0 }
    };
    let (scan, looked) = scan(&runs, member, members);
    let scan = (scan * looked.max(1) as f64).min(1.0);
    MembershipTest { auc, auc_interval, p: (2.0 * body.min(scan)).min(1.0) }
}

/// The smallest tail probability over a grid of numbers of highest units, and how many were looked at. A set of highest
/// units ends where a run of tied scores ends, which does not depend on the labels. A cut just before a long run of ties
/// is a natural one, however many stand above it: those who have some property, against the rest.
fn scan(runs: &[&[usize]], member: &[bool], members: usize) -> (f64, usize) {
    let units = member.len();
    let last = ((units as f64 * SCAN_SHARE) as usize).max(SCAN_UNITS).min(units / 2);
    let (mut drawn, mut hits, mut wanted) = (0, 0, SCAN_FROM);
    let (mut smallest, mut looked) = (1.0_f64, 0);
    for (run, next) in runs.iter().zip(&runs[1..]) {
        drawn += run.len();
        hits += run.iter().filter(|&&unit| member[unit]).count();
        let natural = drawn >= SCAN_FROM / 2 && next.len() > units / 4;
        if natural || (drawn >= wanted && drawn <= last) {
            smallest = smallest.min(hypergeometric_tail(units, members, drawn, hits));
            looked += 1;
            wanted = 2 * drawn.max(wanted);
        }
    }
    (smallest, looked)
}

/// A two-by-two comparison: hits among members against hits among others, by the exact law of the former.
pub(super) fn more_hits(hits: usize, of: usize, other_hits: usize, of_others: usize) -> f64 {
    hypergeometric_tail(of + of_others, of, hits + other_hits, hits)
}

/// The area under the ROC curve and its standard deviation (DeLong 1988), from runs of tied units, highest first.
fn delong(runs: &[&[usize]], member: &[bool], members: usize, others: usize) -> (f64, f64) {
    let (m, o) = (members as f64, others as f64);
    let (mut members_above, mut others_above) = (0.0, 0.0);
    let (mut of_members, mut of_others) = ((0.0, 0.0), (0.0, 0.0));
    for run in runs {
        let here = run.iter().filter(|&&unit| member[unit]).count() as f64;
        let here_others = run.len() as f64 - here;
        // A member beats the others below it, and half of those tied with it.
        let wins = (o - others_above - here_others / 2.0) / o;
        of_members.0 += here * wins;
        of_members.1 += here * wins * wins;
        let losses = (members_above + here / 2.0) / m;
        of_others.0 += here_others * losses;
        of_others.1 += here_others * losses * losses;
        members_above += here;
        others_above += here_others;
    }
    let auc = of_members.0 / m;
    let variance = |(sum, squares): (f64, f64), n: f64| {
        if n > 1.0 { ((squares - sum * sum / n) / (n - 1.0)).max(0.0) / n } else { 0.25 }
    };
    (auc, (variance(of_members, m) + variance(of_others, o)).sqrt())
}

/// Holm's correction with weights that add up to 1 (Holm 1979, section 3): adjusted p, in the order given.
///
/// All true hypotheses are kept with probability `1 - a`, when those with an adjusted p below `a` are rejected.
pub(super) fn holm(tests: &[(f64, f64)]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    let ratio = |i: usize| tests[i].0 / tests[i].1;
    order.sort_by(|&a, &b| ratio(a).total_cmp(&ratio(b)));
    let mut weight: f64 = tests.iter().map(|(_, w)| w).sum();
    let (mut adjusted, mut largest) = (vec![1.0; tests.len()], 0.0_f64);
    for i in order {
        largest = largest.max(ratio(i) * weight).min(1.0);
        adjusted[i] = largest;
        weight -= tests[i].1;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn tails_are_those_of_small_cases_counted_by_hand() {
        // 15 copies, all of them among 3,000 members of 4,500: the notes' 0.0023.
        let p = hypergeometric_tail(4500, 3000, 15, 15);
        assert!((p - 0.0023).abs() < 5e-5, "{p}");
        // Two drawn of four with two members: both 1/6, at least one 5/6.
        assert!((hypergeometric_tail(4, 2, 2, 2) - 1.0 / 6.0).abs() < 1e-12);
        assert!((hypergeometric_tail(4, 2, 2, 1) - 5.0 / 6.0).abs() < 1e-12);
        assert!((hypergeometric_tail(4, 2, 3, 1) - 1.0).abs() < 1e-12, "one member at least is drawn");
    }

    /// Clopper and Pearson's bounds for 0, 5 and 10 of 10 at 2.5 % a side, from the printed tables of the binomial law.
    #[test]
    fn bounds_of_a_proportion() {
        for (hits, low, high) in [(0, 0.0, 0.308_50), (5, 0.187_09, 0.812_91), (10, 0.691_50, 1.0)] {
            let (l, h) = clopper_pearson(hits, 10, 0.025);
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{hits}: {l} {h}");
        }
    }

    #[test]
    fn holm_with_equal_weights_is_the_textbook_one() {
        let adjusted = holm(&[(0.01, 0.25), (0.04, 0.25), (0.03, 0.25), (0.005, 0.25)]);
        for (got, wanted) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - wanted).abs() < 1e-12, "{adjusted:?}");
        }
        let weighted = holm(&[(0.004, 0.8), (0.004, 0.2)]);
        assert!((weighted[0] - 0.005).abs() < 1e-12 && (weighted[1] - 0.005).abs() < 1e-12, "{weighted:?}");
    }

    proptest! {
        #[test]
        fn auc_counts_pairs(labels in prop::collection::vec((any::<bool>(), 0u8..6), 2..40)) {
            let member: Vec<bool> = labels.iter().map(|l| l.0).collect();
            let scores: Vec<f64> = labels.iter().map(|l| f64::from(l.1)).collect();
            let pairs = labels.iter().filter(|l| l.0).flat_map(|a| labels.iter().filter(|l| !l.0).map(move |b| (a.1, b.1)));
            let wins: Vec<f64> = pairs.map(|(a, b)| if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 }).collect();
            prop_assume!(!wins.is_empty());
            let expected = wins.iter().sum::<f64>() / wins.len() as f64;
            prop_assert!((membership_test(&scores, &member).auc - expected).abs() < 1e-12);
        }
    }

    /// 4,000 tests of scores that know nothing: at most 1 % below 0.01 but for chance. With p exact the number would be
    /// Binomial(4,000, 0.01): above 66 once in 40,000 such tests.
    #[test]
    fn a_score_that_knows_nothing_keeps_the_level() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for levels in [2, 5, 1000] {
            let mut low = 0;
            for _ in 0..4000 {
                let mut member: Vec<bool> = (0..120).map(|i| i < 80).collect();
                member.shuffle(&mut rng);
                let scores: Vec<f64> = (0..120).map(|_| f64::from(rng.random_range(0..levels))).collect();
                low += usize::from(membership_test(&scores, &member).p < 0.01);
            }
            assert!(low <= 66, "{levels} levels: {low} of 4,000");
        }
    }

    #[test]
    fn few_copies_and_a_shifted_body_are_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let member: Vec<bool> = (0..3000).map(|i| i < 1500).collect();
        let copies: Vec<f64> = (0..3000).map(|i| f64::from(u8::from(i < 15))).collect();
        let p = membership_test(&copies, &member).p;
        assert!(p < 1e-4 && p > 2e-5, "{p}");
        let shifted: Vec<f64> = (0..3000).map(|i| rng.random::<f64>() + if i < 1500 { 0.1 } else { 0.0 }).collect();
        let test = membership_test(&shifted, &member);
        assert!(test.p < 1e-6 && test.auc_interval.0 > 0.5 && test.auc_interval.1 < 0.7);
    }
}
