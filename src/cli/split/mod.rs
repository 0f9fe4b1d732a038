//! `synthward split`, and what `run` does of it where no holdout is given.

mod copies;

use super::answers::{Divided as Answer, Removal};
use super::ledger::LedgerPlace;
use super::selftest::refuse_fault;
use super::{Global, print_json};
use crate::cohort::parquet_bytes;
use crate::config::{HOLDOUT, RunConfig};
use crate::error::{Error, Result};
use crate::ingest::{self, Division, Reference, Sides, reference_files, split_folder};
use crate::model;
use crate::schema::AnySchema;
use crate::selftest::selftest;
use crate::train::TABLE_MEMORY;
use copies::Copies;
use std::path::{Path, PathBuf};

/// The names of the two sides.
const SIDES: [&str; 2] = ["train", "holdout"];

/// Divide a table, or a folder of linked tables, into training rows and a holdout of other people.
///
/// All rows of a person stand on one side, which hangs on the seed and the person alone. The two are copies of real rows:
/// only you may read them, the ledger's folder names them, and --clean removes them.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward split encounters.csv --schema schema.toml --holdout 0.2 -o split")]
pub struct Split {
    /// The table, or the folder of linked tables
    #[arg(required_unless_present = "clean")]
    table: Option<String>,
    /// What is public about it: whose rows are whose
    #[arg(long, value_name = "SCHEMA")]
    schema: PathBuf,
    /// Share of the people who are held out
    #[arg(long, value_name = "SHARE", default_value_t = HOLDOUT, value_parser = parse_share)]
    holdout: f64,
    /// Fixes who is held out
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// The folder for the two: train.parquet and holdout.parquet; of linked tables, a folder each
    #[arg(long, short, value_name = "DIR", required_unless_present = "clean")]
    output: Option<PathBuf>,
    /// Remove all copies that the ledger's folder names
    #[arg(long, conflicts_with_all = ["table", "output"])]
    clean: bool,
    #[command(flatten)]
    ledger: LedgerPlace,
}

impl Split {
    pub fn run(self, global: &Global) -> Result<()> {
        let copies = Copies::beside(&self.ledger.of(None, &self.schema));
        let (Some(table), Some(output)) = (&self.table, &self.output) else { return clean(global, &copies) };
        let schema = AnySchema::read(&self.schema)?;
        let division = Division { holdout: self.holdout, seed: self.seed };
        let [train, holdout] = divide(Path::new(table), &schema, division, output, &copies)?;
        tracing::info!(
            "wrote {train} training rows and {holdout} of the holdout to {}: they are real; `synthward split --clean` removes \
             them",
            output.display()
        );
        if global.json { print_json(&Answer { output, train, holdout, seed: self.seed }) } else { Ok(()) }
    }
}

fn clean(global: &Global, copies: &Copies) -> Result<()> {
    let outcome = copies.remove(None)?;
    tracing::info!("removed {} copies", outcome.removed.len());
    if global.json {
        print_json(&Removal { removed: &outcome.removed, changed: &outcome.changed })?;
    }
    match outcome.changed.first() {
        None => Ok(()),
        Some(file) => Err(Error::failed("is not what `split` wrote any more, and was left")
            .file(file)
            .remedy("look at the file, and remove it by hand where it holds real rows")),
    }
}

fn parse_share(text: &str) -> std::result::Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number between 0 and 1, such as 0.2"),
    }
}

/// Writes both sides into a folder. Returns the rows of each, of linked tables those of the root.
fn divide(table: &Path, schema: &AnySchema, division: Division, output: &Path, copies: &Copies) -> Result<[usize; 2]> {
    let folder = |path: &Path| {
        std::fs::create_dir_all(path)
            .map_err(|e| Error::failed(format!("the folder cannot be made ({})", e.kind())).file(path))
    };
    let write = |sides: Sides, file: &dyn Fn(&str) -> PathBuf| {
        let rows = sides.each_ref().map(|side| side.num_rows());
        if rows.contains(&0) {
            return Ok((rows, true));
        }
        for (side, name) in sides.into_iter().zip(SIDES) {
            copies.write(&file(name), &parquet_bytes(side)?)?;
        }
        Ok::<_, Error>((rows, false))
    };
    match schema {
        AnySchema::Table(schema) => {
            let source = &table.as_os_str().into();
            let sides = ingest::read(source, &schema.table.reading)?.split(schema, division)?.for_controller();
            folder(output)?;
            let (rows, is_empty) = write(sides, &|name| output.join(format!("{name}.parquet")))?;
            if is_empty { Err(too_few(table)) } else { Ok(rows) }
        }
        AnySchema::Linked(schema) => {
            let reference = reference_files(table, schema)?;
            let tables = split_folder(table, schema, division, TABLE_MEMORY)?.for_controller();
            if tables.first().is_none_or(|(_, sides)| sides.iter().any(|side| side.num_rows() == 0)) {
                return Err(too_few(table));
            }
            for side in SIDES {
                folder(&output.join(side))?;
                for Reference { file, sha256 } in &reference {
                    let bytes = std::fs::read(file)
                        .map_err(|e| Error::bad_input(format!("cannot be read ({})", e.kind())).file(file))?;
                    if model::sha256(&bytes) != *sha256 {
                        return Err(Error::bad_input("the file changed while it was read")
                            .file(file)
                            .remedy("run again"));
                    }
                    copies.write(&output.join(side).join(file.file_name().unwrap_or_default()), &bytes)?;
                }
            }
            let rows = tables[0].1.each_ref().map(|side| side.num_rows());
            for (name, sides) in tables {
                for (side, rows) in SIDES.into_iter().zip(sides) {
                    copies.write(&output.join(side).join(format!("{name}.parquet")), &parquet_bytes(rows)?)?;
                }
            }
            Ok(rows)
        }
    }
}

fn too_few(table: &Path) -> Error {
    Error::bad_input("one side would have nobody")
        .file(table)
        .remedy("choose another --holdout or --seed; a table of so few people is of no use to anybody")
}

/// So many of the declared units are expected to be trained on: how many there are is said nowhere.
fn trained(units: u64, held_out: f64) -> u64 {
    ((1.0 - held_out) * units as f64).round().max(1.0) as u64
}

/// The two sides of a run that has no holdout. They are removed when it ends.
pub struct Divided {
    copies: Copies,
    folder: PathBuf,
}

impl Divided {
    /// Divides the table of a run file that names no holdout, and lets the run read the two sides.
    ///
    /// # Errors
    /// What [`Split`] refuses.
    pub fn of_run(
        config: &mut RunConfig,
        base: &Path,
        schema: &mut AnySchema,
        ledger: &Path,
        output: &Path,
    ) -> Result<Option<Self>> {
        if config.input.holdout.is_some() {
            return Ok(None);
        }
        // A copy that does not work must not see a row.
        refuse_fault(&selftest()?)?;
        let folder = std::path::absolute(output.join("split"))
            .map_err(|e| Error::failed(format!("the folder cannot be made ({})", e.kind())).file(output))?;
        let copies = Copies::beside(ledger);
        // What a killed run left.
        copies.remove(Some(&folder))?;
        let divided = Self { copies, folder };
        let share = config.input.share();
        let division = Division { holdout: share, seed: config.fit.seed };
        let table = base.join(&config.input.table);
        divide(&table, schema, division, &divided.folder, &divided.copies)?;
        tracing::info!(
            "no holdout is given, so about {:.0} % of the people are held out: the model is fitted to the others, and noise weighs \
             about {:.0} % more than it would with all",
            100.0 * share,
            100.0 * share / (1.0 - share)
        );
        let ending = if matches!(schema, AnySchema::Table(_)) { ".parquet" } else { "" };
        let side = |name: &str| divided.folder.join(format!("{name}{ending}"));
        let (units, at_least) = match schema {
            AnySchema::Table(schema) => (&mut schema.table.units, &mut schema.table.at_least_units),
            AnySchema::Linked(schema) => (&mut schema.linked.units, &mut schema.linked.at_least_units),
        };
        *units = units.map(|units| trained(units, share));
        *at_least = at_least.map(|units| trained(units, share));
        config.input.table = side(SIDES[0]);
        config.input.holdout = Some(side(SIDES[1]));
        let said = || {
            format!("by the run, {:.0} % of the people by a hash of each and seed {}", 100.0 * share, config.fit.seed)
        };
        config.report.split.get_or_insert_with(said);
        Ok(Some(divided))
    }
}

impl Drop for Divided {
    fn drop(&mut self) {
        match self.copies.remove(Some(&self.folder)) {
            Ok(outcome) if outcome.changed.is_empty() => {
                // Empty folders are left of it.
                let _ = std::fs::remove_dir_all(&self.folder);
            }
            _ => tracing::warn!("copies of real rows are left in {}", self.folder.display()),
        }
    }
}
