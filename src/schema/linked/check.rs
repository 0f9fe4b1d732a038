//! Whether linked tables hang together, and may be fitted.

use super::{LinkedSchema, LinkedSpec, LinkedTable};
use crate::error::{Error, Result};
use crate::schema::{Column, ConstraintFrom, Kind, Rule, Schema, TableSpec, source};
use std::collections::HashSet;

/// Rows of one parent, at most.
const MOST_ROWS: u32 = 1_000_000;

impl LinkedTable {
    /// The table for itself, as it is read.
    pub fn alone(&self) -> Schema {
        let table = TableSpec {
            name: self.name.clone(),
            source: None,
            privacy_unit: Some(crate::schema::ROW.to_owned()),
            max_rows_per_unit: None,
            order: None,
            missing: self.missing.clone(),
            reading: self.reading.clone(),
            units: None,
            at_least_units: None,
            epsilon_cap: None,
            assumed_public: false,
        };
        Schema {
            table,
            columns: self.columns.clone(),
            targets: Vec::new(),
            survival: Vec::new(),
            regressions: Vec::new(),
            constraints: self
                .constraints
                .iter()
                .filter(|rule| !matches!(rule.rule, Rule::Ascending { .. }))
                .cloned()
                .collect(),
        }
    }

    fn check(&self, schema: &LinkedSchema) -> Result<()> {
        self.reading.check()?;
        let identifiers = self.key.iter().chain(self.links.keys());
        for name in identifiers {
            match self.column(name) {
                Some(column) if column.drop => {
                    return Err(bad("holds keys, and is left out").column(name).remedy("remove its `drop`"));
                }
                Some(column) if column.kind == Kind::Identifier => {}
                Some(_) => return Err(bad("holds keys, and is not of kind identifier").column(name)),
                None => return Err(bad("holds keys, and is not among the columns").column(name)),
            }
        }
        for (column, table) in &self.links {
            let linked = schema.place(table).map(|place| &schema.tables[place]);
            match linked {
                None => return Err(bad(format!("links to a table `{table}`, which is not there")).column(column)),
                Some(linked) if linked.drop => {
                    return Err(bad(format!("links to table `{table}`, which is left out"))
                        .column(column)
                        .remedy("take the link out, and write drop = true in the column"));
                }
                Some(linked) if !linked.reference && linked.key.is_none() => {
                    return Err(bad(format!("links to table `{table}`, which has no key")).column(column));
                }
                Some(_) => {}
            }
        }
        if let Some(parent) = &self.parent {
            let links = self.links.values().filter(|table| *table == parent).count();
            if links != 1 {
                return Err(bad(format!("{links} of its columns hold keys of its parent `{parent}`"))
                    .expected(format!("one, such as links = {{ COLUMN = \"{parent}\" }}")));
            }
        }
        for (column, table) in &self.links {
            let linked = schema.place(table).map(|place| &schema.tables[place]);
            let key = linked.and_then(|linked| linked.column(linked.key.as_ref()?));
            if key.zip(self.column(column)).is_some_and(|(key, own)| is_text_key(key) && !is_text_key(own)) {
                return Err(bad(format!("holds numbers, and the keys of table `{table}` are texts"))
                    .column(column)
                    .expected("type = \"utf8\" for both, or an integer type for the keys"));
            }
        }
        let moment = |name: &Option<String>, what: &str| match name.as_ref().map(|name| (name, self.column(name))) {
            None => Ok(()),
            Some((_, Some(column))) if column.kind == Kind::Datetime && !column.drop => Ok(()),
            Some((name, _)) => Err(bad(format!("is the {what}, and is no datetime column that is kept")).column(name)),
        };
        moment(&self.order, "order")?;
        moment(&self.origin, "origin")?;
        moment(&self.end, "end")?;
        if self.parent.is_some() && (self.origin.is_some() || self.end.is_some()) {
            return Err(bad("has an origin or an end, and is not the root"));
        }
        if self.parent.is_none() && self.order.is_some() {
            return Err(bad("is the root: its rows are different persons, in no order"));
        }
        if self.end.is_some() && self.origin.is_none() {
            return Err(bad("has an end and no origin"));
        }
        if !(1..=MOST_ROWS).contains(&self.max_rows()) {
            return Err(
                bad("keeps no row of a parent, or too many").expected(format!("max_rows from 1 to {MOST_ROWS}"))
            );
        }
        for constraint in &self.constraints {
            let is_over_rows = match constraint.rule {
                Rule::Unique { .. } | Rule::Constant { .. } => true,
                Rule::Ascending { .. } => schema.history.is_none(),
                _ => false,
            };
            if is_over_rows {
                return Err(bad(format!(
                    "constraint `{}`: {} have no rules over several rows",
                    constraint.title(),
                    if schema.history.is_some() { "tables with an `order`" } else { "linked tables" }
                ))
                .remedy("remove it: the order of rows and the keys hold anyway"));
            }
        }
        self.alone().check()
    }

    /// Checks that nothing is said of a reference table that makes it one of persons.
    fn check_reference(&self) -> Result<()> {
        let says = [
            ("key", self.key.is_some()),
            ("structure_from", self.structure_from.is_some()),
            ("parent", self.parent.is_some()),
            ("links", !self.links.is_empty()),
            ("order", self.order.is_some()),
            ("origin", self.origin.is_some()),
            ("end", self.end.is_some()),
            ("[[table.column]]", !self.columns.is_empty()),
            ("[[table.constraint]]", !self.constraints.is_empty()),
        ];
        match says.iter().find(|(_, is)| *is) {
            Some((what, _)) => Err(bad(format!("is a reference table, which is copied as it is, and has `{what}`"))
                .remedy(
                    "remove `reference` where a row can be a person's; else say nothing of the table but its name",
                )),
            None => Ok(()),
        }
    }
}

impl LinkedTable {
    /// Checks that a person vouches for what is said of the table as a whole.
    fn check_vouched(&self) -> Result<()> {
        if self.reference && self.reference_from != Some(ConstraintFrom::Public) {
            return Err(Error::bad_input("it would be copied as it is, and nobody vouches that it is nobody's")
                .expected("reference_from = \"public\"")
                .remedy(
                    "write that, and the SHA-256 of the file, where nothing in the table is of a person (`synthward inspect` \
                     with --reference TABLE writes both); else link it to the others, or write drop = true",
                ));
        }
        let is_sum = |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        if self.reference && !self.sha256.as_ref().is_some_and(is_sum) {
            return Err(Error::bad_input("it would be copied as it is, and it is not said which file was looked at")
                .expected("sha256 = the SHA-256 of the file, in hex")
                .remedy("write that; `synthward inspect` with --reference TABLE does"));
        }
        if self.structure_from == Some(ConstraintFrom::Data) {
            return Err(Error::bad_input("how it hangs together with the others was read from the rows")
                .expected("structure_from = \"public\"")
                .remedy(
                    "write that where key, parent, links, order, origin and end are those of the source's documentation, and \
                     so is what is left out; `synthward inspect` with --kinds-public writes it for all tables",
                ));
        }
        Ok(())
    }
}

/// Whether the keys in a column are written as texts.
fn is_text_key(column: &Column) -> bool {
    column.arrow_type.as_ref().is_some_and(|own| !own.is_numeric())
}

fn bad(what: impl Into<String>) -> Error {
    Error::bad_input(what).remedy("mend the [[table]] in the schema")
}

impl LinkedSchema {
    /// Checks that the tables hang together.
    ///
    /// # Errors
    /// Bad input naming table, column and remedy: two roots or none, keys that go round in a circle, a parent that is not
    /// there; what a table alone is refused for.
    pub fn check(&self) -> Result<()> {
        source::check(self.linked.source.as_deref())?;
        self.linked.table().check_units()?;
        let mut names = HashSet::new();
        for table in &self.tables {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if table.name.is_empty() || !table.name.chars().all(is_plain) {
                return Err(bad("a table's name is the name of a file: letters, digits, `_` and `-`"));
            }
            if !names.insert(table.name.to_ascii_lowercase()) {
                return Err(bad(format!("two tables are named `{}`", table.name)));
            }
            if let Some(parent) = &table.parent {
                let known = self.place(parent).is_some_and(|place| self.tables[place].is_personal());
                if !known && !table.drop {
                    return Err(bad(format!(
                        "table `{}` hangs on `{parent}`, which is no table of persons",
                        table.name
                    )));
                }
            }
        }
        let roots: Vec<&str> = self
            .tables
            .iter()
            .filter(|table| table.parent.is_none() && table.is_personal())
            .map(|table| table.name.as_str())
            .collect();
        match roots[..] {
            [_] => {}
            [] => {
                return Err(bad("no table is the root: the keys go round in a circle")
                    .expected("one table without a parent, with a row a person"));
            }
            [first, second, ..] => {
                return Err(bad(format!("tables `{first}` and `{second}` have no parent"))
                    .expected("one root, with a row a person; the others hang on it, or are marked drop = true or reference = true"));
            }
        }
        let tree = self.tree();
        for (place, table) in self.tables.iter().enumerate() {
            if table.drop {
                continue;
            }
            if !table.reference && !tree.contains(&place) {
                return Err(bad(format!("the keys of table `{}` go round in a circle", table.name)));
            }
            let checked = if table.reference { table.check_reference() } else { table.check(self) };
            checked.map_err(|e| in_table(table, e))?;
        }
        for &table in &tree {
            let mut seen = HashSet::new();
            let view = self.view(table).map_err(|e| in_table(&self.tables[table], e))?;
            if let Some(twice) = view.schema.columns.iter().find(|column| !seen.insert(column.name.clone())) {
                return Err(in_table(
                    &self.tables[table],
                    bad("has a name that the story of the table needs").column(&twice.name).remedy("rename the column"),
                ));
            }
            for constraint in &self.tables[table].constraints {
                if !self.is_held(table, constraint).map_err(|e| in_table(&self.tables[table], e))? {
                    let tables = if self.history.is_some() { "a table with an `order`" } else { "linked tables" };
                    let what =
                        format!("constraint `{}`: a cohort of {tables} cannot be made to hold it", constraint.title());
                    if matches!(constraint.rule, Rule::Ascending { .. }) {
                        let expected = "ascending numbers and ordinal columns, or moments where `order` is no moment";
                        return Err(bad(what).expected(expected).remedy("take the others out of the constraint"));
                    }
                    return Err(in_table(&self.tables[table], bad(what))
                        .expected(
                            "of moments, an order between the row's own moment and one that is told from it, or two such, \
                             the later one not coarser, and no range that ends before that of the other",
                        )
                        .remedy("remove it, or mend the ranges"));
                }
            }
        }
        Ok(())
    }

    /// Checks that the tables may be used to fit a model: every domain is public.
    ///
    /// # Errors
    /// Bad input naming table, column and remedy.
    pub fn check_for_fit(&self) -> Result<()> {
        if let Some(flat) = &self.history {
            flat.check_for_fit()?;
        }
        self.check()?;
        for table in &self.tables {
            table.check_vouched().map_err(|e| in_table(table, e))?;
        }
        for &table in &self.tree() {
            let (table, alone) = (&self.tables[table], self.tables[table].alone());
            // A table of keys alone has no domains; how many rows it has is to be learnt.
            let checked = match alone.modelled().next() {
                Some(_) => alone.check_for_fit(),
                None => alone.check_vouched(),
            };
            checked.map_err(|e| in_table(table, e))?;
        }
        Ok(())
    }

    /// The schema as a model may carry it: see [`Schema::released`].
    pub fn released(&self) -> Self {
        let tables = self.tables.iter().map(|table| {
            if table.drop {
                return LinkedTable { drop: true, ..LinkedTable::new(&table.name) };
            }
            let columns: Vec<Column> = table.alone().released().columns;
            LinkedTable { columns, ..table.clone() }
        });
        let history = self.history.as_ref().map(|flat| Box::new(flat.released()));
        let linked = LinkedSpec { source: None, epsilon_cap: None, ..self.linked.clone() };
        Self { linked, tables: tables.collect(), history }
    }
}

/// An error about a table, which it names.
fn in_table(table: &LinkedTable, mut error: Error) -> Error {
    error.what = format!("table `{}`: {}", table.name, error.what);
    error
}
