//! The attacks of an audit, on each stratum, as tests that are corrected together.

use super::attack::{Attacks, COPIES, ON_STRATA, Scored};
use super::records::Records;
use super::result::{AttackFigures, Highest, Risk, Roc, TprAtFpr};
use super::risks::Measured;
use super::statistics::{MembershipTest, clopper_pearson, holm, membership_test};
use super::strata::{Class, Stratum};
use rayon::prelude::*;

/// All tests together raise a false alarm with this probability at most.
pub(super) const FAMILY_WISE: f64 = 0.01;
/// How the family-wise level is shared out: copies are the commonest leak and the hardest to explain away.
const COPIES_SHARE: f64 = 0.2;
const ALL_SHARE: f64 = 0.35;
const ISOLATED_SHARE: f64 = 0.1;
const RARE_SHARE: f64 = 0.25;
const RISKS_SHARE: f64 = 0.1;
/// Where there are shadow models, they have this part, and what is not about copies has so much less: the smallest leak
/// that is found stays what it is. By class of stratum: all, isolated, rare.
const SHADOW_SHARES: [f64; 3] = [0.1, 0.05, 0.05];
/// False positive rates at which true positive rates are reported.
const RATES: [f64; 3] = [0.001, 0.01, 0.1];
/// Steps of a ROC curve, from a false positive rate of 0.001 to 1.
const ROC_POINTS: usize = 18;

/// One test before correction.
struct Test<'a> {
    attack: &'static str,
    stratum: &'a Stratum,
    class: Class,
    of_shadows: bool,
    outcome: MembershipTest,
    tpr: Vec<TprAtFpr>,
    units: usize,
    members: usize,
}

/// The level of the copies attack on all units, where all tests together have `level`.
pub(super) fn copies_level(level: f64) -> f64 {
    level * COPIES_SHARE
}

/// Runs all tests, those of shadow models among them, and shares out 1 among them and the risks, by class of stratum. They are
/// not corrected yet: see [`correct`]. Exact copies have their own records and scores, of everybody, where the others are of
/// a sample.
pub(super) fn tests(
    records: &Records,
    attacks: &Attacks,
    (everybody, copies): (&Records, &[f64]),
    of_shadows: &[Scored],
    strata: &[Stratum],
    risks: &[Measured],
) -> (Vec<AttackFigures>, Vec<Risk>) {
    let test = |name: &'static str, of_shadows: bool, stratum, member: &[bool], scores: &[f64]| Test {
        attack: name,
        stratum,
        class: stratum.class,
        of_shadows,
        outcome: membership_test(scores, member),
        tpr: tpr_at(scores, member, &RATES),
        units: member.len(),
        members: member.iter().filter(|&&m| m).count(),
    };
    let members = |units: &[usize]| -> Vec<bool> { units.iter().map(|&unit| records.member[unit]).collect() };
    let pairs: Vec<(bool, &Scored, &Stratum)> = strata
        .iter()
        .flat_map(|stratum| {
            let others = attacks.scored.iter().map(move |scored| (false, scored, stratum));
            others.chain(of_shadows.iter().map(move |scored| (true, scored, stratum)))
        })
        .filter(|&(own, scored, stratum)| own || stratum.class != Class::Rare || ON_STRATA.contains(&scored.name))
        .collect();
    let mut tests: Vec<Test> = pairs
        .into_par_iter()
        .map(|(of_shadows, scored, stratum)| {
            if stratum.class == Class::All && scored.name == COPIES {
                return test(COPIES, of_shadows, stratum, &everybody.member, copies);
            }
            let scores: Vec<f64> = stratum.units.iter().map(|&unit| scored.scores[unit]).collect();
            test(scored.name, of_shadows, stratum, &members(&stratum.units), &scores)
        })
        .collect();
    for (half, (units, scores)) in ["learned, first half", "learned, second half"].iter().zip(&attacks.learned) {
        tests.push(test(half, false, &strata[0], &members(units), scores));
    }
    let classes = [Class::All, Class::Isolated, Class::Rare];
    let count = |of_shadows: bool| {
        classes.map(|class| tests.iter().filter(|t| t.class == class && t.of_shadows == of_shadows).count())
    };
    let (counts, shadow_counts) = (count(false), count(true));
    let left = if of_shadows.is_empty() { 1.0 } else { 1.0 - SHADOW_SHARES.iter().sum::<f64>() / (1.0 - COPIES_SHARE) };
    let weight = |test: &Test| match test.class {
        class if test.of_shadows => SHADOW_SHARES[class as usize] / shadow_counts[class as usize] as f64,
        Class::All if test.attack == COPIES => COPIES_SHARE,
        Class::All => left * ALL_SHARE / (counts[0] - 1) as f64,
        Class::Isolated => left * ISOLATED_SHARE / counts[1] as f64,
        Class::Rare => left * RARE_SHARE / counts[2] as f64,
    };
    let shares: Vec<f64> = tests.iter().map(weight).collect();
    let figures = |(test, share): (Test, f64)| AttackFigures {
        name: test.attack.into(),
        stratum: test.stratum.name.clone(),
        units: test.units,
        members: test.members,
        auc: test.outcome.auc,
        auc_ci: test.outcome.auc_interval,
        p_area: test.outcome.area_p,
        highest: test.outcome.highest.map(|highest| Highest {
            units: highest.units,
            members: highest.members,
            chance: test.members as f64 / test.units as f64,
            interval: highest.interval,
            p: highest.p,
        }),
        tpr_at_fpr: test.tpr,
        p: test.outcome.p,
        share,
        p_holm: 1.0,
        leak: false,
    };
    let risk = |risk: &Measured| Risk {
        risk: risk.kind,
        what: risk.what.clone(),
        attacked: risk.attacked,
        members: risk.members,
        control: risk.control,
        excess: risk.excess,
        excess_ci: risk.excess_ci,
        p: risk.p,
        share: left * RISKS_SHARE / risks.len() as f64,
        p_holm: 1.0,
        leak: false,
    };
    (tests.into_iter().zip(shares).map(figures).collect(), risks.iter().map(risk).collect())
}

/// Holm's correction, weighted by the tests' shares, over all tests of one table, or of several: what is below `level` then is
/// a leak. The clearest attack comes first.
pub(super) fn correct(tables: &mut [(&mut Vec<AttackFigures>, &mut Vec<Risk>)], level: f64) {
    let all = tables.iter().flat_map(|(attacks, risks)| {
        attacks.iter().map(|test| (test.p, test.share)).chain(risks.iter().map(|risk| (risk.p, risk.share)))
    });
    let mut adjusted = holm(&all.collect::<Vec<_>>()).into_iter();
    for (attacks, risks) in tables {
        for (test, p_holm) in attacks.iter_mut().zip(&mut adjusted) {
            (test.p_holm, test.leak) = (p_holm, p_holm < level);
        }
        for (risk, p_holm) in risks.iter_mut().zip(&mut adjusted) {
            (risk.p_holm, risk.leak) = (p_holm, p_holm < level);
        }
        attacks.sort_by(|a, b| a.p_holm.total_cmp(&b.p_holm).then(a.p.total_cmp(&b.p)));
    }
}

/// ROC curves, at false positive rates evenly spaced in logarithm, of the named attacks on all units.
pub(super) fn roc(records: &Records, attacks: &Attacks, names: &[&str]) -> Vec<Roc> {
    let rates: Vec<f64> = (0..=ROC_POINTS).map(|i| 10f64.powf(-3.0 * (1.0 - i as f64 / ROC_POINTS as f64))).collect();
    let scored = attacks.scored.iter().filter(|scored| names.contains(&scored.name));
    let roc = |s: &Scored| Roc { attack: s.name.into(), points: tpr_at(&s.scores, &records.member, &rates) };
    scored.map(roc).collect()
}

/// True positive rates at thresholds that the holdout sets.
fn tpr_at(scores: &[f64], member: &[bool], rates: &[f64]) -> Vec<TprAtFpr> {
    let part =
        |of: bool| -> Vec<f64> { scores.iter().zip(member).filter(|(_, m)| **m == of).map(|(s, _)| *s).collect() };
    let (members, mut others) = (part(true), part(false));
    others.sort_unstable_by(|a, b| b.total_cmp(a));
    let at = |&fpr: &f64| {
        let allowed = (fpr * others.len() as f64) as usize;
        // Above the first score that must not be reached.
        let hits = others.get(allowed).map_or(members.len(), |&limit| members.iter().filter(|&&s| s > limit).count());
        let (low, high) = clopper_pearson(hits, members.len(), 0.025);
        TprAtFpr { fpr, tpr: hits as f64 / members.len().max(1) as f64, interval: (low, high) }
    };
    rates.iter().map(at).collect()
}
