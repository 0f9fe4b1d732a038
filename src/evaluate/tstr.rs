//! Train on synthetic, test on real: can an analyst use the synthetic rows instead of the real ones?

use std::collections::BTreeMap;

use super::boosting::{self, Objective};
use super::evaluation::{ModelKind, Scores, Tstr};
use super::linear;
use super::metrics;
use super::numpy_choice::NumpyRng;
use super::one_person;
use super::table::{Column, Table, Tables};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::schema::target::{Target, Task};

/// Rows that a model is trained on at most.
const TRAINING_ROWS: usize = 60_000;
/// Labelled rows that a model is trained on at least.
const MIN_TRAINING_ROWS: usize = 20;
/// A target with more classes is a code, not an outcome.
const MAX_CLASSES: usize = 100;
const ROUNDS: usize = 200;

/// A target whose names were looked up.
struct Plan<'a> {
    target: &'a Target,
    column: usize,
    /// Of a number, what its cells were clamped to.
    range: Option<(f64, f64)>,
    features: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// Unknown columns, a regression on text, a binary target without a positive value.
    fn new(tables: &Tables, target: &'a Target) -> Result<Self> {
        let wrong = |what: &str, column: &str, remedy: &str| {
            Err(Error::bad_input(format!("target `{}`: {what}", target.name)).column(column).remedy(remedy))
        };
        let named = |name: &String| tables.names.iter().position(|n| n == name);
        let Some(column) = named(&target.column) else {
            let remedy = "name a column of the table that is neither an identifier nor dropped";
            return wrong("no such column", &target.column, remedy);
        };
        if let Some(unknown) = target.exclude.iter().find(|&name| named(name).is_none()) {
            return wrong("no such column to exclude", unknown, "take it out of `exclude` or mend its spelling");
        }
        let is_number = matches!(tables.train.columns[column], Column::Number { .. });
        match target.task {
            Task::Regression if !is_number => {
                return wrong(
                    "a regression needs a number",
                    &target.column,
                    "declare the task `multiclass` or `binary`",
                );
            }
            Task::Binary if target.positive.is_empty() => {
                return wrong("no positive value", &target.column, "list at least one value in `positive`");
            }
            Task::Binary if is_number && target.positive.iter().any(|p| p.trim().parse::<f64>().is_err()) => {
                return wrong("a positive value is not a number", &target.column, "list numbers in `positive`");
            }
            _ => {}
        }
        let usable = |&c: &usize| c != column && !target.exclude.contains(&tables.names[c]);
        Ok(Self {
            target,
            column,
            range: tables.ranges[column],
            features: (0..tables.names.len()).filter(usable).collect(),
        })
    }

    /// The label of each row, NaN where the target is missing: the number itself, 0 or 1, or a
    /// number of the class that is the same in the three tables.
    fn labels(&self, tables: &Tables, table: &Table) -> Vec<f64> {
        match (&table.columns[self.column], self.target.task) {
            (_, Task::Binary) => tables.indicator(table, self.column, &self.target.positive),
            (Column::Number { values, .. }, _) => values.clone(),
            (Column::Category(codes), _) => {
                codes.iter().map(|&code| if code == MISSING { f64::NAN } else { f64::from(code) }).collect()
            }
        }
    }
}

/// Rows with a label, and their labels.
struct Labelled {
    /// Numbers of the rows in the table that they come from.
    rows: Vec<usize>,
    table: Table,
    labels: Vec<f64>,
}

impl Labelled {
    /// All labelled rows of `table`, or `most` of them drawn with `rng`.
    fn new(tables: &Tables, table: &Table, plan: &Plan, most: usize, mut rng: NumpyRng) -> Self {
        let labels = plan.labels(tables, table);
        let mut rows: Vec<usize> = (0..table.rows).filter(|&r| !labels[r].is_nan()).collect();
        if rows.len() > most {
            rows = rng.choose(rows.len(), most).into_iter().map(|i| rows[i]).collect();
        }
        Self { table: table.take(&rows), labels: rows.iter().map(|&r| labels[r]).collect(), rows }
    }

    /// Mean label: of a binary target the share of positive rows.
    fn prevalence(&self) -> f64 {
        metrics::mean(self.labels.iter().copied())
    }

    fn columns(&self, plan: &Plan) -> Vec<&Column> {
        plan.features.iter().map(|&c| &self.table.columns[c]).collect()
    }
}

/// What gradient boosting says of the labelled holdout rows of a binary target.
///
/// # Privacy
/// Holds real labels. Touches sensitive data, releases nothing.
pub struct Predictions<'a> {
    pub target: &'a Target,
    /// Numbers of the rows in the holdout.
    pub rows: Vec<usize>,
    pub positive: Vec<bool>,
    /// Trained on the synthetic rows; `None` where it cannot be trained.
    pub tstr: Option<Predicted>,
    /// Trained on the real rows.
    pub trtr: Option<Predicted>,
}

/// Probabilities of the positive class, one per row.
pub struct Predicted {
    pub probability: Vec<f64>,
    /// Share of the rows in training that were positive.
    pub prevalence: f64,
}

impl Predicted {
    /// The rows that are called positive when as large a share is as was positive in training.
    pub fn selected(&self) -> Vec<bool> {
        let cut = metrics::quantile(&self.probability, 1.0 - self.prevalence);
        let any_above = self.probability.iter().any(|&p| p > cut);
        self.probability.iter().map(|&p| p > cut || (!any_above && p >= cut)).collect()
    }
}

/// All targets, two models each; and the predictions of the binary ones.
///
/// # Errors
/// Two targets of one name; a target that names unknown columns or makes no sense for its column.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn tstr<'a>(tables: &Tables, targets: &'a [Target], seed: u64) -> Result<(Vec<Tstr>, Vec<Predictions<'a>>)> {
    let is_twin = |(i, target): (usize, &Target)| targets[..i].iter().any(|t| t.name == target.name);
    if let Some(twin) = targets.iter().enumerate().position(is_twin) {
        let what = format!("two targets are named `{}`", targets[twin].name);
        return Err(Error::bad_input(what).remedy("give each target a name of its own"));
    }
    let plans: Vec<Plan> = targets.iter().map(|target| Plan::new(tables, target)).collect::<Result<_>>()?;
    let (figures, predictions): (Vec<_>, Vec<_>) = plans.iter().map(|plan| of_target(tables, plan, seed)).unzip();
    Ok((figures.into_iter().flatten().collect(), predictions.into_iter().flatten().collect()))
}

fn of_target<'a>(tables: &Tables, plan: &Plan<'a>, seed: u64) -> ([Tstr; 2], Option<Predictions<'a>>) {
    let labelled = |table, most| Labelled::new(tables, table, plan, most, NumpyRng::new(&[seed, 3]));
    let holdout = labelled(&tables.holdout, usize::MAX);
    let [synthetic, train] = [&tables.synthetic, &tables.train].map(|table| labelled(table, TRAINING_ROWS));
    let every_train = labelled(&tables.train, usize::MAX);
    let tstr = fit_and_score(plan, &synthetic, &holdout, seed);
    let trtr = fit_and_score(plan, &train, &holdout, seed);
    let majority = majority(plan, &every_train, &holdout);
    let told = [("synthetic", tstr.remark), ("real", trtr.remark)];
    let remarks: Vec<String> =
        told.into_iter().filter_map(|(table, remark)| Some(format!("{table} table: {}", remark?))).collect();
    let linear = match plan.target.task {
        Task::Regression => ModelKind::RidgeRegression,
        _ => ModelKind::LogisticRegression,
    };
    // Of all his rows: those without a label may get one.
    let own = tables.holdout.most_rows_of_unit();
    let scores = [&tstr.scores[..], &trtr.scores, &[majority]].concat();
    let one_person = one_person::bounds(plan.target.task, &holdout.labels, own, plan.range, &scores);
    let entry = |i: usize, model| Tstr {
        target: plan.target.name.clone(),
        column: plan.target.column.clone(),
        task: plan.target.task,
        model,
        rows: Some(holdout.labels.len()),
        one_person,
        tstr: tstr.scores[i],
        trtr: trtr.scores[i],
        majority,
        remark: (!remarks.is_empty()).then(|| remarks.join("; ")),
    };
    let predictions = (plan.target.task == Task::Binary).then(|| Predictions {
        target: plan.target,
        rows: holdout.rows,
        positive: holdout.labels.iter().map(|&l| l == 1.0).collect(),
        tstr: tstr.boosted,
        trtr: trtr.boosted,
    });
    ([entry(0, ModelKind::GradientBoosting), entry(1, linear)], predictions)
}

/// What came of the two models of one table.
struct Fitted {
    /// Of boosting and of the linear model.
    scores: [Scores; 2],
    /// What boosting says of the holdout, where the target is binary.
    boosted: Option<Predicted>,
    /// Why there are no figures.
    remark: Option<String>,
}

/// Boosting and the linear model, fitted on `fitted`, scored on `holdout`.
fn fit_and_score(plan: &Plan, fitted: &Labelled, holdout: &Labelled, seed: u64) -> Fitted {
    let none = |why: String| Fitted { scores: [Scores::default(); 2], boosted: None, remark: Some(why) };
    if holdout.labels.is_empty() {
        return none("the holdout has no labelled row".into());
    }
    if fitted.labels.len() < MIN_TRAINING_ROWS {
        return none(format!("fewer than {MIN_TRAINING_ROWS} labelled rows"));
    }
    let (columns, test_columns) = (fitted.columns(plan), holdout.columns(plan));
    let predict_both = |labels: &[f64], objective| {
        let rows = holdout.labels.len();
        let boosted = boosting::fit(&columns, labels, objective, ROUNDS, seed).predict(&test_columns, rows);
        [boosted, linear::fit(&columns, labels, objective).predict(&test_columns, rows)]
    };
    if plan.target.task == Task::Regression {
        let scores = predict_both(&fitted.labels, Objective::Squared)
            .map(|predicted| score_regression(plan, &holdout.labels, predicted.concat()));
        return Fitted { scores, boosted: None, remark: None };
    }
    let (classes, labels) = numbered(&fitted.labels);
    let score = |probability: &[Vec<f64>]| score_classes(plan, &classes, fitted, holdout, probability);
    if classes.len() < 2 {
        let certain = score(&vec![vec![1.0]; holdout.labels.len()]);
        let scores = [Scores { roc_auc: Some(0.5), ..certain }; 2];
        return Fitted { scores, boosted: None, remark: Some("the target is constant".into()) };
    }
    if classes.len() > MAX_CLASSES {
        return none(format!("more than {MAX_CLASSES} classes"));
    }
    let objective =
        if classes.len() == 2 { Objective::Logistic } else { Objective::Softmax { classes: classes.len() } };
    let both = predict_both(&labels, objective);
    let boosted = (plan.target.task == Task::Binary)
        .then(|| Predicted { probability: both[0].concat(), prevalence: fitted.prevalence() });
    let scores = both.map(|predicted| match objective {
        Objective::Logistic => score(&predicted.iter().map(|p| vec![1.0 - p[0], p[0]]).collect::<Vec<_>>()),
        _ => score(&predicted),
    });
    Fitted { scores, boosted, remark: None }
}

/// The classes in ascending order, and the position of each label's class.
fn numbered(labels: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut classes = labels.to_vec();
    classes.sort_unstable_by(f64::total_cmp);
    classes.dedup();
    let position = |label: &f64| classes.partition_point(|c| c < label) as f64;
    let positions = labels.iter().map(position).collect();
    (classes, positions)
}

fn score_regression(plan: &Plan, truth: &[f64], mut predicted: Vec<f64>) -> Scores {
    // No error is larger than the range of the column.
    if let Some((low, high)) = plan.range {
        predicted.iter_mut().for_each(|p| *p = p.clamp(low, high));
    }
    let mean = metrics::mean(truth.iter().copied());
    let variance = metrics::mean(truth.iter().map(|t| (t - mean).powi(2)));
    let squared = metrics::mean(truth.iter().zip(&predicted).map(|(t, p)| (t - p).powi(2)));
    let absolute = metrics::mean(truth.iter().zip(&predicted).map(|(t, p)| (t - p).abs()));
    let r2 = (variance > 0.0).then(|| 1.0 - squared / variance);
    Scores { r2, rmse: Some(squared.sqrt()), mae: Some(absolute), ..Scores::default() }
}

/// Scores of the probabilities (rows by `classes`) on the holdout, as the judge defines them.
fn score_classes(
    plan: &Plan,
    classes: &[f64],
    fitted: &Labelled,
    holdout: &Labelled,
    probability: &[Vec<f64>],
) -> Scores {
    // All classes of both tables, so that a class never seen in training can be missed.
    let (all, positions) = numbered(&[classes, &holdout.labels].concat());
    let truth: Vec<usize> = positions[classes.len()..].iter().map(|&p| p as usize).collect();
    let place = |class: f64| all.partition_point(|&c| c < class);
    let likeliest = |p: &Vec<f64>| (1..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
    let predicted: Vec<usize> = probability.iter().map(|p| place(classes[likeliest(p)])).collect();
    let of_class = |class: f64| -> Vec<f64> {
        let column = classes.iter().position(|&c| c == class);
        probability.iter().map(|p| column.map_or(0.0, |c| p[c])).collect()
    };
    let mut present = truth.clone();
    present.sort_unstable();
    present.dedup();
    let mut scores = Scores {
        accuracy: Some(metrics::accuracy(&truth, &predicted)),
        macro_f1: Some(metrics::macro_f1(&truth, &predicted, &present)),
        ..Scores::default()
    };
    if plan.target.task == Task::Binary {
        let positive: Vec<bool> = holdout.labels.iter().map(|&l| l == 1.0).collect();
        let p = of_class(1.0);
        scores.roc_auc = metrics::roc_auc(&positive, &p);
        scores.average_precision = metrics::average_precision(&positive, &p);
        scores.brier = Some(metrics::brier(&positive, &p));
        scores.macro_f1_at_prevalence = (classes.len() == 2)
            .then(|| f1_at_prevalence(&positive, Predicted { probability: p, prevalence: fitted.prevalence() }));
    } else {
        let against_rest = |&class: &usize| {
            let is_class: Vec<bool> = truth.iter().map(|&t| t == class).collect();
            metrics::roc_auc(&is_class, &of_class(all[class]))
        };
        let areas: Vec<f64> = present.iter().filter_map(against_rest).collect();
        scores.roc_auc = (!areas.is_empty()).then(|| metrics::mean(areas.into_iter()));
    }
    scores
}

/// Macro F1 when as large a share is called positive as was positive in training.
fn f1_at_prevalence(positive: &[bool], predicted: Predicted) -> f64 {
    let predicted: Vec<usize> = predicted.selected().into_iter().map(usize::from).collect();
    let truth: Vec<usize> = positive.iter().map(|&p| usize::from(p)).collect();
    let classes: Vec<usize> = [0, 1].into_iter().filter(|c| truth.contains(c) || predicted.contains(c)).collect();
    metrics::macro_f1(&truth, &predicted, &classes)
}

/// What no model at all would score.
fn majority(plan: &Plan, train: &Labelled, holdout: &Labelled) -> Scores {
    if train.labels.is_empty() || holdout.labels.is_empty() {
        return Scores::default();
    }
    if plan.target.task == Task::Regression {
        let mean = metrics::mean(train.labels.iter().copied());
        return score_regression(plan, &holdout.labels, vec![mean; holdout.labels.len()]);
    }
    let mut rows_of: BTreeMap<u64, usize> = BTreeMap::new();
    train.labels.iter().for_each(|label| *rows_of.entry(label.to_bits()).or_default() += 1);
    let commonest = rows_of.into_iter().max_by_key(|&(label, rows)| (rows, std::cmp::Reverse(label)));
    let classes: Vec<f64> = commonest.map(|(label, _)| f64::from_bits(label)).into_iter().collect();
    let scores = score_classes(plan, &classes, train, holdout, &vec![vec![1.0]; holdout.labels.len()]);
    Scores { roc_auc: Some(0.5), accuracy: scores.accuracy, macro_f1: scores.macro_f1, ..Scores::default() }
}
