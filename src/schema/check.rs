//! Whether a schema makes sense, and whether it may be fitted.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray};
use arrow_cast::{CastOptions, cast_with_options};

use super::analysis::Place;
use super::{ArrowType, Column, ConstraintFrom, DomainFrom, Kind, ROW, Schema, Spelling, TableSpec, datetime, source};
use crate::error::{Error, Result};

/// Categories that a column may have at most: codes are 16 bits wide, and one is kept for missing.
pub const MAX_CATEGORIES: usize = 65_000;

/// Digits after the point that a 64-bit float can hold for numbers of any use.
pub const MAX_DECIMALS: u32 = 15;

impl TableSpec {
    /// Checks what is said of the number of units.
    pub(in crate::schema) fn check_units(&self) -> Result<()> {
        let refused = |what: &str, remedy: &str| Err(Error::bad_input(what).remedy(remedy));
        match (self.units, self.at_least_units) {
            (Some(0), _) => refused("units is 0", "write the public number of units, or leave it out"),
            (_, Some(0)) => {
                refused("at_least_units is 0", "write a number that the units are not below, or leave it out")
            }
            (Some(_), Some(_)) => refused(
                "units and at_least_units are both given",
                "keep `units` where the number is public, `at_least_units` where it is not",
            ),
            _ => Ok(()),
        }
    }
}

impl Schema {
    /// Checks that the schema contradicts neither itself nor what the program can do.
    ///
    /// # Errors
    /// Bad input naming the column and the remedy.
    pub fn check(&self) -> Result<()> {
        self.check_columns()?;
        self.checked_analyses().try_for_each(|(_, result)| result)
    }

    /// Checks the table and its columns.
    pub(super) fn check_columns(&self) -> Result<()> {
        self.check_table()?;
        let mut seen = HashSet::new();
        for column in &self.columns {
            if !seen.insert(column.name.as_str()) {
                return Err(bad(column, "the name is given to two columns").remedy("rename or remove one of them"));
            }
            if !column.drop {
                self.check_column(column)?;
            }
        }
        Ok(())
    }

    /// Where each target, analysis and constraint stands, and whether it is possible.
    pub(super) fn checked_analyses(&self) -> impl Iterator<Item = (Place, Result<()>)> {
        let targets = self.targets.iter().enumerate().map(|(i, target)| (Place::Target(i), target.check(self)));
        let survival = self.survival.iter().enumerate().map(|(i, curves)| (Place::Survival(i), curves.check(self)));
        let regressions = self.regressions.iter().enumerate().map(|(i, fit)| (Place::Regression(i), fit.check(self)));
        let rules = (0..self.constraints.len()).map(|i| (Place::Constraint(i), self.check_constraint(i)));
        targets.chain(survival).chain(regressions).chain(rules)
    }

    /// Checks that the schema may be used to fit a model: the privacy unit is
    /// named, and every domain is public.
    ///
    /// # Errors
    /// Bad input naming the columns and the remedy; also everything that [`Schema::check`] refuses.
    pub fn check_for_fit(&self) -> Result<()> {
        self.check_ready()?;
        self.check_vouched()
    }

    /// Checks that somebody vouches for all that is said of the columns and of their rules.
    pub(super) fn check_vouched(&self) -> Result<()> {
        self.check_reading()?;
        let from_data: Vec<&Column> = self
            .columns
            .iter()
            .filter(|c| c.domain_from == Some(DomainFrom::Data) && (c.is_modelled() || !c.kind_is_public()))
            .collect();
        if let [first, ..] = from_data.as_slice() {
            return Err(bad(first, format!("what is said of it was read from the rows{}", and_others(&from_data))).remedy(
                "check the fields beside which that is said against a codebook and write domain_from = \"public\" (a column \
                 that you leave out yourself needs no such line), pay for learning domains with --discover-epsilon E, or run \
                 `synthward inspect` with --assume-public where the table itself is public",
            ));
        }
        let named = |from: Option<DomainFrom>| -> Vec<&Column> {
            self.modelled().filter(|c| c.domain_from == from && (from.is_some() || c.has_domain())).collect()
        };
        let discovered = named(Some(DomainFrom::Discovered));
        if let [first, ..] = discovered.as_slice() {
            return Err(bad(first, format!("the domain was learnt by an earlier fit{}", and_others(&discovered)))
                .expected("domain_from = \"public\"")
                .remedy("what a model released is public: write domain_from = \"public\""));
        }
        if let Some(constraint) = self.constraints.iter().find(|rule| rule.from == ConstraintFrom::Data) {
            return Err(Error::bad_input(format!(
                "constraint `{}` was read from the rows: that it holds in all of them says something of each",
                constraint.title()
            ))
            .expected("from = \"public\"")
            .remedy(
                "write from = \"public\" where it holds of any such table by what its columns mean, else remove it; \
                 --discover-epsilon E leaves it out",
            ));
        }
        let unsaid = named(None);
        if let [first, ..] = unsaid.as_slice() {
            return Err(bad(first, format!("nobody says where the domain comes from{}", and_others(&unsaid)))
                .expected("domain_from = \"public\"")
                .remedy(
                    "write domain_from = \"public\" where a codebook or common knowledge gives the domain, or pay for \
                     learning it with --discover-epsilon E",
                ));
        }
        if let Some(column) = self.modelled().find(|c| c.kind == Kind::Code && c.categories.is_empty()) {
            return Err(bad(column, "the codes are not listed").expected("categories").remedy(
                "list the codes that can occur, from the code system's own tables, or pay for learning them with \
                 --discover-epsilon E",
            ));
        }
        if let Some(column) = self.modelled().find(|c| c.kind.is_listed() && c.categories.is_empty()) {
            return Err(bad(column, "the categories are not listed")
                .expected("categories")
                .remedy("list them, pay for learning them with --discover-epsilon E, or write drop = true"));
        }
        match self.modelled().find(|c| c.kind.is_numeric() && c.range().is_none()) {
            Some(column) => Err(bad(column, "the range is not given").expected("min and max").remedy(
                "write the smallest and the largest value that the column can have, or pay for learning them with \
                     --discover-epsilon E",
            )),
            None => Ok(()),
        }
    }

    /// Checks that the schema may be used for a fit that pays for the domains
    /// which nobody vouches for: the privacy unit is named, and somebody vouches for all kinds.
    ///
    /// # Errors
    /// As [`Schema::check_for_fit`], domains left aside.
    pub fn check_for_discovery(&self) -> Result<()> {
        self.check_ready()?;
        self.check_reading()?;
        let guessed: Vec<&Column> = self.columns.iter().filter(|c| !c.kind_is_public()).collect();
        match guessed.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(bad(
                first,
                format!("its kind, and whether it is left out, were read from the rows{}", and_others(&guessed)),
            )
            .expected("kind_from = \"public\"")
            .remedy(
                "no budget pays for kinds: write that where kind, type and format are those of the source's documentation; \
                 `synthward inspect` with --kinds-public writes it for all columns",
            )),
        }
    }

    /// Checks that somebody vouches for how the file is read, where some of that was told from the rows.
    fn check_reading(&self) -> Result<()> {
        match self.table.reading.from {
            Some(ConstraintFrom::Data) => {
                Err(Error::bad_input("how the table's text is read was told from the rows").expected("from = \"public\" in `reading`").remedy(
                    "write that there where decimal mark and encoding are those of the source's documentation; no budget pays \
                     for them",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Checks that somebody's privacy is protected, and something is left to model.
    fn check_ready(&self) -> Result<()> {
        self.check()?;
        if self.table.privacy_unit.is_none() {
            return Err(Error::bad_input("the schema does not say whose privacy is protected").expected("privacy_unit in [table]").remedy(
                "set privacy_unit to the column that names the patient, or to \"row\" when each row is a different person",
            ));
        }
        if self.modelled().next().is_none() {
            return Err(Error::bad_input("no column is left to model: all are identifiers or dropped")
                .remedy("give at least one column another kind, without drop"));
        }
        self.modelled().try_for_each(check_storable)
    }

    /// The schema without the domains and constraints that nobody vouches for, the domains marked as to be
    /// discovered. What was read from the rows goes, resolution, step and
    /// completeness included; what the schema's author alone can have said
    /// (`other`, and the decimals, the step or the resolution of a column that was not
    /// drafted from the rows) stays.
    pub fn without_private_domains(&self) -> Self {
        let forget = |column: &Column| {
            let from_data = column.domain_from == Some(DomainFrom::Data);
            if !column.is_modelled() || column.domain_is_public() && !(from_data && column.kind == Kind::Boolean) {
                return column.clone();
            }
            Column {
                min: None,
                max: None,
                decimals: column.decimals.filter(|_| !from_data),
                step: column.step.filter(|_| !from_data),
                resolution: column.resolution.filter(|_| !from_data),
                categories: column.other.iter().cloned().collect(),
                nullable: true,
                domain_from: (column.kind != Kind::Boolean).then_some(DomainFrom::Discovered),
                ..column.clone()
            }
        };
        let columns = self.columns.iter().map(forget).collect();
        Self { columns, constraints: self.public_constraints(), ..self.clone() }
    }

    /// Leaves out the targets and analyses that ask for a category which was not discovered.
    pub fn forget_impossible_analyses(&mut self) {
        let schema = self.clone();
        self.targets.retain(|target| target.check(&schema).is_ok());
        self.survival.retain(|survival| survival.check(&schema).is_ok());
        self.regressions.retain(|regression| regression.check(&schema).is_ok());
    }

    fn check_table(&self) -> Result<()> {
        let table = &self.table;
        if table.name.trim().is_empty() {
            return Err(Error::bad_input("the table has no name").remedy("set name in [table]"));
        }
        if self.columns.is_empty() {
            return Err(
                Error::bad_input("the schema has no column").remedy("add a [[column]] for each column of the table")
            );
        }
        source::check(table.source.as_deref())?;
        table.reading.check()?;
        if table.epsilon_cap.is_some_and(|cap| !(cap > 0.0 && cap.is_finite())) {
            return Err(Error::bad_input("epsilon_cap in [table] is not a positive number")
                .remedy("write the most epsilon that all fits of the table together may spend, or remove the line"));
        }
        if let Some(unit) = table.unit_column() {
            let Some(column) = self.column(unit) else {
                return Err(Error::bad_input(format!(
                    "privacy_unit names `{unit}`, which is not a column of the schema"
                ))
                .remedy("name a column that identifies the person, or \"row\""));
            };
            if column.kind != Kind::Identifier {
                return Err(bad(column, format!("the privacy unit has kind {}", column.kind.name()))
                    .expected("kind = \"identifier\"")
                    .remedy("a column that names the person is never modelled: write kind = \"identifier\""));
            }
        }
        self.check_order()?;
        match (table.max_rows_per_unit, table.privacy_unit.as_deref()) {
            (Some(0), _) => Err(Error::bad_input("max_rows_per_unit is 0")
                .expected("1 or more")
                .remedy("raise it, or leave it out")),
            (Some(rows), _) if rows as usize > MAX_CATEGORIES => {
                Err(Error::bad_input(format!("max_rows_per_unit is {rows}"))
                    .expected(format!("at most {MAX_CATEGORIES}"))
                    .remedy("lower it: noise grows with what one unit may add"))
            }
            (Some(2..), Some(ROW)) => {
                Err(Error::bad_input("max_rows_per_unit is above 1, but each row is its own unit")
                    .expected("1")
                    .remedy("leave it out"))
            }
            _ => table.check_units(),
        }
    }

    fn check_order(&self) -> Result<()> {
        let Some(order) = &self.table.order else { return Ok(()) };
        if self.table.unit_column().is_none() {
            return Err(Error::bad_input("order is given, but no rows belong to one person")
                .expected("privacy_unit = the column that names the person")
                .remedy("name that column, or leave `order` out"));
        }
        let remedy = "name a column that says which of a person's rows comes first, or leave `order` out";
        match self.column(order) {
            None => {
                Err(Error::bad_input(format!("order names `{order}`, which is not a column of the schema"))
                    .remedy(remedy))
            }
            Some(column) if column.drop => Err(bad(column, "is the order of the rows, and is left out").remedy(remedy)),
            Some(column) if self.table.unit_column() == Some(order) => {
                Err(bad(column, "is the order of the rows, and the same in all rows of a person").remedy(remedy))
            }
            Some(Column { kind: Kind::Datetime | Kind::Integer | Kind::Real | Kind::Identifier, .. }) => Ok(()),
            Some(column) => Err(bad(column, format!("is the order of the rows, and has kind {}", column.kind.name()))
                .expected("a datetime, a number, or an identifier of whole numbers")
                .remedy(remedy)),
        }
    }

    fn check_column(&self, column: &Column) -> Result<()> {
        let kind = column.kind;
        if column.name.is_empty() {
            return Err(bad(column, "a column has no name").remedy("name it as in the table"));
        }
        let of_numbers = kind.is_amount() || column.arrow_type.as_ref().is_some_and(ArrowType::is_numeric);
        let misplaced = [
            ("min or max", column.min.is_some() || column.max.is_some(), kind.is_numeric()),
            ("decimals", column.decimals.is_some(), kind == Kind::Real),
            ("suffix", column.suffix.is_some(), of_numbers),
            ("limits", column.limits, of_numbers),
            ("step", column.step.is_some(), kind.is_amount()),
            ("categories", !column.categories.is_empty(), kind.is_listed() || kind == Kind::Code),
            ("other", column.other.is_some(), kind.is_listed() || kind == Kind::Code),
            ("system", column.system.is_some(), kind == Kind::Code),
            ("parents", column.parents.is_some(), kind == Kind::Code),
            ("format", column.format.is_some(), kind == Kind::Datetime),
            ("resolution", column.resolution.is_some(), kind == Kind::Datetime),
        ];
        if let Some((field, ..)) = misplaced.iter().find(|(_, present, belongs)| *present && !belongs) {
            return Err(bad(column, format!("{field} has no meaning for kind {}", kind.name()))
                .remedy("remove it, or give the column another kind"));
        }
        if let Some(arrow_type) = &column.arrow_type {
            let fits = match kind {
                Kind::Identifier => true,
                Kind::Categorical | Kind::Ordinal | Kind::Code => !arrow_type.is_temporal(),
                Kind::Boolean => arrow_type.is_text() || *arrow_type == ArrowType::BOOLEAN,
                Kind::Integer | Kind::Real => arrow_type.is_numeric() || arrow_type.is_text(),
                Kind::Datetime => arrow_type.is_temporal() || arrow_type.is_text(),
            };
            if !fits {
                return Err(bad(column, format!("a column of type {arrow_type} cannot have kind {}", kind.name()))
                    .remedy("choose another kind, or drop = true"));
            }
        }
        self.check_categories(column)?;
        check_range(column)?;
        match (kind, column.decimals, &column.format) {
            (Kind::Code, ..) if column.system.is_none() && column.parents.is_none() => {
                Err(bad(column, "a code column needs its system, or a table of parents")
                    .expected("icd9cm, icd10, atc, loinc, rxnorm, snomed, cpt, hcpcs or prefix")
                    .remedy("write system = \"prefix\" when the codes belong to none of these"))
            }
            (Kind::Code, ..) if column.parents.as_ref().is_some_and(|parents| parents.too_deep().is_some()) => {
                Err(bad(column, "one of the parents stands above itself, or more than 32 levels up")
                    .remedy("a tree has no circle: mend the parents"))
            }
            (_, Some(d), _) if d > MAX_DECIMALS => {
                Err(bad(column, "too many decimals").expected(format!("at most {MAX_DECIMALS}")).remedy("lower it"))
            }
            (_, _, Some(format)) if !datetime::is_format(format) => Err(bad(column, "format has an unknown directive")
                .expected("strftime directives, such as %Y-%m-%d %H:%M:%S")
                .remedy("mend the format")),
            _ => Ok(()),
        }
    }

    fn check_categories(&self, column: &Column) -> Result<()> {
        let categories = &column.categories;
        if categories.len() > MAX_CATEGORIES {
            return Err(bad(column, "too many categories")
                .expected(format!("at most {MAX_CATEGORIES}"))
                .remedy("give the column kind = \"code\" or \"identifier\", or drop = true"));
        }
        let mut seen = HashSet::new();
        let (spelling, mut values) = (column.arrow_type.as_ref().and_then(Spelling::of), HashSet::new());
        for (position, category) in (1..).zip(categories) {
            if !seen.insert(category) {
                return Err(bad(column, format!("category number {position} stands twice in the list"))
                    .remedy("remove one of them"));
            }
            if spelling.and_then(|spelling| spelling.spell(category)).is_some_and(|value| !values.insert(value)) {
                return Err(bad(column, format!("category number {position} is another spelling of one above it"))
                    .remedy("remove one of them, or write type = \"utf8\" where they are two values"));
            }
            if self.table.is_missing(category) {
                return Err(bad(column, format!("category number {position} is also a missing marker"))
                    .remedy("remove it from categories, or from missing in [table]"));
            }
        }
        match &column.other {
            Some(other) if !seen.contains(other) => Err(bad(column, "other is not among the categories")
                .remedy("add it to categories, or name one that is there")),
            _ => Ok(()),
        }
    }
}

fn check_range(column: &Column) -> Result<()> {
    let whole = |x: f64| column.kind != Kind::Integer || x.fract() == 0.0;
    let ends = [("min", &column.min), ("max", &column.max)];
    for (end, bound) in ends.iter().filter_map(|(end, bound)| bound.as_ref().map(|b| (end, b))) {
        match column.bound(bound) {
            Some(x) if x.is_finite() && whole(x) => {}
            _ => {
                let expected = match column.kind {
                    Kind::Integer => "a whole number",
                    Kind::Real => "a finite number",
                    _ => "a quoted ISO 8601 date or time, such as \"2012-12-31\"",
                };
                return Err(bad(column, format!("{end} cannot be read")).expected(expected).remedy("mend it"));
            }
        }
    }
    match (ends[0].1, ends[1].1, column.range()) {
        (Some(_), None, _) | (None, Some(_), _) => {
            Err(bad(column, "only one of min and max is given").remedy("give both, or neither"))
        }
        (_, _, Some((min, max))) if min > max => Err(bad(column, "min is above max").remedy("exchange or mend them")),
        (_, _, range) => check_step(column, range),
    }
}

/// Whether numbers of the column can be multiples of its step.
fn check_step(column: &Column, range: Option<(f64, f64)>) -> Result<()> {
    let Some(step) = column.step else { return Ok(()) };
    let digits = column.decimals.unwrap_or(if column.kind == Kind::Integer { 0 } else { MAX_DECIMALS });
    let units = step * 10f64.powi(digits as i32);
    if !(step > 0.0 && step.is_finite() && (units - units.round()).abs() < 1e-6 && units >= 0.5) {
        return Err(bad(column, "numbers of the column cannot be multiples of its step")
            .expected("a number above 0 with no more decimals than the column")
            .remedy("mend it, or leave it out"));
    }
    match range {
        Some((min, max)) if (min / step - 1e-9).ceil() > (max / step + 1e-9).floor() => {
            Err(bad(column, "no multiple of its step lies between min and max").remedy("mend them, or leave step out"))
        }
        _ => Ok(()),
    }
}

/// Refuses a domain that the column's type cannot hold: its cohort could not be written, after the fit was paid for.
fn check_storable(column: &Column) -> Result<()> {
    let Some(arrow_type) = &column.arrow_type else { return Ok(()) };
    let values: ArrayRef = match (column.kind, column.range()) {
        (Kind::Integer | Kind::Real, Some((min, max))) if !arrow_type.is_text() => {
            Arc::new(Float64Array::from(vec![min, max]))
        }
        (Kind::Categorical | Kind::Ordinal | Kind::Code, _) => {
            Arc::new(StringArray::from_iter_values(&column.categories))
        }
        _ => return Ok(()),
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    match cast_with_options(&values, arrow_type.data_type(), &strict) {
        Ok(_) => Ok(()),
        Err(_) => Err(bad(column, format!("the type {arrow_type} cannot hold every value of the domain"))
            .remedy("write a wider type, such as int64 or utf8, or mend the domain")),
    }
}

impl Column {
    /// True when the column states values that could have been read from rows.
    fn has_domain(&self) -> bool {
        self.kind.is_numeric() || !self.categories.is_empty()
    }
}

fn bad(column: &Column, what: impl Into<String>) -> Error {
    Error::bad_input(what).column(&column.name)
}

/// " (and 2 other columns: `b`, `c`)", or nothing.
fn and_others(columns: &[&Column]) -> String {
    const SHOWN: usize = 8;
    let others: Vec<String> = columns.iter().skip(1).take(SHOWN).map(|c| format!("`{}`", c.name)).collect();
    match columns.len() - 1 {
        0 => String::new(),
        1 => format!(" (and that of {})", others[0]),
        n => format!(" (and those of {n} others: {}{})", others.join(", "), if n > SHOWN { ", ..." } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(table: &str, columns: &str) -> Result<Schema> {
        Schema::from_toml(&format!("[table]\nname = \"t\"\n{table}\n{columns}"))
    }

    const AGE: &str = "[[column]]\nname = \"age\"\nkind = \"integer\"\nmin = 0\nmax = 120\ndomain_from = \"public\"\n";
    const TALL: &str = "[[column]]\nname = \"tall\"\nkind = \"boolean\"\n";
    const ID: &str = "[[column]]\nname = \"id\"\nkind = \"identifier\"\n";

    #[test]
    fn contradictions_are_refused_with_a_remedy() {
        let column = |lines: &str| format!("[[column]]\nname = \"x\"\n{lines}\n");
        let cases = [
            ("", String::new(), "no column"),
            ("", format!("{AGE}{AGE}"), "two columns"),
            ("privacy_unit = \"who\"", AGE.into(), "not a column of the schema"),
            ("privacy_unit = \"age\"", AGE.into(), "has kind integer"),
            ("max_rows_per_unit = 0", AGE.into(), "max_rows_per_unit is 0"),
            ("privacy_unit = \"row\"\nmax_rows_per_unit = 2", AGE.into(), "its own unit"),
            ("units = 0", AGE.into(), "units is 0"),
            ("at_least_units = 0", AGE.into(), "at_least_units is 0"),
            ("units = 9\nat_least_units = 8", AGE.into(), "both given"),
            ("", column("kind = \"integer\"\nmin = 2\nmax = 1"), "min is above max"),
            ("", column("kind = \"integer\"\nmin = 2"), "only one of min and max"),
            ("", column("kind = \"integer\"\nmin = 0.5\nmax = 1"), "min cannot be read"),
            ("", column("kind = \"real\"\nmin = 0\nmax = inf"), "max cannot be read"),
            ("", column("kind = \"datetime\"\nmin = \"soon\"\nmax = \"2012-01-01\""), "min cannot be read"),
            ("", column("kind = \"datetime\"\nmin = 1\nmax = 2"), "min cannot be read"),
            ("", column("kind = \"datetime\"\nformat = \"%Q\""), "unknown directive"),
            ("", column("kind = \"real\"\ndecimals = 40"), "too many decimals"),
            ("", column("kind = \"ordinal\"\ncategories = [\"a\", \"a\"]"), "number 2 stands twice"),
            (
                "",
                column("kind = \"categorical\"\ntype = \"float64\"\ncategories = [\"1\", \"2\", \"1.0\"]"),
                "number 3 is another spelling",
            ),
            (
                "missing = [\"?\"]",
                column("kind = \"categorical\"\ncategories = [\"a\", \" ? \"]"),
                "number 2 is also a missing marker",
            ),
            ("", column("kind = \"categorical\"\ncategories = [\"a\"]\nother = \"b\""), "other is not among"),
            ("", column("kind = \"code\""), "needs its system"),
            ("", column("kind = \"boolean\"\nmin = 0\nmax = 1"), "no meaning for kind boolean"),
            (
                "",
                column("kind = \"categorical\"\ncategories = [\"a\"]\ntype = \"date32\""),
                "cannot have kind categorical",
            ),
        ];
        for (table, columns, what) in cases {
            let e = schema(table, &columns).unwrap_err();
            assert!(e.what.contains(what), "wanted {what:?}, got {e}");
            assert!(e.remedy.is_some(), "{e}");
            assert_eq!(e.kind.exit_code(), 3);
        }
    }

    #[test]
    fn targets_must_be_possible() {
        let sex = "[[column]]\nname = \"sex\"\nkind = \"categorical\"\ncategories = [\"F\", \"M\"]\n";
        let with = |target: &str| schema("", &format!("{AGE}{sex}{ID}[[target]]\nname = \"x\"\n{target}\n"));
        assert!(with("column = \"age\"\ntask = \"regression\"").is_ok());
        assert!(with("column = \"sex\"\ntask = \"binary\"\npositive = [\"F\"]\nexclude = [\"age\"]").is_ok());
        for (target, what) in [
            ("column = \"id\"\ntask = \"multiclass\"", "`id` is not a modelled column"),
            ("column = \"sex\"\ntask = \"multiclass\"\nexclude = [\"no\"]", "`no` is not a modelled column"),
            ("column = \"sex\"\ntask = \"regression\"", "is not a number"),
            ("column = \"age\"\ntask = \"binary\"\npositive = [\"3\"]", "is a number"),
            ("column = \"sex\"\ntask = \"binary\"", "positive does not name"),
            ("column = \"sex\"\ntask = \"binary\"\npositive = [\"D\"]", "positive does not name"),
            (
                "column = \"sex\"\ntask = \"binary\"\npositive = [\"F\"]\ngroups = [\"age\"]",
                "`age` has no list of groups",
            ),
            (
                "column = \"sex\"\ntask = \"binary\"\npositive = [\"F\"]\ngroups = [\"no\"]",
                "`no` is not a modelled column",
            ),
            ("column = \"age\"\ntask = \"regression\"\ngroups = [\"sex\"]", "for a binary task only"),
        ] {
            let e = with(target).unwrap_err();
            assert!(e.what.contains("target `x`: ") && e.what.contains(what), "{e}");
        }
    }

    #[test]
    fn dropped_columns_may_say_nothing_of_use() {
        assert!(
            schema("", &format!("{AGE}[[column]]\nname = \"note\"\nkind = \"categorical\"\ndrop = true\n")).is_ok()
        );
    }

    #[test]
    fn a_fit_wants_a_unit_and_public_domains() {
        let refused = |table: &str, columns: &str| schema(table, columns).unwrap().check_for_fit().unwrap_err();
        let unit = "privacy_unit = \"row\"";
        assert!(schema(unit, AGE).unwrap().check_for_fit().is_ok());
        assert!(schema("privacy_unit = \"id\"", &format!("{ID}{AGE}")).unwrap().check_for_fit().is_ok());
        assert!(refused("", AGE).to_string().contains("privacy_unit"));
        assert!(refused(unit, ID).what.contains("no column is left"));
        let e = refused(unit, &AGE.replace("public", "data"));
        assert_eq!(e.column.as_deref(), Some("age"));
        assert!(e.to_string().contains("--assume-public") && e.to_string().contains("domain_from = \"public\""), "{e}");
        assert!(refused(unit, &AGE.replace("domain_from = \"public\"", "")).what.contains("nobody says"));
        assert!(refused(unit, &AGE.replace("min = 0\nmax = 120", "")).what.contains("range is not given"));
        let unlisted = "[[column]]\nname = \"sex\"\nkind = \"categorical\"\n";
        assert!(refused(unit, unlisted).what.contains("categories are not listed"));
        assert!(refused(unit, &AGE.replace("public", "discovered")).what.contains("learnt by an earlier fit"));
    }

    #[test]
    fn a_fit_wants_types_that_hold_their_domains() {
        let column = |kind: &str, data_type: &str, domain: &str| {
            format!(
                "[[column]]\nname = \"x\"\nkind = \"{kind}\"\ntype = \"{data_type}\"\n{domain}\ndomain_from = \"public\"\n"
            )
        };
        let check = |column: &str| schema("privacy_unit = \"row\"", column).unwrap().check_for_fit();
        let many: Vec<String> = (0..200).map(|n| format!("\"c{n}\"")).collect();
        let many = format!("categories = [{}]", many.join(", "));
        for (kind, narrow, wide, domain) in [
            ("integer", "int8", "int16", "min = 0\nmax = 300"),
            ("integer", "uint32", "int32", "min = -1\nmax = 300"),
            ("real", "decimal128(3, 1)", "decimal128(4, 1)", "min = 0\nmax = 300"),
            ("categorical", "int8", "int16", "categories = [\"1\", \"300\"]"),
            ("ordinal", "float32", "utf8", "categories = [\"1\", \"many\"]"),
            ("categorical", "dictionary(int8, utf8)", "dictionary(uint8, utf8)", many.as_str()),
        ] {
            let e = check(&column(kind, narrow, domain)).unwrap_err();
            assert!(e.what.contains(narrow) && e.what.contains("cannot hold"), "{e}");
            assert_eq!((e.column.as_deref(), e.kind.exit_code()), (Some("x"), 3));
            check(&column(kind, wide, domain)).unwrap();
        }
    }

    #[test]
    fn discovery_wants_a_unit_and_forgets_what_is_not_public() {
        let discoverable = |table: &str, columns: &str| schema(table, columns).unwrap().check_for_discovery();
        let data = AGE.replace("public", "data") + "kind_from = \"public\"\n";
        assert!(discoverable("privacy_unit = \"row\"", &data).is_ok());
        for guessed in ["", "kind_from = \"data\"\n", "drop = true\n"] {
            let e =
                discoverable("privacy_unit = \"row\"", &(AGE.replace("public", "data") + guessed + TALL)).unwrap_err();
            assert!(e.column.as_deref() == Some("age") && e.to_string().contains("kind_from = \"public\""), "{e}");
        }
        assert!(discoverable("privacy_unit = \"row\"", &(AGE.to_owned() + "kind_from = \"data\"\n")).is_ok());
        assert!(discoverable("", &data).is_err());
        assert!(discoverable("privacy_unit = \"row\"", ID).is_err());
        let opened = |columns: &str| schema("", columns).unwrap().without_private_domains();
        assert_eq!(opened(AGE), schema("", AGE).unwrap(), "what is public stays");
        for private in [data, AGE.replace("domain_from = \"public\"", ""), AGE.replace("public", "discovered")] {
            let age = &opened(&private).columns[0];
            assert_eq!((age.range(), age.domain_from), (None, Some(DomainFrom::Discovered)));
        }
    }

    #[test]
    fn a_refusal_names_the_other_columns_too() {
        let columns: String = ["a", "b", "c"]
            .iter()
            .map(|n| AGE.replace("\"age\"", &format!("\"{n}\"")).replace("public", "data"))
            .collect();
        let e = schema("privacy_unit = \"row\"", &columns).unwrap().check_for_fit().unwrap_err();
        assert!(e.what.ends_with("(and those of 2 others: `b`, `c`)"), "{e}");
    }

    #[test]
    fn the_bound_on_rows_follows_the_unit() {
        let bound = |table: &str| schema(table, &format!("{ID}{AGE}")).unwrap().table.max_rows_per_unit();
        assert_eq!((bound(""), bound("privacy_unit = \"row\""), bound("privacy_unit = \"id\"")), (1, 1, 4));
        assert_eq!(bound("privacy_unit = \"id\"\nmax_rows_per_unit = 9"), 9);
    }
}
