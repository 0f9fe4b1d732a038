//! Columns that hold keys: of their own table, and of others.

use super::Table;
use super::names::{self, Fit};
use crate::ingest::inspect::Distinct;
use crate::ingest::inspect::profile::Profile;
use crate::schema::Kind;
use std::collections::HashSet;

/// Part of the rows whose key differs from all others, at least, where the name says that it is one.
const DISTINCT: f64 = 0.99;
/// Part of the cells that are keys of the table that the column is named after, at least.
const NAMED: f64 = 0.25;
/// Part of the cells that are keys of a table, at least, where nothing but they say so.
const CONTAINED: f64 = 0.9;
/// Whole numbers for each key, at least, where keys are no mere numbers of rows.
const SPARSE: f64 = 10.0;

/// A column that holds keys of a table.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub column: usize,
    /// The place of the table.
    pub to: usize,
    /// Its name.
    pub name: String,
    /// Rows whose key is there.
    pub present: usize,
    /// Cells that are not missing.
    pub cells: usize,
    /// Rows that have the same key of those that are there, at most.
    pub most: usize,
}

impl Link {
    /// Whether enough of the keys are there.
    pub fn is_kept(&self) -> bool {
        self.present as f64 >= NAMED * self.cells as f64
    }
}

/// The column of each table by which others can name its rows.
pub(super) fn keys(tables: &[Table]) -> Vec<Option<usize>> {
    (0..tables.len()).map(|place| key(tables, place)).collect()
}

fn key(tables: &[Table], place: usize) -> Option<usize> {
    let table = &tables[place];
    let of_others =
        |name: &str| tables.iter().enumerate().any(|(other, t)| other != place && names::fits(name, &t.name).is_some());
    let rank = |index: usize| {
        let profile = &table.profiles[index];
        let share = profile.labels.len() as f64 / table.raw.rows as f64;
        let is_whole = profile.missing == 0 && may_hold_keys(table, index);
        if !is_whole || share < DISTINCT {
            None
        } else if names::is_bare_key(&profile.name) {
            Some(0)
        } else if names::fits(&profile.name, &table.name) == Some(Fit::Whole) {
            Some(1)
        } else if share < 1.0 || of_others(&profile.name) {
            None
        } else if profile.is_key_named() {
            Some(2)
        } else {
            let is_key = table.column(index).kind == Kind::Identifier && !table.column(index).drop;
            (is_key && names::PERSONS.contains(&names::thing(&table.name).as_str())).then_some(3)
        }
    };
    (0..table.profiles.len()).filter_map(|index| Some((rank(index)?, index))).min().map(|(_, index)| index)
}

pub(super) fn may_hold_keys(table: &Table, index: usize) -> bool {
    let profile = &table.profiles[index];
    profile.unsupported.is_none()
        && profile.distinct() != Distinct::None
        && !matches!(table.column(index).kind, Kind::Datetime | Kind::Real | Kind::Boolean)
}

/// The keys of each table.
pub(super) fn known<'t>(tables: &'t [Table], keys: &[Option<usize>]) -> Vec<HashSet<&'t str>> {
    let of_table = |(table, key): (&'t Table, &Option<usize>)| {
        let labels = key.map_or(&[][..], |key| &table.profiles[key].labels);
        labels.iter().map(|label| label.trim()).collect()
    };
    tables.iter().zip(keys).map(of_table).collect()
}

/// The columns of each table that hold keys of a table, its own included.
pub(super) fn links(tables: &[Table], keys: &[Option<usize>]) -> Vec<Vec<Link>> {
    let known = known(tables, keys);
    let of_table = |place: usize| {
        let columns = (0..tables[place].profiles.len()).filter(|&index| keys[place] != Some(index));
        columns.filter_map(|index| link(tables, keys, &known, place, index)).collect()
    };
    (0..tables.len()).map(of_table).collect()
}

fn link(tables: &[Table], keys: &[Option<usize>], known: &[HashSet<&str>], place: usize, index: usize) -> Option<Link> {
    let table = &tables[place];
    let profile = &table.profiles[index];
    if !may_hold_keys(table, index) {
        return None;
    }
    let to = |to: usize| {
        let (present, most) = present(profile, &known[to]);
        Link { column: index, to, name: tables[to].name.clone(), present, cells: profile.present(), most }
    };
    let fit = |other: usize| {
        let key = &tables[other].profiles[keys[other]?].name;
        let is_its_key = other != place && !names::is_bare_key(key) && names::are_same(key, &profile.name);
        if is_its_key { Some(Fit::Whole) } else { names::fits(&profile.name, &tables[other].name) }
    };
    let named = (0..tables.len()).filter_map(|other| Some((fit(other)?, other))).max_by_key(|(fit, _)| *fit);
    let is_identifier = table.column(index).kind == Kind::Identifier && !table.column(index).drop;
    if let Some(link) = named.map(|(_, other)| to(other)).filter(|link| link.present > 0) {
        return (link.is_kept() || is_identifier).then_some(link);
    }
    let is_own = names::fits(&profile.name, &table.name) == Some(Fit::Whole);
    if !is_identifier || is_own {
        return None;
    }
    let is_telling =
        |other: &usize| *other != place && keys[*other].is_some_and(|key| !counts_rows(&tables[*other].profiles[key]));
    let others = (0..tables.len()).filter(is_telling).map(to);
    let mut containing = others.filter(|link| link.present as f64 >= CONTAINED * link.cells as f64);
    containing.next().filter(|_| containing.next().is_none())
}

/// Whether another table names the rows of this one.
pub(super) fn is_linked_to(place: usize, links: &[Vec<Link>]) -> bool {
    let links_to = |(other, links): (usize, &Vec<Link>)| {
        other != place && links.iter().any(|link| link.to == place && link.is_kept())
    };
    links.iter().enumerate().any(links_to)
}

/// Whether the keys are whole numbers with few gaps: so are those of most tables, and each holds the others.
pub(super) fn counts_rows(profile: &Profile) -> bool {
    profile.numbers().is_some_and(|numbers| {
        let (min, max) = numbers.iter().fold((f64::MAX, f64::MIN), |(min, max), &x| (min.min(x), max.max(x)));
        max - min < SPARSE * numbers.len() as f64
    })
}

/// Rows whose key is known, and how many of them have the same one at most.
pub(super) fn present(profile: &Profile, known: &HashSet<&str>) -> (usize, usize) {
    let cells = profile.labels.iter().zip(&profile.counts).filter(|(label, _)| known.contains(label.trim()));
    cells.fold((0, 0), |(sum, most), (_, &rows)| (sum + rows, most.max(rows)))
}

#[cfg(test)]
mod tests {
    use super::super::roles::tests::tables;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, Vec<(String, String)>)> {
        let tables = tables(files);
        let keys = keys(&tables);
        let links = links(&tables, &keys);
        let name = |place: usize, index: usize| tables[place].profiles[index].name.clone();
        (0..tables.len())
            .map(|place| {
                let key = keys[place].map_or_else(String::new, |key| name(place, key));
                (key, links[place].iter().map(|link| (name(place, link.column), link.name.clone())).collect())
            })
            .collect()
    }

    #[test]
    fn names_tell_keys_and_links() {
        let found = found(&[
            ("PERSON", "PERSON_ID,SEX\n1,F\n2,M\n3,F\n"),
            ("VISIT", "VISIT_ID,PERSON_ID,PRECEDING_VISIT_ID\n10,1,\n11,1,10\n12,3,\n"),
            ("DEATH", "PERSON_ID,CAUSE\n1,a\n3,b\n"),
        ]);
        let link = |column: &str, table: &str| (column.to_owned(), table.to_owned());
        assert_eq!(found[0], ("PERSON_ID".into(), vec![]));
        assert_eq!(found[1].0, "VISIT_ID");
        assert_eq!(found[1].1, [link("PERSON_ID", "PERSON"), link("PRECEDING_VISIT_ID", "VISIT")]);
        assert_eq!(found[2], (String::new(), vec![link("PERSON_ID", "PERSON")]));
    }

    #[test]
    fn values_tell_links_where_names_do_not() {
        let uuid = |n: usize| format!("1d604da9-9a81-4ba9-80c2-{n:012}");
        let people: String = (0..40).map(|n| format!("{},F\n", uuid(n))).collect();
        let stays: String = (0..80).map(|n| format!("{},{}\n", uuid(n % 40), uuid(1000 + n % 50))).collect();
        let found = found(&[("patients", &format!("Id,sex\n{people}")), ("stays", &format!("whose,device\n{stays}"))]);
        assert_eq!(found[1].1, [("whose".to_owned(), "patients".to_owned())]);
    }

    #[test]
    fn a_text_that_is_no_key_is_no_link() {
        let found = found(&[("wards", "Id,name\n1,a\n2,b\n"), ("stays", "Id,ward\n7,surgery\n8,birth\n")]);
        assert_eq!(found[1].1, []);
    }
}
