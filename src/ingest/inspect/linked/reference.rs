//! Tables of which somebody says that they are nobody's.

use super::Table;
use super::{keys, names};
use crate::error::{Error, Result};
use crate::ingest::count_class;
use crate::schema::LinkedSchema;

/// Which tables are named.
///
/// # Errors
/// Usage: a name is none of a table.
pub(super) fn named(tables: &[Table], reference: &[String]) -> Result<Vec<bool>> {
    let is = |table: &Table, name: &String| table.name.eq_ignore_ascii_case(name);
    match reference.iter().find(|name| !tables.iter().any(|table| is(table, name))) {
        Some(name) => Err(Error::usage(format!("--reference names `{name}`, which is not a table of the folder"))
            .expected("the name of a file without its ending")
            .remedy("check the spelling")),
        None => Ok(tables.iter().map(|table| reference.iter().any(|name| is(table, name))).collect()),
    }
}

/// Looks for keys of persons in a reference table.
///
/// # Errors
/// Bad input: a column is named like one of keys; a column of any name for keys has those of a table whose keys chance does
/// not repeat.
///
/// # Privacy
/// Outside the guarantee: tells the operator in which columns values are keys of other tables, in classes of ten.
pub(super) fn check(tables: &[Table], place: usize, keys: &[Option<usize>], schema: &LinkedSchema) -> Result<()> {
    let known = keys::known(tables, keys);
    let table = &tables[place];
    for (index, profile) in table.profiles.iter().enumerate() {
        let refuse = |to: &str, why: &str| {
            Err(Error::bad_input(format!("table `{}` is to be copied as it is, and {why} of table `{to}`", table.name))
                .file(table.raw.source.as_path())
                .column(&profile.name)
                .remedy(
                    "a reference table tells of no person: leave --reference out, or take the column out of the file; where \
                     it holds something else, rename it",
                ))
        };
        if let Some(to) = schema.named_like_key(&profile.name) {
            return refuse(to, "a column is named like keys");
        }
        if !keys::may_hold_keys(table, index) {
            continue;
        }
        let (mut shared, mut most) = (Vec::new(), 0);
        for to in
            schema.tree().into_iter().filter_map(|to| tables.iter().position(|t| t.name == schema.tables[to].name))
        {
            let Some(key) = keys[to] else { continue };
            let (rows, _) = keys::present(profile, &known[to]);
            if rows == 0 {
                continue;
            }
            if names::is_bare_key(&profile.name) && !keys::counts_rows(&tables[to].profiles[key]) {
                return refuse(&tables[to].name, "a column holds keys");
            }
            shared.push(format!("`{}`", tables[to].name));
            most = most.max(rows);
        }
        if let Some(class) = count_class(most) {
            tracing::warn!(
                "table `{}`, column `{}`: {class} values are keys of {} too, maybe by chance; see that they name no row there, for \
                 the table may be copied as it is",
                table.name,
                profile.name,
                shared.join(", ")
            );
        }
    }
    Ok(())
}
