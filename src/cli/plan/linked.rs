//! How long a run of linked tables takes and how much memory, measured on invented persons with all their rows.

use super::estimate::{Estimate, HeldOut, Stage, line, parabola, peak_mb, reset_peak, temporary_folder};
use super::persons::Persons;
use super::probe::{LARGEST_COHORT, MOST_JUDGED, READINGS, judge, load};
use crate::cli::linked::Folders;
use crate::cohort::{LinkedCohort, PERSONS_PER_BLOCK, persons_for, write_folder, write_history};
use crate::error::{Error, Result};
use crate::ingest::{LinkedTables, read_linked};
use crate::schema::Schema;
use crate::train::{LinkedRequest, TABLE_MEMORY, probe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tracing::subscriber::{NoSubscriber, with_default};

/// Rows of the fullest table of the two invented folders whose difference is what a person takes, and the fewest persons of each.
const FEW: (f64, f64) = (1000.0, 50.0);
const MORE: (f64, f64) = (3000.0, 150.0);
/// How often a run reads a folder: to fit, or to see that it fits, and to judge.
const READINGS_OF_A_FOLDER: f64 = 2.0;
/// Rows of a table that the audit holds against each other, at most.
const MOST_AUDITED: f64 = 30_000.0;
/// Fewest persons of an invented holdout or cohort.
const LEAST_PERSONS: f64 = 20.0;

/// The run that is asked about.
pub struct AskedLinked<'a> {
    pub request: &'a LinkedRequest<'a>,
    pub held_out: HeldOut<'a>,
    /// Persons of the cohort, of a table with an order rows; absent, as many as are fitted.
    pub cohort: Option<u64>,
}

/// Measures on invented persons what a run will take. The real tables are not read, but for the sizes of their files.
///
/// # Errors
/// What planning a fit refuses; a file that is not there; a temporary folder that cannot be written.
///
/// # Privacy
/// Reads the schema, and no row.
pub fn estimate(asked: &AskedLinked) -> Result<Estimate> {
    // Of invented rows nobody is warned.
    with_default(NoSubscriber::default(), || measured(asked))
}

fn measured(asked: &AskedLinked) -> Result<Estimate> {
    let schema = probe::bare(asked.request.schema);
    let request = LinkedRequest { schema: &schema, ..*asked.request };
    let scratch = temporary_folder()?;
    let persons = Persons::told(&request, asked.held_out, scratch.path())?;
    let invented = probe::invent_linked(&request, persons.fitted, &persons.rows_of_a_parent)?;
    let flat = asked.request.schema.history.as_deref();
    // Persons of the cohort, and those who are drawn for it.
    let (of_cohort, drawn_for_it) = match (asked.cohort, flat) {
        (None, _) => (persons.fitted, persons.fitted),
        (Some(asked), None) => (asked as f64, asked as f64),
        (Some(rows), Some(_)) => {
            let each = persons.rows_of_a_person();
            (rows as f64 / each, persons_for(rows, each) as f64)
        }
    };
    let judged = of_cohort.min(MOST_JUDGED as f64);
    let scaled = |all: f64, probe: f64| (all * probe / persons.fitted).max(LEAST_PERSONS);

    let (mut measured, mut counted) = (Vec::new(), None);
    // The smaller first, and both before the fit: memory that was used once hides what is used later.
    for (rows, least) in [FEW, MORE] {
        let probe = (rows / persons.rows_of_the_fullest).max(least).min(persons.fitted).round();
        if measured.last().is_some_and(|&(last, _)| last == probe) {
            break;
        }
        let whole_cohort = scaled(judged, probe);
        let some_cohort = whole_cohort.min(LARGEST_COHORT as f64 * probe);
        drop(counted.take());
        reset_peak();
        let cohort = LinkedCohort::new(&invented, persons.format)?;
        let draw = |(seed, persons_drawn): (usize, f64)| {
            let file = scratch.path().join(format!("{probe} persons {seed}.{}", persons.format.ending()));
            let seed = seed as u64;
            match flat {
                None => {
                    let place = (&*file, persons.format);
                    write_folder(&cohort, (persons_drawn as u64, seed), &Vec::new(), place, &[], |_| {})?;
                }
                Some(_) => {
                    let rows = (persons_drawn * persons.rows_of_a_person()).ceil() as u64;
                    write_history(&cohort, (rows, seed), &Vec::new(), &file, |_| {})?;
                }
            }
            Ok(file)
        };
        let drawn = [probe, scaled(persons.held_out, probe), some_cohort];
        let files: Vec<PathBuf> = drawn.into_iter().enumerate().map(draw).collect::<Result<_>>()?;
        let Read { tables, reading, judging } = match flat {
            None => read_folders(&request, &files, persons.fitted / probe)?,
            Some(flat) => read_tables(&request, flat, &files)?,
        };
        let started = Instant::now();
        counted = Some(probe::count_linked(&request, persons.fitted, tables)?);
        let counting = started.elapsed().as_secs_f64();
        let (evaluation, audit) = judging(request.seed)?;
        let audit = audit * whole_cohort / some_cohort;
        measured.push((probe, [reading, counting, evaluation, audit, peak_mb().unwrap_or(0.0)]));
    }
    reset_peak();
    let counted = counted.ok_or_else(|| Error::failed("nothing was measured"))?;
    let (fit, model) = probe::fit_counted(&request, persons.fitted, counted)?;
    let drawn = ((PERSONS_PER_BLOCK * rayon::current_num_threads() as u64) as f64).min(drawn_for_it).ceil();
    let started = Instant::now();
    LinkedCohort::new(&model, persons.format)?.generate(drawn as u64, request.seed, |_, _| Ok(()))?;
    let drawing = started.elapsed().as_secs_f64() * drawn_for_it / drawn;
    let fit_peak = peak_mb();
    let (few, more) = (&measured[0], &measured[measured.len() - 1]);
    let at = |which: usize| line(persons.fitted, few.0, few.1[which], more.0, more.1[which]);
    // Of so many persons of a folder a row each is looked at.
    let most_audited = MOST_AUDITED / flat.map_or(1.0, |_| persons.rows_of_the_fullest);
    let audit = parabola(persons.fitted.min(most_audited), few.0, few.1[3], more.0, more.1[3]);
    let stages = vec![
        Stage { name: "read", seconds: at(0) },
        Stage { name: "fit", seconds: at(1) + fit },
        Stage { name: "generate", seconds: drawing },
        Stage { name: "evaluate", seconds: at(2) },
        Stage { name: "audit", seconds: audit },
    ];
    Ok(Estimate {
        rows: persons.rows as u64,
        holdout_rows: (persons.held_out * persons.rows_of_a_person()) as u64,
        seconds: stages.iter().map(|stage| stage.seconds).sum(),
        stages,
        memory_mb: fit_peak.map(|fit| fit.max(at(4))),
    })
}

/// Seconds of the evaluation and of the audit.
type Judging<'a> = Box<dyn FnOnce(u64) -> Result<(f64, f64)> + 'a>;

/// Invented tables that were read.
struct Read<'a> {
    tables: Arc<LinkedTables>,
    /// Seconds that a run reads as many.
    reading: f64,
    judging: Judging<'a>,
}

/// Reads invented members, holdout and cohort, each of whose persons stands for so many.
fn read_folders<'a>(request: &LinkedRequest<'a>, folders: &[PathBuf], stand_for: f64) -> Result<Read<'a>> {
    let schema = request.schema;
    let mut reading = 0.0;
    let mut read = |folder: &PathBuf, times: f64| {
        let started = Instant::now();
        let tables = read_linked(folder, schema, TABLE_MEMORY)?.for_controller();
        reading += times * started.elapsed().as_secs_f64();
        Ok::<_, Error>(Arc::new(tables))
    };
    let real = read(&folders[0], READINGS_OF_A_FOLDER)?;
    let holdout = read(&folders[1], READINGS_OF_A_FOLDER)?;
    let synthetic = read(&folders[2], 1.0)?;
    let tables = real.clone();
    let judging = move |seed| {
        let started = Instant::now();
        let mut audit = 0.0;
        Folders::standing_for(schema, [real, holdout, synthetic], stand_for).each(|_, views| {
            views.evaluate(seed)?;
            let auditing = Instant::now();
            views.audit(seed)?;
            audit += auditing.elapsed().as_secs_f64();
            Ok(())
        })?;
        Ok((started.elapsed().as_secs_f64() - audit, audit))
    };
    Ok(Read { tables, reading, judging: Box::new(judging) })
}

/// The same of a table with an order, which is fitted as two tables and judged as one.
fn read_tables<'a>(request: &LinkedRequest<'a>, flat: &'a Schema, files: &[PathBuf]) -> Result<Read<'a>> {
    let started = Instant::now();
    let tables = Arc::new(read_linked(&files[0], request.schema, TABLE_MEMORY)?.for_controller());
    let mut reading = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let (real, holdout) = (load(&files[0], flat)?, load(&files[1], flat)?);
    reading += (READINGS - 1.0) * started.elapsed().as_secs_f64();
    let synthetic = load(&files[2], flat)?;
    Ok(Read { tables, reading, judging: Box::new(move |seed| judge(real, holdout, synthetic, flat, seed)) })
}
