//! What a test means for the positions of its column.

use crate::cohort::arrays::data_type;
use crate::cohort::numbers::{Numbers, as_written};
use crate::encode::{Domain, Positions};
use crate::error::{Error, Result};
use crate::model::ModelFile;
use crate::schema::expression::{Asked, Literal, Test, Unfit, Value, list, nearest};
use crate::schema::{Bound, Column, DomainFrom, Kind};
use arrow_schema::DataType;

/// A modelled column, as a condition sees it.
pub struct Field<'m> {
    /// Index among the model's columns.
    pub index: usize,
    pub name: &'m str,
    /// `None` for the number of rows of the unit, which the table does not have.
    column: Option<&'m Column>,
    domain: &'m Domain,
    nullable: bool,
    /// A category that was not discovered is one that no row has.
    open: bool,
}

impl<'m> Field<'m> {
    /// The column that a test names.
    ///
    /// # Errors
    /// Bad input for a column that the model does not have, with the names that are nearest.
    pub fn of(test: &Test, model: &'m ModelFile) -> Result<Self> {
        let columns = &model.domain.columns;
        let Some(index) = columns.iter().position(|column| column.name == test.column) else {
            let schema = &model.header.schema;
            if schema.column(&test.column).is_some() {
                return Err(Error::bad_input("the condition asks for a column that is not modelled")
                    .column(&test.column)
                    .remedy("ask for a column that is neither an identifier nor dropped"));
            }
            let near = nearest(&test.column, columns.iter().map(|column| column.name.as_str()));
            return Err(Error::bad_input(format!(
                "the condition names a column at character {} that the model does not have",
                test.at
            ))
            .column(&test.column)
            .remedy(format!("check the spelling; the nearest names are {}", list(near.into_iter()))));
        };
        let column = &columns[index];
        Ok(Self {
            index,
            name: &column.name,
            column: model.header.schema.column(&column.name).filter(|_| Some(index) != model.domain.rows_column),
            domain: &column.domain,
            nullable: column.nullable,
            open: false,
        })
    }

    /// The column that a test of a constraint names. The constraint stands in the schema, so a list that was discovered may
    /// lack what it names.
    ///
    /// # Errors
    /// As [`Field::of`].
    pub fn of_constraint(test: &Test, model: &'m ModelFile) -> Result<Self> {
        let field = Self::of(test, model)?;
        let open = field.column.is_some_and(|column| column.domain_from == Some(DomainFrom::Discovered));
        Ok(Self { open, ..field })
    }

    /// All positions of the column.
    pub fn all(&self) -> Positions {
        Positions::all(self.domain.positions(), self.nullable)
    }

    fn present(&self) -> Positions {
        Positions::all(self.domain.positions(), false)
    }

    /// The positions that satisfy a test, or with `opposite` those that make it false. Missing cells do neither, but
    /// where they are asked for.
    ///
    /// # Errors
    /// Bad input for a value that the column cannot be compared with, and for a category that it does not have.
    pub fn satisfying(&self, test: &Test, opposite: bool) -> Result<Positions> {
        let (yes, among) = match &test.asked {
            Asked::Null => (Positions::missing(), self.all()),
            asked => (self.satisfying_present(asked)?, self.present()),
        };
        Ok(if test.negated == opposite { among.intersection(&yes) } else { among.minus(&yes) })
    }

    fn satisfying_present(&self, asked: &Asked) -> Result<Positions> {
        Ok(match asked {
            Asked::Equal(literal) => self.equal(literal)?,
            Asked::In(literals) => {
                let sets = literals.iter().map(|literal| self.equal(literal)).collect::<Result<Vec<_>>>()?;
                sets.iter().fold(Positions::none(), |all, one| all.union(one))
            }
            Asked::Less(literal) => Positions::range(0, self.ordered(literal)?.0),
            Asked::LessOrEqual(literal) => Positions::range(0, self.ordered(literal)?.1),
            Asked::Between(from, to) => Positions::range(self.ordered(from)?.0, self.ordered(to)?.1),
            Asked::Null => Positions::missing(),
        })
    }

    fn equal(&self, literal: &Literal) -> Result<Positions> {
        let (below, up_to) = self.cut(literal)?;
        Ok(Positions::range(below, up_to))
    }

    fn ordered(&self, literal: &Literal) -> Result<(u32, u32)> {
        let has_order = self.column.is_none_or(|c| c.kind.is_numeric() || c.kind == Kind::Ordinal);
        if !has_order {
            return Err(self
                .wrong(literal, "the column's values have no order")
                .remedy("compare with = or !=, or list the values: in ('a', 'b')"));
        }
        self.cut(literal)
    }

    /// How many positions are less than a value, and how many are less or equal.
    fn cut(&self, literal: &Literal) -> Result<(u32, u32)> {
        match (self.domain, self.column) {
            (Domain::Numbers { min, step, positions }, Some(column)) => {
                let value = self.number(literal, column)?;
                let data_type = data_type(column);
                let value = if data_type == DataType::Float32 { f64::from(value as f32) } else { value };
                let numbers = Numbers::new(column, *min, *step);
                let written = |p: u32| as_written(numbers.at(p), column, &data_type);
                Ok((first(*positions, |p| written(p) >= value), first(*positions, |p| written(p) > value)))
            }
            (Domain::Labels { labels, .. }, _) => match self.label(literal, labels) {
                Err(_) if self.open => Ok((0, 0)),
                place => place.map(|place| (place, place + 1)),
            },
            (Domain::Numbers { .. }, None) => Err(self.wrong(literal, "the column cannot be compared")),
        }
    }

    fn number(&self, literal: &Literal, column: &Column) -> Result<f64> {
        literal.number(column).map_err(|unfit| match unfit {
            Unfit::NotAMoment => self
                .wrong(literal, "the text is no date or time")
                .expected(column.format.as_ref().map_or_else(
                    || "an ISO 8601 date or time".to_owned(),
                    |format| format!("a moment written as {format}"),
                ))
                .remedy("write it as in the table, in single quotes"),
            Unfit::MomentWanted => self
                .wrong(literal, "the column is compared with a date or time")
                .remedy("write it as text in single quotes, such as '2020-01-31'"),
            Unfit::NumberWanted => {
                self.wrong(literal, "the column is compared with a number").remedy("write a number, without quotes")
            }
        })
    }

    fn label(&self, literal: &Literal, labels: &[String]) -> Result<u32> {
        let is_boolean = self.column.is_some_and(|column| column.kind == Kind::Boolean);
        let place = labels.iter().position(|label| literal.is_label(label, is_boolean));
        place.map(|place| place as u32).ok_or_else(|| {
            let near = match &literal.value {
                Value::Text(text) if labels.len() > 20 => nearest(text, labels.iter().map(String::as_str)),
                _ => labels.iter().map(String::as_str).take(20).collect(),
            };
            let more = if near.len() < labels.len() { ", ..." } else { "" };
            self.wrong(literal, "the condition is impossible: the column does not have this value")
                .expected(format!("one of its {}: {}{more}", labels.len(), list(near.into_iter())))
                .remedy("check the spelling; texts go in single quotes")
        })
    }

    fn wrong(&self, literal: &Literal, what: &str) -> Error {
        Error::bad_input(format!("{what} (character {} of the condition)", literal.at)).column(self.name)
    }

    /// Says why no position satisfies a test.
    pub fn impossible(&self, test: &Test) -> Error {
        let error =
            Error::bad_input("the condition is impossible: no value of the column satisfies it").column(self.name);
        match (self.domain, self.column) {
            _ if test.asked == Asked::Null && !self.nullable => {
                error.expected("cells that are there: the schema says nullable = false").remedy("leave `is null` out")
            }
            (Domain::Numbers { .. }, Some(column)) => {
                let end = |bound: &Option<Bound>| match bound {
                    Some(Bound::Integer(n)) => n.to_string(),
                    Some(Bound::Real(x)) => x.to_string(),
                    Some(Bound::Moment(text)) => text.clone(),
                    None => "unknown".to_owned(),
                };
                error
                    .expected(format!(
                        "values of its public range, {} to {}, as finely as it is written",
                        end(&column.min),
                        end(&column.max)
                    ))
                    .remedy("ask for values inside the range; for a fine grid use `between` in place of `=`")
            }
            _ => error.remedy("ask for some of its values, or leave the column out of the condition"),
        }
    }
}

/// The first of `0..end` that is far enough, else `end`: what is far enough stays so.
fn first(end: u32, far_enough: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if far_enough(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::MISSING;
    use crate::schema::ArrowType;
    use crate::schema::datetime;
    use crate::schema::expression::{Expression, parse};

    type Holds = fn(f64, f64) -> bool;

    fn test(text: &str) -> Test {
        match parse(text) {
            Ok(Expression::Test(test)) => test,
            other => panic!("{other:?}"),
        }
    }

    fn column(kind: Kind, data_type: &str, change: impl FnOnce(&mut Column)) -> Column {
        let mut column = Column::new("x", kind);
        column.arrow_type = Some(data_type.parse::<ArrowType>().unwrap());
        change(&mut column);
        column
    }

    fn field<'m>(column: &'m Column, domain: &'m Domain) -> Field<'m> {
        Field { index: 0, name: "x", column: Some(column), domain, nullable: true, open: false }
    }

    /// What a comparison says of every position is what it says of the number that is written there, also where the
    /// grid is finer or the type coarser.
    #[test]
    fn numbers_are_compared_as_they_are_written() {
        let real = |data_type: &str, decimals| column(Kind::Real, data_type, |c| c.decimals = decimals);
        let grid = |min, step| Domain::Numbers { min, step, positions: 1000 };
        for (column, domain) in [
            (real("float64", Some(1)), grid(30.0, 0.1)),
            (real("decimal128(5, 1)", None), grid(30.0, 0.037)),
            (real("float32", Some(1)), grid(30.0, 0.1)),
            (column(Kind::Integer, "int16", |_| ()), grid(0.0, 1.0)),
            (column(Kind::Integer, "int64", |_| ()), grid(0.0, 1.5)),
        ] {
            let field = field(&column, &domain);
            let data_type = data_type(&column);
            let Domain::Numbers { min, step, positions } = domain else { panic!() };
            let numbers = Numbers::new(&column, min, step);
            let own = |x: f64| if data_type == DataType::Float32 { f64::from(x as f32) } else { x };
            for value in [0.0, 31.0, 32.3, 33.7, 64.9, 66.0, 1e4] {
                let holds: [(&str, Holds); 6] = [
                    ("=", |x, v| x == v),
                    ("!=", |x, v| x != v),
                    ("<", |x, v| x < v),
                    ("<=", |x, v| x <= v),
                    (">", |x, v| x > v),
                    (">=", |x, v| x >= v),
                ];
                for (symbol, holds) in holds {
                    let test = test(&format!("x {symbol} {value}"));
                    let (yes, no) = (field.satisfying(&test, false).unwrap(), field.satisfying(&test, true).unwrap());
                    for p in 0..positions {
                        let expected = holds(as_written(numbers.at(p), &column, &data_type), own(value));
                        assert_eq!((yes.contains(p), no.contains(p)), (expected, !expected), "{symbol} {value} at {p}");
                    }
                    assert!(!yes.contains(MISSING) && !no.contains(MISSING), "a missing cell is neither");
                }
            }
        }
    }

    #[test]
    fn moments_are_read_in_the_columns_format() {
        let written = |c: &mut Column| c.format = Some("%d.%m.%Y %H:%M".into());
        let column = column(Kind::Datetime, "utf8", written);
        let start = datetime::parse("2020-01-01", None, column.ticks()).unwrap();
        let domain = Domain::Numbers { min: start, step: 1.0, positions: 7200 };
        let field = field(&column, &domain);
        let yes = field.satisfying(&test("x > '01.01.2020 00:30'"), false).unwrap();
        assert!(!yes.contains(1859), "00:30:59 is written 00:30, and that is not later");
        assert!(yes.contains(1860));
        assert_eq!(yes, field.satisfying(&test("x > '2020-01-01T00:30'"), false).unwrap());
        for text in ["x > 3", "x > 'soon'"] {
            let e = field.satisfying(&test(text), false).unwrap_err();
            assert!(e.kind.exit_code() == 3 && e.remedy.is_some() && e.column.is_some(), "{e}");
        }
    }

    #[test]
    fn labels_have_the_order_of_the_schema_where_they_have_one() {
        let labels = ["low", "high", "10"].map(String::from).to_vec();
        let domain = Domain::Labels { labels, other: None, groups: vec![] };
        let ordinal = Column::new("x", Kind::Ordinal);
        let listed = Column::new("x", Kind::Categorical);
        let of = |column: &Column, text: &str| field(column, &domain).satisfying(&test(text), false);
        assert_eq!(of(&ordinal, "x >= 'high'").unwrap(), Positions::range(1, 3));
        assert_eq!(of(&ordinal, "x not between 'low' and 'high'").unwrap(), Positions::range(2, 3));
        assert_eq!(of(&listed, "x in ('low', 10)").unwrap(), Positions::range(0, 1).union(&Positions::range(2, 3)));
        assert_eq!(of(&listed, "x is null").unwrap(), Positions::missing());
        assert_eq!(of(&listed, "x is not null").unwrap(), Positions::range(0, 3));
        assert!(of(&listed, "x < 'high'").unwrap_err().what.contains("no order"));
        let e = of(&listed, "x != 'hgih'").unwrap_err();
        assert!(e.what.contains("impossible") && e.expected.unwrap().contains("`high`"));
    }
}
