//! `synthward evaluate`.

use super::Global;
use super::linked::{Folders, LinkedEvaluation};
use super::progress::Progress;
use crate::error::{Error, Result};
use crate::evaluate::{
    Estimate, EvaluateOptions, Evaluation, Figure, ModelKind, RareShare, ReleaseNoise, Scores, SurvivalGroup, evaluate,
    with_noise,
};
use crate::ingest::{self, Frame, Source};
use crate::model::ModelFile;
use crate::schema::target::Task;
use crate::schema::{AnySchema, LinkedSchema, Schema};
use std::path::{Path, PathBuf};

/// Compare a synthetic table with real ones.
///
/// Any tool's synthetic table will do. The figures are computed on real rows:
/// they are for the data's controller and lie outside the privacy guarantee.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  synthward evaluate --real train.parquet --holdout test.parquet --synthetic cohort.parquet --schema schema.toml"
)]
pub struct Evaluate {
    /// The rows that the generator was trained on: they set floors and ceilings
    #[arg(long, value_name = "TABLE")]
    real: String,
    /// Real rows of other people: what the synthetic table is compared with
    #[arg(long, value_name = "TABLE")]
    holdout: String,
    /// The table to judge
    #[arg(long, value_name = "TABLE")]
    synthetic: String,
    /// What the columns mean, the targets to predict and the analyses to compare
    #[arg(long, value_name = "SCHEMA")]
    schema: PathBuf,
    /// The released model that drew the table: intervals of declared regressions and survival
    /// curves then include its noise
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Fixes subsamples and models
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Write the figures here as JSON
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Evaluate {
    pub fn run(self, global: &Global) -> Result<()> {
        if let Some(path) = &self.output {
            global.may_write(path)?;
        }
        let schema = match AnySchema::read(&self.schema)? {
            AnySchema::Linked(schema) => return self.run_linked(global, &schema),
            AnySchema::Table(schema) => schema,
        };
        let comparing = Progress::endless(global, "comparing the tables");
        let tables = Tables::read(&schema, &self.real, &self.holdout, &self.synthetic)?;
        let mut evaluation = tables.evaluate(&schema, self.seed)?;
        drop(comparing);
        if let Some(path) = &self.model {
            let (model, _) = ModelFile::read(path)?;
            with_noise(&mut evaluation, &tables.synthetic, &schema, &ReleaseNoise::of(&model))?;
        }
        global.answer(self.output.as_deref(), &evaluation, || summary(&evaluation))
    }
}

impl Evaluate {
    fn run_linked(&self, global: &Global, schema: &LinkedSchema) -> Result<()> {
        if self.model.is_some() {
            return Err(Error::bad_input("noise is told of the estimates of single tables")
                .remedy("leave --model out: a folder is compared without it"));
        }
        let comparing = Progress::endless(global, "comparing the tables");
        let [real, holdout, synthetic] = [&self.real, &self.holdout, &self.synthetic].map(Path::new);
        let evaluation = LinkedEvaluation::of(&Folders::read(schema, real, holdout, synthetic)?, self.seed)?;
        drop(comparing);
        global.answer(self.output.as_deref(), &evaluation, || {
            let tables = evaluation.tables.iter().map(|(name, figures)| format!("{name}\n{}", summary(figures)));
            tables.collect::<Vec<_>>().join("\n")
        })
    }
}

/// The three tables of an evaluation, as the schema sees them.
pub struct Tables {
    pub real: Frame,
    pub holdout: Frame,
    pub synthetic: Frame,
}

impl Tables {
    /// Reads the tables.
    ///
    /// # Privacy
    /// Touches sensitive data for the controller's own evaluation, outside the guarantee.
    pub fn read(schema: &Schema, real: &str, holdout: &str, synthetic: &str) -> Result<Self> {
        let source = |name: &str| Source::from(name);
        Ok(Self {
            real: ingest::load(&source(real), schema)?.for_controller(),
            holdout: ingest::load(&source(holdout), schema)?.for_controller(),
            synthetic: ingest::read_cohort(&source(synthetic), schema)?.load_cohort(schema)?,
        })
    }

    pub fn evaluate(&self, schema: &Schema, seed: u64) -> Result<Evaluation> {
        evaluate(&self.real, &self.holdout, &self.synthetic, schema, EvaluateOptions { seed })
    }
}

/// The headline figures, each beside its floor or ceiling.
pub fn summary(evaluation: &Evaluation) -> String {
    let tvd = &evaluation.tvd;
    let mut lines: Vec<(String, Option<Figure>)> = vec![
        ("1-way distance (TVD)".into(), Some(tvd.one_way)),
        ("2-way distance (TVD)".into(), tvd.two_way),
        ("3-way distance (TVD)".into(), tvd.three_way),
        ("counting queries".into(), Some(evaluation.queries.three_way)),
        ("association".into(), evaluation.association.mean_difference),
        ("detection AUC".into(), evaluation.detection_auc.map(Figure::from)),
        ("detection AUC, binned".into(), evaluation.detection_auc_binned.map(Figure::from)),
    ];
    let columns = &evaluation.columns;
    let mean =
        |of: fn(&RareShare) -> f64| columns.iter().map(|c| of(&c.rare_share)).sum::<f64>() / columns.len() as f64;
    let rare = Figure { synthetic: mean(|share| share.synthetic), floor: mean(|share| share.real) };
    lines.push(("rows with a rare value, by column".into(), Some(rare)));
    let copies = Figure { synthetic: evaluation.copies.synthetic, floor: evaluation.copies.holdout };
    lines.push(("copies of training rows".into(), Some(copies)));
    for tstr in &evaluation.tstr {
        let model = match tstr.model {
            ModelKind::GradientBoosting => "boosting",
            ModelKind::LogisticRegression => "logistic",
            ModelKind::RidgeRegression => "ridge",
        };
        let (metric, of): (_, fn(&Scores) -> Option<f64>) = match tstr.task {
            Task::Regression => ("R2", |s| s.r2),
            Task::Binary | Task::Multiclass => ("ROC-AUC", |s| s.roc_auc),
        };
        let figure = of(&tstr.tstr).zip(of(&tstr.trtr)).map(|(synthetic, floor)| Figure { synthetic, floor });
        lines.push((format!("{} {metric}, {model}", tstr.target), figure));
    }
    for fairness in &evaluation.fairness {
        let gap = &fairness.largest_gap;
        let both = gap.tstr.true_positive_rate.zip(gap.trtr.true_positive_rate);
        let figure = both.map(|(synthetic, floor)| Figure { synthetic, floor });
        lines.push((format!("{} gap by {}, TPR", fairness.target, fairness.column), figure));
    }
    for curves in &evaluation.survival {
        lines.push((format!("{} survival distance", curves.name), mean_distance(&curves.groups)));
    }
    for regression in &evaluation.regressions {
        lines.push((format!("{} interval overlap", regression.name), regression.mean_overlap));
    }
    for constraint in &evaluation.constraints {
        let share = |count: usize, rows: usize| count as f64 / rows.max(1) as f64;
        let figure = constraint.real.map(|real| Figure {
            synthetic: share(constraint.synthetic, evaluation.rows.synthetic),
            floor: share(real, evaluation.rows.real),
        });
        lines.push((format!("rows that break {}", constraint.name), figure));
    }
    let mut text = format!("{:<34}{:>10}{:>12}\n", "", "synthetic", "real");
    for (name, figure) in lines {
        let cell = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{x:.4}"));
        let (synthetic, real) = (figure.map(|f| f.synthetic), figure.map(|f| f.floor));
        text.push_str(&format!("{name:<34}{:>10}{:>12}\n", cell(synthetic), cell(real)));
    }
    text.push_str(&numbers(evaluation));
    text.push_str(&constrained(evaluation));
    text.push_str(&doubtful(evaluation));
    text
}

/// Terms of regressions whose conclusion the noise of the release takes away.
fn doubtful(evaluation: &Evaluation) -> String {
    let known = evaluation.regressions.iter().flat_map(|r| r.terms.iter().map(move |term| (r, term)));
    let known: Vec<_> = known.filter(|(_, term)| term.synthetic.is_some() && term.with_noise.is_some()).collect();
    if known.is_empty() {
        return String::new();
    }
    let doubtful = known.iter().filter(|(r, term)| r.is_doubtful(term));
    let lines: Vec<String> = doubtful
        .map(|(r, term)| {
            let interval = |of: Option<Estimate>| {
                of.map_or(String::new(), |e| {
                    format!("{} ({} to {})", plain(e.estimate), plain(e.lower), plain(e.upper))
                })
            };
            let what = format!("{}: {} {}", r.name, term.covariate, term.category.as_deref().unwrap_or_default());
            format!("{:<26}{:>26} {:>27}\n", what.trim_end(), interval(term.synthetic), interval(term.with_noise))
        })
        .collect();
    match lines.is_empty() {
        true => {
            format!("\nall {} estimates keep what they conclude when their interval includes the noise\n", known.len())
        }
        false => format!(
            "\n{:<26}{:>26} {:>27}\n{}",
            format!("doubtful ({} of {})", lines.len(), known.len()),
            "cohort",
            "with the noise",
            lines.concat()
        ),
    }
}

/// Distances of the columns that constraints name, without and with them.
fn constrained(evaluation: &Evaluation) -> String {
    let touched = evaluation.columns.iter().filter_map(|c| Some((c, c.tvd_without_constraints?)));
    let mut lines: Vec<String> = touched
        .map(|(c, before)| format!("{:<34}{before:>10.4}{:>12.4}{:>12.4}\n", c.name, c.tvd.synthetic, c.tvd.floor))
        .collect();
    if !lines.is_empty() {
        let what = "what the constraints changed (TVD)";
        lines.insert(0, format!("\n{what:<34}{:>10}{:>12}{:>12}\n", "without", "with", "real"));
    }
    lines.concat()
}

/// Means, standard deviations and zeros of numbers, each beside the holdout's.
fn numbers(evaluation: &Evaluation) -> String {
    let of: Vec<_> = evaluation.columns.iter().filter_map(|c| Some((&c.name, c.numbers.as_ref()?))).collect();
    if of.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n{:<22}{:>10}{:>9}{:>10}{:>9}{:>9}{:>9}\n",
        "numbers", "mean", "holdout", "SD", "holdout", "zeros", "holdout"
    );
    for (name, figures) in of {
        let [mean, deviation, zeros] = figures.is_near();
        let marked = |x: String, is_near: bool| format!("{x}{}", if is_near { " " } else { "*" });
        text.push_str(&format!(
            "{name:<22}{:>10}{:>9}{:>10}{:>9}{:>9}{:>9}\n",
            marked(plain(figures.mean.synthetic), mean),
            plain(figures.mean.holdout),
            marked(plain(figures.deviation.synthetic), deviation),
            plain(figures.deviation.holdout),
            marked(format!("{:.3}", figures.zeros.synthetic), zeros),
            format!("{:.3}", figures.zeros.holdout),
        ));
    }
    text.push_str(
        "* off by more than 5 % (zeros: by .02) and by more than three times what the\n  real table is off the holdout\n",
    );
    text
}

/// Four digits, in so many characters that a column of them is narrow.
fn plain(x: f64) -> String {
    match x.abs() {
        size if size >= 1e7 || (size > 0.0 && size < 1e-3) => format!("{x:.2e}"),
        size if size >= 1000.0 => format!("{x:.0}"),
        size if size >= 10.0 => format!("{x:.2}"),
        _ => format!("{x:.4}"),
    }
}

/// Over the groups that have one.
fn mean_distance(groups: &[SurvivalGroup]) -> Option<Figure> {
    let distances: Vec<Figure> = groups.iter().filter_map(|group| group.distance).collect();
    let mean = |of: fn(&Figure) -> f64| distances.iter().map(of).sum::<f64>() / distances.len() as f64;
    (!distances.is_empty()).then(|| Figure { synthetic: mean(|d| d.synthetic), floor: mean(|d| d.floor) })
}
