//! How long a run of a single table takes and how much memory, measured on invented rows of the schema's own making.

use super::estimate::{Estimate, HeldOut, Stage, line, peak_mb, reset_peak, temporary_folder};
use super::rows::{self, FileSize, Storage};
use crate::cli::audit::AuditTables;
use crate::cli::evaluate::Tables;
use crate::cohort::{Cohort, Format, write};
use crate::error::{Error, Result};
use crate::ingest::{self, Frame, Source};
use crate::model::ModelFile;
use crate::schema::Schema;
use crate::train::{FitRequest, probe};
use std::path::Path;
use std::time::Instant;

/// Rows of the two invented tables whose difference is what a row takes.
const FEW_ROWS: u64 = 1000;
const MORE_ROWS: u64 = 3000;
/// How often a run reads its tables: to look for shared people, to fit, to evaluate, to audit.
pub const READINGS: f64 = 4.0;
/// Invented cohorts are so many times as large as the invented table, at most.
pub const LARGEST_COHORT: u64 = 4;
/// Rows of a cohort that the audit looks at, at most.
pub const MOST_JUDGED: u64 = 100_000;

/// The run that is asked about.
pub struct Asked<'a> {
    pub request: &'a FitRequest<'a>,
    pub held_out: HeldOut<'a>,
    /// Rows of the cohort; absent, as many as are fitted.
    pub cohort: Option<u64>,
    pub canaries: bool,
}

/// Measures on invented rows what a run will take. The real tables are not read, but for the size of their files.
///
/// # Errors
/// What planning a fit refuses; a domain that nobody knows; a temporary folder that cannot be written.
///
/// # Privacy
/// Reads the schema, and no row. Where the schema is a draft whose domains are yet to be learnt, the invented rows are as
/// sensitive as the draft: they lie in a folder that only their owner may open, until this returns.
pub fn estimate(asked: &Asked) -> Result<Estimate> {
    let Asked { request, held_out, cohort, canaries } = asked;
    let folder = temporary_folder()?;
    let storage = Storage::of(request.source.as_path(), false);
    let file = |name: &str| folder.path().join(format!("{name}.{}", storage.ending()));
    // The size of the bins is all that the number of units matters for here.
    let invented = probe::invent(request, request.schema.table.units.unwrap_or(FEW_ROWS))?;
    let size = FileSize::measure(&invented, &request.schema.columns, storage, &file("sample"))?;
    let told = size.rows(rows::bytes(request.source.as_path())?);
    let others = held_out.others().map(|holdout| rows::bytes(holdout).map(|bytes| size.rows(bytes))).transpose()?;
    let rows = match request.schema.table.units {
        Some(units) if request.schema.table.unit_column().is_none() => units,
        units => (told as u64).max(units.unwrap_or(1)),
    };
    // Whatever the size of a row was wrong by, it was wrong by in both files.
    let all = rows as f64;
    let (fitted, held_out) = held_out.divide(all, others.map(|others| others * all / told));
    let (rows, holdout_rows) = ((fitted.floor() as u64).max(1), held_out.ceil() as u64);
    let cohort = &cohort.unwrap_or(rows);
    let invented = probe::invent(request, request.schema.table.units.unwrap_or(rows))?;

    let scaled = |all: u64, probe: u64| (all as f64 * probe as f64 / rows as f64).ceil().max(100.0) as u64;
    let mut measured = Vec::new();
    // The smaller first, and both before the fit: memory that was used once hides what is used later.
    for probe in [FEW_ROWS, MORE_ROWS] {
        let probe = probe.min(rows);
        // A cohort much larger than the table is as large to no stage but one.
        let whole_cohort = scaled((*cohort).min(MOST_JUDGED), probe);
        let some_cohort = whole_cohort.min(LARGEST_COHORT * probe);
        reset_peak();
        let tables = [("real", probe), ("holdout", scaled(holdout_rows, probe)), ("cohort", some_cohort)];
        let mut read = Vec::new();
        let mut reading = 0.0;
        for (seed, (name, rows)) in tables.into_iter().enumerate() {
            draw(&invented, rows, seed as u64, &file(name))?;
            let started = Instant::now();
            read.push(load(&file(name), request.schema)?);
            if name != "cohort" {
                reading += READINGS * started.elapsed().as_secs_f64();
            }
        }
        let [real, holdout, synthetic]: [Frame; 3] =
            read.try_into().map_err(|_| Error::failed("three invented tables were to be read"))?;
        let started = Instant::now();
        probe::count(request, real.clone())?;
        let counting = started.elapsed().as_secs_f64();
        let (evaluation, audit) = judge(real, holdout, synthetic, request.schema, request.seed)?;
        let audit = audit * whole_cohort as f64 / some_cohort as f64;
        measured.push((probe as f64, [reading, counting, evaluation, audit, peak_mb().unwrap_or(0.0)]));
    }
    reset_peak();
    let time = probe::time(request, &invented)?;
    let fit_peak = peak_mb();
    let at = |which: usize| line(rows as f64, measured[0].0, measured[0].1[which], measured[1].0, measured[1].1[which]);
    let fit = at(1) + time.fit;
    let stages = vec![
        Stage { name: "read", seconds: at(0) },
        Stage { name: "fit", seconds: fit },
        Stage { name: "generate", seconds: time.draw * *cohort as f64 },
        Stage { name: "evaluate", seconds: at(2) },
        Stage { name: "audit", seconds: at(3) + if *canaries { fit } else { 0.0 } },
    ];
    Ok(Estimate {
        rows,
        holdout_rows,
        seconds: stages.iter().map(|stage| stage.seconds).sum(),
        stages,
        memory_mb: fit_peak.map(|fit| fit.max(at(4))),
    })
}

fn draw(invented: &ModelFile, rows: u64, seed: u64, path: &Path) -> Result<()> {
    write(&Cohort::new(invented, Format::of(path)?)?, rows, seed, &Vec::new(), path, |_| {})
}

/// Seconds of the evaluation and of the audit of three tables.
pub fn judge(real: Frame, holdout: Frame, synthetic: Frame, schema: &Schema, seed: u64) -> Result<(f64, f64)> {
    let started = Instant::now();
    Tables { real: real.clone(), holdout: holdout.clone(), synthetic: synthetic.clone() }.evaluate(schema, seed)?;
    let evaluation = started.elapsed().as_secs_f64();
    let started = Instant::now();
    AuditTables::of(real, holdout, synthetic).audit(schema, 1, None, seed)?;
    Ok((evaluation, started.elapsed().as_secs_f64()))
}

/// Reads an invented table.
pub fn load(path: &Path, schema: &Schema) -> Result<Frame> {
    ingest::read_cohort(&Source::from(path.as_os_str()), schema)?.load_cohort(schema)
}
