//! A table with an order, read as its persons and their rows.

use std::cmp::Ordering;
use std::sync::Arc;

use rayon::prelude::*;
use synthward_privacy::{Sensitive, UnitKey};

use super::super::column_store::{ColumnStore, stored};
use super::super::count_class;
use super::super::frame::{MISSING, Values};
use super::super::load::Demand;
use super::super::raw::Parts;
use super::super::source::Source;
use super::{LinkedTables, Rows};
use crate::error::{Error, Result};
use crate::schema::linked::{LinkedSchema, Policy};
use crate::schema::{Kind, Schema};

/// By what the rows of a person follow each other.
enum Order {
    Numbers(Vec<f64>),
    /// Whole numbers of an identifier.
    Keys(Vec<i64>),
}

impl Order {
    /// A missing cell comes last.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        match self {
            Self::Numbers(numbers) => numbers[a].total_cmp(&numbers[b]),
            Self::Keys(keys) => keys[a].cmp(&keys[b]),
        }
    }
}

/// Reads the one file. Rows that come together stay as they are in it. Which rows of a person are kept, the first ones, and
/// what is constant, as the first says, depends on the person's rows alone.
///
/// # Errors
/// Bad input: a table that does not fit its schema, an identifier that is to tell the order and is no whole number.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the table fits the schema or where it does not.
pub(super) fn read(
    source: &Source,
    (schema, flat): (&LinkedSchema, &Schema),
    demand: Demand,
    (memory, key): (u64, &Arc<UnitKey>),
) -> Result<Sensitive<LinkedTables>> {
    let order = flat.table.order.as_deref().and_then(|name| flat.column(name));
    let order = order.ok_or_else(|| Error::failed("a table without an order has no history"))?;
    let mut parts = Parts::open(source, &flat.table.reading, false, Policy::Refuse)?;
    let mut keys = Vec::new();
    let store = stored(&mut parts, flat, demand, (memory, key), |part| {
        if order.kind == Kind::Identifier {
            keys.extend(part.whole_numbers(&order.name, flat)?);
        }
        Ok(())
    })?;
    parts.refuse_empty()?;
    if store.rows() >= MISSING as usize {
        return Err(source.bad("has too many rows").expected(format!("less than {MISSING}")));
    }
    let by = match store.column(&order.name)? {
        Some(Values::Number(numbers)) => Order::Numbers(numbers),
        _ => Order::Keys(keys.into_iter().map(|key| key.unwrap_or(i64::MAX)).collect()),
    };
    let unit = store.unit().ok_or_else(|| Error::failed("the rows of a table with an order have no unit"))?.to_vec();
    let persons = store.units();
    let (_, identities) = store.identities();
    let store = Arc::new(store);
    let mut rows: Vec<u32> = (0..unit.len() as u32).collect();
    rows.par_sort_unstable_by(|&a, &b| unit[a as usize].cmp(&unit[b as usize]).then(by.compare(a, b)).then(a.cmp(&b)));
    let mut places = Vec::with_capacity(rows.len());
    let mut firsts = Vec::with_capacity(persons);
    for (at, &row) in rows.iter().enumerate() {
        let is_first = at == 0 || unit[rows[at - 1] as usize] != unit[row as usize];
        if is_first {
            firsts.push(row);
        }
        places.push(if is_first { 0 } else { places[at - 1] + 1 });
    }
    warn_of_disagreement((schema, flat), &store, (&unit, &firsts))?;
    let most = if demand == Demand::Whole { schema.tables[1].max_rows() } else { u32::MAX };
    let kept: Vec<usize> = (0..rows.len()).filter(|&at| places[at] < most).collect();
    if let Some(class) = count_class(rows.len() - kept.len()) {
        tracing::warn!("{class} rows above max_rows_per_unit are left out");
    }
    let person: Vec<u32> = kept.iter().map(|&at| unit[rows[at] as usize]).collect();
    let moments = match (&by, order.kind) {
        (Order::Numbers(ticks), Kind::Datetime) => {
            let clock = order.clock();
            Some(kept.iter().map(|&at| clock.seconds(ticks[rows[at] as usize])).collect())
        }
        _ => None,
    };
    let everyone: Vec<u32> = (0..persons as u32).collect();
    let root = Rows {
        store: store.clone(),
        rows: firsts,
        parent: everyone.clone(),
        person: everyone,
        place: vec![0; persons],
        moments: None,
    };
    let below = Rows {
        store,
        rows: kept.iter().map(|&at| rows[at]).collect(),
        parent: person.clone(),
        person,
        place: kept.iter().map(|&at| places[at]).collect(),
        moments,
    };
    Ok(Sensitive::new(LinkedTables {
        schema: schema.clone(),
        tables: vec![Some(root), Some(below)],
        key: key.clone(),
        identities,
    }))
}

/// Says how many rows have another value than the first row of their person where all have the same.
fn warn_of_disagreement(
    (schema, flat): (&LinkedSchema, &Schema),
    store: &ColumnStore,
    (unit, firsts): (&[u32], &[u32]),
) -> Result<()> {
    let mut disagrees = vec![false; unit.len()];
    for column in schema.columns_of_persons() {
        let Some(values) = store.column(&column.name)? else { continue };
        for (row, disagrees) in disagrees.iter_mut().enumerate() {
            let first = firsts[unit[row] as usize] as usize;
            *disagrees |= match &values {
                Values::Number(cells) => !cells[row].is_nan() && cells[row] != cells[first],
                Values::Text { codes, .. } => codes[row] != MISSING && codes[row] != codes[first],
            };
        }
    }
    if let Some(class) = count_class(disagrees.into_iter().filter(|&disagrees| disagrees).count()) {
        let unit = flat.table.unit_column().unwrap_or_default();
        tracing::warn!(
            "{class} rows disagree with the first row of their `{unit}` in what is constant; the first says what it is"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::read_linked;

    const SCHEMA: &str = r#"
        column = [
            { name = "stay", kind = "identifier" },
            { name = "who", kind = "identifier" },
            { name = "sex", kind = "categorical", categories = ["F", "M"], domain_from = "public" },
            { name = "age", kind = "integer", min = 0, max = 99, domain_from = "public" },
            { name = "day", kind = "datetime", type = "date32", min = "2020-01-01", max = "2021-12-31", domain_from = "public" },
        ]
        [table]
        name = "stays"
        privacy_unit = "who"
        max_rows_per_unit = 3
        order = "ORDER"
        [[constraint]]
        kind = "constant"
        columns = ["sex"]
    "#;

    /// Two people, whose rows do not stand together. By each order they come in another one.
    const ROWS: &str = "stay,who,sex,age,day\n\
        9,p,M,40,2020-01-05\n\
        11,q,F,50,2020-01-01\n\
        10,p,F,41,2020-01-03\n\
        12,q,F,50,\n\
        8,p,F,39,2020-01-05\n\
        13,q,F,49,2020-01-01\n\
        7,p,F,44,2020-01-09\n";

    fn read(order: &str, rows: &str) -> Result<(LinkedSchema, Arc<LinkedTables>)> {
        let schema = Schema::from_toml(&SCHEMA.replace("ORDER", order)).unwrap().history().unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stays.csv");
        std::fs::write(&file, rows).unwrap();
        let tables = read_linked(&file, &schema, 1 << 20)?.for_controller();
        Ok((schema, Arc::new(tables)))
    }

    /// The cells of a column of a table's view, a missing one as none.
    fn cells((schema, tables): &(LinkedSchema, Arc<LinkedTables>), table: usize, column: &str) -> Vec<Option<f64>> {
        let store = tables.view(table, &schema.view(table).unwrap()).unwrap();
        match store.column(column).unwrap().unwrap() {
            Values::Number(cells) => cells.into_iter().map(|x| (!x.is_nan()).then_some(x)).collect(),
            Values::Text { codes, labels } => {
                let is_f = |code: u32| labels.get(code as usize).map(|label| f64::from(u8::from(label == "F")));
                codes.into_iter().map(is_f).collect()
            }
        }
    }

    fn all(cells: &[f64]) -> Vec<Option<f64>> {
        cells.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_rows_of_a_person_follow_each_other_by_the_order() {
        let by_key = read("stay", ROWS).unwrap();
        assert_eq!(cells(&by_key, 1, "age"), all(&[44.0, 39.0, 40.0, 50.0, 50.0, 49.0]), "the fourth is left out");
        assert_eq!(cells(&by_key, 1, "previous age")[1..3], all(&[44.0, 39.0]));
        assert_eq!(cells(&by_key, 0, "number of rows"), all(&[3.0, 3.0]));
        let by_age = read("age", ROWS).unwrap();
        assert_eq!(cells(&by_age, 1, "age"), all(&[39.0, 40.0, 41.0, 49.0, 50.0, 50.0]));
        assert_eq!(
            cells(&by_age, 1, "day")[3..],
            [Some(18_262.0), Some(18_262.0), None],
            "those of one age as they stand"
        );
        let by_day = read("day", ROWS).unwrap();
        assert_eq!(cells(&by_day, 1, "age"), all(&[41.0, 40.0, 39.0, 50.0, 49.0, 50.0]), "what is missing comes last");
        assert_eq!(cells(&by_day, 1, "day"), [Some(2.0), Some(2.0), Some(0.0), Some(0.0), Some(0.0), None]);
    }

    /// Of the second person all rows agree. The rows that are left out have no say.
    #[test]
    fn the_first_row_says_what_is_constant() {
        for (order, sex) in [("stay", [1.0, 1.0]), ("age", [1.0, 1.0]), ("day", [1.0, 1.0])] {
            assert_eq!(cells(&read(order, ROWS).unwrap(), 0, "sex"), all(&sex), "{order}");
        }
        let rows = ROWS.replace("7,p,F", "7,p,M");
        let by_key = read("stay", &rows).unwrap();
        assert_eq!(
            (cells(&by_key, 0, "sex"), cells(&by_key, 1, "sex")),
            (all(&[0.0, 1.0]), all(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
        );
    }

    /// What is read of a person is told by the person's own rows.
    #[test]
    fn nobody_changes_what_is_read_of_others() {
        let both = read("stay", ROWS).unwrap();
        let is_own = |line: &&str| !line.contains(",q,");
        let alone: String = ROWS.lines().filter(is_own).map(|line| format!("{line}\n")).collect();
        let alone = read("stay", &alone).unwrap();
        let (schema, tables) = &both;
        for (table, rows) in [(0, 1), (1, 3)] {
            let view = schema.view(table).unwrap();
            assert_eq!(tables.persons().unwrap(), 2);
            for column in &view.schema.columns {
                assert_eq!(cells(&both, table, &column.name)[..rows], cells(&alone, table, &column.name)[..rows]);
            }
        }
    }

    #[test]
    fn a_key_that_is_no_number_tells_no_order() {
        let e = read("stay", &ROWS.replace("12,q", "twelve,q")).err().unwrap();
        assert_eq!((e.row, e.column.as_deref(), e.kind.exit_code()), (Some(4), Some("stay"), 3));
        assert!(!e.to_string().contains("twelve") && e.remedy.is_some(), "{e}");
    }
}
