//! Whether a rule can be asked of a table.

use super::order::{closes_circle, computed_twice};
use super::{Constraint, MapValue, Rule, common_unit, own_tolerance};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::expression::{Expression, parse};
use crate::schema::formula;
use crate::schema::{Column, DomainFrom, Kind, Schema};

/// Constraints that a schema may have.
const MAX_CONSTRAINTS: usize = 256;

impl Schema {
    /// Checks the constraint of this number against the columns, and against those before it.
    ///
    /// # Errors
    /// Bad input naming the constraint and the remedy.
    pub(crate) fn check_constraint(&self, index: usize) -> Result<()> {
        let constraint = &self.constraints[index];
        let title = constraint.title();
        let named = |mut e: Error| {
            e.what = format!("constraint `{title}`: {}", e.what);
            // An expression of a file that cannot be read is bad input; on the command line it is a usage error.
            e.kind = ErrorKind::BadInput;
            e
        };
        if index >= MAX_CONSTRAINTS {
            return Err(named(refuse(format!("the schema has more than {MAX_CONSTRAINTS}"), "leave some out")));
        }
        constraint.check(self).map_err(named)?;
        if let Some(column) = computed_twice(self, index) {
            return Err(named(refuse(
                format!("`{column}` is decided by another constraint"),
                "let one sum, formula, bins or dependency decide each column",
            )));
        }
        if closes_circle(self, index) {
            return Err(named(refuse(
                "with those before it, it goes round in a circle".into(),
                "remove one of the constraints of the circle",
            )));
        }
        Ok(())
    }
}

fn refuse(what: String, remedy: &str) -> Error {
    Error::bad_input(what).remedy(remedy)
}

fn impossible(what: &str) -> Error {
    refuse(format!("no row could hold it: {what}"), "mend the constraint, or the domains of its columns")
}

/// A modelled column.
fn column<'s>(schema: &'s Schema, name: &str) -> Result<&'s Column> {
    schema.modelled().find(|c| c.name == name).ok_or_else(|| {
        refuse(format!("`{name}` is not a modelled column"), "name a column that is neither dropped nor an identifier")
    })
}

/// The range of a column, but not one that a fit found out: that a rule leaves no room there is no mistake of the schema.
fn known_range(column: &Column) -> Option<(f64, f64)> {
    column.range().filter(|_| column.domain_from != Some(DomainFrom::Discovered))
}

/// Names that must differ.
fn all_different<'n>(names: impl Iterator<Item = &'n String>) -> Result<()> {
    let names: Vec<&String> = names.collect();
    match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        Some((_, name)) => Err(refuse(format!("`{name}` is named twice"), "name each column once")),
        None => Ok(()),
    }
}

impl Constraint {
    fn check(&self, schema: &Schema) -> Result<()> {
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err(refuse("the name is empty".into(), "give it a name, or leave `name` out"));
        }
        match &self.rule {
            Rule::Inequality { low, high, strict } => inequality(schema, low, high, *strict),
            Rule::Implication { when, then } => {
                let (when, then) = (expression(schema, "when", when)?, expression(schema, "then", then)?);
                match when.is_always(schema, true) && then.is_always(schema, false) {
                    true => Err(impossible("`when` is true and `then` false of all that the domains allow")),
                    false => Ok(()),
                }
            }
            Rule::Forbidden { never } => match expression(schema, "never", never)?.is_always(schema, true) {
                true => Err(impossible("`never` is true of all that the domains allow")),
                false => Ok(()),
            },
            Rule::Sum { total, parts } => sum(schema, total, parts),
            Rule::Unique { columns } => unique(schema, columns),
            Rule::Constant { columns } => of_unit(schema, columns, |_| true),
            Rule::Ascending { columns } => of_unit(schema, columns, |c| c.kind.is_numeric() || c.kind == Kind::Ordinal),
            Rule::Dependency { of, on, map, missing_together } => {
                all_different([of, on].into_iter())?;
                let (of, on) = (column(schema, of)?, column(schema, on)?);
                let has_few = |c: &Column| c.kind.has_labels() || matches!(c.kind, Kind::Code | Kind::Integer);
                if let Some(wrong) =
                    [(on, has_few(on)), (of, has_few(of) || of.kind == Kind::Real)].iter().find(|c| !c.1)
                {
                    return Err(refuse(
                        format!("`{}` has kind {}", wrong.0.name, wrong.0.kind.name()),
                        "let a categorical, ordinal, boolean, code or integer column decide such a column, or a real one",
                    ));
                }
                together(of, on, *missing_together)?;
                map.iter().try_for_each(|(key, value)| {
                    in_domain(on, "a key of the map", key, true)?;
                    in_domain(of, "a value of the map", &value.spelled(), !matches!(value, MapValue::Text(_)))
                })
            }
            Rule::Formula { of, formula, tolerance } => computed(schema, of, formula, *tolerance),
            Rule::Bins { of, on, starts, values, missing_together } => {
                bins(schema, [of, on], starts, values, *missing_together)
            }
            Rule::Missing { columns, unless } => missing(schema, columns, unless),
        }
    }
}

/// Whether two columns can be missing together.
fn together(of: &Column, on: &Column, missing_together: bool) -> Result<()> {
    match missing_together && of.nullable != on.nullable {
        true => Err(refuse(
            format!("only one of `{}` and `{}` can be missing", of.name, on.name),
            "leave `missing_together` out, or make both columns nullable",
        )),
        false => Ok(()),
    }
}

fn computed(schema: &Schema, of: &str, text: &str, tolerance: Option<f64>) -> Result<()> {
    let formula = formula::parse(text)?;
    let inputs = formula.columns();
    if inputs.is_empty() {
        return Err(refuse("the formula names no column".into(), "name the columns that it is computed from"));
    }
    if inputs.iter().any(|name| *name == of) {
        return Err(refuse(format!("`{of}` is computed from itself"), "leave it out of the formula"));
    }
    for name in inputs {
        let input = column(schema, name)?;
        let is_time_of_day = input.arrow_type.as_ref().is_some_and(|t| t.is_time_of_day());
        if !input.kind.is_numeric() || is_time_of_day {
            return Err(refuse(
                format!("`{name}` is no number and no moment of a calendar"),
                "name integer, real and datetime columns",
            ));
        }
    }
    let of = column(schema, of)?;
    if !of.kind.is_amount() {
        return Err(refuse(
            format!("`{}` has kind {}", of.name, of.kind.name()),
            "let a formula give an integer or a real column",
        ));
    }
    match (tolerance, own_tolerance(of)) {
        (None, None) => Err(refuse(
            format!("`{}` does not say how many decimals it has", of.name),
            "write decimals in its [[column]], or a tolerance",
        )),
        (Some(tolerance), own) if !(tolerance.is_finite() && tolerance >= own.unwrap_or(f64::MIN_POSITIVE)) => {
            Err(refuse(
                format!("the tolerance is below what the digits of `{}` can tell", of.name),
                "raise it, or leave it out",
            ))
        }
        _ => Ok(()),
    }
}

fn bins(
    schema: &Schema,
    [of, on]: [&String; 2],
    starts: &[f64],
    values: &[MapValue],
    missing_together: bool,
) -> Result<()> {
    all_different([of, on].into_iter())?;
    let (of, on) = (column(schema, of)?, column(schema, on)?);
    let has_values = of.kind.has_labels() || of.kind.is_amount() || of.kind == Kind::Code;
    if let Some(wrong) = [(on, on.kind.is_amount()), (of, has_values)].iter().find(|c| !c.1) {
        return Err(refuse(
            format!("`{}` has kind {}", wrong.0.name, wrong.0.kind.name()),
            "let an integer or a real column be grouped by a number or a category",
        ));
    }
    together(of, on, missing_together)?;
    if starts.is_empty() || !starts.iter().all(|x| x.is_finite()) || starts.windows(2).any(|w| w[0] >= w[1]) {
        return Err(refuse("starts are no numbers that grow".into(), "write where each group begins, in order"));
    }
    if values.len() != starts.len() + 1 {
        return Err(refuse(
            format!("{} starts make {} groups, and there are {} values", starts.len(), starts.len() + 1, values.len()),
            "write a value for each group, the one below the first start included",
        ));
    }
    values.iter().try_for_each(|value| {
        in_domain(of, "a value", &value.spelled(), of.kind.has_labels() || !matches!(value, MapValue::Text(_)))
    })
}

fn missing(schema: &Schema, columns: &[String], unless: &str) -> Result<()> {
    if columns.is_empty() {
        return Err(refuse("columns is empty".into(), "name at least one column"));
    }
    all_different(columns.iter())?;
    for name in columns {
        if !column(schema, name)?.nullable {
            return Err(refuse(format!("`{name}` is never missing"), "write nullable = true in its [[column]]"));
        }
    }
    expression(schema, "unless", unless).map(|_| ())
}

fn expression(schema: &Schema, field: &str, text: &str) -> Result<Expression> {
    let read = parse(text).and_then(|expression| expression.check(schema).map(|()| expression));
    read.map_err(|mut e| {
        e.what = format!("{field}: {}", e.what);
        e
    })
}

fn inequality(schema: &Schema, low: &String, high: &String, strict: bool) -> Result<()> {
    all_different([low, high].into_iter())?;
    let (low, high) = (column(schema, low)?, column(schema, high)?);
    let time_of_day = |c: &Column| c.arrow_type.as_ref().filter(|t| t.is_temporal()).map(|t| t.is_time_of_day());
    let alike = match (low.kind, high.kind) {
        (Kind::Datetime, Kind::Datetime) => {
            time_of_day(low).zip(time_of_day(high)).is_none_or(|(low, high)| low == high)
        }
        (low, high) => low.is_amount() && high.is_amount(),
    };
    if !alike {
        return Err(refuse(
            format!("`{}` and `{}` cannot be compared", low.name, high.name),
            "name two numbers, two dates or two times of day",
        ));
    }
    match (known_range(low), known_range(high)) {
        (Some((least, _)), Some((_, most))) => {
            let units = common_unit(low, high);
            let (least, most) = (units.0.of(least), units.1.of(most));
            if least > most || strict && least == most { Err(impossible("the ranges exclude it")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn sum(schema: &Schema, total: &String, parts: &[String]) -> Result<()> {
    if parts.is_empty() {
        return Err(refuse("parts is empty".into(), "name at least one column"));
    }
    all_different(std::iter::once(total).chain(parts))?;
    let total = column(schema, total)?;
    let parts: Vec<&Column> = parts.iter().map(|part| column(schema, part)).collect::<Result<_>>()?;
    let digits = |c: &Column| match c.kind {
        Kind::Integer => Ok(0),
        Kind::Real => c.decimals.ok_or_else(|| {
            refuse(format!("`{}` does not say how many decimals it has", c.name), "write decimals in its [[column]]")
        }),
        kind => Err(refuse(format!("`{}` has kind {}", c.name, kind.name()), "name integer and real columns")),
    };
    let own = digits(total)?;
    for part in &parts {
        if digits(part)? > own {
            return Err(refuse(
                format!("`{}` has more decimals than the total", part.name),
                "give the total as many decimals as its parts",
            ));
        }
    }
    let ranges: Option<Vec<(f64, f64)>> = parts.iter().map(|part| known_range(part)).collect();
    let Some((ranges, (min, max))) = ranges.zip(known_range(total)) else { return Ok(()) };
    let (least, most) = ranges.iter().fold((0.0, 0.0), |(least, most), (min, max)| (least + min, most + max));
    if least > max || most < min { Err(impossible("the ranges exclude it")) } else { Ok(()) }
}

fn unique(schema: &Schema, columns: &[String]) -> Result<()> {
    if columns.is_empty() {
        return Err(refuse("columns is empty".into(), "name at least one column"));
    }
    all_different(columns.iter())?;
    for name in columns {
        let Some(column) = schema.column(name).filter(|c| !c.drop) else {
            return Err(refuse(
                format!("`{name}` is not a column of the cohort"),
                "name columns of the schema that are not dropped",
            ));
        };
        let is_unit = schema.table.unit_column() == Some(name);
        if column.kind == Kind::Identifier && !is_unit {
            return Err(refuse(
                format!("`{name}` is an identifier, and differs in each row anyway"),
                "leave the constraint out, or name other columns",
            ));
        }
    }
    match schema.modelled().any(|c| columns.contains(&c.name)) {
        true => Ok(()),
        false => Err(refuse("it names no modelled column".into(), "add a column that is no identifier")),
    }
}

/// A rule over the rows of each unit.
fn of_unit(schema: &Schema, columns: &[String], fits: impl Fn(&Column) -> bool) -> Result<()> {
    if schema.table.unit_column().is_none() {
        return Err(refuse("each row is a different person".into(), "name the column of the unit in privacy_unit"));
    }
    if columns.is_empty() {
        return Err(refuse("columns is empty".into(), "name at least one column"));
    }
    all_different(columns.iter())?;
    for name in columns {
        let column = column(schema, name)?;
        if !fits(column) {
            return Err(refuse(
                format!("`{name}` has kind {}", column.kind.name()),
                "name numbers, moments and ordinal columns",
            ));
        }
        if schema.constraints.iter().any(|constraint| constraint.rule.computes() == Some(name)) {
            return Err(refuse(
                format!("`{name}` is decided by another constraint"),
                "ask it of the columns that decide this one",
            ));
        }
    }
    Ok(())
}

/// Whether a value of the map can be one of the column's.
fn in_domain(column: &Column, what: &str, spelled: &str, may_be_number: bool) -> Result<()> {
    let wrong = |expected: &str| {
        Err(refuse(format!("{what} is not a value of `{}`", column.name), "check the spelling").expected(expected))
    };
    if column.kind.is_numeric() {
        return match spelled.trim().parse::<f64>() {
            Ok(x) if may_be_number && (column.kind != Kind::Integer || x.fract() == 0.0) => match known_range(column) {
                Some((min, max)) if !(min..=max).contains(&x) => wrong("a number of its range"),
                _ => Ok(()),
            },
            _ if column.kind == Kind::Integer => wrong("a whole number"),
            _ => wrong("a number"),
        };
    }
    let labels = column.labels();
    let is_open = labels.is_empty() || column.domain_from == Some(DomainFrom::Discovered);
    if is_open || labels.iter().any(|label| label == spelled) { Ok(()) } else { wrong("one of its categories") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ConstraintFrom, Schema};

    const COLUMNS: &str = r#"
        [table]
        name = "stays"
        privacy_unit = "who"
        [[column]]
        name = "who"
        kind = "identifier"
        [[column]]
        name = "visit"
        kind = "identifier"
        [[column]]
        name = "admitted"
        kind = "datetime"
        type = "date32"
        min = "2020-01-01"
        max = "2021-12-31"
        [[column]]
        name = "discharged"
        kind = "datetime"
        type = "timestamp[us]"
        min = "2020-01-01"
        max = "2022-12-31"
        [[column]]
        name = "born"
        kind = "datetime"
        type = "date32"
        min = "2023-01-01"
        max = "2023-12-31"
        [[column]]
        name = "clock"
        kind = "datetime"
        type = "time32[s]"
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["F", "M"]
        nullable = false
        [[column]]
        name = "pregnant"
        kind = "boolean"
        [[column]]
        name = "drugs"
        kind = "real"
        decimals = 2
        min = 0
        max = 50
        [[column]]
        name = "ward"
        kind = "integer"
        min = 0
        max = 50
        [[column]]
        name = "cost"
        kind = "real"
        decimals = 2
        min = 0
        max = 80
        [[column]]
        name = "mass"
        kind = "real"
        [[column]]
        name = "note"
        kind = "categorical"
        drop = true
    "#;

    fn with(constraints: &str) -> Result<Schema> {
        Schema::from_toml(&format!("{COLUMNS}{constraints}"))
    }

    fn rule(lines: &str) -> Result<Schema> {
        with(&format!("[[constraint]]\n{lines}\n"))
    }

    #[test]
    fn each_kind_is_read_and_written_back() {
        let schema = with(
            r#"
            [[constraint]]
            name = "stay"
            kind = "inequality"
            low = "admitted"
            high = "discharged"
            [[constraint]]
            kind = "implication"
            when = "sex = 'M'"
            then = "pregnant = false"
            from = "data"
            [[constraint]]
            kind = "forbidden"
            never = "sex = 'M' and pregnant = true"
            [[constraint]]
            kind = "sum"
            total = "cost"
            parts = ["drugs", "ward"]
            [[constraint]]
            kind = "unique"
            columns = ["who", "admitted"]
            [[constraint]]
            kind = "dependency"
            of = "ward"
            on = "sex"
            map = { F = 1, M = 2 }
            [[constraint]]
            kind = "dependency"
            of = "mass"
            on = "pregnant"
            missing_together = true
            [[constraint]]
            kind = "formula"
            of = "drugs"
            formula = "(discharged - admitted) * 2"
            tolerance = 0.5
            [[constraint]]
            kind = "bins"
            of = "sex"
            on = "drugs"
            starts = [10, 20.5]
            values = ["F", "M", "F"]
            [[constraint]]
            kind = "missing"
            columns = ["pregnant", "mass"]
            unless = "sex = 'F'"
            "#,
        )
        .unwrap();
        assert_eq!(schema.constraints.len(), 10);
        assert_eq!(schema.constraints[1].from, ConstraintFrom::Data);
        assert_eq!(schema.constraints[0].title(), "stay");
        let text = schema.to_toml();
        assert_eq!(Schema::from_toml(&text).unwrap(), schema, "{text}");
        let json = serde_json::to_string(&schema.released()).unwrap();
        let read: Schema = serde_json::from_str(&json).unwrap();
        assert_eq!(read.constraints, schema.constraints);
        // The sum needs the ward, which the dependency decides.
        assert_eq!(schema.computing(), [6, 7, 8, 5, 3]);
    }

    #[test]
    fn constraints_must_be_possible() {
        for (lines, what) in [
            ("kind = \"inequality\"\nlow = \"admitted\"", "lacks `high`"),
            ("kind = \"sum\"\ntotal = \"cost\"\nparts = [\"ward\"]\nstrict = true", "`strict` belongs to another kind"),
            ("kind = \"inequality\"\nlow = \"admitted\"\nhigh = \"gone\"", "`gone` is not a modelled column"),
            ("kind = \"inequality\"\nlow = \"admitted\"\nhigh = \"note\"", "`note` is not a modelled column"),
            ("kind = \"inequality\"\nlow = \"admitted\"\nhigh = \"cost\"", "cannot be compared"),
            ("kind = \"inequality\"\nlow = \"admitted\"\nhigh = \"clock\"", "cannot be compared"),
            ("kind = \"inequality\"\nlow = \"cost\"\nhigh = \"cost\"", "`cost` is named twice"),
            ("kind = \"inequality\"\nlow = \"born\"\nhigh = \"discharged\"", "no row could hold it"),
            ("kind = \"implication\"\nwhen = \"sex = 'X'\"\nthen = \"ward = 1\"", "when: the value is not one of"),
            ("kind = \"implication\"\nwhen = \"sex = 'M'\"\nthen = \"ward =\"", "then: the condition cannot be read"),
            ("kind = \"implication\"\nwhen = \"sex in ('F', 'M')\"\nthen = \"sex not in ('F', 'M')\"", "no row could"),
            ("kind = \"forbidden\"\nnever = \"sex in ('F', 'M')\"", "no row could hold it"),
            ("kind = \"forbidden\"\nnever = \"gone = 1\"", "never: `gone` at character 1"),
            ("kind = \"sum\"\ntotal = \"cost\"\nparts = []", "parts is empty"),
            ("kind = \"sum\"\ntotal = \"cost\"\nparts = [\"sex\"]", "`sex` has kind categorical"),
            ("kind = \"sum\"\ntotal = \"cost\"\nparts = [\"mass\"]", "does not say how many decimals"),
            ("kind = \"sum\"\ntotal = \"ward\"\nparts = [\"drugs\"]", "more decimals than the total"),
            ("kind = \"sum\"\ntotal = \"cost\"\nparts = [\"drugs\", \"drugs\"]", "`drugs` is named twice"),
            ("kind = \"unique\"\ncolumns = []", "columns is empty"),
            ("kind = \"unique\"\ncolumns = [\"visit\"]", "differs in each row anyway"),
            ("kind = \"unique\"\ncolumns = [\"who\"]", "no modelled column"),
            ("kind = \"unique\"\ncolumns = [\"note\"]", "`note` is not a column of the cohort"),
            ("kind = \"dependency\"\nof = \"admitted\"\non = \"sex\"", "`admitted` has kind datetime"),
            ("kind = \"dependency\"\nof = \"ward\"\non = \"sex\"\nmap = { F = 99 }", "a value of the map"),
            ("kind = \"dependency\"\nof = \"ward\"\non = \"sex\"\nmap = { X = 1 }", "a key of the map"),
            ("kind = \"formula\"\nof = \"cost\"\nformula = \"ward +\"", "the formula cannot be read at character 7"),
            ("kind = \"formula\"\nof = \"cost\"\nformula = \"2\"", "names no column"),
            ("kind = \"formula\"\nof = \"cost\"\nformula = \"cost + ward\"", "computed from itself"),
            ("kind = \"formula\"\nof = \"cost\"\nformula = \"clock * 2\"", "`clock` is no number"),
            ("kind = \"formula\"\nof = \"sex\"\nformula = \"ward * 2\"", "`sex` has kind categorical"),
            ("kind = \"formula\"\nof = \"mass\"\nformula = \"ward * 2\"", "how many decimals it has"),
            ("kind = \"formula\"\nof = \"cost\"\nformula = \"ward * 2\"\ntolerance = 0.001", "below what the digits"),
            (
                "kind = \"bins\"\nof = \"sex\"\non = \"admitted\"\nstarts = [1]\nvalues = [\"F\", \"M\"]",
                "`admitted` has kind datetime",
            ),
            (
                "kind = \"bins\"\nof = \"sex\"\non = \"cost\"\nstarts = [9, 9]\nvalues = [\"F\", \"M\", \"F\"]",
                "no numbers that grow",
            ),
            (
                "kind = \"bins\"\nof = \"sex\"\non = \"cost\"\nstarts = [9]\nvalues = [\"F\"]",
                "1 starts make 2 groups, and there are 1 values",
            ),
            (
                "kind = \"bins\"\nof = \"sex\"\non = \"cost\"\nstarts = [9]\nvalues = [\"F\", \"X\"]",
                "a value is not a value",
            ),
            ("kind = \"missing\"\ncolumns = [\"sex\"]\nunless = \"ward = 1\"", "`sex` is never missing"),
            ("kind = \"missing\"\ncolumns = [\"ward\"]\nunless = \"gone = 1\"", "unless: `gone` at character 1"),
            (
                "kind = \"dependency\"\nof = \"ward\"\non = \"sex\"\nmissing_together = true",
                "only one of `ward` and `sex`",
            ),
        ] {
            let e = rule(lines).unwrap_err();
            assert!(e.what.contains(what) && e.remedy.is_some() && e.kind.exit_code() == 3, "{lines}: {e}");
            assert!(e.what.starts_with("line "), "{e}");
        }
    }

    #[test]
    fn what_cannot_be_decided_in_any_order_is_refused() {
        let sum = |total: &str, part: &str| {
            format!("[[constraint]]\nkind = \"sum\"\ntotal = \"{total}\"\nparts = [\"{part}\"]\n")
        };
        let twice = with(&(sum("cost", "drugs") + &sum("cost", "ward"))).unwrap_err();
        assert!(twice.what.contains("`cost` is decided by another constraint"), "{twice}");
        let circle = with(&(sum("cost", "drugs") + &sum("drugs", "cost"))).unwrap_err();
        assert!(circle.what.contains("circle") && circle.what.contains("`drugs = cost`"), "{circle}");
        let below = |low: &str, high: &str| {
            format!("[[constraint]]\nkind = \"inequality\"\nlow = \"{low}\"\nhigh = \"{high}\"\n")
        };
        let chain = below("drugs", "ward") + &below("ward", "cost");
        assert!(with(&chain).is_ok());
        assert!(with(&(chain + &below("cost", "drugs"))).unwrap_err().what.contains("circle"));
    }
}
