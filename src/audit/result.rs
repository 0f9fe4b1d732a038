//! What an audit reports: `audit.json`. Figures about groups of units, and nothing about one.

use super::canary::WhiteBox;
use super::shadow::ShadowFigures;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an audit found, the best first: of several, the last is the verdict on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No attack found anything, and one as large as [`Audit::minimum_detectable_leak`] would have been found.
    NoLeakFound,
    /// The audit could not have told: see [`Audit::reasons`].
    Inconclusive,
    /// The synthetic table betrays who was in the training table.
    LeakFound,
    /// The white-box test refutes the claimed epsilon.
    Bug,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LeakFound => "leak found",
            Self::NoLeakFound => "no leak found",
            Self::Inconclusive => "inconclusive",
            Self::Bug => "bug: the guarantee does not hold",
        })
    }
}

/// The outcome of an audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// How these figures may be used.
    pub note: String,
    pub verdict: Verdict,
    /// Why the verdict is what it is, in words.
    pub reasons: Vec<String>,
    pub seed: u64,
    pub sizes: Sizes,
    /// What was looked at of larger tables, but for exact copies, which are searched among all rows. Absent: everything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Probability that any of the tests raises an alarm where there is no leak, at most; of linked tables, any test of any
    /// table.
    pub family_wise_level: f64,
    /// The smallest share of the members, in percent, whose exact copies the audit finds in this data.
    pub minimum_detectable_leak: Option<f64>,
    /// A lower bound of the epsilon of whatever made the synthetic table, at 95 % confidence.
    pub epsilon_lower_bound: f64,
    /// The bound that would have been reached had every guess been right.
    pub epsilon_ceiling: f64,
    /// What the bound rests on.
    pub epsilon_basis: String,
    /// Every attack on every stratum, the clearest first.
    pub attacks: Vec<AttackFigures>,
    /// ROC curves of the attacks on all units that came out clearest.
    pub roc: Vec<Roc>,
    /// Singling out, linkability and inference, as excess over people who were not in the training table.
    pub risks: Vec<Risk>,
    pub copies: CopyFigures,
    pub controls: Controls,
    /// The white-box audit of the fit, where one was made.
    pub white_box: Option<WhiteBox>,
    /// The shadow models, where there were any.
    pub shadow: Option<ShadowFigures>,
    /// Distances that the field prints; not evidence of privacy.
    pub proxies: Proxies,
    /// Attackers that were tried, in words.
    pub threats_tested: Vec<String>,
    /// Attackers that were not.
    pub threats_not_tested: Vec<String>,
}

/// How much there was to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Units: people, where the schema names their column, else rows.
    pub members: usize,
    pub holdout: usize,
    pub member_rows: usize,
    pub holdout_rows: usize,
    pub synthetic_rows: usize,
    pub columns: usize,
}

/// The units and rows that were looked at, drawn whoever is a member, and what that leaves of the power.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub members: usize,
    pub holdout: usize,
    pub synthetic_rows: usize,
    /// The smallest share of the members, in percent, that is found where they are copied so that each copy is recognised, and
    /// yet no copy is exact.
    pub minimum_detectable_leak: Option<f64>,
}

impl Sample {
    /// In words.
    pub fn told(&self, all: &Sizes) -> String {
        let least = match self.minimum_detectable_leak {
            Some(percent) => format!("changed copies of {percent:.2} % of the members would have been found"),
            None => "changed copies might not have been found".into(),
        };
        let share = |part: usize, all: usize| 100.0 * part as f64 / all as f64;
        format!(
            "{least}: but for exact copies, {:.0} % of the members, {:.0} % of the others and {:.0} % of the synthetic rows were \
             looked at",
            share(self.members, all.members),
            share(self.holdout, all.holdout),
            share(self.synthetic_rows, all.synthetic_rows),
        )
    }
}

/// One attack on one stratum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttackFigures {
    pub name: String,
    pub stratum: String,
    /// Units of the stratum, members and others.
    pub units: usize,
    pub members: usize,
    /// Area under the ROC curve, members against others; 0.5 is chance.
    pub auc: f64,
    /// 95 % interval: the areas that the test does not reject at 5 %. The test is that of the area; where more than half of
    /// the units are tied, that of the highest.
    pub auc_ci: (f64, f64),
    /// The test of the area: probability of so large a one if the true one were 0.52, which is tolerated. Below 0.025 exactly
    /// where `auc_ci` lies above 0.52. Absent where more than half of the units are tied, or too few are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_area: Option<f64>,
    /// The units with the highest scores; absent where no set of them stands apart, and in a report where fewer than ten do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<Highest>,
    pub tpr_at_fpr: Vec<TprAtFpr>,
    /// Probability of so clear a result, of either test, if the synthetic table knew nothing of membership: twice the smaller.
    pub p: f64,
    /// The part of its table's level that this test has.
    pub share: f64,
    /// The same as `p` after correction for all attacks, strata and risks; of linked tables, for those of all tables.
    pub p_holm: f64,
    /// `p_holm` is below the family-wise level.
    pub leak: bool,
}

/// The units with the highest scores, as many of them as stand out most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Highest {
    pub units: usize,
    pub members: usize,
    /// The share of members that chance expects among them.
    pub chance: f64,
    /// 95 % interval of their share, from the exact law of their number: above `chance` exactly where `p` is below 0.025.
    pub interval: (f64, f64),
    /// Probability of so many members among them by chance, times the numbers of units that were looked at.
    pub p: f64,
}

/// True positive rate at a false positive rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TprAtFpr {
    pub fpr: f64,
    pub tpr: f64,
    /// 95 % interval (Clopper and Pearson) for the threshold that the holdout sets.
    pub interval: (f64, f64),
}

/// A ROC curve at chosen false positive rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Roc {
    pub attack: String,
    pub points: Vec<TprAtFpr>,
}

/// One of the three risks of the Article 29 Working Party (opinion 05/2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    pub risk: RiskKind,
    /// Which predicates, which columns, or which secret.
    pub what: String,
    /// People of either side that are attacked.
    pub attacked: usize,
    /// Share of the attacks on members that succeed.
    pub members: f64,
    /// The same for as many people of the holdout.
    pub control: f64,
    /// What the attack gains beyond the control, as a share of what there was to gain (Anonymeter, 2211.10459).
    pub excess: f64,
    /// 95 % interval of `excess`: what the test of `p` does not reject. Above 0 exactly where `p` is below 0.025.
    pub excess_ci: (f64, f64),
    pub p: f64,
    /// The part of its table's level that this test has.
    pub share: f64,
    pub p_holm: f64,
    pub leak: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskKind {
    SinglingOut,
    Linkability,
    Inference,
}

impl std::fmt::Display for RiskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SinglingOut => "singling out",
            Self::Linkability => "linkability",
            Self::Inference => "inference",
        })
    }
}

/// Exact copies in the synthetic table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyFigures {
    /// Share of the members of whom a row stands in the synthetic table.
    pub members: f64,
    /// The same of the holdout: what happens by chance.
    pub holdout: f64,
}

/// What the audit does on data of which the answer is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Controls {
    /// Copies of so many members, in percent, were planted in the synthetic table ...
    pub planted: f64,
    /// ... and found.
    pub planted_found: bool,
    /// Real rows of nobody in the training table raise no alarm.
    pub fresh_passes: bool,
    /// Members and holdout cannot be told apart, so that they may be compared.
    pub exchangeable: bool,
    /// Probability of so clear a difference between members and holdout by chance.
    pub exchangeable_p: f64,
}

/// Distances that the field prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxies {
    pub note: String,
    /// Share of the synthetic rows whose nearest record is a member's (DCR share).
    pub nearest_is_member: f64,
    /// The share of members among the records.
    pub nearest_is_member_expected: f64,
    /// 5 % quantile of a member's distance to the nearest synthetic row, in columns (DCR).
    pub distance_5_percent_members: f64,
    pub distance_5_percent_holdout: f64,
    /// Mean ratio of nearest to second nearest distance (NNDR).
    pub distance_ratio_members: f64,
    pub distance_ratio_holdout: f64,
}
