//! What an expression says of cells.

use super::names::{list, nearest};
use super::parse::{Asked, Expression, Literal, Test, Value};
use crate::error::{Error, Result};
use crate::schema::{Column, DomainFrom, Kind, Schema};

/// Categories shown where one is not known.
const SHOWN: usize = 20;

/// Why a literal cannot be compared with the numbers of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    NotAMoment,
    MomentWanted,
    NumberWanted,
}

/// A cell, as a test sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Missing,
    /// A number, or a moment in ticks.
    Number(f64),
    Label(&'a str),
}

impl Cell<'_> {
    fn equals(self, literal: &Literal, column: &Column) -> bool {
        match self {
            Self::Missing => false,
            Self::Number(x) => literal.number(column) == Ok(x),
            Self::Label(label) => literal.is_label(label, column.kind == Kind::Boolean),
        }
    }

    /// Whether the cell stands before the value, where that is known.
    fn is_before(self, literal: &Literal, column: &Column) -> Option<bool> {
        let place = |is: &dyn Fn(&String) -> bool| column.categories.iter().position(is);
        match self {
            Self::Missing => None,
            Self::Number(x) => Some(x < literal.number(column).ok()?),
            Self::Label(label) => Some(place(&|own| own == label)? < place(&|own| literal.is_label(own, false))?),
        }
    }
}

impl Literal {
    /// The literal as a number of a numeric column, a moment in ticks.
    pub fn number(&self, column: &Column) -> Result<f64, Unfit> {
        match (&self.value, column.kind) {
            (Value::Text(text), Kind::Datetime) => {
                let clock = column.clock();
                let read = clock.parse(text, column.format.as_deref()).or_else(|| clock.parse(text, None));
                read.ok_or(Unfit::NotAMoment)
            }
            (_, Kind::Datetime) => Err(Unfit::MomentWanted),
            (Value::Number(value, _), _) => Ok(*value),
            _ => Err(Unfit::NumberWanted),
        }
    }

    /// Whether the literal means this label; in a column of true and false in any spelling of them.
    pub fn is_label(&self, label: &str, of_boolean: bool) -> bool {
        match &self.value {
            Value::Boolean(value) => label.eq_ignore_ascii_case(&value.to_string()),
            Value::Text(text) if of_boolean => label.eq_ignore_ascii_case(text),
            Value::Text(text) => label == text,
            Value::Number(value, written) => label == written || label.parse() == Ok(*value),
        }
    }
}

impl Asked {
    fn literals(&self) -> Vec<&Literal> {
        match self {
            Self::Equal(one) | Self::Less(one) | Self::LessOrEqual(one) => vec![one],
            Self::Between(from, to) => vec![from, to],
            Self::In(literals) => literals.iter().collect(),
            Self::Null => Vec::new(),
        }
    }

    fn wants_order(&self) -> bool {
        matches!(self, Self::Less(_) | Self::LessOrEqual(_) | Self::Between(..))
    }
}

impl Test {
    /// What the test says of a cell of its column; nothing where the cell is missing, or is no label that can be compared.
    fn truth(&self, column: &Column, cell: Cell) -> Option<bool> {
        let equal = |literal: &Literal| cell.equals(literal, column);
        let before = |literal: &Literal| cell.is_before(literal, column);
        let up_to = |literal: &Literal| Some(equal(literal) || before(literal)?);
        let yes = match &self.asked {
            Asked::Null => return Some((cell == Cell::Missing) != self.negated),
            _ if cell == Cell::Missing => return None,
            Asked::Equal(literal) => equal(literal),
            Asked::In(literals) => literals.iter().any(equal),
            Asked::Less(literal) => before(literal)?,
            Asked::LessOrEqual(literal) => up_to(literal)?,
            Asked::Between(from, to) => !before(from)? && up_to(to)?,
        };
        Some(yes != self.negated)
    }

    /// Whether the test can be asked of its column.
    fn check(&self, schema: &Schema) -> Result<()> {
        let Some(column) = schema.modelled().find(|c| c.name == self.column) else {
            let known = schema.modelled().map(|c| c.name.as_str());
            let near = nearest(&self.column, known);
            return Err(Error::bad_input(format!(
                "`{}` at character {} is not a modelled column",
                self.column, self.at
            ))
            .remedy(format!(
                "name a column that is neither dropped nor an identifier; the nearest are {}",
                list(near.into_iter())
            )));
        };
        let name = &column.name;
        let wrong = |literal: &Literal, what: &str| {
            Error::bad_input(format!("{what} at character {}, where `{name}` is compared", literal.at))
        };
        if self.asked.wants_order() && !column.kind.is_numeric() && column.kind != Kind::Ordinal {
            return Err(Error::bad_input(format!("the values of `{name}` have no order"))
                .remedy("compare with = or !=, or list the values: in ('a', 'b')"));
        }
        for literal in self.asked.literals() {
            if column.kind.is_numeric() {
                literal.number(column).map_err(|unfit| match unfit {
                    Unfit::NotAMoment => wrong(literal, "the text is no date or time")
                        .remedy("write it as in the table, in single quotes"),
                    Unfit::MomentWanted => wrong(literal, "this is no date or time")
                        .remedy("write it as text in single quotes, such as '2020-01-31'"),
                    Unfit::NumberWanted => wrong(literal, "this is no number").remedy("write a number, without quotes"),
                })?;
                continue;
            }
            let labels = column.labels();
            let of_boolean = column.kind == Kind::Boolean;
            let is_open = labels.is_empty() || column.domain_from == Some(DomainFrom::Discovered);
            if !is_open && !labels.iter().any(|label| literal.is_label(label, of_boolean)) {
                let near = match &literal.value {
                    Value::Text(text) if labels.len() > SHOWN => nearest(text, labels.iter().map(String::as_str)),
                    _ => labels.iter().map(String::as_str).take(SHOWN).collect(),
                };
                let more = if near.len() < labels.len() { ", ..." } else { "" };
                return Err(wrong(literal, "the value is not one of the column's categories")
                    .expected(format!("one of its {}: {}{more}", labels.len(), list(near.into_iter())))
                    .remedy("check the spelling; texts go in single quotes"));
            }
        }
        Ok(())
    }
}

impl<T> Expression<T> {
    /// Its tests, in order.
    pub fn tests(&self) -> Vec<&T> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::tests).collect(),
            Self::Not(inner) => inner.tests(),
            Self::Test(test) => vec![test],
        }
    }

    /// The same with something else in the place of each test.
    ///
    /// # Errors
    /// What `change` gives.
    pub fn map<U>(&self, change: &mut impl FnMut(&T) -> Result<U>) -> Result<Expression<U>> {
        let mut all = |parts: &[Self]| parts.iter().map(|part| part.map(change)).collect::<Result<_>>();
        Ok(match self {
            Self::All(parts) => Expression::All(all(parts)?),
            Self::Any(parts) => Expression::Any(all(parts)?),
            Self::Not(inner) => Expression::Not(Box::new(inner.map(change)?)),
            Self::Test(test) => Expression::Test(change(test)?),
        })
    }

    /// What the expression says where each test has the answer that `answer` gives; nothing where that is not known.
    pub fn truth(&self, answer: &impl Fn(&T) -> Option<bool>) -> Option<bool> {
        match self {
            Self::Not(inner) => inner.truth(answer).map(|yes| !yes),
            Self::Test(test) => answer(test),
            Self::All(parts) => joined(parts, false, answer),
            Self::Any(parts) => joined(parts, true, answer),
        }
    }
}

impl Expression {
    /// Checks each test against the columns of a schema.
    ///
    /// # Errors
    /// Bad input for a column that is not modelled, a value that the column cannot be compared with, and a category that
    /// it does not have.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        self.tests().iter().try_for_each(|test| test.check(schema))
    }

    /// What the expression says of a row; `cell` gives the cells of its columns.
    pub fn truth_of<'a>(&self, schema: &Schema, cell: &impl Fn(&str) -> Cell<'a>) -> Option<bool> {
        self.truth(&|test| test.truth(schema.column(&test.column)?, cell(&test.column)))
    }

    /// Whether it is true of each row that the domains allow, as far as looking at one test after the other can tell.
    pub fn is_always(&self, schema: &Schema, answer: bool) -> bool {
        match (self, answer) {
            (Self::Not(inner), _) => inner.is_always(schema, !answer),
            (Self::Test(test), _) => schema.column(&test.column).is_some_and(|column| test.is_always(column, answer)),
            (Self::All(parts), true) | (Self::Any(parts), false) => parts.iter().all(|p| p.is_always(schema, answer)),
            (Self::All(parts), false) | (Self::Any(parts), true) => parts.iter().any(|p| p.is_always(schema, answer)),
        }
    }
}

impl Test {
    /// Whether every cell that the column may have gives this answer.
    fn is_always(&self, column: &Column, answer: bool) -> bool {
        let is = |cell: Cell| self.truth(column, cell) == Some(answer);
        if column.nullable && !is(Cell::Missing) {
            return false;
        }
        let ends = |(min, max)| {
            // What is true of both ends and of every value that is named is true between them.
            let named = self.asked.literals().into_iter().filter_map(|literal| literal.number(column).ok());
            let between: Vec<f64> =
                named.flat_map(|x| [x - 0.5, x, x + 0.5]).filter(|x| (min..=max).contains(x)).collect();
            [min, max].into_iter().chain(between).all(|x| is(Cell::Number(x)))
        };
        if column.kind.is_numeric() {
            column.range().is_some_and(ends)
        } else {
            let labels = column.labels();
            !labels.is_empty() && labels.iter().all(|label| is(Cell::Label(label)))
        }
    }
}

/// The answer of several expressions of which one that is `end` settles it.
fn joined<T>(parts: &[Expression<T>], end: bool, answer: &impl Fn(&T) -> Option<bool>) -> Option<bool> {
    let mut unknown = false;
    for part in parts {
        match part.truth(answer) {
            Some(truth) if truth == end => return Some(end),
            None => unknown = true,
            Some(_) => {}
        }
    }
    if unknown { None } else { Some(!end) }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn schema() -> Schema {
        Schema::from_toml(
            "[table]\nname = \"t\"\n[[column]]\nname = \"age\"\nkind = \"integer\"\nmin = 0\nmax = 99\n\
             [[column]]\nname = \"sex\"\nkind = \"categorical\"\ncategories = [\"F\", \"M\"]\nnullable = false\n\
             [[column]]\nname = \"stage\"\nkind = \"ordinal\"\ncategories = [\"I\", \"II\", \"III\"]\n\
             [[column]]\nname = \"day\"\nkind = \"datetime\"\ntype = \"date32\"\n\
             [[column]]\nname = \"dead\"\nkind = \"boolean\"\n[[column]]\nname = \"id\"\nkind = \"identifier\"\n",
        )
        .unwrap()
    }

    #[test]
    fn expressions_have_the_truth_of_sql() {
        let schema = schema();
        let row = |name: &str| match name {
            "age" => Cell::Number(40.0),
            "sex" => Cell::Label("M"),
            "stage" => Cell::Label("II"),
            "day" => Cell::Number(1.0),
            _ => Cell::Missing,
        };
        for (text, expected) in [
            ("age = 40", Some(true)),
            ("age between 41 and 50", Some(false)),
            ("age not in (1, 40)", Some(false)),
            ("sex = 'M' and stage > 'I'", Some(true)),
            ("stage >= 'III'", Some(false)),
            ("day <= '1970-01-02' and not day < '1970-01-02'", Some(true)),
            ("dead = true", None),
            ("dead != true or sex = 'F'", None),
            ("dead = true or sex = 'M'", Some(true)),
            ("dead is null and not (age > 40)", Some(true)),
        ] {
            let expression = parse(text).unwrap();
            expression.check(&schema).unwrap();
            assert_eq!(expression.truth_of(&schema, &row), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_remedy() {
        for (text, what) in [
            ("agee = 3", "`agee` at character 1 is not a modelled column"),
            ("id = 3", "`id` at character 1 is not a modelled column"),
            ("sex < 'M'", "no order"),
            ("age = 'x'", "no number at character 7"),
            ("day = 3", "no date or time"),
            ("day = 'soon'", "no date or time"),
            ("sex = 'M' or sex = 'X'", "not one of the column's categories at character 20"),
        ] {
            let e = parse(text).unwrap().check(&schema()).unwrap_err();
            assert!(e.what.contains(what) && e.remedy.is_some() && e.kind.exit_code() == 3, "{text}: {e}");
        }
    }

    #[test]
    fn what_always_holds_is_seen() {
        let schema = schema();
        for (text, always, never) in [
            ("sex in ('F', 'M')", true, false),
            ("sex = 'F'", false, false),
            ("sex != 'F' and sex != 'M'", false, false),
            ("age >= 0", false, false),
            ("age is null or age <= 99", false, false),
            ("sex not in ('M', 'F')", false, true),
            ("not (sex in ('M', 'F'))", false, true),
        ] {
            let expression = parse(text).unwrap();
            let found = (expression.is_always(&schema, true), expression.is_always(&schema, false));
            assert_eq!(found, (always, never), "{text}");
        }
        let mut complete = schema;
        complete.columns[0].nullable = false;
        assert!(parse("age >= 0 and age < 100").unwrap().is_always(&complete, true));
        assert!(parse("age > 99").unwrap().is_always(&complete, false));
        assert!(!parse("age != 50").unwrap().is_always(&complete, true));
    }
}
