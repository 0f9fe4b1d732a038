//! The names of the columns of a file without types.

use super::load::number;
use super::raw::check_names;
use super::source::Source;
use crate::error::Result;

/// The column of the names or numbers of rows that R and pandas write first, under no name.
pub(super) const ROW_NAMES: &str = "row_names";

/// Checks the names of a header line: a first one that is absent is that of [`ROW_NAMES`].
///
/// # Errors
/// Bad input: names that look like cells, others that are absent, or two that are the same.
pub(super) fn header(source: &Source, mut names: Vec<String>) -> Result<Vec<String>> {
    // Without a header the first row would be taken for names, and names are shown.
    if let Some(position) = names.iter().position(|name| number(name).is_some()) {
        return Err(source
            .bad(format!(
                "the first line looks like a row, not like a header: field number {} is a number",
                position + 1
            ))
            .remedy("add a header line with the names of the columns; a name is not a number"));
    }
    if let [first, _, ..] = &mut names[..]
        && first.trim().is_empty()
    {
        *first = ROW_NAMES.to_owned();
    }
    check_names(source, &names)?;
    Ok(names)
}
