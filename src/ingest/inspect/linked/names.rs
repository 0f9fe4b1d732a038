//! What names of columns say of tables.

use crate::ingest::inspect::profile;

pub(super) use crate::schema::linked::PERSONS;
use crate::schema::linked::{BARE_KEYS, KEY_WORDS, singular};

/// How well a name fits a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Both are words for a person: `subject` and `Patient`.
    Person,
    /// It ends in the table's: `PRECEDING_VISIT_ID`. Longer names of tables fit better.
    End(usize),
    /// It is the table's: `VISIT`, `visit_id`.
    Whole,
}

/// The words of a name, the last one in the singular.
fn singular_words(name: &str) -> Vec<String> {
    let mut words = profile::words(name);
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    words
}

/// The words of a column's name without the one that says that it holds keys.
fn subject(column: &str) -> Vec<String> {
    let mut words = profile::words(column);
    match words.last_mut() {
        Some(last) if KEY_WORDS.contains(&last.as_str()) => {
            words.pop();
        }
        // PATIENTID
        Some(last) if last.len() > 4 && last.ends_with("id") => last.truncate(last.len() - 2),
        _ => {}
    }
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    words
}

/// The name of a table as that of one thing: `VISIT_OCCURRENCE` and `visit_occurrences` are the same.
pub(super) fn thing(table: &str) -> String {
    singular_words(table).concat()
}

/// Whether a column is named after a table.
pub(super) fn fits(column: &str, table: &str) -> Option<Fit> {
    let (subject, table) = (subject(column), singular_words(table));
    if subject.is_empty() || table.is_empty() {
        None
    } else if subject.concat() == table.concat() {
        Some(Fit::Whole)
    } else if subject.ends_with(&table) {
        Some(Fit::End(table.concat().len()))
    } else {
        let is_person = |words: &[String]| PERSONS.contains(&words.concat().as_str());
        (is_person(&subject) && is_person(&table)).then_some(Fit::Person)
    }
}

/// Whether a column is named as a key and after no table.
pub(super) fn is_bare_key(column: &str) -> bool {
    BARE_KEYS.contains(&profile::words(column).concat().as_str())
}

/// Whether two columns have the same name, but for case and punctuation.
pub(super) fn are_same(a: &str, b: &str) -> bool {
    profile::words(a).concat() == profile::words(b).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_after_tables() {
        for (column, table) in [
            ("PATIENT", "patients"),
            ("PERSON_ID", "PERSON"),
            ("PATIENTID", "patients"),
            ("VISIT_OCCURRENCE_ID", "VISIT_OCCURRENCE"),
            ("patientId", "Patients"),
            ("allergy_nr", "allergies"),
        ] {
            assert_eq!(fits(column, table), Some(Fit::Whole), "{column}");
        }
        assert_eq!(fits("PRECEDING_VISIT_ID", "visits"), Some(Fit::End(5)));
        assert_eq!(fits("subject", "Patient"), Some(Fit::Person));
        assert!(fits("x_visit_detail_id", "visit_detail") > fits("x_visit_detail_id", "detail"));
        for (column, table) in [("ENCOUNTERCLASS", "encounters"), ("Id", "patients"), ("visit_type", "visits")] {
            assert_eq!(fits(column, table), None, "{column}");
        }
        assert!(is_bare_key("Id") && !is_bare_key("valid") && are_same("hadm_id", "HADM_ID"));
    }
}
