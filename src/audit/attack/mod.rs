//! Attacks: from the synthetic table and the pool of records, without its labels, to a score for each unit, the higher
//! the likelier a member.
//!
//! The pool, less the record's own unit, is what each attack is calibrated against: it holds members and others alike,
//! so that the labels stay exchangeable and no holdout row is lost to calibration. The one attack that sees labels
//! ([`learned::of_members`]) sees those of one half of the units and scores the other.

mod counts;
mod learned;
mod resemblance;

use super::records::Records;
use super::result::Proxies;
pub(super) use learned::two_sample;
use resemblance::Resemblance;
pub(super) use resemblance::copies;

/// An attack's name and its scores, one a unit.
pub(super) struct Scored {
    pub name: &'static str,
    pub scores: Vec<f64>,
}

/// What all attacks say.
pub(super) struct Attacks {
    pub scored: Vec<Scored>,
    /// The learned attack: units and their scores, for either half.
    pub learned: [(Vec<usize>, Vec<f64>); 2],
    /// How isolated each unit is: its most isolated row.
    pub isolation: Vec<f64>,
    /// Whether two halves of the columns lead to one synthetic row, for each row of the pool.
    pub linked: Vec<bool>,
    pub proxies: Proxies,
}

/// The attack that looks for exact copies.
pub(super) const COPIES: &str = "copies";
/// Names of attacks that are run on rare strata, too.
pub(super) const ON_STRATA: [&str; 4] = [COPIES, "agreement", "lineage", "ensemble"];

/// Runs all attacks. The same scores for the same seed at any number of threads.
pub(super) fn attack(records: &Records, seed: u64) -> Attacks {
    let near = Resemblance::new(records, seed);
    let scored: Vec<(&'static str, Vec<f64>)> = vec![
        (COPIES, copies(records, &records.synthetic_keys.iter().copied().collect())),
        ("near copies", near.near_copies()),
        ("agreement", near.agreement()),
        ("distance", near.distance()),
        ("distance to several", near.several_distances()),
        ("halves of the columns", near.halves()),
        ("density, narrow", near.density(0)),
        ("density, wide", near.density(1)),
        ("density of agreement", near.density(2)),
        ("lineage", near.lineage(records)),
        ("margin", near.margin(records)),
        ("values", counts::values(records)),
        ("pairs", counts::pairs(records, seed)),
        ("subsets", counts::subsets(records, seed)),
        ("classifier", learned::classifier(records, seed)),
    ];
    let mut scored: Vec<Scored> =
        scored.into_iter().map(|(name, rows)| Scored { name, scores: records.by_unit(&rows) }).collect();
    let scores: Vec<&[f64]> = scored.iter().map(|s| &s.scores[..]).collect();
    let learned = learned::of_members(records, &scores, seed);
    let ensemble = mean_rank(&scores);
    scored.push(Scored { name: "ensemble", scores: ensemble });
    Attacks {
        scored,
        learned,
        isolation: records.by_unit(&near.isolation()),
        linked: near.linked(),
        proxies: near.proxies(records),
    }
}

/// The mean of a unit's ranks under all attacks (rank-average ensemble, 2509.05350).
fn mean_rank(scores: &[&[f64]]) -> Vec<f64> {
    let units = scores[0].len();
    let mut sum = vec![0.0; units];
    for of_attack in scores {
        let mut order: Vec<usize> = (0..units).collect();
        order.sort_unstable_by(|&a, &b| of_attack[a].total_cmp(&of_attack[b]));
        let mut below = 0;
        for tied in order.chunk_by(|&a, &b| of_attack[a] == of_attack[b]) {
            let rank = below as f64 + (tied.len() as f64 + 1.0) / 2.0;
            tied.iter().for_each(|&unit| sum[unit] += rank);
            below += tied.len();
        }
    }
    sum
}
