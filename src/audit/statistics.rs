//! Tests whose random unit is membership, and what corrects for many of them.
//!
//! Under the null hypothesis the labels "member" and "holdout" are a random arrangement over the pooled units, whatever
//! the synthetic table is. So a score that was computed without the labels is compared with that arrangement, and no
//! assumption about the rows of the synthetic table is needed.
//!
//! Each interval is that of a test that is made here: it holds what the test does not reject at 5 %, and so leaves out what
//! chance, or the tolerance, would give exactly where the test's p is below 0.05.

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
/// What an interval leaves out is rejected at this level, by both tests together and on either side.
const REJECTED: f64 = 0.05;
/// Odds beyond this, in logarithm, are certainty.
const MOST_LN_ODDS: f64 = 40.0;

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

/// Members among `drawn` of `units` units, as the laws expect them whose odds of drawing a member are the lowest and the highest
/// that the exact test of `hits` does not reject at `significance` a side (Fisher's noncentral hypergeometric law). The first
/// lies above what chance expects where [`hypergeometric_tail`] is below `significance`, and nowhere else.
pub(super) fn expected_hits(
    (units, members): (usize, usize),
    drawn: usize,
    hits: usize,
    significance: f64,
) -> (f64, f64) {
    let others = units - members;
    let (least, most) = (drawn.saturating_sub(others), drawn.min(members));
    let ln_choose =
        |n: usize, k: usize| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
    let ways: Vec<f64> = (least..=most).map(|x| ln_choose(members, x) + ln_choose(others, drawn - x)).collect();
    // The mean, and the probabilities of so few and of so many hits.
    let law = |ln_odds: f64| {
        let ln = |(x, ways): (usize, &f64)| ways + x as f64 * ln_odds;
        let highest = ways.iter().enumerate().map(ln).fold(f64::NEG_INFINITY, f64::max);
        let (mut all, mut sum, mut few, mut many) = (0.0, 0.0, 0.0, 0.0);
        for (x, ways) in ways.iter().enumerate() {
            let mass = (ln((x, ways)) - highest).exp();
            all += mass;
            sum += mass * x as f64;
            few += if least + x <= hits { mass } else { 0.0 };
            many += if least + x >= hits { mass } else { 0.0 };
        }
        (least as f64 + sum / all, few / all, many / all)
    };
    let solve = |is_below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (-MOST_LN_ODDS, MOST_LN_ODDS);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if is_below(middle) { low = middle } else { high = middle }
        }
        law(f64::midpoint(low, high)).0
    };
    let low = if hits == least { least as f64 } else { solve(&|odds| law(odds).2 < significance) };
    let high = if hits == most { most as f64 } else { solve(&|odds| law(odds).1 >= significance) };
    (low, high)
}

/// The outcome of a test of scores: members should have the higher ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct MembershipTest {
    pub auc: f64,
    pub auc_interval: (f64, f64),
    /// Of the body test, where it is made.
    pub area_p: Option<f64>,
    /// Of the scan, where it looked at any.
    pub highest: Option<HighestUnits>,
    pub p: f64,
}

/// The highest units by which a scan stands out most.
#[derive(Clone, Copy, Debug)]
pub(super) struct HighestUnits {
    pub units: usize,
    pub members: usize,
    /// Of the share of members among them.
    pub interval: (f64, f64),
    pub p: f64,
}

/// Tests whether members have the higher scores: as a body by the rank-sum test, and in the extreme by the exact law
/// of the number of members among the highest, scanned over a fixed grid of numbers. Bonferroni over all of them.
///
/// The interval of the area is that of the body test; where too many units are tied for that, it is what the interval of the
/// scan says of the area.
///
/// `scores` and `member` have one entry a unit.
pub(super) fn membership_test(scores: &[f64], member: &[bool]) -> MembershipTest {
    let units = scores.len();
    let members = member.iter().filter(|&&m| m).count();
    let others = units - members;
    if members == 0 || others == 0 {
        return MembershipTest { auc: 0.5, auc_interval: (0.0, 1.0), area_p: None, highest: None, p: 1.0 };
    }
    let mut order: Vec<usize> = (0..units).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let runs: Vec<&[usize]> = order.chunk_by(|&a, &b| scores[a] == scores[b]).collect();
    let longest = runs.iter().map(|run| run.len()).max().unwrap_or(0);
    let area = Area::new(&runs, member, members, others);
    let has_body = members.min(others) >= LEAST_BODY && longest as f64 <= MOST_TIED * units as f64;
    let area_p = has_body.then(|| area.p_above(TOLERATED_AUC));
    let scan = scan(&runs, member, members);
    let highest = scan.best.map(|(drawn, hits, tail)| {
        let significance = REJECTED / 2.0 / scan.looked as f64;
        let (low, high) = expected_hits((units, members), drawn, hits, significance);
        HighestUnits {
            units: drawn,
            members: hits,
            interval: (low / drawn as f64, high / drawn as f64),
            p: (tail * scan.looked as f64).min(1.0),
        }
    });
    let auc_interval = match (&highest, has_body) {
        (_, true) => area.interval(),
        (Some(highest), false) => {
            // A member more among the highest, and another unit less.
            let step = (1.0 / members as f64 + 1.0 / others as f64) / 2.0;
            let at = |share: f64| area.auc + (share * highest.units as f64 - highest.members as f64) * step;
            (at(highest.interval.0).max(0.0), at(highest.interval.1).min(1.0))
        }
        (None, false) => (0.0, 1.0),
    };
    let least = area_p.unwrap_or(1.0).min(highest.map_or(1.0, |highest| highest.p));
    MembershipTest { auc: area.auc, auc_interval, area_p, highest, p: (2.0 * least).min(1.0) }
}

/// The area under the ROC curve, and its law where it is another one.
struct Area {
    auc: f64,
    members: f64,
    others: f64,
    /// What ties leave of the variance.
    untied: f64,
}

impl Area {
    /// From runs of tied units, highest first.
    fn new(runs: &[&[usize]], member: &[bool], members: usize, others: usize) -> Self {
        let (m, o) = (members as f64, others as f64);
        let (mut wins, mut others_above, mut ties) = (0.0, 0.0, 0.0);
        for run in runs {
            let size = run.len() as f64;
            let here = run.iter().filter(|&&unit| member[unit]).count() as f64;
            // A member beats the others below it, and half of those tied with it.
            wins += here * (o - others_above - (size - here) / 2.0);
            others_above += size - here;
            ties += size.powi(3) - size;
        }
        let n = m + o;
        Self { auc: wins / (m * o), members: m, others: o, untied: 1.0 - ties / (n.powi(3) - n) }
    }

    /// The standard deviation of the estimate where the area is `at`: that of the rank sum at one half, and elsewhere after
    /// Newcombe (2006, method 5).
    fn deviation(&self, at: f64) -> f64 {
        let Self { members, others, untied, .. } = self;
        let pairs = (members + others) / 2.0 - 1.0;
        let one = at * (1.0 - at) * (1.0 + pairs * (1.0 - at) / (2.0 - at) + pairs * at / (1.0 + at));
        (one / (members * others) * untied).sqrt()
    }

    /// Deviations by which the estimate lies above an area, half a pair on the safe side.
    fn above(&self, at: f64) -> f64 {
        let deviation = self.deviation(at);
        if deviation > 0.0 { (self.auc - at - 0.5 / (self.members * self.others)) / deviation } else { 0.0 }
    }

    /// Probability of so large an estimate where the area is `at`.
    fn p_above(&self, at: f64) -> f64 {
        normal_cdf(-self.above(at))
    }

    /// The areas that neither this test rejects nor its mirror image.
    fn interval(&self) -> (f64, f64) {
        let z = normal_quantile(1.0 - REJECTED / 2.0);
        let low = |area: &Self| {
            let (mut low, mut high) = (0.0, area.auc);
            for _ in 0..50 {
                let middle = f64::midpoint(low, high);
                if area.above(middle) > z { low = middle } else { high = middle }
            }
            low
        };
        let mirrored = Self { auc: 1.0 - self.auc, members: self.others, others: self.members, ..*self };
        (low(self), 1.0 - low(&mirrored))
    }
}

/// What a scan found: how many highest units, members among them, and the tail probability, where it is the smallest.
struct Scan {
    best: Option<(usize, usize, f64)>,
    looked: usize,
}

/// The smallest tail probability over a grid of numbers of highest units, and how many were looked at. A set of highest
/// units ends where a run of tied scores ends, which does not depend on the labels. A cut just before a long run of ties
/// is a natural one, however many stand above it: those who have some property, against the rest.
fn scan(runs: &[&[usize]], member: &[bool], members: usize) -> Scan {
    let units = member.len();
    let last = ((units as f64 * SCAN_SHARE) as usize).max(SCAN_UNITS).min(units / 2);
    let (mut drawn, mut hits, mut wanted) = (0, 0, SCAN_FROM);
    let mut found = Scan { best: None, looked: 0 };
    for (run, next) in runs.iter().zip(&runs[1..]) {
        drawn += run.len();
        hits += run.iter().filter(|&&unit| member[unit]).count();
        let natural = drawn >= SCAN_FROM / 2 && next.len() > units / 4;
        if natural || (drawn >= wanted && drawn <= last) {
            let tail = hypergeometric_tail(units, members, drawn, hits);
            if found.best.is_none_or(|(.., smallest)| tail < smallest) {
                found.best = Some((drawn, hits, tail));
            }
            found.looked += 1;
            wanted = 2 * drawn.max(wanted);
        }
    }
    found
}

/// A two-by-two comparison: hits among members against hits among others, by the exact law of the former.
pub(super) fn more_hits(hits: usize, of: usize, other_hits: usize, of_others: usize) -> f64 {
    hypergeometric_tail(of + of_others, of, hits + other_hits, hits)
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

    proptest! {
        /// What the interval leaves out is what the test rejects at 5 %, and nothing else.
        #[test]
        fn an_interval_leaves_out_what_its_test_rejects(
            labels in prop::collection::vec((0u8..4, 0u8..40), 60..200),
            lift in 0u8..30,
            tied in any::<bool>(),
        ) {
            let member: Vec<bool> = labels.iter().map(|l| l.0 < 2).collect();
            let members = member.iter().filter(|&&m| m).count();
            prop_assume!(members.min(member.len() - members) >= LEAST_BODY);
            let score = |l: &(u8, u8)| l.1 + if l.0 < 2 { lift } else { 0 };
            let scores: Vec<f64> = labels.iter().map(score).map(|s| f64::from(if tied { s / 36 } else { s })).collect();
            let test = membership_test(&scores, &member);
            let near = |p: f64| (p - 0.025).abs() < 1e-6;
            if let Some(p) = test.area_p {
                prop_assume!(!near(p));
                prop_assert_eq!(test.auc_interval.0 > TOLERATED_AUC, p < 0.025);
            }
            if let Some(highest) = test.highest {
                prop_assume!(!near(highest.p));
                let chance = members as f64 / member.len() as f64;
                prop_assert_eq!(highest.interval.0 > chance + 1e-9, highest.p < 0.025);
                if test.area_p.is_none() && scores.iter().all(|&s| s <= 1.0) {
                    prop_assert_eq!(test.auc_interval.0 > 0.5 + 1e-9, test.p < 0.05);
                }
            }
            prop_assert!(test.auc_interval.0 <= test.auc && test.auc <= test.auc_interval.1);
            // Exchanged roles: the mirror image.
            let mirrored = membership_test(&scores, &member.iter().map(|m| !m).collect::<Vec<_>>());
            prop_assert!((test.auc + mirrored.auc - 1.0).abs() < 1e-12);
            if test.area_p.is_some() {
                prop_assert!((test.auc_interval.0 + mirrored.auc_interval.1 - 1.0).abs() < 1e-9);
            }
        }
    }

    /// 2,000 intervals of scores that know nothing, of any ties: 5 % of them leave one half out but for chance. Binomial(2,000,
    /// 0.05) is above 144 once in 100,000 times.
    #[test]
    fn an_interval_covers_chance() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for levels in [2, 5, 1000] {
            let mut left_out = 0;
            for _ in 0..2000 {
                let mut member: Vec<bool> = (0..120).map(|i| i < 80).collect();
                member.shuffle(&mut rng);
                let scores: Vec<f64> = (0..120).map(|_| f64::from(rng.random_range(0..levels))).collect();
                let (low, high) = membership_test(&scores, &member).auc_interval;
                left_out += usize::from(!(low..=high).contains(&0.5));
            }
            assert!(left_out <= 144, "{levels} levels: {left_out} of 2,000");
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
