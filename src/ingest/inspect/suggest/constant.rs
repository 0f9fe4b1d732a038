//! Columns that are the same in all rows of a person.

use super::SURPRISING_ROWS;
use crate::error::Result;
use crate::ingest::RawTable;
use crate::ingest::cells::Texts;
use crate::schema::{Constraint, ConstraintFrom, Rule, Schema};
use synthward_privacy::Sensitive;

/// The rule that columns are constant which are so in all these tables, where there are enough people with several rows for it to
/// be no chance.
///
/// # Errors
/// Bad input: a row without a person, a column that cannot be read.
///
/// # Privacy
/// Outside the guarantee: that it holds was read from the rows. It is for the controller only.
pub fn constant(tables: &[&RawTable], schema: &Schema) -> Result<Sensitive<Option<Constraint>>> {
    let mut columns = Vec::new();
    for column in schema.modelled() {
        let is_computed = schema.constraints.iter().any(|known| known.rule.computes() == Some(&column.name));
        let mut is_constant = !is_computed && schema.table.unit_column() != Some(&column.name);
        for table in tables.iter().take(if is_constant { tables.len() } else { 0 }) {
            is_constant &= is_constant_in(table, &column.name, schema)?;
        }
        if is_constant {
            columns.push(column.name.clone());
        }
    }
    let rule = Constraint { from: ConstraintFrom::Data, ..Constraint::new(Rule::Constant { columns }) };
    let mut possible = schema.clone();
    possible.constraints.push(rule.clone());
    let is_possible = possible.check_constraint(possible.constraints.len() - 1).is_ok();
    Ok(Sensitive::new(Some(rule).filter(|_| is_possible)))
}

fn is_constant_in(table: &RawTable, name: &str, schema: &Schema) -> Result<bool> {
    let rows = table.all_rows();
    let (Some(units), Some(column)) = (rows.units(schema)?, rows.column(name)) else { return Ok(false) };
    let cells =
        Texts::of(column.stored.cells()?).map_err(|_| table.source.bad("the column cannot be read").column(name))?;
    let mut first: Vec<Option<u32>> = vec![None; units.labels.len()];
    let mut several = vec![false; units.labels.len()];
    let mut counts = vec![0usize; cells.labels.len() + 1];
    for (&unit, &code) in units.codes.iter().zip(&cells.codes) {
        // Missing is a value among others.
        counts[(code as usize).min(cells.labels.len())] += 1;
        match first[unit as usize] {
            None => first[unit as usize] = Some(code),
            Some(own) if own != code => return Ok(false),
            Some(_) => several[unit as usize] = true,
        }
    }
    let alike: f64 = counts.iter().map(|&count| (count as f64 / units.codes.len().max(1) as f64).powi(2)).sum();
    let people = several.iter().filter(|several| **several).count() as f64;
    Ok(people * (1.0 - alike) >= SURPRISING_ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Source, read};

    const SCHEMA: &str = "[table]\nname = \"t\"\nprivacy_unit = \"who\"\nmax_rows_per_unit = 4\n\
        [[column]]\nname = \"who\"\nkind = \"identifier\"\ntype = \"utf8\"\n\
        [[column]]\nname = \"born\"\nkind = \"integer\"\nmin = 1900\nmax = 2000\n\
        [[column]]\nname = \"town\"\nkind = \"categorical\"\ncategories = [\"a\", \"b\"]\n\
        [[column]]\nname = \"weight\"\nkind = \"integer\"\nmin = 0\nmax = 200\n\
        [[column]]\nname = \"rare\"\nkind = \"categorical\"\ncategories = [\"n\", \"y\"]\n";

    /// Of 60 people with two rows each: what is theirs is found, a missing cell among it; what changes is not, nor what hardly
    /// anybody has.
    #[test]
    fn what_is_the_same_in_all_rows_of_a_person_is_found() {
        let schema = Schema::from_toml(SCHEMA).unwrap();
        let table = |people: usize, odd: bool| {
            let row = |(n, visit): (usize, usize)| {
                let town = ["a", "b", ""][n % 3];
                let born = 1920 + n % 50 + usize::from(odd && n == 7 && visit == 1);
                format!("p{n},{born},{town},{},{}\n", 50 + n % 40 + visit, ["y", "n"][usize::from(n > 0)])
            };
            let rows: String = (0..people).flat_map(|n| [row((n, 0)), row((n, 1))]).collect();
            let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
            std::io::Write::write_all(&mut file, format!("who,born,town,weight,rare\n{rows}").as_bytes()).unwrap();
            read(&Source::from(file.path()), &schema.table.reading).unwrap()
        };
        let found = |tables: &[&RawTable]| {
            let rule = constant(tables, &schema).unwrap().for_controller();
            rule.map_or_else(Vec::new, |constraint| constraint.rule.columns())
        };
        let (people, few, odd) = (table(60, false), table(15, false), table(60, true));
        assert_eq!(found(&[&people]), ["born", "town"]);
        assert_eq!(found(&[&few]), [""; 0]);
        assert_eq!(found(&[&people, &odd]), ["town"]);
    }
}
