//! What the checks of targets, survival curves, regressions and constraints share.

use super::{Column, Schema};
use crate::error::{Error, Result};

/// Where a declaration stands: the number of its table among those of its kind.
pub enum Place {
    Target(usize),
    Survival(usize),
    Regression(usize),
    Constraint(usize),
}

/// Remedy where a column of named groups is wanted.
pub const NAME_LABELS: &str = "name a categorical, ordinal or boolean column";

/// The refusal of the declaration `name` of this `kind`.
pub fn refused<T>(kind: &str, name: &str, what: String, remedy: &str) -> Result<T> {
    Err(Error::bad_input(format!("{kind} `{name}`: {what}")).remedy(remedy))
}

/// The column that a declaration names.
///
/// # Errors
/// Bad input where it is not modelled.
pub fn modelled<'a>(schema: &'a Schema, kind: &str, name: &str, column: &str) -> Result<&'a Column> {
    match schema.modelled().find(|c| c.name == column) {
        Some(column) => Ok(column),
        None => refused(
            kind,
            name,
            format!("`{column}` is not a modelled column"),
            "name a column that is neither dropped nor an identifier",
        ),
    }
}

/// True when `values` are values of the column, one at least. Categories that are not listed yet may turn out to be any.
pub fn names_labels(column: &Column, values: &[String]) -> bool {
    let labels = column.labels();
    !values.is_empty() && (labels.is_empty() || values.iter().all(|value| labels.contains(value)))
}
