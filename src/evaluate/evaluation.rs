//! What `evaluate` reports: `evaluation.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analyses::{Calibration, Fairness, RegressionFigures, SurvivalFigures};
use crate::schema::target::Task;

/// An area under the ROC curve of boosted trees that tell rows of the holdout from others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    pub synthetic: f64,
    /// The same with the real training table in the place of the synthetic one.
    pub floor: f64,
    /// 95 % interval of `synthetic`, by unit.
    pub synthetic_interval: (f64, f64),
    /// 95 % interval of `floor`, by unit.
    pub floor_interval: (f64, f64),
}

impl From<Area> for Figure {
    fn from(area: Area) -> Self {
        Self { synthetic: area.synthetic, floor: area.floor }
    }
}

/// A figure of the synthetic table beside the best that can be expected of one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub synthetic: f64,
    /// The same with the real training table in the place of the synthetic one.
    pub floor: f64,
}

/// Every figure of one comparison of a real, a holdout and a synthetic table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// How these figures may be used.
    pub note: String,
    /// Fixes every random choice of the evaluation.
    pub seed: u64,
    pub rows: Rows,
    pub influence: Influence,
    pub tvd: Tvd,
    pub queries: Queries,
    pub association: Association,
    pub copies: Copies,
    /// Train on synthetic, test on the holdout: one entry per target and model.
    pub tstr: Vec<Tstr>,
    /// Whether predicted probabilities can be believed: one entry per binary target.
    pub calibration: Vec<Calibration>,
    /// Whether predictions treat groups of people alike: one entry per binary target and column of its `groups`.
    pub fairness: Vec<Fairness>,
    /// One entry per `[[survival]]` of the schema.
    pub survival: Vec<SurvivalFigures>,
    /// One entry per `[[regression]]` of the schema.
    pub regressions: Vec<RegressionFigures>,
    /// Area under the ROC curve of boosted trees that tell holdout from synthetic rows: 0.5 is
    /// undetectable. `None` with fewer than 20 rows on a side.
    pub detection_auc: Option<Area>,
    /// The same after numbers were put in 20 quantile bins, so that their format gives nothing away.
    pub detection_auc_binned: Option<Area>,
    /// The columns that give the synthetic rows away, most telling first.
    pub detection_columns: Vec<DetectionColumn>,
    pub missingness: Missingness,
    pub validity: Validity,
    /// One entry per `[[constraint]]` of the schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<ConstraintFigures>,
    /// Sum over the columns.
    pub rare_categories: RareCategories,
    pub columns: Vec<ColumnFigures>,
}

/// Rows of each table; in a report down to tens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    pub real: usize,
    pub holdout: usize,
    pub synthetic: usize,
    /// A synthetic table larger than the real one is cut down at random to its size, because
    /// sampling noise is part of every figure.
    pub synthetic_judged: usize,
}

/// How far one person can move these figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Influence {
    /// What was clamped, and what is not bounded.
    pub note: String,
    /// Rows of the person of the training table who has most of them; in a report up to tens.
    pub most_rows_real: usize,
    /// The same of the holdout.
    pub most_rows_holdout: usize,
    /// A share of the holdout's rows, a rate, a mean of what lies between 0 and 1 and a total variation distance move by at
    /// most so much when all cells of one person of the holdout change; of fewer rows than all by as much more.
    pub share: f64,
}

/// How far scores move, at most, when all cells of one person of the holdout change. What a person of the training table
/// moves through the model is not bounded but by the range of the score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnePerson {
    /// Accuracy and Brier score.
    pub share: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// The one at the share of positives in training is not bounded: one row more may move the cut over many that are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// Of the worst of the models; absent where one person may be all that varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// In the unit of the column: its range times the root of `share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// In the unit of the column: its range times `share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
}

/// Mean total variation distance from the holdout rows; 0 is equal, 1 is disjoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tvd {
    /// Over all columns.
    pub one_way: Figure,
    /// Over all pairs of columns; `None` for a single column.
    pub two_way: Option<Figure>,
    /// Over 200 random triples of columns; `None` for fewer than three columns.
    pub three_way: Option<Figure>,
}

/// Mean absolute difference, from the holdout's, of the share of rows that satisfy a condition on each of three random
/// columns (all of them where there are fewer): a number between two bounds, a category equal to one. 1,000 such queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queries {
    /// Conditions on all three columns.
    pub three_way: Figure,
    /// The mean over the condition on the first column, the first two, and all three.
    pub prefixes: Figure,
}

/// Pairwise association: Pearson's correlation of two numbers, Cramér's V of two categories, the correlation ratio of one
/// and the other, the last two corrected for bias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Association {
    /// Absolute difference from the holdout's, mean over the pairs; `None` for a single column.
    pub mean_difference: Option<Figure>,
    /// Names of the rows and columns of the matrices.
    pub columns: Vec<String>,
    /// Row by row, to three decimals.
    pub holdout: Vec<Vec<f64>>,
    /// Row by row, to three decimals.
    pub synthetic: Vec<Vec<f64>>,
}

/// Share of rows that are a row of the real training table, cell by cell. More than the holdout's share is copying. As few
/// is no evidence of privacy: a row changed in one cell is no copy, and tells as much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    pub synthetic: f64,
    /// What honest rows have by chance.
    pub holdout: f64,
}

/// A predictive model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    GradientBoosting,
    LogisticRegression,
    RidgeRegression,
}

/// How one model does on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tstr {
    pub target: String,
    pub column: String,
    pub task: Task,
    pub model: ModelKind,
    /// Holdout rows with a label; in a report down to tens, and absent for fewer than ten.
    pub rows: Option<usize>,
    pub one_person: OnePerson,
    /// Trained on the synthetic rows.
    pub tstr: Scores,
    /// Trained on the real rows: the ceiling.
    pub trtr: Scores,
    /// The commonest class, or the mean, of the real rows: the floor.
    pub majority: Scores,
    /// Why figures are missing or to be read with care.
    pub remark: Option<String>,
}

/// Scores on the holdout rows. Those that the task has no use for, or that cannot be computed, are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Area under the ROC curve; of several classes the mean of each against the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// Mean F1 score of the classes that the holdout has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// The same when as many rows are called positive as were in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1_at_prevalence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// Mean squared error of the probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brier: Option<f64>,
    /// Share of the variance explained; negative when worse than the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Root mean squared error, in the unit of the column, of cells and predictions clamped to its range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Mean absolute error, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
}

/// A column's part in detection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionColumn {
    pub column: String,
    /// Share of the loss removed by splits on this column.
    pub gain_share: f64,
}

/// Missing rates against the holdout's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Missingness {
    /// Absolute difference of the missing rate, mean over the columns.
    pub mean_difference: Figure,
    /// The largest of them.
    pub largest_difference: Figure,
    /// Absolute difference of the correlation of "is missing", mean over the pairs of columns that are missing in more than
    /// 0.1 % and less than 99.9 % of the real rows. `None` with fewer than two such columns.
    pub correlation_difference: Option<Figure>,
}

/// Rows that the real training table says cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    pub synthetic: Violations,
    /// The holdout rows in the place of the synthetic ones: honest rows can be new, too.
    pub floor: Violations,
}

/// Violations of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Violations {
    /// Share of rows with at least one violation.
    pub rows: f64,
    /// Violations per row: infinite numbers.
    pub not_a_number: f64,
    /// Violations per row: a fraction where the real table has whole numbers only.
    pub not_whole: f64,
    /// Violations per row: a number beyond the real table's range, or the schema's.
    pub outside_range: f64,
    /// Violations per row: a category that the real table lacks.
    pub unknown_category: f64,
    /// Violations per row: missing where the real table never is.
    pub missing_where_never: f64,
}

/// Rows of each table that break a constraint. Of rows that are alike where they must differ, all but one do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintFigures {
    /// Its name, or what it says.
    pub name: String,
    pub synthetic: usize,
    /// In a report down to tens, and absent for fewer than ten.
    pub real: Option<usize>,
    /// In a report down to tens, and absent for fewer than ten.
    pub holdout: Option<usize>,
}

/// One column on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnFigures {
    pub name: String,
    /// Total variation distance of the column's marginal from the holdout's.
    pub tvd: Figure,
    /// Of a column that a constraint names: the same of a cohort that the model drew without the constraints. What lies
    /// between this and `tvd` is what they changed. `run` alone tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tvd_without_constraints: Option<f64>,
    pub missing_rate: MissingRate,
    /// Different values present in the real table. More rows have more of them: see `rows`. In a report down to tens, and
    /// absent for fewer than ten.
    pub distinct_real: Option<usize>,
    /// Different values present in the holdout, likewise.
    pub distinct_holdout: Option<usize>,
    /// Different values present in the synthetic table.
    pub distinct_synthetic: usize,
    pub rare_share: RareShare,
    /// `None` for a number.
    pub rare_categories: Option<RareCategories>,
    /// Entropy of the synthetic marginal over that of the real one, in the cells of `tvd`: well below 1 is mode
    /// collapse, or a generator that always takes the likeliest value. The floor is the holdout's entropy over the
    /// real one. `None` when the real column is constant, and in a report.
    pub entropy_ratio: Option<Figure>,
    /// Of an integer or real column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberFigures>,
}

/// The numbers of a column that are not missing, within its range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberFigures {
    pub mean: OfTables,
    pub deviation: OfTables,
    /// Share of zeros.
    pub zeros: OfTables,
    /// How far the holdout's mean moves, at most, when all cells of one person change; of fewer cells than all by as much
    /// more.
    pub one_person: f64,
}

/// A figure of each table. What the real one is off the holdout is the floor: what a second real sample has. In a report those
/// of real rows are rounded to ten times what one person moves, and a column is left out where that says nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfTables {
    pub real: f64,
    pub holdout: f64,
    pub synthetic: f64,
}

/// Share of the rows in rare cells: those cells of `tvd` (a category, a bin of numbers, missing) that hold less than
/// 1 % of the real rows, or none. Far below the real share, rare patients are lost; far above, made up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RareShare {
    pub real: f64,
    pub holdout: f64,
    pub synthetic: f64,
}

/// Categories that are present in less than 1 % of the real rows. In a report down to tens, and absent for fewer than ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RareCategories {
    /// How many of them the synthetic table has.
    pub kept: Option<usize>,
    /// How many it lacks.
    pub lost: Option<usize>,
    /// How many the holdout lacks, by chance alone. Fewer rows lack more of them: see `rows`.
    pub lost_in_holdout: Option<usize>,
}

/// Share of missing cells.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingRate {
    pub real: f64,
    pub holdout: f64,
    pub synthetic: f64,
}
