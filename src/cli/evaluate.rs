//! `synthward evaluate`.

use super::linked::{Folders, LinkedEvaluation};
use super::progress::Progress;
use super::{Global, print, print_json, to_json};
use crate::error::Result;
use crate::evaluate::{EvaluateOptions, Evaluation, Figure, ModelKind, RareShare, Scores, SurvivalGroup, evaluate};
use crate::ingest::{self, Frame, Source};
use crate::output;
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
            output::check_writable(path)?;
        }
        let schema = match AnySchema::read(&self.schema)? {
            AnySchema::Linked(schema) => return self.run_linked(global, &schema),
            AnySchema::Table(schema) => schema,
        };
        let comparing = Progress::endless(global, "comparing the tables");
        let tables = Tables::read(&schema, &self.real, &self.holdout, &self.synthetic)?;
        let evaluation = tables.evaluate(&schema, self.seed)?;
        drop(comparing);
        if let Some(path) = &self.output {
            output::write_bytes(path, to_json(&evaluation)?.as_bytes())?;
        }
        if global.json { print_json(&evaluation) } else { print(&summary(&evaluation)) }
    }
}

impl Evaluate {
    fn run_linked(&self, global: &Global, schema: &LinkedSchema) -> Result<()> {
        let comparing = Progress::endless(global, "comparing the tables");
        let [real, holdout, synthetic] = [&self.real, &self.holdout, &self.synthetic].map(Path::new);
        let evaluation = LinkedEvaluation::of(&Folders::read(schema, real, holdout, synthetic)?, self.seed)?;
        drop(comparing);
        if let Some(path) = &self.output {
            output::write_bytes(path, to_json(&evaluation)?.as_bytes())?;
        }
        if global.json {
            return print_json(&evaluation);
        }
        let tables = evaluation.tables.iter().map(|(name, figures)| format!("{name}\n{}", summary(figures)));
        print(&tables.collect::<Vec<_>>().join("\n"))
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
    text
}

/// Over the groups that have one.
fn mean_distance(groups: &[SurvivalGroup]) -> Option<Figure> {
    let distances: Vec<Figure> = groups.iter().filter_map(|group| group.distance).collect();
    let mean = |of: fn(&Figure) -> f64| distances.iter().map(of).sum::<f64>() / distances.len() as f64;
    (!distances.is_empty()).then(|| Figure { synthetic: mean(|d| d.synthetic), floor: mean(|d| d.floor) })
}
