//! The view of a table: each row beside what it is told from.

use std::ops::Range;
use std::sync::Arc;

use synthward_privacy::UnitKey;

use super::super::column_store::{ColumnStore, Make};
use super::super::frame::{Frame, FrameColumn, MISSING, Values};
use super::super::rules::broken;
use super::{LinkedTables, Rows};
use crate::error::{Error, Result};
use crate::schema::linked::{DAY, From, PLACES, Since, View, ViewColumn};
use crate::schema::{Column, Constraint};

impl LinkedTables {
    /// Number of persons.
    ///
    /// # Errors
    /// The root was not read.
    pub fn persons(&self) -> Result<usize> {
        Ok(self.rows(self.schema.tree()[0])?.len())
    }

    /// The secret key of the tables, fresh when they were read, and the identity that each person's own key has under it,
    /// 0 for one without a key.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn identities(&self) -> (Arc<UnitKey>, Arc<Vec<u64>>) {
        (self.key.clone(), self.identities.clone())
    }

    /// Where each row of a table is in its file; those that are left out are not among them.
    ///
    /// # Errors
    /// The table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn file_rows(&self, table: usize) -> Result<&[u32]> {
        Ok(&self.rows(table)?.rows)
    }

    /// Number of rows in the file of a table.
    ///
    /// # Errors
    /// The table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn rows_of_file(&self, table: usize) -> Result<usize> {
        Ok(self.rows(table)?.store.rows())
    }

    /// The person of each row of a table, as a row of the root.
    ///
    /// # Errors
    /// The table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn person_of_rows(&self, table: usize) -> Result<&[u32]> {
        Ok(&self.rows(table)?.person)
    }

    /// Where the rows of each person start in a table, and their number.
    ///
    /// # Errors
    /// The table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn offsets(&self, table: usize) -> Result<Vec<u32>> {
        let mut offsets = vec![0; self.persons()? + 1];
        for &person in self.person_of_rows(table)? {
            offsets[person as usize + 1] += 1;
        }
        (1..offsets.len()).for_each(|person| offsets[person] += offsets[person - 1]);
        Ok(offsets)
    }

    /// The rows that hang on each row of the parent, as far as it has some; of the root, each row for itself.
    ///
    /// # Errors
    /// The table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn siblings(&self, table: usize) -> Result<Vec<Range<usize>>> {
        let place = &self.rows(table)?.place;
        let mut starts: Vec<usize> = (0..place.len()).filter(|&row| place[row] == 0).collect();
        starts.push(place.len());
        Ok(starts.windows(2).map(|ends| ends[0]..ends[1]).collect())
    }

    /// The title of each constraint of a table, and how many of its rows break it.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    ///
    /// # Privacy
    /// As [`broken`].
    pub fn broken(&self, table: usize) -> Result<Vec<(String, usize)>> {
        let (own, declared) = (self.rows(table)?, &self.schema.tables[table]);
        let mut schema = declared.alone();
        schema.constraints.clone_from(&declared.constraints);
        if let Some(flat) = self.schema.history.as_ref().filter(|_| declared.parent.is_some()) {
            schema.constraints.extend(flat.across_history());
            schema.columns.clone_from(&flat.columns);
        }
        let count = |constraint: &Constraint| {
            let names = constraint.rule.columns();
            let columns = schema.modelled().filter(|column| names.contains(&column.name));
            let cells = |column: &Column| {
                let values = gathered(own, own.rows.iter().copied(), column)?;
                Ok(FrameColumn { name: column.name.clone(), values })
            };
            let columns = columns.map(cells).collect::<Result<_>>()?;
            let frame = Frame { rows: own.len(), columns, unit: Some(own.parent.clone()) };
            Ok((constraint.title(), broken(&frame, &schema, &constraint.rule)))
        };
        schema.constraints.iter().map(count).collect()
    }

    /// The table's view; its units are the persons who have rows there. A column is made when it is asked for.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn view(self: &Arc<Self>, table: usize, view: &View) -> Result<ColumnStore> {
        let mut unit = Vec::with_capacity(self.rows(table)?.len());
        let (mut last, mut next) = (None, 0);
        for &person in self.rows(table)?.person.iter() {
            next += u32::from(last.is_some_and(|last| last != person));
            last = Some(person);
            unit.push(next);
        }
        let columns = view.schema.columns.iter().zip(&view.columns).map(|(column, &source)| {
            let tables = self.clone();
            let make: Make = Box::new(move || tables.cells(table, source));
            (column.name.clone(), make)
        });
        ColumnStore::made(unit.len(), unit, columns)
    }

    /// The table's view with all its cells, in memory.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    ///
    /// # Privacy
    /// As [`LinkedTables::view`].
    pub fn view_frame(self: &Arc<Self>, table: usize, view: &View) -> Result<Frame> {
        let names: Vec<String> = view.schema.columns.iter().map(|column| column.name.clone()).collect();
        self.view(table, view)?.frame(&names)
    }

    /// The cells of a column of a table's view.
    fn cells(&self, table: usize, told: ViewColumn) -> Result<Values> {
        let own = self.rows(table)?;
        let declared = &self.schema.tables[table];
        let column = |index: usize| &declared.columns[index];
        Ok(match told.from {
            From::Own(index) => gathered(own, own.rows.iter().copied(), column(index))?,
            From::Previous(index) => {
                let rows = before(own).map(|place| own.rows.get(place as usize).copied().unwrap_or(MISSING));
                gathered(own, rows, column(index))?
            }
            From::Above(above, index) => {
                let theirs = self.rows(above)?;
                let rows = self.above(table, above)?.into_iter().map(|place| theirs.rows[place as usize]);
                gathered(theirs, rows, &self.schema.tables[above].columns[index])?
            }
            From::Count(child) => {
                Values::Number(counts(self.rows(child)?, own.len()).into_iter().map(f64::from).collect())
            }
            From::CountAbove(_) => {
                let above = self.schema.parent(table).map(|parent| self.rows(parent)).transpose()?;
                let counts = counts(own, above.map_or(0, Rows::len));
                Values::Number(own.parent.iter().map(|&parent| f64::from(counts[parent as usize])).collect())
            }
            From::Place => Values::Text {
                codes: own.place.iter().map(|&place| place.min(PLACES as u32 - 1)).collect(),
                labels: (1..=PLACES).map(|place| place.to_string()).collect(),
            },
            From::Age => {
                let known = match self.schema.age_is_of_parent(table) {
                    true => self.moments_above(table)?,
                    false => moments_before(own),
                };
                let calendar = self.schema.calendar(table);
                let origins: Vec<f64> = match &self.rows(self.schema.tree()[0])?.moments {
                    Some(origins) => {
                        own.person.iter().map(|&person| known_or(origins[person as usize], calendar)).collect()
                    }
                    None => vec![calendar; own.len()],
                };
                Values::Number(
                    known.iter().zip(origins).map(|(known, origin)| ((known - origin) / DAY).floor()).collect(),
                )
            }
            From::Gap(index) => {
                let mut since = moments_before(own);
                let calendar = self.schema.calendar(table);
                let first = match declared.since {
                    Since::Parent => self.moments_above(table)?,
                    Since::Calendar => vec![calendar; own.len()],
                };
                let firsts = since.iter_mut().zip(first).zip(own.place.iter());
                let firsts = firsts.filter(|(_, place)| **place == 0);
                firsts.for_each(|((since, first), _)| *since = known_or(first, calendar));
                passed(own, column(index), &since, told)?
            }
            From::Passed(index) => {
                let first = self.schema.first_moment(table, told.from)?;
                let mut since = self.moments_above(table)?;
                since.iter_mut().for_each(|since| *since = known_or(*since, first));
                if let Some(moments) = &own.moments {
                    since.iter_mut().zip(moments).for_each(|(since, own)| *since = known_or(*own, *since));
                }
                passed(own, column(index), &since, told)?
            }
            From::End(index) => {
                let first = self.schema.first_moment(table, told.from)?;
                let last: Vec<f64> = self.last_moments()?.into_iter().map(|last| known_or(last, first)).collect();
                passed(own, column(index), &last, told)?
            }
        })
    }

    /// For each row of a table, the row that it belongs to in a table above.
    ///
    /// # Errors
    /// A table was not read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn above(&self, table: usize, above: usize) -> Result<Vec<u32>> {
        let mut rows = self.rows(table)?.parent.clone();
        let mut at = self.schema.parent(table);
        while let Some(place) = at.filter(|&place| place != above) {
            let theirs = self.rows(place)?;
            rows.iter_mut().for_each(|row| *row = theirs.parent[*row as usize]);
            at = self.schema.parent(place);
        }
        Ok(rows)
    }

    /// The nearest moment above each row; not a number where there is none.
    fn moments_above(&self, table: usize) -> Result<Vec<f64>> {
        let above = self.schema.moment_above(table);
        let moments = above.map(|above| Ok::<_, Error>((above, &self.rows(above)?.moments))).transpose()?;
        let Some((above, Some(moments))) = moments else { return Ok(vec![f64::NAN; self.rows(table)?.len()]) };
        Ok(self.above(table, above)?.into_iter().map(|row| moments[row as usize]).collect())
    }

    /// The last moment of each person: of the rows below, or the origin.
    fn last_moments(&self) -> Result<Vec<f64>> {
        let root = self.rows(self.schema.tree()[0])?;
        let mut last = root.moments.clone().unwrap_or_else(|| vec![f64::NAN; root.len()]);
        for &table in &self.schema.tree()[1..] {
            let rows = self.rows(table)?;
            for (&person, &moment) in rows.person.iter().zip(rows.moments.iter().flatten()) {
                let last = &mut last[person as usize];
                *last = last.max(moment);
            }
        }
        Ok(last)
    }
}

/// A moment, or another one where it is not known.
fn known_or(moment: f64, other: f64) -> f64 {
    if moment.is_nan() { other } else { moment }
}

/// For each row the one before it, of the same parent.
fn before(rows: &Rows) -> impl Iterator<Item = u32> {
    (0..).zip(&rows.place).map(|(row, &place): (u32, &u32)| if place > 0 { row - 1 } else { MISSING })
}

/// For each row the moment of the one before it.
fn moments_before(rows: &Rows) -> Vec<f64> {
    let moment = |place: u32| rows.moments.as_ref().and_then(|m| m.get(place as usize)).copied().unwrap_or(f64::NAN);
    before(rows).map(moment).collect()
}

/// Rows that hang on each of the parent's rows.
fn counts(rows: &Rows, parents: usize) -> Vec<u32> {
    let mut counts = vec![0; parents];
    rows.parent.iter().for_each(|&parent| counts[parent as usize] += 1);
    counts
}

/// A column's cells in these rows of the file.
fn gathered(of: &Rows, rows: impl Iterator<Item = u32>, column: &Column) -> Result<Values> {
    Ok(match all(&of.store, column)? {
        Values::Number(cells) => {
            Values::Number(rows.map(|row| cells.get(row as usize).copied().unwrap_or(f64::NAN)).collect())
        }
        Values::Text { codes, labels } => {
            let codes = rows.map(|row| codes.get(row as usize).copied().unwrap_or(MISSING)).collect();
            Values::Text { codes, labels }
        }
    })
}

/// Steps of time between moments and those of a column.
fn passed(of: &Rows, column: &Column, since: &[f64], told: ViewColumn) -> Result<Values> {
    let clock = column.clock();
    Ok(match all(&of.store, column)? {
        Values::Number(cells) => {
            let steps =
                of.rows.iter().zip(since).map(|(&row, &since)| told.steps(since, clock.seconds(cells[row as usize])));
            Values::Number(steps.collect())
        }
        text @ Values::Text { .. } => text,
    })
}

fn all(store: &ColumnStore, column: &Column) -> Result<Values> {
    store.column(&column.name)?.ok_or_else(|| Error::bad_input("is missing from the table").column(&column.name))
}
