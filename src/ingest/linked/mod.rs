//! Tables that hang together, read from a folder.
//!
//! The rows of each table are put in the order of the story: by the person, by the row that they hang on, by their moment.
//! What is kept of a key is 128 keyed bits while the tables are read, and then the place of the row that it names.

pub(super) mod folder;
mod keys;
mod story;

use std::path::Path;

use rayon::prelude::*;
use synthward_privacy::Sensitive;

use super::column_store::{ColumnStore, stored};
use super::count_class;
use super::frame::{MISSING, Values};
use super::load::Demand;
use super::raw::Parts;
use super::source::Source;
use crate::error::{Error, Result};
use crate::schema::linked::{LinkedSchema, LinkedTable, Policy, seconds_per_tick};
use keys::{Key, KeyHasher, KeyPlaces};

pub use folder::{reference_files, table_file};

/// Tables that hang together, each in the order of its story.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<LinkedTables>`.
pub struct LinkedTables {
    schema: LinkedSchema,
    /// At the place of each table in the schema; none for a reference table.
    tables: Vec<Option<Rows>>,
}

/// The rows of a table that are kept, in the order of the story.
struct Rows {
    store: ColumnStore,
    /// Where each is in the file.
    rows: Vec<u32>,
    /// The row of the parent that each hangs on; of the root, the row itself.
    parent: Vec<u32>,
    /// The row of the root that each belongs to.
    person: Vec<u32>,
    /// Which of its parent's rows each is, from 0.
    place: Vec<u32>,
    /// When each was, in seconds; not a number where that is missing.
    moments: Option<Vec<f64>>,
}

impl Rows {
    fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Reads the tables of a folder. At most `memory` bytes of their cells are kept in memory.
///
/// # Errors
/// Bad input: a table that is not there or does not fit its schema; keys that do not fit, where the schema says that the
/// tables are refused then.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the tables fit the schema or where they do not.
pub fn read_linked(folder: &Path, schema: &LinkedSchema, memory: u64) -> Result<Sensitive<LinkedTables>> {
    read(folder, schema, Kept::Modelled, memory)
}

/// As [`read_linked`], for rows that a model is to complete: any cell may be missing, and no row is left out because its
/// parent has too many.
///
/// # Errors
/// As [`read_linked`].
///
/// # Privacy
/// As [`read_linked`].
pub fn read_linked_to_fill(folder: &Path, schema: &LinkedSchema, memory: u64) -> Result<Sensitive<LinkedTables>> {
    read(folder, schema, Kept::All, memory)
}

/// Which rows are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Those that a model knows: whole ones, so many of a parent as the schema says.
    Modelled,
    All,
}

fn read(folder: &Path, schema: &LinkedSchema, kept: Kept, memory: u64) -> Result<Sensitive<LinkedTables>> {
    let demand = match kept {
        Kept::Modelled => Demand::Whole,
        Kept::All => Demand::Audited,
    };
    let tree = schema.tree();
    let hasher = KeyHasher::default();
    let mut tables: Vec<Option<Rows>> = schema.tables.iter().map(|_| None).collect();
    let mut places: Vec<KeyPlaces> = schema.tables.iter().map(|_| KeyPlaces::default()).collect();
    for &place in &tree {
        let table = &schema.tables[place];
        let source = table_file(folder, &table.name)?;
        let alone = table.alone();
        let (mut own, mut links) = (Vec::new(), Vec::new());
        let share = memory / tree.len() as u64;
        let mut parts = Parts::open(&source, false, table.on_broken)?;
        let store = stored(&mut parts, &alone, demand, share, |part| {
            if let Some(key) = &table.key {
                hasher.extend(&mut own, &part.keys(key, &alone)?);
            }
            if let Some(link) = table.parent_link() {
                hasher.extend(&mut links, &part.keys(link, &alone)?);
            }
            Ok(())
        })?;
        if let Some(class) = count_class(parts.broken()) {
            tracing::warn!("table `{}`: {class} lines are no resources of it; they are left out", table.name);
        }
        let reading = Reading { source: &source, table, kept, store, own, links };
        let parent = schema.parent(place);
        let above = parent.and_then(|parent| Some((tables[parent].as_ref()?, &places[parent])));
        let (rows, keys) = reading.in_order(above)?;
        (tables[place], places[place]) = (Some(rows), keys);
    }
    Ok(Sensitive::new(LinkedTables { schema: schema.clone(), tables }))
}

/// A table that was read and is not in order yet.
struct Reading<'a> {
    source: &'a Source,
    table: &'a LinkedTable,
    kept: Kept,
    store: ColumnStore,
    /// The key of each row, where the table has one, and that of its parent.
    own: Vec<Option<Key>>,
    links: Vec<Option<Key>>,
}

impl Reading<'_> {
    fn in_order(self, above: Option<(&Rows, &KeyPlaces)>) -> Result<(Rows, KeyPlaces)> {
        let (table, all) = (self.table, self.store.rows());
        let parents: Vec<u32> = match above {
            None => (0..all as u32).collect(),
            Some((_, places)) => {
                let parents: Vec<Option<u32>> = self.links.iter().map(|key| places.get((*key)?)).collect();
                let dangling = parents.iter().filter(|parent| parent.is_none()).count();
                self.judge(dangling, table.on_dangling, "hang on a row that is not there")?;
                parents.into_iter().map(|parent| parent.unwrap_or(MISSING)).collect()
            }
        };
        let person_of = |row: usize| match above {
            Some((above, _)) => above.person.get(parents[row] as usize).copied().unwrap_or(MISSING),
            None => row as u32,
        };
        let (mut keys, mut is_kept) = (KeyPlaces::default(), vec![true; all]);
        let (mut twice, mut shared) = (0, 0);
        for (row, key) in self.own.iter().enumerate() {
            let Some(first) = key.and_then(|key| keys.insert(key, row as u32)) else { continue };
            is_kept[row] = false;
            twice += 1;
            // Whether a person's rows are read may not depend on who else is there.
            shared += usize::from(above.is_some() && person_of(first as usize) != person_of(row));
        }
        self.judge(shared, Policy::Refuse, "have a key that a row of another person has")?;
        self.judge(twice, table.on_duplicate, "have a key that an earlier row has")?;
        keys.forget_places();
        let moments = self.moments()?;
        let mut rows: Vec<u32> =
            (0..all as u32).filter(|&r| is_kept[r as usize] && parents[r as usize] != MISSING).collect();
        // A moment that is missing comes last.
        let moment = |r: u32| moments.as_ref().map_or(0.0, |moments| moments[r as usize]);
        rows.par_sort_unstable_by(|&a, &b| {
            let by_parent = parents[a as usize].cmp(&parents[b as usize]);
            by_parent.then(moment(a).total_cmp(&moment(b))).then(a.cmp(&b))
        });
        let is_bounded = table.parent.is_some() && self.kept == Kept::Modelled;
        let most = if is_bounded { table.max_rows() } else { u32::MAX };
        let (mut kept, mut parent, mut place) = (Vec::new(), Vec::new(), Vec::new());
        let mut cut = 0;
        for row in rows {
            let own = parents[row as usize];
            let next = match parent.last() {
                Some(&last) if last == own => place.last().map_or(0, |last| last + 1),
                _ => 0,
            };
            if next < most {
                keys.put(self.own.get(row as usize).copied().flatten(), kept.len() as u32);
                kept.push(row);
                parent.push(own);
                place.push(next);
            } else {
                cut += 1;
            }
        }
        if let Some(class) = count_class(cut) {
            tracing::warn!("table `{}`: {class} rows above max_rows of their parent are left out", table.name);
        }
        if above.is_none() {
            // Rows of the root may have been left out before these.
            parent = (0..kept.len() as u32).collect();
        }
        let person = match above {
            None => parent.clone(),
            Some((above, _)) => parent.iter().map(|&row| above.person[row as usize]).collect(),
        };
        let moments = moments.map(|moments| kept.iter().map(|&row| moments[row as usize]).collect());
        let rows = Rows { store: self.store, rows: kept, parent, person, place, moments };
        Ok((rows, keys))
    }

    /// The moment of each row of the file, in seconds.
    fn moments(&self) -> Result<Option<Vec<f64>>> {
        let Some(column) = self.table.moment() else { return Ok(None) };
        match self.store.column(&column.name)? {
            Some(Values::Number(ticks)) => {
                let tick = seconds_per_tick(column);
                Ok(Some(ticks.into_iter().map(|t| t * tick).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Says how many rows have keys that do not fit, or refuses them.
    fn judge(&self, count: usize, policy: Policy, what: &str) -> Result<()> {
        let Some(class) = count_class(count) else { return Ok(()) };
        match policy {
            Policy::Drop => {
                tracing::warn!("table `{}`: {class} rows {what}; they are left out", self.table.name);
                Ok(())
            }
            Policy::Refuse => Err(self
                .source
                .bad(format!("{class} rows {what}"))
                .remedy("mend the keys, or write on_dangling = \"drop\" or on_duplicate = \"drop\" in the [[table]]")),
        }
    }
}

impl LinkedTables {
    fn rows(&self, table: usize) -> Result<&Rows> {
        self.tables[table].as_ref().ok_or_else(|| Error::failed("a table of the story was not read"))
    }
}

#[cfg(test)]
mod tests;
