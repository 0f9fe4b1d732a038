//! `synthward inspect`.

use super::secrecy::say;
use super::{Global, print, print_json};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Source, Vouched};
use crate::schema::{AnySchema, Reading, new_source};
use crate::{ingest, output};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Draft a schema from a table, or from a folder of tables that hang together.
///
/// What is read from the rows is marked as such: check it against a codebook
/// before you fit. Rules that hold in every row are suggested as constraints.
/// The draft is as sensitive as the table.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward inspect encounters.csv.gz --unit patient_nbr -o schema.toml")]
pub struct Inspect {
    /// CSV or NDJSON (also gzipped), Parquet, Arrow IPC or a workbook; `-` reads standard input; a folder with one such file a table
    table: String,
    /// A further table of the same columns, such as the holdout or last year's: the draft is one that holds in all. For several, repeat
    #[arg(long, value_name = "TABLE")]
    also: Vec<String>,
    /// The column that names the patient, or `row` when each row is a different person
    #[arg(long, value_name = "COL|row")]
    unit: Option<String>,
    /// Vouch that everything the draft reads from the rows is public, reference tables aside; recorded in every output
    #[arg(long)]
    assume_public: bool,
    /// The data are of the same persons as those of this schema: an excerpt, a split, a later export. Both share one budget
    #[arg(long, value_name = "SCHEMA")]
    source_of: Option<PathBuf>,
    /// Vouch that kinds, types and formats, and of a folder keys, links and order, are those of the source's documentation
    #[arg(long, conflicts_with = "assume_public")]
    kinds_public: bool,
    /// Say that nothing in this table of a folder is of a person: `generate` may copy its file as it is. For several, repeat
    #[arg(long, value_name = "TABLE")]
    reference: Vec<String>,
    /// What stands between the cells of a row, such as `;` or `tab` [default: told from the header line]
    #[arg(long, value_name = "MARK")]
    separator: Option<String>,
    /// The mark before decimals [default: told from the cells]
    #[arg(long, value_name = "MARK", value_parser = [".", ","])]
    decimal: Option<String>,
    /// The encoding of the text, such as latin1 or utf-16le [default: UTF-8, else latin1]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// The sheet of a workbook [default: its only one]
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Write the schema here instead of to standard output
    #[arg(long, short, value_name = "SCHEMA")]
    output: Option<PathBuf>,
}

impl Inspect {
    pub fn run(self, global: &Global) -> Result<()> {
        if let Some(path) = &self.output {
            global.may_write(path)?;
        }
        if Path::new(&self.table).is_dir() && !Source::from(&self.table).is_in_parts() {
            return self.run_on_folder(global);
        }
        if !self.reference.is_empty() {
            return Err(Error::usage("--reference names a table of a folder").remedy("leave it out"));
        }
        let reading = self.reading()?;
        let read = |table: &String| ingest::read_to_inspect(&table.as_str().into(), &reading);
        let raw = read(&self.table)?;
        let also = self.also.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut inspection = ingest::inspect(&raw, &also, self.unit.as_deref(), self.vouched())?;
        let comparable = inspection.comparable();
        if comparable.modelled().next().is_some() {
            let mut frames = raw.load(&comparable)?.map(|frame| vec![frame]);
            for other in &also {
                frames = frames.zip(other.load(&comparable)?).map(|(all, one)| all.into_iter().chain([one]).collect());
            }
            let suggested = frames.map(|frames| ingest::suggest(&frames, &comparable));
            inspection.suggest(suggested.for_controller());
        }
        let tables: Vec<_> = std::iter::once(&raw).chain(&also).collect();
        let constant = ingest::constant(&tables, &inspection.schema)?.for_controller();
        inspection.suggest(constant.into_iter().collect());
        inspection.schema.table.source = Some(self.source()?);
        self.tell(global, &inspection.render(), &inspection.to_toml(), &inspection)
    }

    /// The identifier of the source: that of another schema of the same persons, else that of the schema which is drafted
    /// anew, else a new one.
    fn source(&self) -> Result<String> {
        let known = |path: &Path| {
            Ok::<_, Error>(match AnySchema::read(path)? {
                AnySchema::Table(schema) => schema.table.source,
                AnySchema::Linked(schema) => schema.linked.source,
            })
        };
        if let Some(path) = &self.source_of {
            let none = || {
                Error::bad_input("the schema does not name its source")
                    .file(path)
                    .expected("source = \"...\" under the table's name")
                    .remedy(format!(
                        "write source = \"{}\" there, and give the command again",
                        new_source().unwrap_or_default()
                    ))
            };
            return known(path)?.ok_or_else(none);
        }
        match self.output.as_deref().filter(|path| path.exists()).and_then(|path| known(path).ok().flatten()) {
            Some(source) => Ok(source),
            None => new_source(),
        }
    }

    fn run_on_folder(self, global: &Global) -> Result<()> {
        if !self.also.is_empty() {
            return Err(Error::usage("--also does not go with a folder").remedy("leave it out"));
        }
        if self.unit.is_some() {
            return Err(Error::usage("--unit does not go with a folder")
                .remedy("leave it out: the privacy unit is a row of the table of persons with all that hangs on it"));
        }
        let mut inspection = {
            let said = self.reading()?;
            ingest::inspect_folder(Path::new(&self.table), self.vouched(), &self.reference, &said)?
        };
        inspection.schema.linked.source = Some(self.source()?);
        self.tell(global, &inspection.render(), &inspection.to_toml(), &inspection)
    }

    /// What is said of how the text is read.
    fn reading(&self) -> Result<Reading> {
        let mark = |mark: &String| match mark.as_str() {
            "tab" | "\\t" => Ok('\t'),
            mark => mark.parse().map_err(|_| {
                Error::usage("--separator is not one character")
                    .expected("a mark such as ; or |, or tab")
                    .remedy("mend it")
            }),
        };
        let reading = Reading {
            separator: self.separator.as_ref().map(mark).transpose()?,
            decimal: self.decimal.as_deref().and_then(|mark| mark.chars().next()),
            encoding: self.encoding.clone(),
            sheet: self.sheet.clone(),
            ..Reading::default()
        };
        reading.check().map_err(|e| Error { kind: ErrorKind::Usage, ..e })?;
        Ok(reading)
    }

    fn vouched(&self) -> Vouched {
        match (self.assume_public, self.kinds_public) {
            (true, _) => Vouched::All,
            (false, true) => Vouched::Kinds,
            (false, false) => Vouched::Nothing,
        }
    }

    fn tell(&self, global: &Global, summary: &str, schema: &str, answer: &impl Serialize) -> Result<()> {
        if !global.quiet {
            say(summary.trim_end());
        }
        match self.output.as_deref().filter(|path| !output::is_standard(path)) {
            Some(path) => {
                output::write_bytes(path, schema.as_bytes())?;
                tracing::info!("wrote {}", path.display());
            }
            None if global.json => {}
            None => print(schema)?,
        }
        if global.json { print_json(answer) } else { Ok(()) }
    }
}
