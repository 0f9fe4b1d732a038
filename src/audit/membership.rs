//! The attacks of an audit, on each stratum, as tests that are corrected together.

use super::attack::{Attacks, ON_STRATA, Scored};
use super::records::Records;
use super::result::{AttackFigures, Risk, Roc, TprAtFpr};
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

/// Part of the family-wise level that the copies attack on all units has.
pub(super) fn copies_level() -> f64 {
    FAMILY_WISE * COPIES_SHARE
}

/// Runs all tests, those of shadow models among them. Holm's correction, weighted by class of stratum, over them and the
/// risks.
pub(super) fn tests(
    records: &Records,
    attacks: &Attacks,
    of_shadows: &[Scored],
    strata: &[Stratum],
    risks: &[Measured],
) -> (Vec<AttackFigures>, Vec<Risk>) {
    let test = |name: &'static str, of_shadows: bool, stratum, units: &[usize], scores: Vec<f64>| {
        let member: Vec<bool> = units.iter().map(|&unit| records.member[unit]).collect();
        Test {
            attack: name,
            stratum,
            class: stratum.class,
            of_shadows,
            outcome: membership_test(&scores, &member),
            tpr: tpr_at(&scores, &member, &RATES),
            units: units.len(),
            members: member.iter().filter(|&&m| m).count(),
        }
    };
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
            let scores = stratum.units.iter().map(|&unit| scored.scores[unit]).collect();
            test(scored.name, of_shadows, stratum, &stratum.units, scores)
        })
        .collect();
    for (half, (units, scores)) in ["learned, first half", "learned, second half"].iter().zip(&attacks.learned) {
        tests.push(test(half, false, &strata[0], units, scores.clone()));
    }
    let classes = [Class::All, Class::Isolated, Class::Rare];
    let count = |of_shadows: bool| {
        classes.map(|class| tests.iter().filter(|t| t.class == class && t.of_shadows == of_shadows).count())
    };
    let (counts, shadow_counts) = (count(false), count(true));
    let left = if of_shadows.is_empty() { 1.0 } else { 1.0 - SHADOW_SHARES.iter().sum::<f64>() / (1.0 - COPIES_SHARE) };
    let weight = |test: &Test| match test.class {
        class if test.of_shadows => SHADOW_SHARES[class as usize] / shadow_counts[class as usize] as f64,
        Class::All if test.attack == "copies" => COPIES_SHARE,
        Class::All => left * ALL_SHARE / (counts[0] - 1) as f64,
        Class::Isolated => left * ISOLATED_SHARE / counts[1] as f64,
        Class::Rare => left * RARE_SHARE / counts[2] as f64,
    };
    let of_tests = tests.iter().map(|t| (t.outcome.p, weight(t)));
    let of_risks = risks.iter().map(|risk| (risk.p, left * RISKS_SHARE / risks.len() as f64));
    let adjusted = holm(&of_tests.chain(of_risks).collect::<Vec<_>>());
    let (of_tests, of_risks) = adjusted.split_at(tests.len());
    let figures = |(test, &p_holm): (Test, &f64)| AttackFigures {
        name: test.attack.into(),
        stratum: test.stratum.name.clone(),
        units: test.units,
        members: test.members,
        auc: test.outcome.auc,
        auc_ci: test.outcome.auc_interval,
        tpr_at_fpr: test.tpr,
        p: test.outcome.p,
        p_holm,
        leak: p_holm < FAMILY_WISE,
    };
    let risk = |(risk, &p_holm): (&Measured, &f64)| Risk {
        risk: risk.kind,
        what: risk.what.clone(),
        attacked: risk.attacked,
        members: risk.members,
        control: risk.control,
        excess: risk.excess,
        excess_ci: risk.excess_ci,
        p: risk.p,
        p_holm,
        leak: p_holm < FAMILY_WISE,
    };
    let mut figures: Vec<AttackFigures> = tests.into_iter().zip(of_tests).map(figures).collect();
    figures.sort_by(|a, b| a.p_holm.total_cmp(&b.p_holm).then(a.p.total_cmp(&b.p)));
    (figures, risks.iter().zip(of_risks).map(risk).collect())
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
