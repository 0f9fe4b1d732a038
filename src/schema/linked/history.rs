//! A table with several rows a person, in an order, as two tables that hang together: the persons, and their rows.

use std::collections::HashSet;

use super::{LinkedSchema, LinkedSpec, LinkedTable, Since};
use crate::error::{Error, Result};
use crate::schema::{Column, Constraint, ConstraintFrom, Kind, Rule, Schema};

/// What the table of the persons is called, ...
const PERSONS: &str = "persons";
/// ... and that of their rows.
const ROWS: &str = "rows";

impl Schema {
    /// The two tables as which a table with an `order` is modelled: the persons with what is constant, and their rows with all
    /// else. None for a table without an order.
    ///
    /// # Errors
    /// Bad input: a constraint that a cohort of such tables cannot be made to hold; what [`LinkedSchema::check`] refuses.
    ///
    /// # Privacy
    /// Public facts only.
    pub fn history(&self) -> Result<Option<LinkedSchema>> {
        let (Some(order), Some(unit)) = (&self.table.order, self.table.unit_column()) else { return Ok(None) };
        let constant = self.constant_columns();
        if constant.contains(order.as_str()) {
            return Err(Error::bad_input("is the order of the rows, and constant within a person")
                .column(order)
                .remedy("take it out of the constraint, or name another column as order"));
        }
        let is_moment = |name: &str| self.column(name).is_some_and(|column| column.kind == Kind::Datetime);
        let mut persons = self.side(PERSONS, unit, |column| constant.contains(column.name.as_str()));
        persons.key = Some(unit.to_owned());
        let mut rows = self.side(ROWS, unit, |column| !constant.contains(column.name.as_str()));
        rows.parent = Some(PERSONS.to_owned());
        rows.links = [(unit.to_owned(), PERSONS.to_owned())].into();
        rows.order = Some(order.clone()).filter(|order| is_moment(order));
        rows.max_rows = Some(self.table.max_rows_per_unit());
        let mut ascending = Vec::new();
        for constraint in &self.constraints {
            match (&constraint.rule, About::of(&constraint.rule, &constant)) {
                (Rule::Constant { .. }, _) | (_, About::Both) => {}
                // What is constant does not go down, and moments are drawn as time that passes.
                (Rule::Ascending { columns }, _) => {
                    let is_drawn =
                        |name: &&String| !constant.contains(name.as_str()) && rows.order.as_ref() != Some(*name);
                    let columns: Vec<String> = columns.iter().filter(is_drawn).cloned().collect();
                    ascending.extend(columns.clone());
                    if !columns.is_empty() {
                        rows.constraints.push(Constraint { rule: Rule::Ascending { columns }, ..constraint.clone() });
                    }
                }
                (Rule::Unique { .. }, _) => {
                    return Err(refuse(constraint, "rows that are told one after the other may be alike"));
                }
                (_, About::Person) => persons.constraints.push(constraint.clone()),
                (_, About::Row) => rows.constraints.push(constraint.clone()),
            }
        }
        let is_number = self.column(order).is_some_and(|column| column.kind.is_amount());
        if is_number && !ascending.contains(order) {
            let rule = Rule::Ascending { columns: vec![order.clone()] };
            rows.constraints.push(Constraint { name: None, from: ConstraintFrom::Public, rule });
        }
        let table = &self.table;
        let linked = LinkedSpec {
            name: table.name.clone(),
            source: table.source.clone(),
            units: table.units,
            at_least_units: table.at_least_units,
            epsilon_cap: table.epsilon_cap,
            assumed_public: table.assumed_public,
        };
        let linked = LinkedSchema { linked, tables: vec![persons, rows], history: Some(Box::new(self.clone())) };
        linked.check()?;
        let held = linked.view(1)?.schema.constraints;
        match self.across_history().find(|constraint| !held.contains(constraint)) {
            Some(constraint) => Err(refuse(
                &constraint,
                "some of its columns are constant within a person and others are not, and it computes one of them or compares \
                 moments",
            )),
            None => Ok(Some(linked)),
        }
    }

    /// The rules of a row that are about what is constant within a person and about what is not.
    pub(crate) fn across_history(&self) -> impl Iterator<Item = Constraint> {
        let constant = self.constant_columns();
        let is_across = move |rule: &&Constraint| matches!(About::of(&rule.rule, &constant), About::Both);
        self.constraints.iter().filter(is_across).cloned()
    }

    /// The columns that are the same in all rows of a person.
    fn constant_columns(&self) -> HashSet<&str> {
        let columns = self.constraints.iter().filter_map(|constraint| match &constraint.rule {
            Rule::Constant { columns } => Some(columns),
            _ => None,
        });
        columns.flatten().map(String::as_str).collect()
    }

    /// One of the two tables, with the column of the unit.
    fn side(&self, name: &str, unit: &str, is_own: impl Fn(&Column) -> bool) -> LinkedTable {
        let columns = self.columns.iter().filter(|column| column.name == unit || is_own(column));
        let keyed = |column: &Column| Column { drop: column.drop && column.name != unit, ..column.clone() };
        LinkedTable {
            since: Since::Calendar,
            missing: self.table.missing.clone(),
            reading: self.table.reading.clone(),
            columns: columns.map(keyed).collect(),
            ..LinkedTable::new(name)
        }
    }
}

impl LinkedSchema {
    /// Of a table with an order, the columns of the persons that are modelled.
    ///
    /// # Privacy
    /// Public facts only.
    pub fn columns_of_persons(&self) -> impl Iterator<Item = &Column> {
        self.tables[self.tree()[0]].columns.iter().filter(|column| column.is_modelled())
    }
}

/// Whose columns a rule is about.
enum About {
    Person,
    Row,
    Both,
}

impl About {
    /// Of a rule that is no rule of a row, both is not said.
    fn of(rule: &Rule, constant: &HashSet<&str>) -> Self {
        let columns = rule.columns();
        let of_person = columns.iter().filter(|name| constant.contains(name.as_str())).count();
        match rule {
            Rule::Constant { .. } => Self::Person,
            Rule::Ascending { .. } | Rule::Unique { .. } => Self::Row,
            _ if of_person == columns.len() => Self::Person,
            _ if of_person == 0 => Self::Row,
            _ => Self::Both,
        }
    }
}

fn refuse(constraint: &Constraint, why: &str) -> Error {
    Error::bad_input(format!("constraint `{}`: it cannot be held in a table with an order: {why}", constraint.title()))
        .remedy("remove the constraint, or `order` from [table]")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"
        [table]
        name = "stays"
        privacy_unit = "who"
        max_rows_per_unit = 6
        order = "ORDER"
        units = 40
        epsilon_cap = 3.0
        missing = ["?"]
        [[column]]
        name = "stay"
        kind = "identifier"
        [[column]]
        name = "who"
        kind = "identifier"
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["F", "M"]
        domain_from = "public"
        [[column]]
        name = "age"
        kind = "integer"
        min = 0
        max = 99
        domain_from = "public"
        [[column]]
        name = "day"
        kind = "datetime"
        type = "date32"
        min = "2020-01-01"
        max = "2021-12-31"
        domain_from = "public"
        [[column]]
        name = "ward"
        kind = "categorical"
        categories = ["a", "b"]
        domain_from = "public"
        [[column]]
        name = "note"
        kind = "categorical"
        drop = true
        [[constraint]]
        kind = "constant"
        columns = ["sex"]
        [[constraint]]
        kind = "ascending"
        columns = ["age", "day"]
    "#;

    fn schema(order: &str, more: &str) -> Schema {
        Schema::from_toml(&format!("{}{more}", SCHEMA.replace("ORDER", order))).unwrap()
    }

    fn ascending(schema: &LinkedSchema) -> Vec<&str> {
        schema.tables[1].ascending().map(String::as_str).collect()
    }

    #[test]
    fn a_table_with_an_order_is_two_that_hang_together() {
        let flat = schema("stay", "");
        let linked = flat.history().unwrap().unwrap();
        let names = |table: usize| linked.tables[table].columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["who", "sex"]);
        assert_eq!(names(1), ["stay", "who", "age", "day", "ward", "note"]);
        assert_eq!((linked.tables[1].order.as_deref(), linked.tables[1].max_rows()), (None, 6));
        assert_eq!(ascending(&linked), ["age", "day"]);
        assert_eq!((linked.linked.units, linked.linked.epsilon_cap), (Some(40), Some(3.0)));
        assert_eq!(linked.history.as_deref(), Some(&flat));
        linked.check_for_fit().unwrap();
        assert_eq!(Schema::from_toml(&flat.to_toml()).unwrap(), flat);
    }

    #[test]
    fn a_moment_is_told_as_time_that_passes_and_a_number_as_one_that_grows() {
        let by_day = schema("day", "").history().unwrap().unwrap();
        assert_eq!((by_day.tables[1].order.as_deref(), ascending(&by_day)), (Some("day"), vec!["age"]));
        let by_age = schema("age", "").history().unwrap().unwrap();
        assert_eq!((by_age.tables[1].order.as_deref(), ascending(&by_age)), (None, vec!["age", "day"]));
        let mut alone = schema("age", "");
        alone.constraints.clear();
        assert_eq!(ascending(&alone.history().unwrap().unwrap()), ["age"]);
        let mut unordered = schema("age", "");
        unordered.table.order = None;
        assert!(unordered.history().unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_held_is_refused() {
        let rule = |lines: &str| format!("[[constraint]]\n{lines}\n");
        for (order, rule, what) in [
            ("stay", rule("kind = \"unique\"\ncolumns = [\"who\", \"day\"]"), "may be alike"),
            ("stay", rule("kind = \"dependency\"\nof = \"ward\"\non = \"sex\""), "constant within a person"),
            ("age", rule("kind = \"constant\"\ncolumns = [\"age\"]"), "constant within a person"),
        ] {
            let e = schema(order, &rule).history().unwrap_err();
            assert!(e.what.contains(what) && e.remedy.is_some(), "{e}");
        }
    }

    #[test]
    fn a_rule_may_be_about_a_person_and_a_row() {
        for never in ["age < 18 and ward = 'a'", "sex = 'F' and ward = 'a'"] {
            let rule = format!("[[constraint]]\nkind = \"forbidden\"\nnever = \"{never}\"\n");
            let view = schema("stay", &rule).history().unwrap().unwrap().view(1).unwrap();
            assert_eq!(view.schema.constraints.len(), 1, "{never}");
        }
    }
}
