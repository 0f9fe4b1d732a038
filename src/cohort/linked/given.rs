//! Persons that satisfy a condition.

use super::LinkedCohort;
use crate::cohort::arrays::written_type;
use crate::cohort::condition::Condition;
use crate::cohort::generate::Case;
use crate::cohort::rules::Rules;
use crate::cohort::writer::Format;
use crate::error::{Error, Result};
use crate::model::LinkedModel;
use crate::schema::expression::{Test, list, parse};
use crate::schema::linked::From;

impl Condition {
    /// Reads a condition on the rows of persons and asks the model how rare it is; `seed` as in [`Condition::new`].
    ///
    /// # Errors
    /// As [`Condition::new`]; bad input for what is no column of the persons' table, or is told as passed time.
    pub fn of_persons(model: &LinkedModel, text: &str, seed: u64) -> Result<Self> {
        for test in parse(text)?.tests() {
            check(model, test)?;
        }
        let part = &model.parts[0].model;
        // What a map gives is not measured: the model knows the probability of what it is given from.
        let rules = Rules::new(part, |column| written_type(column, Format::Parquet))?;
        Self::narrowed(part, text, seed, |region| match &rules {
            Some(rules) => rules.narrow(&mut region.clone()),
            None => Some(region.clone()),
        })
    }
}

/// Refuses a test of what is drawn or put right after the persons' rows: a condition on it would not hold.
fn check(model: &LinkedModel, test: &Test) -> Result<()> {
    let (schema, view) = (&model.header.schema, &model.parts[0].view);
    let own = || view.schema.columns.iter().zip(&view.columns).filter(|(_, told)| matches!(told.from, From::Own(_)));
    if own().any(|(column, _)| column.name == test.column) {
        return Ok(());
    }
    let root = &schema.tables[model.parts[0].table];
    let told = view.schema.columns.iter().any(|column| column.name == test.column);
    let in_root = root.column(&test.column).is_some();
    let mut below = model.parts[1..].iter().map(|part| &schema.tables[part.table]);
    let what = match below.find(|table| table.column(&test.column).is_some()) {
        _ if told && in_root => "a moment that is told as passed time".to_owned(),
        _ if told => "a number of rows".to_owned(),
        _ if in_root => "a column that is not modelled".to_owned(),
        Some(table) => format!("a column of table `{}`", table.name),
        // Misspelt.
        None => return Ok(()),
    };
    let names = own().map(|(column, _)| column.name.as_str());
    Err(Error::bad_input(format!("the condition asks for {what}, and can only be one on persons' own rows"))
        .column(&test.column)
        .expected(format!("columns of table `{}`: {}", root.name, list(names)))
        .remedy("ask for one of these"))
}

impl LinkedCohort<'_> {
    /// Draws only persons who satisfy a condition of the same model, by its own law given that, with all that is below them.
    ///
    /// # Errors
    /// Bad input where no row satisfies the condition and holds the constraints of the schema.
    pub fn given(mut self, condition: &Condition) -> Result<Self> {
        self.cases = Case::all(condition, self.tables[0].rules.as_ref(), &self.model.parts[0].model)?;
        Ok(self)
    }
}
