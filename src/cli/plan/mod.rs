//! `synthward plan`: what a run would spend, take and need, before a row is read.

mod estimate;
mod linked;
mod persons;
mod probe;
mod rows;

use super::facts::{budget_line, column_fact};
use super::fit::{budget, kind};
use super::ledger::LedgerPlace;
use super::linked::refuse_settings;
use super::memory::MemoryLimit;
use super::progress::Progress;
use super::run::refuse_made;
use super::{Global, print, print_json};
use crate::audit;
use crate::config::RunConfig;
use crate::error::{Error, ErrorKind, Result, why};
use crate::ingest::{Source, table_file};
use crate::output;
use crate::report::{BudgetLine, ColumnFact, by_share, number_or_infinity};
use crate::schema::{AnySchema, Column, LinkedSchema};
use crate::train::{self, CountNoise, FitRequest, LedgerFile, LinkedRequest};
use estimate::{Estimate, HeldOut};
use linked::AskedLinked;
use probe::Asked;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use synthward_privacy::infinite::OrInfinity;

/// Say what a run would spend, take and need, before a row is read.
///
/// Time and memory are measured on invented rows. Exit code 0: the run may start; 3: something is missing; 4: the ledger
/// does not leave enough.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward plan fixtures/diabetes130/run.toml")]
pub struct PlanCommand {
    /// What `run` would do, in TOML; its paths are relative to it
    config: PathBuf,
    /// The folder that `run` would write to
    #[arg(long, short, value_name = "DIR", default_value = "synthward-out")]
    output: PathBuf,
    #[command(flatten)]
    ledger: LedgerPlace,
    #[command(flatten)]
    memory: MemoryLimit,
}

/// What a run would spend, take and need: `plan --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunPlan {
    pub table: String,
    /// Whose whole contribution is protected: a column, or the root of linked tables; absent where the schema does not say.
    pub unit: Option<String>,
    /// Rows that are used of a unit; absent for linked tables, whose schema says it of each table.
    pub max_rows_per_unit: Option<u32>,
    /// Number of units, where it is public.
    pub units: Option<u64>,
    pub model: String,
    /// A number, or "inf" where no noise is asked for.
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: OrInfinity,
    pub delta: f64,
    pub accountant: Option<String>,
    /// Epsilon that the ledger says is spent already.
    #[schemars(schema_with = "number_or_infinity")]
    pub spent: Option<OrInfinity>,
    /// What the noise will leave of counts; absent where there is none to speak of.
    pub noise: Option<CountNoise>,
    /// Every mechanism that would read the table.
    pub events: Vec<BudgetLine>,
    /// What is public about each column, and who says so.
    pub columns: Vec<ColumnFact>,
    /// What keeps the run from starting.
    pub missing: Vec<String>,
    /// Time and memory; absent where something is missing.
    pub estimate: Option<Estimate>,
    /// The least leak that the audit could find, in percent of the persons; above 1 it will be inconclusive. Absent where the number
    /// of units is not public, or something is missing.
    pub audit_finds: Option<f64>,
}

impl PlanCommand {
    pub fn run(self, global: &Global) -> Result<()> {
        let (config, _) = RunConfig::read(&self.config)?;
        let base = self.config.parent().unwrap_or(Path::new(""));
        let file = base.join(&config.input.schema);
        let schema = match AnySchema::read(&file)?.to_fit().map_err(|e| e.file(&file))? {
            AnySchema::Linked(schema) => return self.run_linked(global, &config, base, &schema),
            AnySchema::Table(schema) => schema,
        };
        let ledger = self.ledger_file(&config, base);
        let source = Source::Path(base.join(&config.input.table));
        let holdout = config.input.holdout.as_ref().map(|holdout| base.join(holdout));
        let request = FitRequest {
            source: &source,
            schema: &schema,
            model: kind(config.fit.model),
            budget: budget(config.fit.epsilon, config.fit.delta)?,
            discover_epsilon: config.fit.discover_epsilon,
            seed: config.fit.seed,
            memory: self.memory.of_table()?,
        };
        let mut missing = Missing::default();
        for path in [Some(source.as_path()), holdout.as_deref()].into_iter().flatten() {
            missing.found(is_readable(path));
        }
        let planned = missing.found(train::plan(&request));
        // Without what is yet to be learnt: the draft may have it from the rows.
        let public = planned.as_ref().map_or(&*schema, |planned| &planned.schema);
        let columns = public.columns.iter().map(|column| column_fact(column, schema.table.assumed_public)).collect();
        let plan = planned.as_ref().map(|planned| &planned.plan);
        let ledger = LedgerFile::new(ledger, &schema.table);
        let spent = missing.found(ledger.check(config.fit.epsilon, config.fit.delta)).map(|(epsilon, _)| epsilon);
        missing.found(refuse_made(global, &self.output, false, &[]));
        if self.output.exists() {
            missing.found(output::check_writable(&self.output.join("report.html")));
        }
        let estimate = if missing.errors.is_empty() {
            let _measuring = Progress::endless(global, "measuring on invented rows");
            let canaries = config.audit.canaries.is_some();
            Some(probe::estimate(&Asked {
                request: &request,
                held_out: HeldOut::of(&config.input, holdout.as_deref()),
                cohort: config.cohort.rows,
                canaries,
            })?)
        } else {
            None
        };
        missing.found(self.memory.allows(estimate.as_ref().and_then(|estimate| estimate.memory_mb)));
        let run = RunPlan {
            table: schema.table.name.clone(),
            unit: schema.table.privacy_unit.clone(),
            max_rows_per_unit: Some(schema.table.max_rows_per_unit()),
            units: schema.table.units,
            model: request.model.to_string(),
            epsilon: OrInfinity(config.fit.epsilon),
            delta: config.fit.delta,
            accountant: plan.map(|plan| plan.accountant().to_string()),
            spent: spent.map(OrInfinity),
            noise: plan.and_then(CountNoise::of),
            events: plan.iter().flat_map(|plan| plan.entries()).map(budget_line).collect(),
            columns,
            missing: missing.errors.iter().map(ToString::to_string).collect(),
            audit_finds: audit_finds(
                schema.table.units,
                estimate.as_ref(),
                HeldOut::of(&config.input, holdout.as_deref()),
            ),
            estimate,
        };
        self.tell(global, &run, missing)
    }

    /// Where the ledger lies.
    fn ledger_file(&self, config: &RunConfig, base: &Path) -> PathBuf {
        let stated = config.input.ledger.as_ref().map(|ledger| base.join(ledger));
        self.ledger.of(stated, &base.join(&config.input.schema))
    }

    /// The plan of a folder of linked tables, or of a table with an order.
    fn run_linked(&self, global: &Global, config: &RunConfig, base: &Path, schema: &LinkedSchema) -> Result<()> {
        let folder = base.join(&config.input.table);
        let holdout = config.input.holdout.as_ref().map(|holdout| base.join(holdout));
        let request = LinkedRequest {
            folder: &folder,
            schema,
            model: kind(config.fit.model),
            budget: budget(config.fit.epsilon, config.fit.delta)?,
            seed: config.fit.seed,
            memory: self.memory.of_table()?,
        };
        let mut missing = Missing::default();
        missing.found(refuse_settings(config, &self.config));
        missing.found(refuse_made(global, &self.output, false, &["cohort"]));
        let flat = schema.history.as_deref();
        for path in [Some(&folder), holdout.as_ref()].into_iter().flatten() {
            if flat.is_some() {
                missing.found(is_readable(path));
                continue;
            }
            for table in schema.tree() {
                missing.found(table_file(path, &schema.tables[table].name));
            }
        }
        let planned = missing.found(train::plan_linked(&request));
        let plan = planned.as_ref().map(|planned| &planned.plan);
        let ledger = LedgerFile::new(self.ledger_file(config, base), &schema.linked.table());
        let spent = missing.found(ledger.check(config.fit.epsilon, config.fit.delta)).map(|(epsilon, _)| epsilon);
        let root = &schema.tables[schema.tree()[0]];
        let of_tables = schema.tree().into_iter().flat_map(|table| {
            let table = &schema.tables[table];
            table
                .columns
                .iter()
                .map(|column| Column { name: format!("{}.{}", table.name, column.name), ..column.clone() })
        });
        let columns = flat.map_or_else(|| of_tables.collect(), |flat| flat.columns.clone());
        let fact = |column: &Column| column_fact(column, schema.linked.assumed_public);
        let estimate = if missing.errors.is_empty() {
            let _measuring = Progress::endless(global, "measuring on invented persons");
            let (held_out, cohort) = (HeldOut::of(&config.input, holdout.as_deref()), config.cohort.rows);
            Some(linked::estimate(&AskedLinked { request: &request, held_out, cohort })?)
        } else {
            None
        };
        missing.found(self.memory.allows(estimate.as_ref().and_then(|estimate| estimate.memory_mb)));
        let run = RunPlan {
            table: schema.linked.name.clone(),
            unit: flat.map_or_else(|| Some(root.name.clone()), |flat| flat.table.privacy_unit.clone()),
            max_rows_per_unit: flat.map(|flat| flat.table.max_rows_per_unit()),
            units: schema.linked.units,
            model: request.model.to_string(),
            epsilon: OrInfinity(config.fit.epsilon),
            delta: config.fit.delta,
            accountant: plan.map(|plan| plan.accountant().to_string()),
            spent: spent.map(OrInfinity),
            noise: plan.and_then(CountNoise::of),
            events: plan.iter().flat_map(|plan| plan.entries()).map(budget_line).collect(),
            columns: columns.iter().map(fact).collect(),
            missing: missing.errors.iter().map(ToString::to_string).collect(),
            audit_finds: audit_finds(
                schema.linked.units,
                estimate.as_ref(),
                HeldOut::of(&config.input, holdout.as_deref()),
            ),
            estimate,
        };
        self.tell(global, &run, missing)
    }

    fn tell(&self, global: &Global, run: &RunPlan, missing: Missing) -> Result<()> {
        if global.json {
            print_json(run)?
        } else {
            print(&render(run, &self.config))?
        }
        missing.refuse()
    }
}

/// What keeps a run from starting.
#[derive(Default)]
struct Missing {
    errors: Vec<Error>,
}

impl Missing {
    fn found<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|e| self.errors.push(e)).ok()
    }

    /// An error of the first kind among the errors, which were told already.
    fn refuse(self) -> Result<()> {
        let kind = match self.errors.first() {
            None => return Ok(()),
            Some(first) => first.kind,
        };
        let what = match kind {
            ErrorKind::BudgetRefused => "the ledger does not leave enough for this run",
            _ => "the run cannot start: something is missing",
        };
        Err(Error::new(kind, what).remedy("see `missing` in the plan"))
    }
}

/// An error where a file, or one of the part files of a table, cannot be opened.
fn is_readable(path: &Path) -> Result<()> {
    for part in Source::Path(path.to_owned()).parts()? {
        let opened = std::fs::File::open(part.as_path()).and_then(|file| file.metadata());
        let bad =
            |what: String| Err(Error::bad_input(what).file(part.as_path()).remedy("correct [input] in the run file"));
        match opened {
            Ok(file) if file.is_file() => {}
            Ok(_) => return bad("this is not a file".into()),
            Err(e) => return bad(format!("the file cannot be read ({})", why(e.kind()))),
        }
    }
    Ok(())
}

/// The least leak, in percent of the persons that are fitted, that an audit could find if there are as many as the schema says, and
/// held out as many as the sizes of the files say.
fn audit_finds(units: Option<u64>, estimate: Option<&Estimate>, held_out: HeldOut<'_>) -> Option<f64> {
    let (units, estimate) = (units? as f64, estimate?);
    let others = units * estimate.holdout_rows as f64 / estimate.rows.max(1) as f64;
    let (fitted, held_out) = held_out.divide(units, Some(others));
    Some(audit::least_share(fitted as usize, held_out as usize))
}

/// Columns that a line of 80 has for a mechanism.
const MECHANISM_WIDTH: usize = 44;

/// Text in lines of at most so many characters, but for longer words.
fn folded(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = &lines[lines.len() - 1];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.into_iter()
}

/// Who vouches, in words that stand alone.
fn vouched(by: &str) -> &str {
    match by {
        "nobody" => "nobody vouches, and no budget pays",
        "nobody: not needed" => "nobody, for none is needed",
        by => by,
    }
}

/// The plan as text for the terminal.
fn render(run: &RunPlan, config: &Path) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<10}{text}");
    };
    fact("run", config.display().to_string());
    let unit = match (run.unit.as_deref(), run.max_rows_per_unit) {
        (None, _) => "not said whose privacy is protected".to_owned(),
        (Some(root), None) => format!("each row of {root} is a person, with all rows below it"),
        (Some("row"), _) => "each row is a different person".to_owned(),
        (Some(column), Some(most)) => format!("unit {column}, at most {most} rows of each"),
    };
    fact("table", format!("{}: {unit}", run.table));
    let OrInfinity(epsilon) = run.epsilon;
    let accountant = run.accountant.as_deref().map_or(String::new(), |accountant| format!(" ({accountant})"));
    if epsilon.is_finite() {
        fact("spends", format!("epsilon {epsilon}, delta {:e}{accountant}, model {}", run.delta, run.model));
    } else {
        fact("spends", format!("NOT PRIVATE: no noise, model {}", run.model));
    }
    if let Some(OrInfinity(spent)) = run.spent {
        fact("before", format!("epsilon {spent} spent, by the ledger"));
    }
    let mut vouchers: Vec<&str> = run.columns.iter().map(|column| column.vouched_by.as_str()).collect();
    vouchers.sort_unstable();
    for (i, of_one) in vouchers.chunk_by(|a, b| a == b).enumerate() {
        let columns = if of_one.len() == 1 { "column" } else { "columns" };
        fact(if i == 0 { "vouchers" } else { "" }, format!("{} {columns}: {}", of_one.len(), vouched(of_one[0])));
    }
    let units = run.units.map_or("private, to be counted".into(), |units| units.to_string());
    fact("units", units);
    if let Some(noise) = run.noise {
        let CountNoise { std, least } = noise;
        let text = format!("counts wrong by about {std:.0} units; categories of fewer than {least:.0} drown");
        fact("noise", text);
        if run.units.is_some_and(|units| noise.drowns(units as f64)) {
            fact("", "the table is too small for this epsilon".into());
        }
    }
    let _ = writeln!(out, "\n{:<10}{:>6}{:>18}  mechanism", "share", "events", "noise multiplier");
    for share in by_share(&run.events) {
        for group in &share.groups {
            let mut mechanism = group.line.mechanism.clone();
            if let Some((rate, steps)) = group.line.sampling_rate.zip(group.line.steps) {
                let _ = write!(mechanism, ", {steps} steps, rate {rate:.4}");
            }
            let (events, noise) = (group.names.len(), group.line.noise_multiplier);
            for (i, part) in folded(&mechanism, MECHANISM_WIDTH).enumerate() {
                let _ = match i {
                    0 => writeln!(out, "{:<10}{events:>6}{noise:>18.3}  {part}", share.name),
                    _ => writeln!(out, "{:36}{part}", ""),
                };
            }
        }
    }
    if let Some(estimate) = &run.estimate {
        let _ = writeln!(out, "\n{:<10}{:>10}", "stage", "seconds");
        for stage in &estimate.stages {
            let _ = writeln!(out, "{:<10}{:>10.1}", stage.name, stage.seconds);
        }
        let _ = writeln!(
            out,
            "{:<10}{:>10.1}   for about {} rows, measured on invented ones",
            "in all", estimate.seconds, estimate.rows
        );
        if let Some(memory) = estimate.memory_mb {
            let _ = writeln!(out, "{:<10}{:>10.0}   MB at most", "memory", memory);
        }
    }
    if let Some(percent) = run.audit_finds.filter(|percent| *percent > audit::POWER) {
        let _ = writeln!(
            out,
            "\nthe audit will be inconclusive: of so few persons it cannot find a leak of less than {percent:.1} % of them"
        );
    }
    let _ = match run.missing.as_slice() {
        [] => writeln!(out, "\nnothing is missing: `synthward run {}` may start", config.display()),
        missing => missing.iter().try_for_each(|what| writeln!(out, "\nmissing: {what}")),
    };
    out
}
