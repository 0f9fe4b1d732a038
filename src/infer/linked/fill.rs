//! Missing cells, drawn in the order of the story.

use super::super::modelled::{Incomplete, Modelled};
use crate::cohort::{ColumnValues, Rules, data_type};
use crate::encode::{Records, UNKNOWN};
use crate::error::{Error, Result};
use crate::ingest::{LinkedTables, MISSING};
use crate::model::{Known, LinkedModel, Part};
use crate::schema::Kind;
use crate::schema::linked::From;
use arrow_array::{Array, RecordBatch};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// The cells of a row that were drawn: columns of the view, and their positions.
type Cells = Vec<(usize, u32)>;

/// Linked tables to be completed.
///
/// Each missing cell of a modelled column is drawn given the known cells of its row and what the row is told from, cells
/// that were filled included. A completed row holds the constraints of its table, where its known cells allow that. Keys
/// and moments are not filled, and rows that are left out because of their keys stay as they are.
///
/// # Privacy
/// Touches sensitive data; the result is for the data's controller.
pub struct LinkedFill<'a> {
    model: &'a LinkedModel,
    tables: &'a Arc<LinkedTables>,
    seed: u64,
    /// Of each table that was completed, in the order of the model's parts: the cells of each row, in that of the story.
    filled: Vec<Vec<Cells>>,
}

/// A table that is being completed.
struct Story<'a> {
    part: &'a Part,
    records: Records,
    rules: Option<Rules<'a>>,
    modelled: Vec<Modelled>,
    roles: Vec<Role>,
    /// The number of the random stream of the table's first row.
    stream: u64,
    seed: u64,
}

/// What a column of a view is for a row that is being completed.
enum Role {
    /// Drawn where it is missing, given those that are known. Computed columns say nothing of the others: what they say is
    /// in their map.
    Filled { is_computed: bool },
    /// Known before the row, or at least not to be filled.
    Known,
    /// Told from this column of the row before.
    Previous(usize),
    /// Told from rows above: for each row, that cell of the row above it, where it was filled.
    Above(Vec<Option<u32>>),
}

impl<'a> LinkedFill<'a> {
    /// Prepares to complete tables that were read to be filled.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(model: &'a LinkedModel, tables: &'a Arc<LinkedTables>, seed: u64) -> Self {
        Self { model, tables, seed, filled: Vec::new() }
    }

    /// Completes table after table, each after its parent: `read` gives one as it lies in its file, and `write` takes it
    /// with its missing cells filled. The same seed gives the same cells, at any number of threads.
    ///
    /// # Errors
    /// What `read` and `write` give; values that do not fit their column's type in the table.
    ///
    /// # Privacy
    /// Touches sensitive data: what is handed on holds it, for the data's controller.
    pub fn run(
        mut self,
        mut read: impl FnMut(&str) -> Result<RecordBatch>,
        mut write: impl FnMut(&str, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        for part in &self.model.parts {
            let name = &self.model.header.schema.tables[part.table].name;
            let table = read(name)?;
            if table.num_rows() != self.tables.rows_of_file(part.table)? {
                return Err(Error::bad_input(format!("table `{name}` changed while it was read")).remedy("try again"));
            }
            let filled = self.story(part, &table)?.fill(&self.tables.siblings(part.table)?);
            write(name, self.completed(part, &table, &filled)?)?;
            self.filled.push(filled);
        }
        Ok(())
    }

    fn story(&self, part: &'a Part, table: &RecordBatch) -> Result<Story<'a>> {
        let (domain, codecs) = (&part.model.domain, &part.model.header.codecs);
        let own = |name: &str| {
            part.view.columns.iter().zip(&domain.columns).any(|(c, d)| matches!(c.from, From::Own(_)) && d.name == name)
        };
        let rules = Rules::new(&part.model, |column| {
            let stored = table.schema_ref().field_with_name(&column.name).ok().filter(|_| own(&column.name));
            stored.map_or_else(|| data_type(column), |field| field.data_type().clone())
        })?;
        let frame = self.tables.view_frame(part.table, &part.view)?;
        Ok(Story {
            part,
            records: Records::with_cells(&frame, domain, codecs),
            rules,
            modelled: codecs.iter().zip(&domain.columns).map(|(c, column)| Modelled::new(c, column.nullable)).collect(),
            roles: (0..part.view.columns.len()).map(|j| self.role(part, j)).collect::<Result<_>>()?,
            stream: (self.filled.len() as u64) << 32,
            seed: self.seed,
        })
    }

    fn role(&self, part: &Part, j: usize) -> Result<Role> {
        let columns = &self.model.header.schema.tables[part.table].columns;
        Ok(match part.view.columns[j].from {
            From::Own(index) if columns[index].kind != Kind::Datetime => {
                Role::Filled { is_computed: j >= part.view.drawn }
            }
            From::Previous(index) => own_column(part, index).map_or(Role::Known, Role::Previous),
            From::Above(above, index) => {
                let parts = self.model.parts.iter().zip(&self.filled);
                let found = parts.into_iter().find(|(part, _)| part.table == above);
                match found.and_then(|(above, filled)| Some((own_column(above, index)?, filled))) {
                    Some((column, filled)) => {
                        let rows = self.tables.above(part.table, above)?;
                        Role::Above(rows.into_iter().map(|row| cell(&filled[row as usize], column)).collect())
                    }
                    None => Role::Known,
                }
            }
            _ => Role::Known,
        })
    }

    /// The table with the cells that were drawn.
    fn completed(&self, part: &Part, table: &RecordBatch, filled: &[Cells]) -> Result<RecordBatch> {
        let places = self.tables.file_rows(part.table)?;
        let declared = &self.model.header.schema.tables[part.table].columns;
        let mut arrays = table.columns().to_vec();
        for (j, source) in part.view.columns.iter().enumerate() {
            let From::Own(index) = source.from else { continue };
            let Ok(column) = table.schema_ref().index_of(&declared[index].name) else { continue };
            let mut positions = Vec::new();
            let mut cells: Vec<(usize, usize)> = (0..table.num_rows()).map(|row| (0, row)).collect();
            for (own, &place) in filled.iter().zip(places) {
                if let Some(position) = cell(own, j) {
                    cells[place as usize] = (1, positions.len());
                    positions.push(position);
                }
            }
            if positions.is_empty() {
                continue;
            }
            let read = &arrays[column];
            let domain = &part.model.domain.columns[j].domain;
            let values =
                ColumnValues::in_type(&declared[index], domain, read.data_type().clone())?.array(&positions)?;
            arrays[column] = arrow_select::interleave::interleave(&[read as &dyn Array, &values], &cells)
                .map_err(|e| Error::failed(e.to_string()))?;
        }
        RecordBatch::try_new(table.schema(), arrays).map_err(|e| Error::failed(e.to_string()))
    }
}

impl Story<'_> {
    /// The cells of each row that were missing. Rows of one parent follow each other.
    fn fill(&self, siblings: &[Range<usize>]) -> Vec<Cells> {
        let rows = siblings.par_iter().map(|rows| {
            let mut filled: Vec<Cells> = Vec::with_capacity(rows.len());
            for row in rows.clone() {
                let cells = self.row(row, filled.last());
                filled.push(cells);
            }
            filled
        });
        rows.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// The missing cells of a row, `before` having those of the row before it.
    fn row(&self, row: usize, before: Option<&Cells>) -> Cells {
        let is_missing =
            |j: &usize| matches!(self.roles[*j], Role::Filled { .. }) && self.records.row(row)[*j] == UNKNOWN;
        let missing: Vec<usize> = (0..self.roles.len()).filter(is_missing).collect();
        let Some((positions, numbers)) = self.records.cells(row).filter(|_| !missing.is_empty()) else {
            return Cells::new();
        };
        let (mut codes, mut positions) = (self.records.row(row).to_vec(), positions.to_vec());
        for (j, role) in self.roles.iter().enumerate().filter(|(j, _)| self.records.row(row)[*j] == UNKNOWN) {
            let filled = match role {
                Role::Previous(column) => before.and_then(|cells| cell(cells, *column)),
                Role::Above(cells) => cells[row],
                Role::Filled { .. } | Role::Known => None,
            };
            positions[j] = filled.unwrap_or(MISSING);
            let column = &self.part.model.domain.columns[j];
            // Of what is no cell of the table, that it is missing is known as well.
            if filled.is_some() || column.nullable && !matches!(role, Role::Filled { .. }) {
                codes[j] = self.part.model.header.codecs[j].joint_code(positions[j]);
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream + row as u64);
        let agreement: Vec<Option<Vec<f32>>> = missing.iter().map(|&j| self.agreement(j, &positions)).collect();
        let mut known = Known::default();
        let law = &self.part.law;
        law.start(&mut known);
        // What the row is told from stands after its own columns, and is known before them.
        let (own, told) = codes.split_at(self.part.view.drawn);
        let told = told.iter().enumerate().map(|(j, code)| (own.len() + j, code));
        for (j, &code) in told.chain(own.iter().enumerate()).filter(|(j, code)| **code != UNKNOWN && self.tells(*j)) {
            law.observe(j, code, &mut known);
        }
        for (&j, agreement) in missing.iter().zip(&agreement).filter(|(j, _)| self.tells(**j)) {
            if let Some(agreement) = agreement {
                law.restrict(j, agreement, &mut known);
            }
        }
        codes.iter_mut().filter(|code| **code == UNKNOWN).for_each(|code| *code = 0);
        let draw = |codes: &mut Vec<u16>, rng: &mut ChaCha8Rng| {
            let class = law.draw_class(&known, rng);
            for (&j, agreement) in missing.iter().zip(&agreement) {
                codes[j] = law.draw_code(class, j, agreement.as_deref(), &known, rng);
                if agreement.as_ref().is_some_and(|agreement| agreement[usize::from(codes[j])] <= 0.0) {
                    codes[j] = self.modelled[j].fallback(rng);
                }
            }
        };
        draw(&mut codes, &mut rng);
        match &self.rules {
            None => missing.iter().map(|&j| (j, self.modelled[j].decoder.draw(codes[j], &mut rng))).collect(),
            Some(rules) => {
                let incomplete = Incomplete { positions: &positions, numbers, missing: &missing };
                let held = incomplete.holding(rules, &self.modelled, &codes, &mut rng, draw);
                missing.iter().map(|&j| (j, held[j])).collect()
            }
        }
    }

    /// Whether a column says anything of the class of a row.
    fn tells(&self, j: usize) -> bool {
        !matches!(self.roles[j], Role::Filled { is_computed: true })
    }

    /// How far each cell of a missing column may be drawn: not the missing one, and only what gives the known cells that
    /// follow from it by a map.
    fn agreement(&self, j: usize, positions: &[u32]) -> Option<Vec<f32>> {
        let giving = self.rules.as_ref().and_then(|rules| rules.giving(j, positions));
        giving
            .map(|giving| self.part.model.header.codecs[j].shares(&giving))
            .or_else(|| self.modelled[j].present.clone())
    }
}

/// The column of a part's view that is the table's own column of this index.
fn own_column(part: &Part, index: usize) -> Option<usize> {
    part.view.columns.iter().position(|column| column.from == From::Own(index))
}

/// The position that was drawn for a column.
fn cell(cells: &[(usize, u32)], column: usize) -> Option<u32> {
    cells.iter().find(|(j, _)| *j == column).map(|&(_, position)| position)
}
