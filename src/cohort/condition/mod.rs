//! Conditions: which synthetic rows are wanted.
//!
//! A condition is read (`schema::expression`), each of its tests becomes a set of positions of a column ([`meaning`]), and the whole
//! becomes disjoint boxes ([`boxes`]), each a set of positions per column. A box is evidence for the generator: for every
//! joint cell the part of its law that is allowed, and positions are drawn from the allowed part alone. So every row
//! satisfies the condition by construction, and a rare condition costs no more than a frequent one.
//!
//! Comparisons are those of SQL: a missing cell makes each of them false and its opposite too, and `is null` finds it.

pub(super) mod boxes;
pub(super) mod meaning;

use crate::encode::{Layout, Positions};
use crate::error::{Error, Result};
use crate::model::{Evidence, ModelFile};
use crate::schema::expression::{Expression, Test, parse};
use boxes::{Boxes, Region};
use meaning::Field;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Serialize;

/// The random stream of a condition's probability: no block of units has it.
const PROBABILITY_STREAM: u64 = u64::MAX;

/// A condition, as one model understands it.
pub struct Condition {
    text: String,
    cases: Vec<Case>,
    rarity: Rarity,
}

/// One box of a condition.
pub(super) struct Case {
    /// Its part of the condition's probability.
    pub share: f64,
    pub region: Region,
}

/// How rare what a condition asks for is, as the model has it.
///
/// # Privacy
/// Post-processing of a released model.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Rarity {
    /// The probability that a row satisfies the condition: the mean of the model's opinions.
    pub probability: f64,
    /// How far the opinions in the model are apart: their standard deviation; `None` where there is but one.
    pub probability_std: Option<f64>,
    /// Units that the model was fitted to.
    pub units: f64,
    /// Units expected to satisfy the condition among so many, one row of each looked at.
    pub expected_units: f64,
    /// Standard deviation of that number by chance alone (binomial).
    pub expected_units_std: f64,
    /// Standard deviation of the expected number between the opinions.
    pub expected_units_opinion_std: Option<f64>,
}

impl Rarity {
    fn of(opinions: &[f64], units: f64) -> Self {
        // Opinions are estimates, and those of several cases add up.
        let opinions: Vec<f64> = opinions.iter().map(|p| p.min(1.0)).collect();
        let count = opinions.len().max(1) as f64;
        let probability = opinions.iter().sum::<f64>() / count;
        let squares = opinions.iter().map(|p| (p - probability).powi(2)).sum::<f64>();
        let probability_std = (opinions.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Self {
            probability,
            probability_std,
            units,
            expected_units: units * probability,
            expected_units_std: (units * probability * (1.0 - probability).max(0.0)).sqrt(),
            expected_units_opinion_std: probability_std.map(|std| units * std),
        }
    }
}

impl Condition {
    /// Reads a condition and asks the model how rare it is. The `seed` decides what a model that has to estimate that
    /// draws for it.
    ///
    /// # Errors
    /// Usage error, naming the place, for a text that cannot be read. Bad input for a column or value that the model
    /// does not know, for a condition that is impossible or has no probability in the model, and for one that comes
    /// apart into too many cases.
    pub fn new(model: &ModelFile, text: &str, seed: u64) -> Result<Self> {
        Self::narrowed(model, text, seed, |region| Some(region.clone()))
    }

    /// The same, where the model knows the probability only of what `narrow` makes of a box: nothing, where no row is in it.
    ///
    /// # Errors
    /// As [`Condition::new`].
    pub(super) fn narrowed(
        model: &ModelFile,
        text: &str,
        seed: u64,
        narrow: impl Fn(&Region) -> Option<Region>,
    ) -> Result<Self> {
        let columns = &model.domain.columns;
        let all = columns.iter().map(|column| Positions::all(column.domain.positions(), column.nullable)).collect();
        // The first test that nothing satisfies: the likeliest reason when nothing satisfies the whole.
        let mut impossible = None;
        let satisfying = |test: &Test, opposite: bool| {
            let field = Field::of(test, model)?;
            let positions = field.satisfying(test, opposite)?;
            if positions.is_empty() {
                impossible.get_or_insert_with(|| field.impossible(test));
            }
            Ok((field.index, positions))
        };
        let boxes = Reader { all, satisfying }.boxes(&parse(text)?, false)?;
        if boxes.is_empty() {
            return Err(impossible.unwrap_or_else(contradiction));
        }
        let layout = Layout { cells: model.header.codecs.iter().map(|codec| codec.cells()).collect() };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(PROBABILITY_STREAM);
        let (mut cases, mut opinions): (Vec<Case>, Vec<f64>) = (Vec::new(), Vec::new());
        let known: Vec<(&Region, Region)> =
            boxes.regions().iter().filter_map(|region| Some((region, narrow(region)?))).collect();
        if known.is_empty() {
            return Err(excluded());
        }
        for (region, known) in &known {
            let mut evidence = Evidence::none(&layout);
            for (&j, positions) in known {
                evidence.restrict(j, &model.header.codecs[j].shares(positions));
            }
            if evidence.is_contradictory() {
                continue;
            }
            let own = model.generator.probabilities(&evidence, &mut rng);
            let share = own.iter().sum::<f64>() / own.len().max(1) as f64;
            if share > 0.0 {
                opinions.resize(own.len().max(opinions.len()), 0.0);
                opinions.iter_mut().zip(&own).for_each(|(sum, p)| *sum += p);
                cases.push(Case { share, region: (*region).clone() });
            }
        }
        let total: f64 = cases.iter().map(|case| case.share).sum();
        if !(total > 0.0) {
            return Err(Error::bad_input(
                "the condition has no probability in the model: what was released of these values is nothing but noise",
            )
            .remedy("ask for more values, or for fewer columns at once"));
        }
        cases.iter_mut().for_each(|case| case.share /= total);
        Ok(Self { text: text.trim().to_owned(), cases, rarity: Rarity::of(&opinions, model.header.units) })
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How rare it is.
    pub fn rarity(&self) -> &Rarity {
        &self.rarity
    }

    /// Disjoint boxes that together are the condition.
    pub(super) fn cases(&self) -> &[Case] {
        &self.cases
    }
}

/// The condition and the constraints exclude each other.
pub(super) fn excluded() -> Error {
    Error::bad_input("no row satisfies the condition and holds the constraints of the schema")
        .remedy("ask for what the constraints allow")
}

fn contradiction() -> Error {
    Error::bad_input("the condition is impossible: its parts contradict each other")
        .remedy("check `and` and `or`, and the parentheses around them")
}

/// Turns expressions into boxes.
pub(super) struct Reader<F> {
    /// All positions of each column.
    pub all: Vec<Positions>,
    /// The column that a test asks for, and the positions that make it true; false, where the flag says so.
    pub satisfying: F,
}

impl<F: FnMut(&Test, bool) -> Result<(usize, Positions)>> Reader<F> {
    /// The rows for which an expression is true, or with `opposite` those for which it is false.
    pub fn boxes(&mut self, expression: &Expression, opposite: bool) -> Result<Boxes> {
        match expression {
            Expression::Not(inner) => self.boxes(inner, !opposite),
            Expression::Test(test) => {
                let (column, positions) = (self.satisfying)(test, opposite)?;
                Ok(Boxes::of(column, positions))
            }
            Expression::All(parts) if !opposite => self.every(parts, opposite),
            Expression::Any(parts) if opposite => self.every(parts, opposite),
            Expression::All(parts) | Expression::Any(parts) => self.some(parts, opposite),
        }
    }

    fn every(&mut self, parts: &[Expression], opposite: bool) -> Result<Boxes> {
        parts.iter().try_fold(Boxes::everything(), |boxes, part| boxes.and(&self.boxes(part, opposite)?))
    }

    fn some(&mut self, parts: &[Expression], opposite: bool) -> Result<Boxes> {
        parts.iter().try_fold(Boxes::none(), |boxes, part| {
            let part = self.boxes(part, opposite)?;
            boxes.or(&part, &self.all)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::MISSING;
    use crate::schema::expression::{Asked, Literal, Value};
    use proptest::prelude::*;

    /// Expressions over the columns `a`, `b` and `c`, of the numbers 0 to 3 and missing cells.
    fn text() -> impl Strategy<Value = String> {
        let column = prop::sample::select(vec!["a", "b", "c"]);
        let question = prop_oneof![
            (prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]), 0..4).prop_map(|(op, v)| format!("{op} {v}")),
            (0..4, 0..4).prop_map(|(from, to)| format!("between {from} and {to}")),
            (0..4, 0..4).prop_map(|(one, other)| format!("not in ({one}, {other})")),
            prop::sample::select(vec!["is null", "is not null"]).prop_map(String::from),
        ];
        let test = (column, question).prop_map(|(column, question)| format!("{column} {question}"));
        test.prop_recursive(4, 20, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
                inner.prop_map(|part| format!("not ({part})")),
            ]
        })
    }

    fn column(test: &Test) -> usize {
        ["a", "b", "c"].iter().position(|name| *name == test.column).unwrap()
    }

    /// What SQL says of a test on one cell: true, false, or unknown.
    fn answer(test: &Test, cell: u32) -> Option<bool> {
        let number = |literal: &Literal| match literal.value {
            Value::Number(value, _) => value as u32,
            _ => panic!("numbers only"),
        };
        let yes = match &test.asked {
            Asked::Null => return Some((cell == MISSING) != test.negated),
            _ if cell == MISSING => return None,
            Asked::Equal(v) => cell == number(v),
            Asked::Less(v) => cell < number(v),
            Asked::LessOrEqual(v) => cell <= number(v),
            Asked::In(list) => list.iter().any(|v| cell == number(v)),
            Asked::Between(from, to) => (number(from)..=number(to)).contains(&cell),
        };
        Some(yes != test.negated)
    }

    fn truth(expression: &Expression, row: [u32; 3]) -> Option<bool> {
        expression.truth(&|test| answer(test, row[column(test)]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        /// A row is in one box when SQL says that the expression is true, and in none when it is false or unknown.
        #[test]
        fn boxes_say_what_sql_says(text in text()) {
            let expression = parse(&text).unwrap();
            let cells = || (0..4).chain([MISSING]);
            let satisfying = |test: &Test, opposite: bool| {
                let is = |cell: &u32| answer(test, *cell) == Some(!opposite);
                let one = |cell: u32| if cell == MISSING { Positions::missing() } else { Positions::range(cell, cell + 1) };
                Ok((column(test), cells().filter(is).map(one).fold(Positions::none(), |all, one| all.union(&one))))
            };
            let mut reader = Reader { all: vec![Positions::all(4, true); 3], satisfying };
            let Ok(boxes) = reader.boxes(&expression, false) else { return Ok(()) };
            for row in cells().flat_map(|a| cells().flat_map(move |b| cells().map(move |c| [a, b, c]))) {
                let inside = |region: &&Region| region.iter().all(|(&j, positions)| positions.contains(row[j]));
                let count = boxes.regions().iter().filter(inside).count();
                prop_assert_eq!(count, usize::from(truth(&expression, row) == Some(true)), "{} {:?}", text, row);
            }
        }
    }

    #[test]
    fn rarity_counts_units_and_doubts() {
        let rarity = Rarity::of(&[0.01, 0.03], 1000.0);
        assert!((rarity.probability - 0.02).abs() < 1e-12 && (rarity.expected_units - 20.0).abs() < 1e-9);
        assert!((rarity.expected_units_std - 19.6f64.sqrt()).abs() < 1e-9);
        assert!((rarity.expected_units_opinion_std.unwrap() - 200f64.sqrt()).abs() < 1e-9);
        assert_eq!(Rarity::of(&[0.5], 10.0).probability_std, None);
    }
}
