//! Does the synthetic table betray who was in the training table?
//!
//! An audit looks at three tables: the synthetic one, whoever made it; its *members*, the rows that it was made from; and
//! a *holdout*, rows of other people from the same population. Attacks score every record without knowing which of the
//! two it is; if members score higher, the synthetic table knows them. Membership is the random unit of every test: a
//! person, where the schema names the column of the privacy unit.
//!
//! | file | holds |
//! |---|---|
//! | `records` | the rows in one numbering, members and holdout pooled |
//! | `neighbours` | who is like whom |
//! | `attack/` | the attacks: a score for each unit |
//! | `strata` | everybody, the most isolated, rare groups |
//! | `membership` | attacks on strata as tests, corrected together |
//! | `risks` | singling out, linkability, inference |
//! | `control` | what the audit finds where the answer is known; how small a leak it can see |
//! | `bound/` | lower bounds of epsilon |
//! | `canary/` | the white-box audit: a whole fit with canaries in it |
//! | `shadow/` | attacks with models of the attacker's own |
//!
//! It shares no code with the accountants: it is a second opinion. No figure is about a single record, and none is a
//! guarantee: attacks that nobody tried may still succeed.

mod attack;
pub mod bound;
pub mod canary;
mod control;
mod membership;
mod neighbours;
mod records;
mod result;
mod risks;
pub mod shadow;
mod statistics;
mod strata;
#[cfg(test)]
mod tests;

pub use result::{
    AttackFigures, Audit, Controls, CopyFigures, Highest, Proxies, Risk, RiskKind, Roc, Sample, Sizes, TprAtFpr,
    Verdict,
};

use crate::error::{Error, Result};
use crate::evaluate::table::Tables;
use crate::ingest::Frame;
use attack::Scored;
use bound::steinke_of_members;
use canary::WhiteBox;
use membership::FAMILY_WISE;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};
use records::{Records, counts};
use shadow::Shadow;

/// Goes with every audit.
const NOTE: &str = "Computed on real rows for the controller of the data, outside the epsilon claim. No score of these \
    attacks is a guarantee: they are the attackers that were tried.";
/// Units of either side below which nothing can be told.
const LEAST_UNITS: usize = 200;
/// A leak of more than this, in percent of the members, must be found, or the audit is inconclusive.
pub const POWER: f64 = 1.0;
/// Rows of the pool, and synthetic rows, at most, that are compared with each other. Of larger tables whole units are drawn;
/// exact copies are searched among all rows.
const MOST_ROWS: usize = 30_000;
/// Confidence of the lower bound of epsilon.
const CONFIDENCE: f64 = 0.95;
/// Attacks whose ROC curves are given.
const ROC_OF: [&str; 4] = ["agreement", "density, narrow", "lineage", "ensemble"];
/// How the threat begins that the white-box audit tests.
const MODEL_THREAT: &str = "somebody who has the model";
/// How the threat begins that shadow models test.
const SHADOW_THREAT: &str = "somebody with models of his own";
const TESTED: [&str; 4] = [
    "somebody who has the synthetic table, knows one person's whole record and asks whether it was in the training table",
    "the same with other records of the population to compare with, and a mind to try fifteen attacks and to join them",
    "somebody who knows half of the columns of a person and wants to link or infer the rest",
    "somebody who looks for a predicate that fits one person alone",
];
const NOT_TESTED: [&str; 4] = [
    "somebody who has several synthetic tables of the same people",
    "somebody who has the model as well as the table",
    "somebody with models of his own of the same population (shadow models)",
    "the reconstruction of whole records from what the table says of groups",
];

/// The tables of an audit.
pub struct AuditRequest<'a> {
    pub members: &'a Frame,
    pub holdout: &'a Frame,
    pub synthetic: &'a Frame,
    /// Columns that an attacker would want to know of a person; without any, the audit chooses.
    pub secrets: &'a [String],
    /// Whether a value of a column is public, so that a group of people may be called by it.
    pub is_public: &'a dyn Fn(&str, &str) -> bool,
    /// The declared range of a column of numbers, beyond which nothing counts.
    pub range: &'a dyn Fn(&str) -> Option<(f64, f64)>,
    /// Tables that are judged together, this one among them: each has its part of every level.
    pub tables: usize,
    /// Shadow models of the model that made the synthetic table, of the same members and holdout.
    pub shadow: Option<&'a Shadow>,
    /// Fixes subsamples and models.
    pub seed: u64,
}

/// Audits a synthetic table. The same figures at any number of threads.
///
/// # Errors
/// Bad input: a table without rows, columns that differ, a column without a value, a holdout that is the members' table,
/// shadow models of other units.
///
/// # Privacy
/// Touches sensitive data. The figures are unprotected functions of groups of real rows: for the controller, outside
/// the epsilon claim, as [`Audit::note`] says.
pub fn audit(request: &AuditRequest) -> Result<Audit> {
    let AuditRequest { members, holdout, synthetic, secrets, is_public, range, tables: judged, shadow, seed } =
        *request;
    let units = |frame: &Frame| frame.unit.clone().unwrap_or_else(|| (0..frame.rows as u32).collect());
    let mut tables = Tables::align(members, holdout, synthetic)?;
    tables.clamp(|tables, column| range(&tables.names[column]));
    let mut records = Records::new(tables, &units(members), &units(holdout))?;
    records.forget_labels(is_public);
    refuse_same_table(&records)?;
    let member_units = records.members();
    let holdout_units = records.units() - member_units;
    if shadow.is_some_and(|shadow| (shadow.units, shadow.members) != (records.units(), member_units)) {
        return Err(Error::bad_input("the schema of the audit and that of the model do not count the same units")
            .remedy("name the same column of the privacy unit in both"));
    }
    let sizes = Sizes {
        members: member_units,
        holdout: holdout_units,
        member_rows: members.rows,
        holdout_rows: holdout.rows,
        synthetic_rows: synthetic.rows,
        columns: records.columns.len(),
    };
    let copies = records.by_unit(&attack::copies(&records, &records.synthetic_keys.iter().copied().collect()));
    let part = records.sample(MOST_ROWS, seed);
    let looked_at = part.as_ref().unwrap_or(&records);
    let attacks = attack::attack(looked_at, seed);
    let strata = strata::strata(looked_at, &attacks.isolation);
    let secrets: Vec<usize> = secrets.iter().filter_map(|name| records.names.iter().position(|n| n == name)).collect();
    let risks = risks::risks(looked_at, &attacks, &secrets, seed);
    let of_shadows: Vec<Scored> = shadow.map_or(Vec::new(), |shadow| shadow.in_order(&looked_at.numbers));
    let (figures, risks) = membership::tests(looked_at, &attacks, (&records, &copies), &of_shadows, &strata, &risks);
    let controls = control::controls(looked_at, judged, seed);
    let level = FAMILY_WISE / judged as f64;
    let least = control::least_copies(&records, level, seed);
    let minimum_detectable_leak = least.map(|copies| 100.0 * copies as f64 / member_units as f64);
    let sample = part.as_ref().map(|part| sample(&records, part, level, seed));
    let (epsilon_lower_bound, epsilon_ceiling) = epsilon_bound(&records, &copies, seed);
    let copied = copied(&records, &copies);
    let (mut tested, mut not_tested) = (TESTED.map(String::from).to_vec(), NOT_TESTED.map(String::from).to_vec());
    if let Some(shadow) = shadow {
        not_tested.retain(|threat| !threat.starts_with(SHADOW_THREAT));
        tested.push(format!("{SHADOW_THREAT} of the same population ({} shadow models)", shadow.figures.models));
    }
    let mut audit = Audit {
        note: NOTE.into(),
        verdict: Verdict::Inconclusive,
        reasons: Vec::new(),
        seed,
        sizes,
        sample,
        family_wise_level: FAMILY_WISE,
        minimum_detectable_leak,
        epsilon_lower_bound,
        epsilon_ceiling,
        epsilon_basis: "heuristic: holds if a fair coin decided who of members and holdout was trained on".into(),
        roc: membership::roc(looked_at, &attacks, &ROC_OF),
        attacks: figures,
        risks,
        copies: copied,
        controls,
        white_box: None,
        shadow: shadow.map(|shadow| shadow.figures.clone()),
        proxies: attacks.proxies,
        threats_tested: tested,
        threats_not_tested: not_tested,
    };
    judge(&mut [&mut audit]);
    Ok(audit)
}

/// Judges audits together: one family of tests over all tables, corrected by Holm. The verdict on all is the worst of any.
pub fn judge(audits: &mut [&mut Audit]) -> Verdict {
    let parts = audits.iter_mut().map(|audit| (&mut audit.attacks, &mut audit.risks));
    membership::correct(&mut parts.collect::<Vec<_>>(), FAMILY_WISE);
    for audit in audits.iter_mut() {
        (audit.verdict, audit.reasons) = verdict(audit);
        audit.reasons.extend(audit.sample.iter().map(|sample| sample.told(&audit.sizes)));
    }
    audits.iter().map(|audit| audit.verdict).max().unwrap_or(Verdict::Inconclusive)
}

impl Audit {
    /// The same with a white-box audit of the fit: its bound is the stronger one, and its verdict of a bug stands above
    /// any other.
    pub fn with_white_box(mut self, found: WhiteBox) -> Self {
        self.epsilon_lower_bound = found.epsilon_lower_bound;
        self.epsilon_ceiling = found.epsilon_ceiling;
        self.epsilon_basis = format!("white box: {} canaries in a throwaway fit, by fair coins", found.canaries);
        if found.verdict == canary::Verdict::Bug {
            self.verdict = Verdict::Bug;
            self.reasons.insert(0, "the canaries refute the claim: see white_box".into());
        }
        self.threats_not_tested.retain(|threat| !threat.starts_with(MODEL_THREAT));
        self.threats_tested.push(format!("{MODEL_THREAT} as well as the table and every release on the way to it"));
        self.white_box = Some(found);
        self
    }
}

/// A holdout whose rows are the members' rows, beyond what is usual among the members themselves.
fn refuse_same_table(records: &Records) -> Result<()> {
    let of = |member: bool| -> Vec<u64> {
        let rows = (0..records.pool_rows()).filter(|&row| records.member[records.unit_of[row] as usize] == member);
        rows.map(|row| records.pool_keys[row]).collect()
    };
    refuse_same_rows(&of(true), &of(false))
}

/// As the audit does, of rows that are told apart by numbers.
///
/// # Errors
/// Bad input: rows of the one are those of the other.
///
/// # Privacy
/// Touches sensitive data for the controller, releases nothing but the refusal.
pub fn refuse_same_rows(members: &[u64], holdout: &[u64]) -> Result<()> {
    let equal = counts(members);
    let repeated = members.iter().filter(|key| equal[key] > 1).count() as f64 / members.len() as f64;
    let shared = holdout.iter().filter(|key| equal.contains_key(key)).count() as f64 / holdout.len() as f64;
    if shared > 0.5 && shared > repeated + 0.25 {
        return Err(Error::bad_input("the holdout has the rows of the members' table")
            .expected("rows of other people than those that the synthetic table was made from")
            .remedy("give as holdout a part of the data that was set aside before the fit"));
    }
    Ok(())
}

/// What was looked at of larger tables, and what is found of it: as many copies as are found among those units, each of which
/// is there only if its synthetic row is.
fn sample(records: &Records, part: &Records, level: f64, seed: u64) -> Sample {
    let members = part.members();
    let rows = part.synthetic_rows() as f64 / records.synthetic_rows() as f64;
    let percent = |copies: usize| 100.0 * copies as f64 / members as f64 / rows;
    Sample {
        members,
        holdout: part.units() - members,
        synthetic_rows: part.synthetic_rows(),
        minimum_detectable_leak: control::least_copies(part, level, seed)
            .map(percent)
            .filter(|&percent| percent <= 100.0),
    }
}

/// A lower bound of epsilon from guesses in one run, and what it would be with every member guessed (after Steinke et
/// al., 2305.08846). Coins are made of the pool by drawing how many of the units that are looked at are members; they show
/// "in" with the share of members in the pool. Whoever has an exact copy is guessed to be a member: the synthetic table
/// and the pool decide how many guesses there are, not the labels.
fn epsilon_bound(records: &Records, copies: &[f64], seed: u64) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut members, mut others): (Vec<usize>, Vec<usize>) =
        (0..records.units()).partition(|&unit| records.member[unit]);
    members.shuffle(&mut rng);
    others.shuffle(&mut rng);
    let (units, share) = (records.units() as f64, members.len() as f64 / records.units() as f64);
    // So many coins that neither side runs out of units but once in hundreds of times.
    let spread = 3.0 * (units * share * (1.0 - share)).sqrt();
    let coins = (units - spread / share.min(1.0 - share)).max(0.0) as usize;
    let Ok(law) = Binomial::new(coins as u64, share) else { return (0.0, 0.0) };
    let heads = (law.sample(&mut rng) as usize).min(members.len()).max(coins.saturating_sub(others.len()));
    let copied = |units: &[usize]| units.iter().filter(|&&unit| copies[unit] == 1.0).count();
    let (right, wrong) = (copied(&members[..heads]), copied(&others[..coins - heads]));
    let bound = |right, guesses| steinke_of_members(right, guesses, share / (1.0 - share), CONFIDENCE);
    (bound(right, right + wrong), bound(heads, heads))
}

fn copied(records: &Records, copies: &[f64]) -> CopyFigures {
    let share = |of: bool| {
        let units: Vec<usize> = (0..records.units()).filter(|&unit| records.member[unit] == of).collect();
        let copied = units.iter().filter(|&&unit| copies[unit] > 0.0).count();
        copied as f64 / units.len() as f64
    };
    CopyFigures { members: share(true), holdout: share(false) }
}

/// The least leak, in percent of the members, that an audit of so many could find if no two rows were alike: all of it, where it can
/// find none.
pub fn least_share(members: usize, others: usize) -> f64 {
    let enough = control::enough_copies(members + others, members, FAMILY_WISE);
    enough.map_or(100.0, |copies| 100.0 * copies as f64 / members as f64)
}

/// The verdict and its reasons. A leak that was found stands, whatever the controls say of the audit's power; one that
/// comes with members and holdout that differ may be their difference.
fn verdict(audit: &Audit) -> (Verdict, Vec<String>) {
    let Audit { sizes, attacks, risks, controls, minimum_detectable_leak: least, .. } = audit;
    let mut doubts = Vec::new();
    if sizes.members.min(sizes.holdout) < LEAST_UNITS {
        doubts.push(format!("fewer than {LEAST_UNITS} members or others: too few to tell"));
    }
    if !controls.exchangeable {
        doubts.push("members and holdout differ: they are no random split of one population".into());
    }
    if !controls.fresh_passes {
        doubts.push("rows of nobody in the training table raised an alarm".into());
    }
    let mut weak = Vec::new();
    match *least {
        None => weak.push("not even copies of a fifth of the members could be found: rows of this table are alike".into()),
        Some(percent) if percent > POWER => weak.push(format!(
            "copies of {percent:.1} % of the members are the least that can be found, more than {POWER} %: a larger holdout helps"
        )),
        Some(_) => {}
    }
    if !controls.planted_found {
        weak.push("copies that were planted were not found".into());
    }
    let named = attacks.iter().filter(|a| a.leak).map(|a| format!("{}, on {}", a.name, a.stratum));
    let named = named.chain(risks.iter().filter(|r| r.leak).map(|r| format!("{}: {}", r.risk, r.what)));
    let found: Vec<String> = named.take(5).collect();
    match (found.is_empty(), doubts.is_empty(), weak.is_empty()) {
        (_, false, _) => (Verdict::Inconclusive, [doubts, weak].concat()),
        (false, true, _) => (Verdict::LeakFound, found),
        (true, true, false) => (Verdict::Inconclusive, weak),
        (true, true, true) => {
            let percent = least.unwrap_or(POWER);
            let power = format!("copies of {percent:.2} % of the members would have been found");
            (Verdict::NoLeakFound, vec![power])
        }
    }
}
