//! Controls on the user's own data: what the audit does where the answer is known.

use super::attack::{attack, copies, two_sample};
use super::membership::{FAMILY_WISE, copies_level, correct, tests};
use super::records::{Origin, Records};
use super::result::Controls;
use super::statistics::{hypergeometric_tail, membership_test};
use super::strata::strata;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom, index::sample};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Units of either side in a control, at most.
const MOST_UNITS: usize = 2_500;
/// Copies of this share of the members are planted, or as few as can be found if that is more.
const PLANTED_SHARE: f64 = 0.01;
/// Tries with as many copies; each must succeed.
const TRIES: usize = 3;
/// A leak beyond this share of the members is not what power is about.
const LARGEST_SHARE: f64 = 0.2;
/// Members and holdout that differ with a smaller p are no random split.
const EXCHANGEABLE: f64 = 0.001;

/// Runs all controls of one of `tables` tables that are judged together: each has its part of every level.
pub(super) fn controls(records: &Records, tables: usize, seed: u64) -> Controls {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let level = FAMILY_WISE / tables as f64;
    let exchangeable_p = two_sample(records, seed);
    let (planted, planted_found) = planted(records, level, seed, &mut rng);
    Controls {
        planted: 100.0 * planted,
        planted_found,
        fresh_passes: fresh_passes(records, level, seed, &mut rng),
        exchangeable: exchangeable_p >= EXCHANGEABLE / tables as f64,
        exchangeable_p,
    }
}

/// The smallest number of members whose exact copies would be found if nobody else had any.
pub(super) fn enough_copies(units: usize, members: usize, level: f64) -> Option<usize> {
    (1..=members).find(|&copies| hypergeometric_tail(units, members, copies, copies) < copies_level(level) / 4.0)
}

/// The smallest number of members whose exact copies are found each time, by the copies attack on all units alone, where all
/// tests of the table together have `level`.
pub(super) fn least_copies(records: &Records, level: f64, seed: u64) -> Option<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (units, members) = (records.units(), records.members());
    let mut planted = enough_copies(units, members, level)?;
    let present: HashSet<u64> = records.synthetic_keys.iter().copied().collect();
    let member_units: Vec<usize> = (0..units).filter(|&unit| records.member[unit]).collect();
    while planted as f64 <= LARGEST_SHARE * members as f64 {
        let found = |_| {
            let mut keys = present.clone();
            for at in sample(&mut rng, members, planted) {
                let unit = member_units[at];
                let rows = records.offsets[unit] as usize..records.offsets[unit + 1] as usize;
                keys.extend(&records.pool_keys[rows]);
            }
            membership_test(&records.by_unit(&copies(records, &keys)), &records.member).p < copies_level(level)
        };
        if (0..TRIES).all(found) {
            return Some(planted);
        }
        planted += planted.div_ceil(4);
    }
    None
}

/// Plants copies of members among the synthetic rows and looks for them with every attack. The share planted, and
/// whether they were found.
fn planted(records: &Records, level: f64, seed: u64, rng: &mut ChaCha8Rng) -> (f64, bool) {
    let part = some_units(records, rng);
    let Some(least) = least_copies(&part, level, seed) else { return (0.0, false) };
    let members: Vec<usize> = (0..part.units()).filter(|&unit| part.member[unit]).collect();
    let planted = least.max((members.len() as f64 * PLANTED_SHARE).ceil() as usize);
    let copied = members.choose_multiple(rng, planted);
    let copied: Vec<usize> =
        copied.flat_map(|&unit| part.offsets[unit] as usize..part.offsets[unit + 1] as usize).collect();
    let kept = (part.synthetic_rows() - copied.len().min(part.synthetic_rows() / 2)).min(2 * part.pool_rows());
    let mut rows: Vec<Origin> = sample(rng, part.synthetic_rows(), kept).into_iter().map(Origin::Synthetic).collect();
    rows.extend(copied.into_iter().map(Origin::Pool));
    (planted as f64 / members.len() as f64, alarm(&part.with_synthetic(&rows), level, seed))
}

/// Half of the holdout in the place of the synthetic table, the other half as the holdout.
fn fresh_passes(records: &Records, level: f64, seed: u64, rng: &mut ChaCha8Rng) -> bool {
    let (members, mut others): (Vec<usize>, Vec<usize>) = (0..records.units()).partition(|&unit| records.member[unit]);
    others.shuffle(rng);
    others.truncate(2 * MOST_UNITS);
    let (fresh, held) = others.split_at(others.len() / 2);
    let mut units: Vec<usize> = members.choose_multiple(rng, MOST_UNITS).copied().chain(held.iter().copied()).collect();
    units.sort_unstable();
    let rows: Vec<usize> =
        fresh.iter().flat_map(|&u| records.offsets[u] as usize..records.offsets[u + 1] as usize).collect();
    !alarm(&records.of_units(&units, &rows), level, seed)
}

fn alarm(records: &Records, level: f64, seed: u64) -> bool {
    let attacks = attack(records, seed);
    let everybody = (records, &attacks.scored[0].scores[..]);
    let (mut figures, mut risks) = tests(records, &attacks, everybody, &[], &strata(records, &attacks.isolation), &[]);
    correct(&mut [(&mut figures, &mut risks)], level);
    figures.iter().any(|test| test.leak)
}

/// Everybody, or some units of either side, with all synthetic rows.
fn some_units(records: &Records, rng: &mut ChaCha8Rng) -> Records {
    let (members, others): (Vec<usize>, Vec<usize>) = (0..records.units()).partition(|&unit| records.member[unit]);
    let some = |units: &[usize], rng: &mut ChaCha8Rng| -> Vec<usize> {
        units
            .choose_multiple(rng, MOST_UNITS.max(MOST_UNITS * units.len() / others.len().max(1)).min(2 * MOST_UNITS))
            .copied()
            .collect()
    };
    let mut units = [some(&members, rng), some(&others, rng)].concat();
    units.sort_unstable();
    records.part(&units)
}
