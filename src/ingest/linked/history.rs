//! A table with an order, read as its persons and their rows.

use std::cmp::Ordering;
use std::sync::Arc;

use rayon::prelude::*;
use synthward_privacy::Sensitive;

use super::super::column_store::{ColumnStore, stored};
use super::super::count_class;
use super::super::frame::{MISSING, Values};
use super::super::load::Demand;
use super::super::raw::Parts;
use super::super::source::Source;
use super::{LinkedTables, Rows};
use crate::error::{Error, Result};
use crate::schema::linked::{LinkedSchema, Policy, seconds_per_tick};
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
    memory: u64,
) -> Result<Sensitive<LinkedTables>> {
    let order = flat.table.order.as_deref().and_then(|name| flat.column(name));
    let order = order.ok_or_else(|| Error::failed("a table without an order has no history"))?;
    let mut parts = Parts::open(source, false, Policy::Refuse)?;
    let mut keys = Vec::new();
    let store = stored(&mut parts, flat, demand, memory, |part| {
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
    let store = Arc::new(store);
    let mut rows: Vec<u32> = (0..unit.len() as u32).collect();
    rows.par_sort_unstable_by(|&a, &b| {
        unit[a as usize].cmp(&unit[b as usize]).then(by.compare(a, b)).then(a.cmp(&b))
    });
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
            let tick = seconds_per_tick(order);
            Some(kept.iter().map(|&at| ticks[rows[at] as usize] * tick).collect())
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
    Ok(Sensitive::new(LinkedTables { schema: schema.clone(), tables: vec![Some(root), Some(below)] }))
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
