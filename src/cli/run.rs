//! `synthward run`: everything that one file asks for, into one folder.

use super::answers::Ran;
use super::audit::{AuditTables, refuse_shared_people, settle, white_box};
use super::evaluate::{Tables, summary};
use super::facts::{bound_text, facts, history_facts, ledger_lines};
use super::fit::{Kept, budget, fit_and_write, kind};
use super::generate::write_cohort;
use super::ledger::LedgerPlace;
use super::memory::MemoryLimit;
use super::progress::Progress;
use super::selftest::refuse_fault;
use super::split::Divided;
use super::{Global, linked, print, print_json, to_json};
use crate::audit::Audit;
use crate::cohort::{self, Cohort, Format};
use crate::config::{ReportConfig, RunConfig};
use crate::error::{Error, Result, why};
use crate::evaluate::{Evaluation, ReleaseNoise, compare_unconstrained, with_noise};
use crate::ingest::{self, Frame, Source};
use crate::model::{self, LinkedModel, ModelFile};
use crate::output;
use crate::report::{
    Axis, FileFact, MarginalPlot, Release, Report, Reproduce, coarse, marginal_plots, render, render_release,
};
use crate::schema::{AnySchema, Kind, LinkedSchema, Reading, Schema};
use crate::selftest::selftest;
use crate::train::{self, FitRequest, LedgerFile, LinkedRequest};
use serde::Serialize;
use std::path::{Path, PathBuf};
use synthward_privacy::UnitKey;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::plan::Plan;

/// Do all of it: model, cohort, evaluation, report, ledger.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward run fixtures/diabetes130/run.toml -o out")]
pub struct Run {
    /// What to do, in TOML; its paths are relative to it
    config: PathBuf,
    /// The folder for everything that is made
    #[arg(long, short, value_name = "DIR", default_value = "synthward-out")]
    output: PathBuf,
    /// Go on with a run that was interrupted: its fit goes on or is there already, and nothing more is spent
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    ledger: LedgerPlace,
    #[command(flatten)]
    memory: MemoryLimit,
}

impl Run {
    pub fn run(self, global: &Global) -> Result<()> {
        let (mut config, text) = RunConfig::read(&self.config)?;
        let base = self.config.parent().unwrap_or(Path::new(""));
        let schema_file = base.join(&config.input.schema);
        let ledger = self.ledger.of(config.input.ledger.as_ref().map(|ledger| base.join(ledger)), &schema_file);
        let mut schema = AnySchema::read(&schema_file)?;
        let _removed_at_the_end = Divided::of_run(&mut config, base, &mut schema, &ledger, &self.output)?;
        let path = |p: &Path| base.join(p).to_string_lossy().into_owned();
        let (table, holdout) =
            (path(&config.input.table), config.input.holdout.as_deref().map(path).unwrap_or_default());
        let schema = match schema {
            AnySchema::Linked(schema) => {
                let (asked, what) = ((&config, &*text, base), (&*self.config, &*schema));
                let place = (&*self.output, &*ledger, self.resume);
                return linked::run(global, asked, what, place, self.memory.of_table()?);
            }
            AnySchema::Table(schema) => schema,
        };
        let history = schema.history().map_err(|e| e.file(&schema_file))?;
        if history.is_some() {
            linked::refuse_settings(&config, &self.config)?;
        }
        let source: Source = table.as_str().into();
        let request = FitRequest {
            source: &source,
            schema: &schema,
            model: kind(config.fit.model),
            budget: budget(config.fit.epsilon, config.fit.delta)?,
            discover_epsilon: config.fit.discover_epsilon,
            seed: config.fit.seed,
            memory: self.memory.of_table()?,
        };
        refuse_made(global, &self.output, self.resume, &[])?;
        std::fs::create_dir_all(&self.output).map_err(|e| {
            Error::failed(format!("the folder cannot be made ({})", why(e.kind())))
                .file(&self.output)
                .remedy("name a folder that you may write to with -o")
        })?;
        let out = |name: &str| self.output.join(name);
        // A copy that does not work must not see a row.
        let checked = selftest()?;
        refuse_fault(&checked)?;
        // Before anything is spent on a run whose audit would be refused.
        let (members, others) = {
            let read = |source: &Source| ingest::read(source, &schema.table.reading);
            (read(&source)?, read(&holdout.as_str().into())?)
        };
        refuse_shared_people(&schema, &members, &others)?;
        let as_read = [members, others].map(|table| table.sha256);
        let (model_path, cohort_path) = (out("model.safetensors"), out("cohort.parquet"));
        let salt = Salt::of_folder(&self.output)?;
        let (mut model, sha256) = {
            // By other tables the audit would ask for people who are not in the model.
            let tables = salt.salted(&as_read.join("\n"));
            let check = || holdout_fits(&request, history.as_ref(), &holdout.as_str().into());
            let kept =
                Kept { ledger: &ledger, output: &model_path, tables: &tables, resume: self.resume, check: &check };
            match &history {
                None => {
                    let (model, sha256) = fit_and_write(global, &request, &kept)?;
                    (Model::Flat(Box::new(model)), sha256)
                }
                Some(linked) => {
                    let FitRequest { model, budget, seed, memory, .. } = request;
                    let request =
                        LinkedRequest { folder: source.as_path(), schema: linked, model, budget, seed, memory };
                    let (model, sha256) = linked::fit(global, &request, &kept)?;
                    (Model::History(Box::new(model), schema.clone()), sha256)
                }
            }
        };
        let rows = config.cohort.rows.unwrap_or_else(|| model.expected_rows());
        model.write(global, &sha256, (rows, config.cohort.seed), &cohort_path)?;

        let comparing = Progress::endless(global, "comparing the cohort with the holdout");
        let unconstrained = model.unconstrained(rows, config.cohort.seed)?;
        // With the discovered domains, if any.
        let schema = model.schema();
        let tables = Tables::read(schema, &table, &holdout, &cohort_path.to_string_lossy())?;
        let mut evaluation = tables.evaluate(schema, config.cohort.seed)?;
        if let Some(unconstrained) = unconstrained {
            compare_unconstrained(&mut evaluation, (&tables.real, &tables.holdout), &unconstrained, schema)?;
        }
        if let Model::Flat(model) = &model {
            with_noise(&mut evaluation, &tables.synthetic, schema, &ReleaseNoise::of(model))?;
        }
        output::write_bytes(&out("evaluation.json"), to_json(&evaluation)?.as_bytes())?;
        drop(comparing);

        let auditing = Progress::endless(global, "auditing the cohort");
        let audited = AuditTables::read(schema, &table, &holdout, &cohort_path.to_string_lossy())?;
        let mut audit = audited.audit(schema, 1, None, config.cohort.seed)?;
        drop(auditing);
        if let Some(canaries) = config.audit.canaries {
            let ledger = LedgerFile::new(&ledger, &request.schema.table);
            let planned = train::plan(&request)?;
            audit = audit.with_white_box(white_box(global, &ledger, &request, planned, canaries)?);
        }
        output::write_bytes(&out("audit.json"), to_json(&audit)?.as_bytes())?;

        refuse_changed([&table, &holdout], &as_read)?;
        let file = |role: &str, path: &Path, sha256: String, rows: Option<usize>| FileFact {
            role: role.into(),
            name: name_of(path),
            sha256,
            rows: rows.map(|rows| rows as u64),
        };
        let real = |role: &str, path: &str, sha256: &str, rows: usize| {
            file(role, Path::new(path), salt.salted(sha256), Some(coarse::tens(rows)))
        };
        let cohort = Source::from(&cohort_path).sha256()?;
        let released = [
            file("cohort", &cohort_path, cohort, Some(tables.synthetic.rows)),
            file("model", &model_path, sha256, None),
        ];
        let facts = model.facts(config.cohort.seed);
        write_release(&self.output, facts.title.clone(), vec![facts.clone()], &config.report, released.to_vec())?;
        let [cohort, model_file] = released;
        let files = vec![
            real("training table", &table, &as_read[0], tables.real.rows),
            real("holdout", &holdout, &as_read[1], tables.holdout.rows),
            cohort,
            model_file,
            file("run file", &self.config, model::sha256(text.as_bytes()), None),
        ];
        let report = Report {
            files,
            ledger: ledger_lines(&ledger, request.schema.table.source.as_deref())?,
            evaluation: Some(coarse::evaluation(&evaluation)),
            audit: Some(coarse::audit(&audit)),
            stated: config.report.clone(),
            marginals: plots(schema, &tables),
            selftest: Some(checked),
            reproduce: Some(Reproduce {
                commands: vec![format!("synthward run {}", self.config.display())],
                run_toml: Some(text),
            }),
            ..facts
        };
        write_page(&self.output, "report", &report, render)?;
        tracing::info!("wrote {}", self.output.display());
        self.tell(global, model.plan(), &evaluation, &audit)?;
        settle(audit.verdict)
    }

    fn tell(&self, global: &Global, plan: &Plan, evaluation: &Evaluation, audit: &Audit) -> Result<()> {
        if global.json {
            let (epsilon, delta, unit) = (OrInfinity(plan.epsilon()), plan.delta(), plan.unit());
            print_json(&Ran { output: &self.output, epsilon, delta, unit, evaluation, audit })
        } else {
            print(&summary(evaluation))?;
            print(&format!("\n{}", super::audit::summary(audit)))
        }
    }
}

/// Writes a report and its twin for machines.
pub fn write_page<R: Serialize>(
    folder: &Path,
    stem: &str,
    report: &R,
    render: impl FnOnce(&R, Option<&str>) -> Result<String>,
) -> Result<()> {
    let twin = to_json(report)?;
    let page = render(report, Some(&model::sha256(twin.as_bytes())))?;
    output::write_bytes(&folder.join(format!("{stem}.json")), twin.as_bytes())?;
    output::write_bytes(&folder.join(format!("{stem}.html")), page.as_bytes())
}

/// Writes the report for recipients: `facts` are what the model knows of its tables, the root first.
pub fn write_release(
    folder: &Path,
    title: String,
    facts: Vec<Report>,
    stated: &ReportConfig,
    files: Vec<FileFact>,
) -> Result<()> {
    match Release::of(title, facts, stated, files) {
        Some(release) => write_page(folder, "release", &release, render_release),
        None => Err(Error::failed("the model has no table")),
    }
}

/// The model of one table.
enum Model {
    Flat(Box<ModelFile>),
    /// Of a table with an order, which has this schema.
    History(Box<LinkedModel>, Box<Schema>),
}

impl Model {
    fn schema(&self) -> &Schema {
        match self {
            Self::Flat(model) => &model.header.schema,
            Self::History(_, schema) => schema,
        }
    }

    fn plan(&self) -> &Plan {
        match self {
            Self::Flat(model) => &model.header.plan,
            Self::History(model, _) => &model.header.plan,
        }
    }

    /// Rows of a cohort of which nothing else is said.
    fn expected_rows(&self) -> u64 {
        match self {
            Self::Flat(model) => model.expected_rows(),
            Self::History(model, _) => model.expected_rows(),
        }
    }

    fn facts(&self, seed: u64) -> Report {
        match self {
            Self::Flat(model) => facts(model, seed),
            Self::History(model, schema) => history_facts(model, schema, seed),
        }
    }

    /// A cohort of so many rows, [`MOST_COMPARED`] at most, as the model draws it without the constraints of its schema; none
    /// where there are none, and of a table with an order, whose rules hold along a person's rows.
    fn unconstrained(&mut self, rows: u64, seed: u64) -> Result<Option<Frame>> {
        let Self::Flat(model) = self else { return Ok(None) };
        let constraints = std::mem::take(&mut model.header.schema.constraints);
        let drawn = if constraints.is_empty() {
            Ok(None)
        } else {
            drawn_to_compare(model, rows.min(MOST_COMPARED), seed).map(Some)
        };
        model.header.schema.constraints = constraints;
        drawn
    }

    /// Writes a cohort of so many rows.
    fn write(&self, global: &Global, sha256: &str, (rows, seed): (u64, u64), path: &Path) -> Result<()> {
        match self {
            Self::Flat(model) => write_cohort(global, model, sha256, None, rows, seed, path),
            Self::History(model, _) => linked::generate_history(global, model, sha256, (rows, seed), path),
        }
    }
}

/// What a run writes into its folder, beside its reports.
const MADE: [&str; 4] = ["model.safetensors", "cohort.parquet", "evaluation.json", "audit.json"];

/// An error where a folder has what another run made, which this one would write over. `more` are names of other files.
pub fn refuse_made(global: &Global, folder: &Path, resume: bool, more: &[&str]) -> Result<()> {
    let is_made = |name: &str| {
        let stem = name.strip_suffix(".html").or(name.strip_suffix(".json")).unwrap_or(name);
        let of_report = |stem: &str| stem == "report" || stem == "release" || stem.starts_with("report-");
        MADE.contains(&name) || more.contains(&name) || name != stem && of_report(stem)
    };
    let Some(entries) = std::fs::read_dir(folder).ok().filter(|_| !global.force && !resume) else { return Ok(()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    match names.iter().find(|name| name.to_str().is_some_and(is_made)) {
        Some(name) => Err(Error::failed("is there already, of another run").file(folder.join(name)).remedy(
            "name another folder with -o, or add --force to write over it; --resume goes on with a run that was interrupted",
        )),
        None => Ok(()),
    }
}

/// An error where the holdout does not fit the schema, as far as that is public: it is read before anything is drawn, and
/// forgotten.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the holdout fits the schema or where it does not.
fn holdout_fits(request: &FitRequest, history: Option<&LinkedSchema>, holdout: &Source) -> Result<()> {
    match history {
        None => ingest::store(holdout, &train::plan(request)?.schema, request.memory / 2).map(drop),
        Some(schema) => ingest::read_linked(holdout.as_path(), schema, request.memory / 2).map(drop),
    }
}

/// Rows that tell what the constraints changed.
const MOST_COMPARED: u64 = 20_000;

/// Rows of a model, by way of a file that goes at once.
fn drawn_to_compare(model: &ModelFile, rows: u64, seed: u64) -> Result<Frame> {
    let failed = |e: std::io::Error| {
        Error::failed(format!("no folder for temporary files ({})", e.kind())).remedy("make room, or set TMPDIR")
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("cohort.arrow");
    cohort::write(&Cohort::new(model, Format::Arrow)?, rows, seed, &Vec::new(), &path, |_| {})?;
    ingest::read(&Source::from(&path), &Reading::default())?.load_cohort(&model.header.schema)
}

/// An error where a table is no more what it was when the run began: the model may be of one version and the figures of
/// another.
fn refuse_changed(paths: [&str; 2], as_read: &[String; 2]) -> Result<()> {
    for (path, as_read) in paths.into_iter().zip(as_read) {
        if Source::from(path).sha256()? != *as_read {
            return Err(changed(Path::new(path)));
        }
    }
    Ok(())
}

/// The error of a table that was changed during a run.
pub fn changed(file: &Path) -> Error {
    Error::bad_input("the table was changed while the run read it; what was made of it is not to be used")
        .file(file)
        .remedy(
            "run again when nobody writes to the table; it costs its epsilon again, from the same ledger, wherever it writes to",
        )
}

/// Secret bytes of a run's folder. A bare hash of a table would tell somebody who knows all its rows but one whether a guess
/// at that one is right, and the ledger and the report may be shown to others.
pub struct Salt([u8; SALT_BYTES]);

const SALT_BYTES: usize = 32;

impl Salt {
    /// The bytes of this folder, made when it has none.
    ///
    /// # Errors
    /// A file that does not hold them whole, or cannot be read; failure to write, or no randomness.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tables.salt");
        match std::fs::read(&path) {
            Ok(bytes) => bytes.try_into().map(Self).map_err(|_| {
                Error::bad_input("the secret bytes of the folder are not whole")
                    .file(&path)
                    .expected(format!("{SALT_BYTES} bytes"))
                    .remedy(
                        "put the file back as it was, or run into another folder: with other bytes the hashes of the \
                         tables would be others, and without any they could be guessed",
                    )
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let salt = UnitKey::from_system()?.bytes();
                output::write_private_bytes(&path, &salt)?;
                Ok(Self(salt))
            }
            Err(e) => Err(Error::failed(format!("the secret bytes of the folder cannot be read ({})", why(e.kind())))
                .file(&path)
                .remedy("make the file readable")),
        }
    }

    /// The SHA-256 of the secret bytes and the hash of a table, in hex: only who has them can tell the table by it.
    pub fn salted(&self, sha256: &str) -> String {
        model::sha256(&[&self.0[..], sha256.as_bytes()].concat())
    }
}

/// The name of a file without its folder.
pub fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Distributions of the columns, real and synthetic.
pub fn plots(schema: &Schema, tables: &Tables) -> Vec<MarginalPlot> {
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
