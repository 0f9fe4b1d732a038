//! Evaluation and audit of linked tables: table by table, of the rows beside what they are told from. Distances of pairs of
//! columns then say how rows follow from each other, and the rows of a person are attacked together.

use super::super::audit::{AuditTables, refuse_shared};
use super::super::evaluate::Tables;
use crate::audit::{Audit, Verdict, judge};
use crate::error::{Error, Result};
use crate::evaluate::Evaluation;
use crate::ingest::{Frame, LinkedTables, MISSING, Values, read_linked, read_linked_table, table_file};
use crate::report::AllTables;
use crate::schema::LinkedSchema;
use crate::schema::linked::View;
use crate::train::TABLE_MEMORY;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Persons with rows in a table whom each of the three folders has to have, or the table is left out.
const LEAST_PERSONS: usize = 10;

/// Rows of a table that are judged, but one of each person in any case.
const JUDGED_ROWS: usize = 10_000;

/// Figures of each table.
#[derive(Serialize, JsonSchema)]
pub struct LinkedEvaluation {
    pub tables: BTreeMap<String, Evaluation>,
    /// Tables of too few persons to be compared.
    pub left_out: Vec<String>,
}

/// Audits of each table, judged together: one family of tests over all of them.
#[derive(Serialize, JsonSchema)]
pub struct LinkedAudit {
    /// The worst of any table; no better than inconclusive where a table was left out.
    pub verdict: Verdict,
    pub tables: BTreeMap<String, Audit>,
    /// Tables of too few persons to be audited.
    pub left_out: Vec<String>,
}

/// Three folders of linked tables.
pub struct Folders<'s> {
    schema: &'s LinkedSchema,
    real: Arc<LinkedTables>,
    holdout: Arc<LinkedTables>,
    synthetic: Arc<LinkedTables>,
    /// How many persons each of theirs stands for; 1 but for invented ones.
    stand_for: f64,
}

/// The same table of the three folders.
pub struct Views {
    pub view: View,
    pub tables: Tables,
    /// How many tables there are to be judged together.
    among: usize,
}

impl<'s> Folders<'s> {
    /// Reads the folders.
    ///
    /// # Errors
    /// Bad input, and a person who is in both real folders.
    ///
    /// # Privacy
    /// Touches sensitive data for the controller's own evaluation and audit, outside the guarantee.
    pub fn read(schema: &'s LinkedSchema, real: &Path, holdout: &Path, synthetic: &Path) -> Result<Self> {
        refuse_shared_persons(schema, real, holdout)?;
        let read =
            |folder: &Path| read_linked(folder, schema, TABLE_MEMORY).map(|tables| Arc::new(tables.for_controller()));
        Ok(Self { schema, real: read(real)?, holdout: read(holdout)?, synthetic: read(synthetic)?, stand_for: 1.0 })
    }

    /// Invented members, holdout and cohort, each of whose persons stands for so many: as many rows of each are looked at as
    /// of each of those.
    pub fn standing_for(schema: &'s LinkedSchema, invented: [Arc<LinkedTables>; 3], stand_for: f64) -> Self {
        let [real, holdout, synthetic] = invented;
        Self { schema, real, holdout, synthetic, stand_for }
    }

    /// A table of all three, unless too few persons have rows there.
    ///
    /// # Errors
    /// The temporary files cannot be read.
    pub fn views(&self, table: usize) -> Result<Option<Views>> {
        let persons = |tables: &LinkedTables| {
            Ok::<_, Error>(tables.person_of_rows(table)?.chunk_by(|row, next| row == next).count())
        };
        let persons = [persons(&self.real)?, persons(&self.holdout)?, persons(&self.synthetic)?];
        if persons.iter().any(|&persons| persons < LEAST_PERSONS) {
            return Ok(None);
        }
        // All persons are looked at, and of each as many rows as time allows: as many in each folder, for rows of persons
        // who keep few of many are other rows.
        let all = self.stand_for * persons.into_iter().fold(1, usize::max) as f64;
        let most = (JUDGED_ROWS as f64 / all) as usize;
        let view = self.schema.view(table)?;
        let frame = |tables: &Arc<LinkedTables>| Ok::<_, Error>(tables.view_frame(table, &view)?.thinned(most));
        let tables =
            Tables { real: frame(&self.real)?, holdout: frame(&self.holdout)?, synthetic: frame(&self.synthetic)? };
        Ok(Some(Views { view, tables, among: self.schema.tree().len() }))
    }

    /// Rows in the files of a table: of the members, the holdout and the cohort.
    ///
    /// # Errors
    /// The table was not read.
    pub fn rows_of_files(&self, table: usize) -> Result<[usize; 3]> {
        let rows = |tables: &LinkedTables| tables.rows_of_file(table);
        Ok([rows(&self.real)?, rows(&self.holdout)?, rows(&self.synthetic)?])
    }

    /// Looks at each table in turn.
    ///
    /// # Errors
    /// What `look` gives.
    pub fn each<T>(
        &self,
        mut look: impl FnMut(usize, Views) -> Result<T>,
    ) -> Result<(BTreeMap<String, T>, Vec<String>)> {
        let (mut seen, mut left_out) = (BTreeMap::new(), Vec::new());
        for table in self.schema.tree() {
            let name = &self.schema.tables[table].name;
            match self.views(table)? {
                Some(views) => {
                    seen.insert(name.clone(), look(table, views)?);
                }
                None => {
                    tracing::warn!(
                        "table `{name}`: fewer than {LEAST_PERSONS} persons have rows there; it is left out"
                    );
                    left_out.push(name.clone());
                }
            }
        }
        Ok((seen, left_out))
    }
}

impl Views {
    pub fn evaluate(&self, seed: u64) -> Result<Evaluation> {
        self.tables.evaluate(&self.view.schema, seed)
    }

    /// A column that no member and nobody of the holdout has a value of, such as one of the row before where nobody has two
    /// rows, tells nothing of them and is left out.
    pub fn audit(self, seed: u64) -> Result<Audit> {
        let Self { view, tables: Tables { mut real, mut holdout, mut synthetic }, among } = self;
        let mut schema = view.schema;
        schema.columns.retain(|column| has_values(&real, &column.name) || has_values(&holdout, &column.name));
        for frame in [&mut real, &mut holdout, &mut synthetic] {
            frame.columns.retain(|own| schema.columns.iter().any(|column| column.name == own.name));
        }
        AuditTables::of(real, holdout, synthetic).audit(&schema, among, None, seed)
    }
}

fn has_values(frame: &Frame, name: &str) -> bool {
    frame.columns.iter().filter(|column| column.name == name).any(|column| match &column.values {
        Values::Number(values) => values.iter().any(|value| !value.is_nan()),
        Values::Text { codes, .. } => codes.iter().any(|&code| code != MISSING),
    })
}

impl LinkedEvaluation {
    pub fn of(folders: &Folders, seed: u64) -> Result<Self> {
        let (tables, left_out) = folders.each(|_, views| views.evaluate(seed))?;
        Ok(Self { tables, left_out })
    }
}

impl LinkedAudit {
    pub fn of(folders: &Folders, seed: u64) -> Result<Self> {
        let (tables, left_out) = folders.each(|_, views| views.audit(seed))?;
        Ok(Self::judged(tables, left_out))
    }

    /// The tables judged together.
    pub fn judged(mut tables: BTreeMap<String, Audit>, left_out: Vec<String>) -> Self {
        let verdict = judge(&mut tables.values_mut().collect::<Vec<_>>());
        // Of a table that was not looked at nobody can say that it holds no leak.
        let verdict = if left_out.is_empty() { verdict } else { verdict.max(Verdict::Inconclusive) };
        Self { verdict, tables, left_out }
    }

    /// The verdicts, for the report of each table.
    pub fn all_tables(&self) -> AllTables {
        let tables = self.tables.iter().map(|(name, audit)| (name.clone(), audit.verdict)).collect();
        AllTables { verdict: self.verdict, tables, left_out: self.left_out.clone() }
    }

    /// The verdict in words, with the tables that it comes from.
    pub fn told(&self) -> String {
        let of_table = self.tables.iter().filter(|(_, audit)| audit.verdict == self.verdict).map(|(name, _)| &**name);
        let left_out = self.left_out.iter().map(|name| &**name).filter(|_| self.verdict == Verdict::Inconclusive);
        let from: Vec<&str> = of_table.chain(left_out).collect();
        match self.verdict {
            Verdict::NoLeakFound => format!("all tables together: {}", self.verdict),
            _ => format!("all tables together: {} ({})", self.verdict, from.join(", ")),
        }
    }
}

/// An error where a person is in both folders, whatever is left out of them: a row without a key is nobody's there.
///
/// # Privacy
/// Touches sensitive data for the controller, releases nothing but the refusal.
pub fn refuse_shared_persons(schema: &LinkedSchema, members: &Path, holdout: &Path) -> Result<()> {
    let root = &schema.tables[schema.tree()[0]];
    let Some(key) = &root.key else { return Ok(()) };
    let keys = |folder: &Path| {
        let source = table_file(folder, &root.name)?;
        let keys = read_linked_table(&source, root)?.key_labels(key, &root.alone())?.for_controller();
        Ok::<_, Error>((source, keys))
    };
    let ((_, members), (source, others)) = (keys(members)?, keys(holdout)?);
    refuse_shared(members, &others, &source, key)
}
