//! What `evaluate` reports on the targets and analyses that the schema declares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evaluation::Figure;
use crate::schema::target::Task;

/// Whether the probabilities of gradient boosting can be believed on the holdout rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub target: String,
    /// Trained on the synthetic rows; `None` where it cannot be trained or there are too few holdout rows.
    pub tstr: Option<Reliability>,
    /// Trained on the real rows.
    pub trtr: Option<Reliability>,
}

/// A reliability curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reliability {
    /// By deciles of the predicted probability, ascending; equal predictions share a bin, and bins of fewer than ten rows
    /// are merged with their neighbour.
    pub bins: Vec<ReliabilityBin>,
    /// Absolute difference of predicted and observed over the bins, weighted by their rows; 0 is calibrated.
    pub expected_calibration_error: f64,
}

/// Holdout rows of similar predicted probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityBin {
    /// In a report down to tens.
    pub rows: usize,
    /// Mean predicted probability of the positive class.
    pub predicted: f64,
    /// Share of the rows that are positive.
    pub observed: f64,
}

/// How gradient boosting treats groups of holdout rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fairness {
    pub target: String,
    /// The column whose categories are the groups.
    pub column: String,
    pub groups: Vec<GroupFigures>,
    /// Categories of the schema that are not in `groups`, because fewer than ten units of the holdout have them.
    pub omitted: usize,
    /// The largest difference between two groups, of each score on its own. A larger one than that of `trtr` is bias that
    /// the synthetic rows bring.
    pub largest_gap: GroupGap,
}

/// One group of people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupFigures {
    /// The category, as the schema lists it.
    pub group: String,
    /// Labelled holdout rows; in a report down to tens.
    pub rows: usize,
    /// Those of them that are positive; in a report down to tens, and absent for fewer than ten.
    pub positive: Option<usize>,
    /// Trained on the synthetic rows.
    pub tstr: GroupScores,
    /// Trained on the real rows.
    pub trtr: GroupScores,
}

/// The largest difference between two groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupGap {
    /// Trained on the synthetic rows.
    pub tstr: GroupScores,
    /// Trained on the real rows.
    pub trtr: GroupScores,
}

/// Scores of one model on one group. Absent where the model could not be trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupScores {
    /// Absent with fewer than ten positive or ten negative rows.
    pub roc_auc: Option<f64>,
    /// Share of the group's rows called positive, when as large a share of all holdout rows is called positive as was
    /// positive in training.
    pub selection_rate: Option<f64>,
    /// Share of the group's positive rows called positive. Absent with fewer than ten of them.
    pub true_positive_rate: Option<f64>,
}

/// Kaplan-Meier curves of the three tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurvivalFigures {
    pub name: String,
    /// The column that splits the rows into groups.
    pub by: Option<String>,
    /// Fifty equally spaced times over the range that the schema gives, in the unit of the column: never times of people.
    pub times: Vec<f64>,
    /// One for all rows, or one per category of `by` that the schema lists.
    pub groups: Vec<SurvivalGroup>,
    /// Why there are no curves.
    pub remark: Option<String>,
}

/// The curves of one group of people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurvivalGroup {
    /// The category of `by`.
    pub group: Option<String>,
    pub real: SurvivalCurve,
    pub holdout: SurvivalCurve,
    pub synthetic: SurvivalCurve,
    /// The 95 % interval of the synthetic curve that includes the noise of the release, and that its rows are drawn from a model
    /// of drawn patients; `None` where the model is not at hand, or did not count these columns together.
    pub with_noise: Option<Band>,
    /// The last of `times` at which all three tables have ten units at risk.
    pub horizon: Option<f64>,
    /// Absolute difference of the survival from the holdout's, mean over `times` up to `horizon`.
    pub distance: Option<Figure>,
}

/// An interval at each of the times; `None` where there is none of the curve alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    pub lower: Vec<Option<f64>>,
    pub upper: Vec<Option<f64>>,
}

/// One Kaplan-Meier curve at each of the times; `None` where fewer than ten units are at risk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurvivalCurve {
    /// Rows that the curve is made of; in a report down to tens, and absent for fewer than ten.
    pub rows: Option<usize>,
    /// Estimated share that has had no event by then.
    pub survival: Vec<Option<f64>>,
    /// Lower end of its 95 % interval, on the scale of log(-log) and by unit, which is Greenwood's where each row is a unit;
    /// `None` at a survival of 0, too.
    pub lower: Vec<Option<f64>>,
    /// Upper end of it.
    pub upper: Vec<Option<f64>>,
    /// Mean of the time to the event, cut at `horizon`: the restricted mean survival time.
    pub restricted_mean: Option<f64>,
    /// Share of the group's rows that are left out, because time or event is missing. Absent for a group without rows, in a
    /// report for one of fewer than ten or with none left.
    pub left_out: Option<f64>,
}

/// One regression on the three tables. Rows of one unit are not taken as independent; those of different ones are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionFigures {
    pub name: String,
    pub outcome: String,
    /// `binary`: estimates are odds ratios of a logistic regression. `regression`: coefficients of least squares, in the
    /// unit of the outcome.
    pub task: Task,
    pub terms: Vec<RegressionTerm>,
    /// Share of the rows that are left out, because the outcome or a covariate is missing.
    pub left_out: LeftOut,
    /// Mean of the terms' `overlap`; the floor is that of the holdout's intervals with the real ones, of the terms that the holdout
    /// can tell; absent where it can tell none. A term that the synthetic rows cannot tell counts 0.
    pub mean_overlap: Option<Figure>,
    /// Share of terms with the same conclusion as on the real rows: significantly positive, significantly negative, or
    /// neither, at 5 %. The floor is the holdout's.
    pub same_conclusion: Option<Figure>,
    /// Why estimates are missing.
    pub remark: Option<String>,
}

/// Shares of rows left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub real: f64,
    pub holdout: f64,
    pub synthetic: f64,
}

/// One number, or one category against the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionTerm {
    pub covariate: String,
    /// The category; `None` for a number, whose estimate is per one of its unit.
    pub category: Option<String>,
    /// What the category is compared with: the first that the schema lists.
    pub reference: Option<String>,
    /// Of a category, the fewest units of the training table that it or its reference has, of either outcome where there are
    /// two. In a report down to tens, and absent for fewer than ten.
    pub fewest_real: Option<usize>,
    /// The same of the holdout.
    pub fewest_holdout: Option<usize>,
    /// `None` where the estimate is not finite, and in all three tables where fewer than ten units of the training table or
    /// of the holdout have the category or its reference.
    pub real: Option<Estimate>,
    pub holdout: Option<Estimate>,
    pub synthetic: Option<Estimate>,
    /// The synthetic estimate with a 95 % interval that includes the noise of the release, and that its rows are drawn from a
    /// model of drawn patients; `None` where the model is not at hand, or counted nothing that tells it.
    pub with_noise: Option<Estimate>,
    /// How much the real and the synthetic interval share, as the mean of the shares of either, 0 to 1 (Karr et al. 2006).
    /// Of odds ratios on the scale of logarithms.
    pub overlap: Option<f64>,
    /// Synthetic less real estimate, in standard errors of the real one. Of odds ratios on the scale of logarithms.
    pub standardised_difference: Option<f64>,
}

/// An estimate with its 95 % Wald interval, robust and by unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    pub estimate: f64,
    pub lower: f64,
    pub upper: f64,
}
