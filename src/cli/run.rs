//! `synthward run`: everything that one file asks for, into one folder.

use super::audit::{AuditTables, refuse_leak, refuse_shared_people, white_box};
use super::evaluate::{Tables, summary};
use super::fit::{budget, fit_and_write, kind};
use super::generate::write_cohort;
use super::{Global, print, print_json, to_json};
use crate::audit::Audit;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::evaluate::Evaluation;
use crate::ingest::{self, Source};
use crate::model::ModelFile;
use crate::output;
use crate::report::{
    Axis, BudgetLine, Claim, ColumnFact, FileFact, LedgerLine, MarginalPlot, Report, Reproduce, Units, marginal_plots,
    render,
};
use crate::schema::{Column, DomainFrom, Kind, Schema, datetime};
use crate::train::{FitRequest, read_ledger};
use std::path::{Path, PathBuf};
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::Record;
use synthward_privacy::plan::{Mechanism, PlanEntry};

/// Do all of it: model, cohort, evaluation, report, ledger.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward run fixtures/diabetes130/run.toml -o out")]
pub struct Run {
    /// What to do, in TOML; its paths are relative to it
    config: PathBuf,
    /// The folder for everything that is made
    #[arg(long, short, value_name = "DIR", default_value = "synthward-out")]
    output: PathBuf,
}

impl Run {
    pub fn run(self, global: &Global) -> Result<()> {
        let (config, text) = RunConfig::read(&self.config)?;
        let base = self.config.parent().unwrap_or(Path::new(""));
        let path = |p: &Path| base.join(p).to_string_lossy().into_owned();
        let (table, holdout) = (path(&config.input.table), path(&config.input.holdout));
        let schema = Schema::read(base.join(&config.input.schema))?;
        let source: Source = table.as_str().into();
        let request = FitRequest {
            source: &source,
            schema: &schema,
            model: kind(config.fit.model),
            budget: budget(config.fit.epsilon, config.fit.delta)?,
            discover_epsilon: config.fit.discover_epsilon,
            seed: config.fit.seed,
        };
        std::fs::create_dir_all(&self.output).map_err(|e| {
            Error::failed(format!("the folder cannot be made ({})", e.kind()))
                .file(&self.output)
                .remedy("name a folder that you may write to with -o")
        })?;
        let out = |name: &str| self.output.join(name);
        // Before anything is spent on a run whose audit would be refused.
        refuse_shared_people(&schema, &ingest::read(&source)?, &ingest::read(&holdout.as_str().into())?)?;
        let (model_path, cohort_path) = (out("model.safetensors"), out("cohort.parquet"));
        let (model, sha256) = fit_and_write(global, &request, &out("ledger.jsonl"), &model_path)?;
        write_cohort(global, &model, &sha256, None, config.cohort.rows, config.cohort.seed, &cohort_path)?;

        tracing::info!("comparing the cohort with the holdout");
        // With the discovered domains, if any.
        let schema = &model.header.schema;
        let tables = Tables::read(schema, &table, &holdout, &cohort_path.to_string_lossy())?;
        let evaluation = tables.evaluate(schema, config.cohort.seed)?;
        output::write_bytes(&out("evaluation.json"), to_json(&evaluation)?.as_bytes())?;

        tracing::info!("auditing the cohort");
        let audited = AuditTables::read(schema, &table, &holdout, &cohort_path.to_string_lossy())?;
        let mut audit = audited.audit(schema, None, config.cohort.seed)?;
        if let Some(canaries) = config.audit.canaries {
            audit = audit.with_white_box(white_box(global, &request, canaries)?);
        }
        output::write_bytes(&out("audit.json"), to_json(&audit)?.as_bytes())?;

        let files = vec![
            file("training table", &table, &tables.real.rows)?,
            file("holdout", &holdout, &tables.holdout.rows)?,
            file("cohort", &cohort_path.to_string_lossy(), &tables.synthetic.rows)?,
            FileFact { role: "model".into(), name: name_of(&model_path), sha256, rows: None },
        ];
        let report = Report {
            files,
            ledger: ledger_lines(&out("ledger.jsonl"))?,
            evaluation: Some(evaluation.clone()),
            audit: Some(audit.clone()),
            marginals: plots(schema, &tables),
            reproduce: Some(Reproduce {
                commands: vec![format!("synthward run {}", self.config.display())],
                run_toml: Some(text),
            }),
            ..facts(&model, config.cohort.seed)
        };
        output::write_bytes(&out("report.json"), to_json(&report)?.as_bytes())?;
        output::write_bytes(&out("report.html"), render(&report)?.as_bytes())?;
        tracing::info!("wrote {}", self.output.display());
        self.tell(global, &model, &evaluation, &audit)?;
        refuse_leak(&audit)
    }

    fn tell(&self, global: &Global, model: &ModelFile, evaluation: &Evaluation, audit: &Audit) -> Result<()> {
        if global.json {
            print_json(&serde_json::json!({
                "output": self.output,
                "epsilon": OrInfinity(model.header.plan.epsilon()),
                "delta": model.header.plan.delta(),
                "unit": model.header.plan.unit(),
                "evaluation": evaluation,
                "audit": audit,
            }))
        } else {
            print(&summary(evaluation))?;
            print(&format!("\n{}", super::audit::summary(audit)))
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn file(role: &str, path: &str, rows: &usize) -> Result<FileFact> {
    let source: Source = path.into();
    Ok(FileFact {
        role: role.into(),
        name: name_of(Path::new(path)),
        sha256: source.sha256()?,
        rows: Some(*rows as u64),
    })
}

/// What the report says that the model knows.
fn facts(model: &ModelFile, seed: u64) -> Report {
    let header = &model.header;
    let plan = &header.plan;
    let schema = &header.schema;
    Report {
        title: format!("Synthetic cohort of {}", schema.table.name),
        table: schema.table.name.clone(),
        date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
        tool_version: header.version.clone(),
        model: header.model.to_string(),
        seed: Some(seed),
        not_private: plan.not_private().map(|reason| reason.to_string()),
        claim: plan.is_private().then(|| Claim {
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().to_string(),
            adjacency: "tables that differ by one unit with all its rows, added or removed".into(),
            accountant: plan.accountant().to_string(),
            units: Some(match schema.table.units {
                Some(units) => Units::Public(units),
                None => Units::Noisy(header.units),
            }),
            max_rows_per_unit: schema.table.max_rows_per_unit(),
            assumed_public: schema.table.assumed_public,
        }),
        budget: plan.entries().iter().map(budget_line).collect(),
        ledger: Vec::new(),
        columns: schema.columns.iter().map(|column| column_fact(column, schema.table.assumed_public)).collect(),
        files: Vec::new(),
        evaluation: None,
        audit: None,
        marginals: Vec::new(),
        reproduce: None,
    }
}

fn budget_line(entry: &PlanEntry) -> BudgetLine {
    let (what, noise) = match entry.mechanism {
        Mechanism::Histogram => ("histogram", "discrete Gaussian noise"),
        Mechanism::WeightedHistograms => ("weighted histograms in one release", "discrete Gaussian noise"),
        Mechanism::GaussianSum { .. } => ("sum of clipped vectors", "discrete Gaussian noise"),
        Mechanism::SubsampledGaussian { .. } => ("clipped gradient sums over Poisson-sampled units", "Gaussian noise"),
        Mechanism::Quantile { .. } => ("one end of a range", "exponential mechanism"),
        Mechanism::CategoryList { .. } => ("list of categories", "thresholded discrete Laplace counts"),
    };
    let noise = if entry.noise_multiplier == 0.0 { "no noise" } else { noise };
    let (sampling_rate, steps) = match entry.mechanism {
        Mechanism::SubsampledGaussian { sampling_rate, steps, .. } => (Some(sampling_rate), Some(steps)),
        _ => (None, None),
    };
    BudgetLine {
        share: entry.share.to_string(),
        name: entry.name.clone(),
        mechanism: format!("{what}, {noise}"),
        noise_multiplier: entry.noise_multiplier,
        sampling_rate,
        steps,
    }
}

fn column_fact(column: &Column, assumed_public: bool) -> ColumnFact {
    let domain = match (column.kind, column.range()) {
        _ if column.drop => "left out".into(),
        (Kind::Identifier, _) => "not modelled, fresh keys".into(),
        (_, Some((min, max))) => format!("{} to {}", bound_text(column, min), bound_text(column, max)),
        _ => format!("{} categories", column.labels().len()),
    };
    let vouched_by = match column.domain_from {
        Some(DomainFrom::Public) if assumed_public => "assumed at inspect (--assume-public)",
        Some(DomainFrom::Public) => "the schema's author",
        Some(DomainFrom::Discovered) => "paid for in the budget",
        Some(DomainFrom::Data) | None => "nobody: not needed",
    };
    ColumnFact { name: column.name.clone(), kind: column.kind.name().into(), domain, vouched_by: vouched_by.into() }
}

fn bound_text(column: &Column, value: f64) -> String {
    if column.kind == Kind::Datetime {
        datetime::format(value, column.format.as_deref(), column.ticks()).unwrap_or_default()
    } else {
        format!("{value}")
    }
}

fn ledger_lines(path: &Path) -> Result<Vec<LedgerLine>> {
    let ledger = read_ledger(path)?;
    let line = |line: &synthward_privacy::ledger::Line| {
        let (kind, epsilon, delta) = match &line.record {
            Record::Opened { .. } => ("opened", None, None),
            Record::Intent { epsilon, delta, .. } if epsilon.is_finite() => ("intent", Some(*epsilon), Some(*delta)),
            Record::Intent { epsilon, delta, .. } => ("intent, without noise", Some(*epsilon), Some(*delta)),
            Record::Outcome { .. } => ("released", None, None),
            Record::Cap { epsilon } => ("cap", *epsilon, None),
            Record::Refused { .. } => ("refused, not spent", None, None),
        };
        LedgerLine {
            time: line.time.clone(),
            who: line.who.clone(),
            kind: kind.into(),
            epsilon: epsilon.map(OrInfinity),
            delta,
        }
    };
    Ok(ledger.lines().iter().map(line).collect())
}

fn plots(schema: &Schema, tables: &Tables) -> Vec<MarginalPlot> {
    marginal_plots(&tables.holdout, &tables.synthetic, |name| {
        let column = schema.column(name)?;
        Some(match (column.kind, column.range()) {
            (_, Some((min, max))) => Axis::Numbers {
                min,
                max,
                whole: column.kind != Kind::Real,
                text: Box::new(move |x| bound_text(column, x)),
            },
            (Kind::Ordinal | Kind::Boolean, None) => Axis::Ordered(column.labels()),
            _ => Axis::Unordered,
        })
    })
}
