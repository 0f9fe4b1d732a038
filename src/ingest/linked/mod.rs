//! Tables that hang together, read from a folder.
//!
//! The rows of each table are put in the order of the story: by the person, by the row that they hang on, by their moment.
//! What is kept of a key is 128 keyed bits while the tables are read, and then the place of the row that it names.

pub(super) mod folder;
mod history;
mod keys;
mod story;

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use synthward_privacy::{Sensitive, UnitKey};

use super::column_store::{ColumnStore, stored};
use super::count_class;
use super::frame::{MISSING, Values};
use super::load::Demand;
use super::raw::Parts;
use super::source::Source;
use crate::error::{Error, Result};
use crate::schema::linked::{LinkedSchema, LinkedTable, Policy};
use keys::{Key, KeyHasher, KeyPlaces};

pub use folder::{Reference, reference_files, table_file};

/// Tables that hang together, each in the order of its story.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<LinkedTables>`.
pub struct LinkedTables {
    schema: LinkedSchema,
    /// At the place of each table in the schema; none for a reference table.
    tables: Vec<Option<Rows>>,
    /// Fresh when the tables are read; what is drawn for a person is drawn under it.
    key: Arc<UnitKey>,
    /// What the key of each person is under that key, 0 for one without a key.
    identities: Arc<Vec<u64>>,
}

/// The rows of a table that are kept, in the order of the story.
struct Rows {
    store: Arc<ColumnStore>,
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

/// Reads the tables of a folder, or the one file of a table with an order. At most `memory` bytes of their cells are kept in
/// memory.
///
/// # Errors
/// Bad input: a table that is not there or does not fit its schema; keys that do not fit, where the schema says that the
/// tables are refused then.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the tables fit the schema or where they do not.
pub fn read_linked(folder: &Path, schema: &LinkedSchema, memory: u64) -> Result<Sensitive<LinkedTables>> {
    read(folder, schema, Kept::Modelled, memory, UnitKey::from_system()?)
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
    read(folder, schema, Kept::All, memory, UnitKey::from_system()?)
}

/// Which rows are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Those that a model knows: whole ones, so many of a parent as the schema says.
    Modelled,
    All,
}

fn read(
    folder: &Path,
    schema: &LinkedSchema,
    kept: Kept,
    memory: u64,
    key: UnitKey,
) -> Result<Sensitive<LinkedTables>> {
    let key = Arc::new(key);
    let demand = match kept {
        Kept::Modelled => Demand::Whole,
        Kept::All => Demand::Audited,
    };
    if let Some(flat) = &schema.history {
        return history::read(&Source::from(folder), (schema, flat), demand, (memory, &key));
    }
    let tree = schema.tree();
    let hasher = KeyHasher::new(&key);
    let tables = schema.tables.iter().map(|_| None).collect();
    let mut read = LinkedTables { schema: schema.clone(), tables, key: key.clone(), identities: Arc::default() };
    let mut places: Vec<KeyPlaces> = schema.tables.iter().map(|_| KeyPlaces::default()).collect();
    for &place in &tree {
        let table = &schema.tables[place];
        let source = table_file(folder, &table.name)?;
        let (alone, links) = (table.alone(), schema.links_above(place));
        let (mut own, mut linked) = (Vec::new(), vec![Vec::new(); links.len()]);
        let share = memory / tree.len() as u64;
        let mut parts = Parts::open(&source, &table.reading, false, table.on_broken)?;
        let store = stored(&mut parts, &alone, demand, (share, &key), |part| {
            if let Some(key) = &table.key {
                hasher.extend(&mut own, &part.keys(key, &alone)?);
            }
            for ((column, _), keys) in links.iter().zip(&mut linked) {
                hasher.extend(keys, &part.keys(column, &alone)?);
            }
            Ok(())
        })?;
        if let Some(class) = count_class(parts.broken()) {
            tracing::warn!("table `{}`: {class} lines are no resources of it; they are left out", table.name);
        }
        if store.rows() >= MISSING as usize {
            return Err(source.bad("has too many rows").expected(format!("less than {MISSING}")));
        }
        let above = schema.parent(place).map(|parent| {
            let keyed = linked.into_iter().zip(&links).map(|(keys, &(_, above))| (keys, above));
            let link = |(keys, above): (Vec<Option<Key>>, usize)| {
                let of_parent = if above == parent { None } else { Some(read.above(parent, above)?) };
                Ok(Link { keys, places: &places[above], of_parent })
            };
            Ok::<_, Error>(Above { rows: read.rows(parent)?, links: keyed.map(link).collect::<Result<_>>()? })
        });
        let reading = Reading { source: &source, table, kept, store, own, above: above.transpose()? };
        let (rows, keys, identities) = reading.in_order()?;
        (read.tables[place], places[place]) = (Some(rows), keys);
        if place == tree[0] {
            read.identities = Arc::new(identities);
        }
    }
    Ok(Sensitive::new(read))
}

/// A table that was read and is not in order yet.
struct Reading<'a> {
    source: &'a Source,
    table: &'a LinkedTable,
    kept: Kept,
    store: ColumnStore,
    /// The key of each row, where the table has one.
    own: Vec<Option<Key>>,
    /// Of all tables but the root.
    above: Option<Above<'a>>,
}

/// What the rows of a table hang on.
struct Above<'a> {
    /// Those of the parent.
    rows: &'a Rows,
    /// The columns that link to the parent and to tables further above.
    links: Vec<Link<'a>>,
}

/// A column that links to a table above.
struct Link<'a> {
    keys: Vec<Option<Key>>,
    places: &'a KeyPlaces,
    /// For each row of the parent its row in that table; none where that table is the parent.
    of_parent: Option<Vec<u32>>,
}

impl Above<'_> {
    /// The row of the parent that a row of the file hangs on; none where there is no such row.
    fn parent(&self, row: usize) -> Option<u32> {
        self.links.iter().find(|link| link.of_parent.is_none()).and_then(|link| link.places.get(link.keys[row]?))
    }

    /// Whether a row names another row further above than the row of the parent that it hangs on does.
    fn is_astray(&self, row: usize, parent: u32) -> bool {
        self.links.iter().any(|link| match (&link.of_parent, link.keys[row]) {
            (Some(of_parent), Some(key)) => link.places.get(key) != of_parent.get(parent as usize).copied(),
            _ => false,
        })
    }
}

impl Reading<'_> {
    /// Which rows are kept, in the order of the story; what their keys name; and of each the identity that its key gives, 0
    /// for one without a key.
    fn in_order(self) -> Result<(Rows, KeyPlaces, Vec<u64>)> {
        let parents = self.parents()?;
        let (mut keys, is_kept) = self.distinct(&parents)?;
        let moments = self.moments()?;
        let mut rows: Vec<u32> = (0..).zip(&is_kept).filter(|(_, is_kept)| **is_kept).map(|(row, _)| row).collect();
        rows.retain(|&row| parents[row as usize] != MISSING);
        // A moment that is missing comes last.
        let moment = |r: u32| moments.as_ref().map_or(0.0, |moments| moments[r as usize]);
        rows.par_sort_unstable_by(|&a, &b| {
            let by_parent = parents[a as usize].cmp(&parents[b as usize]);
            by_parent.then(moment(a).total_cmp(&moment(b))).then(a.cmp(&b))
        });
        let is_bounded = self.above.is_some() && self.kept == Kept::Modelled;
        let most = if is_bounded { self.table.max_rows() } else { u32::MAX };
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
            tracing::warn!("table `{}`: {class} rows above max_rows of their parent are left out", self.table.name);
        }
        let person = match &self.above {
            None => parent.clone(),
            Some(above) => parent.iter().map(|&row| above.rows.person[row as usize]).collect(),
        };
        let moments = moments.map(|moments| kept.iter().map(|&row| moments[row as usize]).collect());
        let identity = |&row: &u32| self.own.get(row as usize).copied().flatten().map_or(0, |key| key.0);
        let identities = kept.iter().map(identity).collect();
        let rows = Rows { store: Arc::new(self.store), rows: kept, parent, person, place, moments };
        Ok((rows, keys, identities))
    }

    /// The row of the parent that each row of the file hangs on, [`MISSING`] for rows that are left out; of the root, the
    /// row itself.
    fn parents(&self) -> Result<Vec<u32>> {
        let all = self.store.rows();
        let Some(above) = &self.above else { return Ok((0..all as u32).collect()) };
        let (mut dangling, mut astray) = (0, 0);
        let parents = (0..all).map(|row| match above.parent(row) {
            None => {
                dangling += 1;
                MISSING
            }
            Some(parent) if parent != MISSING && above.is_astray(row, parent) => {
                astray += 1;
                MISSING
            }
            Some(parent) => parent,
        });
        let parents = parents.collect();
        let remedy = "mend the keys, or write on_dangling = \"drop\" in the [[table]]";
        self.judge(dangling, self.table.on_dangling, "hang on a row that is not there", remedy)?;
        self.judge(astray, self.table.on_dangling, "name another person than the row that they hang on", remedy)?;
        Ok(parents)
    }

    /// The keys, without the rows that they name, and which rows of the file are no repetitions. Whether a person's rows are
    /// read may not depend on who else is there.
    fn distinct(&self, parents: &[u32]) -> Result<(KeyPlaces, Vec<bool>)> {
        let person_of = |row: usize| match &self.above {
            Some(above) => above.rows.person.get(parents[row] as usize).copied().unwrap_or(MISSING),
            None => row as u32,
        };
        let (mut keys, mut is_kept) = (KeyPlaces::default(), vec![true; parents.len()]);
        let (mut twice, mut shared) = (0, 0);
        for (row, key) in self.own.iter().enumerate() {
            let Some(first) = key.and_then(|key| keys.insert(key, row as u32)) else { continue };
            is_kept[row] = false;
            twice += 1;
            shared += usize::from(person_of(first as usize) != person_of(row));
        }
        let apart =
            "give each person's rows keys of their own: which of them are read would depend on who else is there";
        self.judge(shared, Policy::Refuse, "have a key that a row of another person has", apart)?;
        let remedy = "mend the keys, or write on_duplicate = \"drop\" in the [[table]]";
        self.judge(twice, self.table.on_duplicate, "have a key that an earlier row has", remedy)?;
        keys.forget_places();
        Ok((keys, is_kept))
    }

    /// The moment of each row of the file, in seconds.
    fn moments(&self) -> Result<Option<Vec<f64>>> {
        let Some(column) = self.table.moment() else { return Ok(None) };
        match self.store.column(&column.name)? {
            Some(Values::Number(ticks)) => {
                let clock = column.clock();
                Ok(Some(ticks.into_iter().map(|t| clock.seconds(t)).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Says how many rows have keys that do not fit, or refuses them.
    fn judge(&self, count: usize, policy: Policy, what: &str, remedy: &str) -> Result<()> {
        let Some(class) = count_class(count) else { return Ok(()) };
        match policy {
            Policy::Drop => {
                tracing::warn!("table `{}`: {class} rows {what}; they are left out", self.table.name);
                Ok(())
            }
            Policy::Refuse => Err(self.source.bad(format!("{class} rows {what}")).remedy(remedy)),
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
