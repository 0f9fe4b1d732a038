//! Columns that follow from another one, such as the text of a code.

use super::{MANY_LISTED, Table};
use crate::error::Result;
use crate::ingest::cells::Texts;
use crate::ingest::frame::MISSING;
use crate::ingest::inspect::render::thousands;
use crate::ingest::inspect::suggest::{COMMONEST, ROWS, VALUES};
use crate::ingest::inspect::{Finding, FindingClass, profile};
use crate::schema::{Column, Kind, MapValue, Rule};
use std::collections::{BTreeMap, HashMap};

/// Rows for each value of the column that decides, at least, where names do not say that the other follows from it.
const ROWS_PER_VALUE: usize = 10;
/// Part of the rows that may have another text than the one of their code, at most, where names say that it follows.
const STRAY: f64 = 0.01;

/// How columns are named that say in words what a code means.
const TEXTS: [&str; 7] = ["description", "desc", "display", "text", "label", "name", "title"];
/// How columns of codes are named.
const CODES: [&str; 3] = ["code", "conceptid", "id"];

/// A column that may decide another one, or follow from it.
struct Candidate {
    index: usize,
    texts: Texts,
    /// Left out as free text: it comes back where it follows from another column.
    is_free: bool,
}

impl Candidate {
    fn values(&self) -> usize {
        self.texts.labels.len()
    }
}

/// The name without the part that says that it is a text, or a code.
fn stem<'n>(name: &'n str, parts: &[&str]) -> Option<&'n str> {
    parts.iter().find_map(|part| name.strip_suffix(part))
}

/// Whether names say that one column is the text of the other.
fn are_paired(code: &str, text: &str) -> bool {
    let (code, text) = (profile::words(code).concat(), profile::words(text).concat());
    // `CODE` and `DESCRIPTION`, `type` and `type_display`.
    stem(&text, &TEXTS).is_some_and(|text| text == code || stem(&code, &CODES) == Some(text))
}

fn is_text(name: &str) -> bool {
    stem(&profile::words(name).concat(), &TEXTS).is_some()
}

/// Finds the columns that follow from another one. The finest decides the others; of two that decide each
/// other it is the code.
pub(super) fn find(table: &mut Table) -> Result<Vec<Rule>> {
    let candidates = candidates(table)?;
    let mut order: Vec<usize> = (0..candidates.len()).filter(|&c| !candidates[c].is_free).collect();
    let name = |c: usize| table.profiles[candidates[c].index].name.as_str();
    order.sort_by_key(|&c| (std::cmp::Reverse(candidates[c].values()), is_text(name(c)), candidates[c].index));
    let mut given = vec![false; candidates.len()];
    let mut found = Vec::new();
    for &on in &order {
        for of in 0..candidates.len() {
            if of == on || given[on] || given[of] {
                continue;
            }
            let (decides, follows) = (&candidates[on].texts, &candidates[of].texts);
            let paired = are_paired(name(on), name(of));
            let repeated = are_paired(name(of), name(on)) && 2 * candidates[on].values() <= table.raw.rows;
            if (paired || repeated || is_telling(decides, follows))
                && let Some(image) = image(decides, follows)
                && image.stray as f64 <= if paired || repeated { STRAY * table.raw.rows as f64 } else { 0.0 }
            {
                given[of] = true;
                found.push((on, of, image, paired));
            }
        }
    }
    let mut rules = Vec::new();
    for (on, of, image, paired) in found {
        let (on, of) = (&candidates[on], &candidates[of]);
        if paired && table.column(on.index).kind == Kind::Integer {
            table.make_list(on.index, "Whole numbers that stand for texts.".into());
        }
        let name = |c: &Candidate| table.profiles[c.index].name.clone();
        let (on_name, of_name) = (name(on), name(of));
        if of.is_free {
            table.make_list(of.index, "Long texts, or many of them.".into());
        }
        let all_but = match image.stray {
            0 => String::new(),
            rows => format!(" in all but {} rows; in generated rows always", thousands(rows)),
        };
        let note = format!("Follows from {on_name}{all_but}.");
        table.draft.columns[of.index].findings.push(Finding { class: FindingClass::Follows, note });
        let map = on
            .texts
            .labels
            .iter()
            .zip(&image.codes)
            .map(|(label, &code)| (label.clone(), value(table.column(of.index), &of.texts.labels[code as usize])));
        let map = map.collect::<BTreeMap<_, _>>();
        let missing_together = table.column(of.index).nullable && table.column(on.index).nullable;
        rules.push(Rule::Dependency { of: of_name, on: on_name, map, missing_together });
    }
    Ok(rules)
}

fn candidates(table: &Table) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for (index, column) in table.columns().iter().enumerate() {
        let values = table.profiles[index].labels.len();
        let is_free = table.draft.columns[index].findings.iter().any(|f| f.class == FindingClass::FreeText);
        let has_few = match column.kind {
            _ if is_free => true,
            _ if column.drop => false,
            // A number decides and follows as its label is written: as a whole one.
            Kind::Integer => table.profiles[index].all(|label| label.parse::<i64>().is_ok()),
            kind => kind.has_labels() || kind == Kind::Code,
        };
        let most = if column.kind == Kind::Integer && !is_code(&column.name) { VALUES } else { MANY_LISTED };
        if has_few && (2..=most).contains(&values) {
            let texts = profile::texts(&table.raw, &table.raw.columns[index])?;
            candidates.push(Candidate { index, texts, is_free });
        }
    }
    Ok(candidates)
}

fn is_code(name: &str) -> bool {
    stem(&profile::words(name).concat(), &CODES).is_some()
}

fn value(column: &Column, label: &str) -> MapValue {
    match column.kind {
        Kind::Integer => label.parse().map_or_else(|_| MapValue::Text(label.to_owned()), MapValue::Integer),
        Kind::Boolean => MapValue::Boolean(label == "true"),
        _ => MapValue::Text(label.to_owned()),
    }
}

/// Whether it would say something that one column follows from another.
fn is_telling(on: &Texts, of: &Texts) -> bool {
    let counts = of.counts();
    let rows: usize = counts.iter().sum();
    let most = counts.into_iter().max().unwrap_or(0);
    rows >= ROWS && rows >= ROWS_PER_VALUE * on.labels.len() && most as f64 <= COMMONEST * rows as f64
}

/// What follows from each value of a column.
struct Image {
    /// The commonest value of each.
    codes: Vec<u32>,
    /// Rows that have another one.
    stray: usize,
}

/// What follows from each value. Nothing where one column is missing in a row and the other is not.
fn image(on: &Texts, of: &Texts) -> Option<Image> {
    let mut counts: HashMap<(u32, u32), usize> = HashMap::new();
    for (&on, &of) in on.codes.iter().zip(&of.codes) {
        match (on == MISSING, of == MISSING) {
            (true, true) => {}
            (false, false) => *counts.entry((on, of)).or_default() += 1,
            _ => return None,
        }
    }
    let mut best = vec![(0, 0); on.labels.len()];
    for (&(on, of), &rows) in &counts {
        let best = &mut best[on as usize];
        *best = (*best).max((rows, of));
    }
    let stray = counts.values().sum::<usize>() - best.iter().map(|(rows, _)| rows).sum::<usize>();
    Some(Image { codes: best.into_iter().map(|(_, code)| code).collect(), stray })
}

#[cfg(test)]
mod tests {
    use super::super::roles::tests::tables;
    use super::*;

    fn rules(content: &str) -> (Vec<(String, String, usize)>, Table) {
        let mut table = tables(&[("visits", content)]).remove(0);
        let found = find(&mut table).unwrap();
        let told = found.into_iter().map(|rule| match rule {
            Rule::Dependency { of, on, map, .. } => (of, on, map.len()),
            _ => unreachable!(),
        });
        (told.collect(), table)
    }

    #[test]
    fn a_long_text_follows_its_code() {
        let row = |n: usize| format!("{},the long and winding text of number {}\n", 100 + n % 30, n % 30);
        let rows: String = (0..32).map(row).collect();
        let (found, table) = rules(&format!("CODE,DESCRIPTION\n{rows}"));
        assert_eq!(found, [("DESCRIPTION".into(), "CODE".into(), 30)]);
        assert!(table.columns().iter().all(|column| !column.drop && column.categories.len() == 30));
    }

    #[test]
    fn the_finer_column_decides() {
        let row = |n: usize| format!("{},{}\n", 100 + n % 3, ["one", "two", "three", "other three"][n % 12 % 4]);
        let rows: String = (0..48).filter(|n| (n % 3, n % 4).0 == [0, 1, 2, 2][n % 4]).map(row).collect();
        let (found, _) = rules(&format!("CODE,DESCRIPTION\n{rows}"));
        assert_eq!(found, [("CODE".into(), "DESCRIPTION".into(), 4)]);
    }

    #[test]
    fn a_stray_row_in_a_hundred_does_not_matter_where_names_are_paired() {
        let text = |n: usize| if n == 5 { "one" } else { ["one", "two", "three"][n % 3] };
        let rows: String = (0..200).map(|n| format!("{},{}\n", 100 + n % 3, text(n))).collect();
        let (found, table) = rules(&format!("CODE,DESCRIPTION\n{rows}"));
        assert_eq!(found, [("DESCRIPTION".into(), "CODE".into(), 3)]);
        let note = &table.draft.columns[1].findings.last().unwrap().note;
        assert_eq!(note, "Follows from CODE in all but 1 rows; in generated rows always.");
        assert_eq!(rules(&format!("CODE,WARD\n{rows}")).0, []);
    }

    #[test]
    fn a_row_that_does_not_follow_takes_the_rule_away() {
        let rows = "1,a\n2,b\n1,a\n1,b\n2,a\n";
        assert_eq!(rules(&format!("CODE,DESCRIPTION\n{rows}")).0, []);
        assert_eq!(rules("CODE,DESCRIPTION\n1,a\n2,b\n1,\n").0, [], "missing on one side");
    }
}
