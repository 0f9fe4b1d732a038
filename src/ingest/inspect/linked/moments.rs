//! The moments that the rows of persons are told by.

use super::Table;
use crate::error::Result;
use crate::ingest::frame::MISSING;
use crate::ingest::inspect::profile;
use crate::schema::linked::Since;
use crate::schema::{ArrowType, Kind};
use std::collections::HashMap;

/// Part of the rows that may lack the moment they are ordered by, at most.
const MISSING_SHARE: f64 = 0.01;
/// Persons that the spread of moments is told from, at least.
const PERSONS: usize = 8;

/// How moments are named that rows begin with.
const BEGINS: [&str; 7] = ["start", "begin", "from", "admi", "service", "intime", "charttime"];
/// How other moments are named that no row is ordered by.
const ENDS: [&str; 9] = ["stop", "end", "death", "birth", "discharge", "expir", "outtime", "deceased", "bill"];

/// The moments of a table that are kept.
fn moments(table: &Table) -> impl Iterator<Item = usize> {
    (0..table.columns().len()).filter(|&index| {
        let column = table.column(index);
        let is_time_of_day = column.arrow_type.as_ref().is_some_and(ArrowType::is_time_of_day);
        column.kind == Kind::Datetime && !column.drop && !is_time_of_day
    })
}

fn plain(table: &Table, index: usize) -> String {
    profile::words(&table.column(index).name).concat()
}

fn is_named(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.contains(part))
}

/// The moment that the rows of a parent follow each other by: the start of the row, as exact as there is one.
pub(super) fn order(table: &Table) -> Option<usize> {
    let is_whole = |&index: &usize| {
        let profile = &table.profiles[index];
        profile.missing as f64 <= MISSING_SHARE * profile.rows as f64
    };
    let rank = |&index: &usize| {
        let name = plain(table, index);
        let sort = if is_named(&name, &BEGINS) { 0 } else { 1 + usize::from(is_named(&name, &ENDS)) };
        let is_day = table.column(index).arrow_type == Some(ArrowType::DATE32);
        (sort, is_day, index)
    };
    moments(table).filter(is_whole).min_by_key(rank)
}

/// The moment of birth.
pub(super) fn origin(root: &Table) -> Option<usize> {
    let is_birth = |&index: &usize| {
        let name = plain(root, index);
        name.contains("birth") || name == "dob"
    };
    moments(root).find(is_birth)
}

/// The moment of death.
pub(super) fn end(root: &Table) -> Option<usize> {
    let is_death = |&index: &usize| {
        let name = plain(root, index);
        is_named(&name, &["death", "deceased", "died"]) || name == "dod"
    };
    moments(root).find(is_death)
}

/// The moments of a column in seconds, row by row.
fn seconds(table: &Table, index: usize) -> Result<Vec<Option<f64>>> {
    let column = table.column(index);
    let texts = profile::texts(&table.raw, &table.raw.columns[index])?;
    let clock = column.clock();
    let parse = |label: &String| clock.parse(label, column.format.as_deref()).map(|t| clock.seconds(t));
    let moments: Vec<Option<f64>> = texts.labels.iter().map(parse).collect();
    Ok(texts.codes.iter().map(|&code| if code == MISSING { None } else { moments[code as usize] }).collect())
}

/// The keys of a column, row by row.
fn labels(table: &Table, index: usize) -> Result<Vec<Option<String>>> {
    let texts = profile::texts(&table.raw, &table.raw.columns[index])?;
    let label = |&code: &u32| (code != MISSING).then(|| texts.labels[code as usize].trim().to_owned());
    Ok(texts.codes.iter().map(label).collect())
}

/// Whether persons begin at one time of the calendar rather than at one age. `root` is the table of persons with the
/// columns of its key and origin.
pub(super) fn since(
    table: &Table,
    link: usize,
    order: usize,
    root: (&Table, Option<usize>, Option<usize>),
) -> Result<Since> {
    let (root, Some(key), Some(origin)) = root else { return Ok(Since::Parent) };
    let born: HashMap<String, f64> = labels(root, key)?
        .into_iter()
        .zip(seconds(root, origin)?)
        .filter_map(|(key, moment)| Some((key?, moment?)))
        .collect();
    let mut first: HashMap<String, f64> = HashMap::new();
    for (key, moment) in labels(table, link)?.into_iter().zip(seconds(table, order)?) {
        if let Some((key, moment)) = key.zip(moment)
            && born.contains_key(&key)
        {
            let least = first.entry(key).or_insert(moment);
            *least = least.min(moment);
        }
    }
    let ages = first.iter().map(|(key, moment)| moment - born[key]).collect();
    let moments: Vec<f64> = first.into_values().collect();
    let is_calendar = moments.len() >= PERSONS && middle_half(moments) < middle_half(ages);
    Ok(if is_calendar { Since::Calendar } else { Since::Parent })
}

/// The width of the middle half of some numbers.
fn middle_half(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| numbers[(numbers.len() - 1) * part / 4];
    at(3) - at(1)
}

#[cfg(test)]
mod tests {
    use super::super::roles::tests::tables;
    use super::*;

    fn name(table: &Table, index: Option<usize>) -> &str {
        index.map_or("", |index| &table.column(index).name)
    }

    #[test]
    fn names_tell_moments() {
        let tables = tables(&[
            ("patients", "Id,SEEN,BIRTHDATE,DEATHDATE\n1,2020-01-01,1950-01-01,\n2,2020-01-02,1960-01-01,2021-01-01\n"),
            (
                "stays",
                "END,START_DATE,START_DATETIME,NOTED\n\
                 2020-01-05,2020-01-01,2020-01-01 03:04:05,2020-01-09\n2020-01-05,2020-01-02,2020-01-02 06:07:08,\n",
            ),
            ("tests", "END,DATE\n2020-01-05,2020-01-01\n2020-01-05,2020-01-02\n"),
        ]);
        assert_eq!(name(&tables[0], origin(&tables[0])), "BIRTHDATE");
        assert_eq!(name(&tables[0], end(&tables[0])), "DEATHDATE");
        assert_eq!(name(&tables[1], order(&tables[1])), "START_DATETIME");
        assert_eq!(name(&tables[2], order(&tables[2])), "DATE");
    }

    #[test]
    fn the_narrower_spread_tells_what_moments_are_told_from() {
        let people: String = (0..20).map(|n| format!("{n},{}-05-01\n", 1930 + 3 * n)).collect();
        let stays = |of: &dyn Fn(usize) -> usize| -> String {
            (0..20).map(|n| format!("{n},{}-06-{:02}\n", of(n), n + 1)).collect()
        };
        let files = [
            ("patients", format!("Id,BIRTHDATE\n{people}")),
            ("stays", format!("patient,START\n{}", stays(&|n| 2011 + n % 3))),
            ("shots", format!("patient,START\n{}", stays(&|n| 1931 + 3 * n))),
        ];
        let tables = tables(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let root = (&tables[0], Some(0), Some(1));
        assert_eq!(since(&tables[1], 0, 1, root).unwrap(), Since::Calendar);
        assert_eq!(since(&tables[2], 0, 1, root).unwrap(), Since::Parent);
    }
}
