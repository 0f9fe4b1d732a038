//! Would an analyst draw the same conclusions? One regression, fitted to each of the three tables.
//!
//! Logistic regression or least squares, unpenalised, complete rows only, Wald intervals by unit: rows of one patient are
//! not taken as independent. Numbers are standardised for the fit and given back per their own unit.

use super::analyses::{LeftOut, RegressionFigures, RegressionTerm};
use super::coefficient::Coefficient;
use super::evaluation::Figure;
use super::linear::Design;
use super::newton::newton;
use super::noise::ReleaseNoise;
use super::table::{Column, Table, Tables, units_of};
use super::{SMALLEST_GROUP, metrics};
use crate::error::{Error, Result};
use crate::schema::target::Task;
use crate::schema::{Regression, Schema};
use ndarray::Array2;

/// Scores beyond this are certain.
const LARGEST_SCORE: f64 = 40.0;
/// Halvings that find an intercept.
const HALVINGS: usize = 60;
/// More terms than this are no table that anybody reads.
const MAX_TERMS: usize = 200;
/// A declaration whose names were looked up.
struct Plan<'a> {
    declared: &'a Regression,
    outcome: usize,
    covariates: Vec<Covariate<'a>>,
}

struct Covariate<'a> {
    name: &'a str,
    column: usize,
    /// Its categories as the schema lists them, the reference first; none of a number.
    labels: Vec<String>,
}

impl Covariate<'_> {
    /// The covariate of each row as a number, NaN where it is missing: a category as its place in `labels`.
    fn cells(&self, tables: &Tables, table: &Table) -> Vec<f64> {
        match &table.columns[self.column] {
            Column::Number { values, .. } => values.clone(),
            Column::Category(codes) => {
                let mut place_of = vec![f64::NAN; tables.labels[self.column].len()];
                for (place, label) in self.labels.iter().enumerate() {
                    if let Some(code) = tables.category(self.column, label) {
                        place_of[code as usize] = place as f64;
                    }
                }
                codes.iter().map(|&code| place_of.get(code as usize).copied().unwrap_or(f64::NAN)).collect()
            }
        }
    }

    fn is_number(&self) -> bool {
        self.labels.is_empty()
    }

    fn terms(&self) -> usize {
        if self.is_number() { 1 } else { self.labels.len() - 1 }
    }
}

impl<'a> Plan<'a> {
    /// # Errors
    /// Unknown columns; a least squares outcome that is text; categories that the schema does not list.
    fn new(tables: &Tables, schema: &Schema, declared: &'a Regression) -> Result<Self> {
        let refuse = |what: &str, column: &str, remedy: &str| {
            Error::bad_input(format!("regression `{}`: {what}", declared.name)).column(column).remedy(remedy)
        };
        let position = |name: &str| {
            tables.position(name).ok_or_else(|| {
                refuse("no such column", name, "name a column of the table that is neither an identifier nor dropped")
            })
        };
        let is_number = |column: usize| matches!(tables.train.columns[column], Column::Number { .. });
        let covariate = |name: &'a String| {
            let column = position(name)?;
            let labels = match is_number(column) {
                true => Vec::new(),
                false => schema.column(name).map(|c| c.labels()).unwrap_or_default(),
            };
            if labels.is_empty() && !is_number(column) {
                return Err(refuse("its categories are not listed", name, "list them in the schema"));
            }
            Ok(Covariate { name, column, labels })
        };
        let outcome = position(&declared.outcome)?;
        if declared.task != Task::Binary && !is_number(outcome) {
            return Err(refuse("the outcome is not a number", &declared.outcome, "choose task = \"binary\""));
        }
        Ok(Self { declared, outcome, covariates: declared.covariates.iter().map(covariate).collect::<Result<_>>()? })
    }
}

/// The complete rows of one table.
#[derive(Clone)]
struct Cases {
    outcome: Vec<f64>,
    /// Whose each row is.
    unit: Vec<u32>,
    /// Each covariate as [`Covariate::cells`] has it.
    cells: Vec<Vec<f64>>,
    /// Share of the table's rows that are not complete.
    left_out: f64,
}

impl Cases {
    fn new(tables: &Tables, table: &Table, plan: &Plan) -> Self {
        let outcome = match &table.columns[plan.outcome] {
            Column::Number { values, .. } if plan.declared.task != Task::Binary => values.clone(),
            _ => tables.indicator(table, plan.outcome, &plan.declared.positive),
        };
        let cells: Vec<Vec<f64>> = plan.covariates.iter().map(|c| c.cells(tables, table)).collect();
        let complete: Vec<usize> =
            (0..table.rows).filter(|&row| !outcome[row].is_nan() && cells.iter().all(|c| !c[row].is_nan())).collect();
        let left_out = 1.0 - complete.len() as f64 / table.rows as f64;
        Self { outcome, unit: table.unit.clone(), cells, left_out }.take(&complete)
    }

    fn take(self, rows: &[usize]) -> Self {
        let take = |of: &Vec<f64>| rows.iter().map(|&row| of[row]).collect();
        Self {
            outcome: take(&self.outcome),
            unit: rows.iter().map(|&row| self.unit[row]).collect(),
            cells: self.cells.iter().map(take).collect(),
            left_out: self.left_out,
        }
    }

    fn rows(&self) -> usize {
        self.outcome.len()
    }

    /// Of each term that is a category, the fewest units that it or the reference has: in all, and of either outcome.
    fn fewest(&self, plan: &Plan) -> Vec<Option<Fewest>> {
        let of_covariate = |(i, covariate): (usize, &Covariate)| {
            if covariate.is_number() {
                return vec![None];
            }
            let units = |place: usize, of: &dyn Fn(f64) -> bool| {
                let has = |&row: &usize| self.cells[i][row] == place as f64 && of(self.outcome[row]);
                units_of((0..self.rows()).filter(has).map(|row| self.unit[row]))
            };
            let of_place = |place| Fewest {
                units: units(place, &|_| true),
                of_either: units(place, &|y| y == 0.0).min(units(place, &|y| y == 1.0)),
            };
            let places: Vec<Fewest> = (0..covariate.labels.len()).map(of_place).collect();
            places[1..].iter().map(|place| Some(place.and(places[0]))).collect()
        };
        plan.covariates.iter().enumerate().flat_map(of_covariate).collect()
    }

    /// Rows, and the sum of the outcomes, of each category of a covariate.
    fn tally(&self, covariate: usize, categories: usize) -> Vec<(usize, f64)> {
        let mut tally = vec![(0, 0.0); categories];
        for (&place, outcome) in self.cells[covariate].iter().zip(&self.outcome) {
            tally[place as usize].0 += 1;
            tally[place as usize].1 += outcome;
        }
        tally
    }
}

/// Units of a category and of its reference.
#[derive(Clone, Copy)]
struct Fewest {
    units: usize,
    /// Of the rarer outcome, where there are two.
    of_either: usize,
}

impl Fewest {
    fn and(self, other: Self) -> Self {
        Self { units: self.units.min(other.units), of_either: self.of_either.min(other.of_either) }
    }
}

/// The regression on the three tables.
///
/// # Errors
/// Names of columns that the tables lack, or that are of the wrong kind.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim. Categories are called by what
/// the schema lists; those of fewer than ten training or holdout units have no figure.
pub fn regression(tables: &Tables, schema: &Schema, declared: &Regression) -> Result<RegressionFigures> {
    let plan = Plan::new(tables, schema, declared)?;
    let cases = [&tables.train, &tables.holdout, &tables.synthetic].map(|table| Cases::new(tables, table, &plan));
    let [real, holdout, synthetic] = [0, 1, 2].map(|table| cases[table].left_out);
    let left_out = LeftOut { real, holdout, synthetic };
    let [in_real, in_holdout] = [0, 1].map(|table| cases[table].fewest(&plan));
    let enough = |of: &Option<Fewest>| of.is_none_or(|fewest| fewest.units >= SMALLEST_GROUP);
    let shown: Vec<bool> =
        in_real.iter().zip(&in_holdout).map(|(real, holdout)| enough(real) && enough(holdout)).collect();
    let mut remarks = Vec::new();
    let mut roles = ["real", "holdout", "synthetic"].into_iter();
    let [real, holdout, synthetic] = cases.map(|cases| {
        let role = roles.next().unwrap_or_default();
        fit(&plan, cases).unwrap_or_else(|why| {
            remarks.push(format!("{role} table: {why}"));
            vec![None; shown.len()]
        })
    });
    // Only what can be written counts as estimated.
    let kept = |of: &[Option<Coefficient>], term: usize| {
        of[term].filter(|c| shown[term] && c.estimate(declared.task).is_some())
    };
    let names = plan.covariates.iter().flat_map(|covariate| {
        let categories = match covariate.is_number() {
            true => vec![None],
            false => covariate.labels[1..].iter().cloned().map(Some).collect(),
        };
        categories.into_iter().map(|category| (covariate.name.to_owned(), category, covariate.labels.first().cloned()))
    });
    let term = |(term, (covariate, category, reference)): (usize, (String, Option<String>, Option<String>))| {
        let [real, holdout, synthetic] = [&real, &holdout, &synthetic].map(|of| kept(of, term));
        let both = real.zip(synthetic);
        let estimate = |of: Option<Coefficient>| of.and_then(|c| c.estimate(declared.task));
        let fewest = |of: &[Option<Fewest>]| {
            of[term].map(|fewest| if declared.task == Task::Binary { fewest.of_either } else { fewest.units })
        };
        RegressionTerm {
            fewest_real: fewest(&in_real),
            fewest_holdout: fewest(&in_holdout),
            covariate,
            category,
            reference,
            real: estimate(real),
            holdout: estimate(holdout),
            synthetic: estimate(synthetic),
            with_noise: None,
            overlap: both.map(|(real, synthetic)| real.overlap(synthetic)),
            standardised_difference: both.map(|(real, synthetic)| (synthetic.value - real.value) / real.error),
        }
    };
    let estimated: Vec<usize> = (0..shown.len()).filter(|&term| kept(&real, term).is_some()).collect();
    // What the holdout cannot tell is no floor.
    let in_both: Vec<usize> = estimated.iter().copied().filter(|&term| kept(&holdout, term).is_some()).collect();
    let mean = |of: &[Option<Coefficient>], terms: &[usize], score: fn(Coefficient, Coefficient) -> f64| {
        let of_term = |&term: &usize| kept(&real, term).zip(kept(of, term)).map_or(0.0, |(real, c)| score(real, c));
        metrics::mean(terms.iter().map(of_term))
    };
    let figure = |score: fn(Coefficient, Coefficient) -> f64| {
        let figure =
            || Figure { synthetic: mean(&synthetic, &estimated, score), floor: mean(&holdout, &in_both, score) };
        (!in_both.is_empty()).then(figure)
    };
    Ok(RegressionFigures {
        name: declared.name.clone(),
        outcome: declared.outcome.clone(),
        task: declared.task,
        left_out,
        mean_overlap: figure(Coefficient::overlap),
        same_conclusion: figure(|real, other| f64::from(u8::from(real.conclusion() == other.conclusion()))),
        terms: names.enumerate().map(term).collect(),
        remark: (!remarks.is_empty()).then(|| remarks.join("; ")),
    })
}

/// A column, or what of it is one and not zero.
pub struct Term {
    pub column: String,
    /// The categories that are one; none of a number.
    pub is_one_of: Option<Vec<String>>,
}

/// A regression on a cohort, as the noise of its release sees it.
pub struct Fitted {
    pub outcome: Term,
    pub terms: Vec<Term>,
    pub coefficients: Vec<Option<Coefficient>>,
    /// Terms by terms: the mean over the complete rows of the products of what each is off its mean, weighed by how much the
    /// outcome follows.
    pub curvature: Array2<f64>,
    /// How much the outcome follows a product of covariates, mean over the rows.
    pub weight: f64,
    /// The share of rows that are complete.
    pub complete: f64,
    /// Units of the rows.
    pub units: usize,
}

/// Puts intervals that include the noise of the release beside the estimates of the cohort.
///
/// # Errors
/// As [`regression`].
///
/// # Privacy
/// Post-processing: looks at the cohort, the model and what is already in the figures.
pub fn with_noise(
    figures: &mut RegressionFigures,
    tables: &Tables,
    schema: &Schema,
    declared: &Regression,
    noise: &ReleaseNoise,
) -> Result<()> {
    let plan = Plan::new(tables, schema, declared)?;
    let cases = Cases::new(tables, &tables.synthetic, &plan);
    let Ok(coefficients) = fit(&plan, cases.clone()) else { return Ok(()) };
    let known = noise.intervals(&plan.fitted(&cases, coefficients));
    for (term, known) in figures.terms.iter_mut().zip(known) {
        term.with_noise = term.synthetic.and(known).and_then(|known| known.estimate(declared.task));
    }
    Ok(())
}

impl Plan<'_> {
    fn fitted(&self, cases: &Cases, coefficients: Vec<Option<Coefficient>>) -> Fitted {
        let is_binary = self.declared.task == Task::Binary;
        let mut terms = Vec::new();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for (covariate, cells) in self.covariates.iter().zip(&cases.cells) {
            let column = covariate.name.to_owned();
            if covariate.is_number() {
                terms.push(Term { column, is_one_of: None });
                columns.push(cells.clone());
                continue;
            }
            for (place, label) in covariate.labels.iter().enumerate().skip(1) {
                terms.push(Term { column: column.clone(), is_one_of: Some(vec![label.clone()]) });
                columns.push(cells.iter().map(|&cell| f64::from(u8::from(cell == place as f64))).collect());
            }
        }
        let rows = cases.rows();
        let slopes = coefficients.iter().map(|c| c.map_or(0.0, |c| c.value));
        let mut scores = vec![0.0; rows];
        for (slope, column) in slopes.zip(&columns) {
            scores.iter_mut().zip(column).for_each(|(score, x)| *score += slope * x);
        }
        let weights = if is_binary { logistic_weights(&scores, &cases.outcome) } else { vec![1.0; rows] };
        let sum: f64 = weights.iter().sum();
        for column in &mut columns {
            let mean = column.iter().zip(&weights).map(|(x, w)| w * x).sum::<f64>() / sum;
            column.iter_mut().for_each(|x| *x -= mean);
        }
        let product = |(a, b): (usize, usize)| {
            let products = columns[a].iter().zip(&columns[b]).zip(&weights).map(|((x, y), w)| w * x * y);
            products.sum::<f64>() / rows as f64
        };
        Fitted {
            outcome: Term {
                column: self.declared.outcome.clone(),
                is_one_of: is_binary.then(|| self.declared.positive.clone()),
            },
            curvature: Array2::from_shape_fn((terms.len(), terms.len()), product),
            terms,
            coefficients,
            weight: sum / rows as f64,
            complete: 1.0 - cases.left_out,
            units: units_of(cases.unit.iter().copied()),
        }
    }
}

/// The weights `p (1 - p)` of a logistic regression with these scores, whose intercept makes as many positive as are.
fn logistic_weights(scores: &[f64], outcome: &[f64]) -> Vec<f64> {
    let probability = |score: f64, intercept: f64| 1.0 / (1.0 + (-score - intercept).exp());
    let wanted = metrics::mean(outcome.iter().copied());
    let reach = LARGEST_SCORE + scores.iter().map(|score| score.abs()).fold(0.0, f64::max);
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let is_low = metrics::mean(scores.iter().map(|&score| probability(score, middle))) < wanted;
        if is_low { low = middle } else { high = middle }
    }
    let of = |&score: &f64| probability(score, low) * (1.0 - probability(score, low));
    scores.iter().map(of).collect()
}

/// The coefficients of all terms, `None` where the table has nothing to estimate them from; or why there are none.
///
/// A category whose rows all have the same outcome has no finite odds ratio. What the others tend to, as its own goes to
/// infinity, is the fit without its rows.
fn fit(plan: &Plan, mut cases: Cases) -> Result<Vec<Option<Coefficient>>, String> {
    let binary = plan.declared.task == Task::Binary;
    if plan.covariates.iter().map(Covariate::terms).sum::<usize>() > MAX_TERMS {
        return Err(format!("more than {MAX_TERMS} terms"));
    }
    let mut settled = false;
    while !settled {
        settled = true;
        for (i, covariate) in plan.covariates.iter().enumerate().filter(|(_, c)| !c.is_number()) {
            let tally = cases.tally(i, covariate.labels.len());
            let is_certain = |place: f64| {
                let (rows, sum) = tally[place as usize];
                rows == 0 || binary && (sum == 0.0 || sum == rows as f64)
            };
            if is_certain(0.0) {
                let what = if binary { "no two rows that differ in the outcome" } else { "no complete row" };
                return Err(format!("the reference category of `{}` has {what}", covariate.name));
            }
            let kept: Vec<usize> = (0..cases.rows()).filter(|&row| !is_certain(cases.cells[i][row])).collect();
            if kept.len() < cases.rows() {
                cases = cases.take(&kept);
                settled = false;
            }
        }
    }
    let (center, scale) = if binary { (0.0, 1.0) } else { mean_and_deviation(&cases.outcome) };
    let constant = cases.outcome.iter().all(|&y| y == cases.outcome[0]);
    if constant {
        return Err("no complete row, or an outcome that does not vary".into());
    }
    // Place 0 is the intercept's.
    let mut width = 1;
    let mut next_place = || {
        width += 1;
        width - 1
    };
    let inputs: Vec<Input> = plan
        .covariates
        .iter()
        .zip(&cases.cells)
        .enumerate()
        .map(|(i, (covariate, cells))| {
            if covariate.is_number() {
                let (mean, deviation) = mean_and_deviation(cells);
                return Input::Number { mean, deviation, place: (deviation > 0.0).then(&mut next_place) };
            }
            let tally = cases.tally(i, covariate.labels.len());
            let places = tally[1..].iter().map(|(rows, _)| (*rows > 0).then(&mut next_place)).collect();
            Input::Category { places }
        })
        .collect();
    if units_of(cases.unit.iter().copied()) <= width {
        return Err("no more people with complete rows than terms".into());
    }
    let mut design = Design::default();
    for row in 0..cases.rows() {
        let entries = inputs.iter().zip(&cases.cells).filter_map(|(input, cells)| input.entry(cells[row]));
        design.push(std::iter::once((0, 1.0)).chain(entries));
    }
    let outcome: Vec<f64> = cases.outcome.iter().map(|y| (y - center) / scale).collect();
    let solution = newton(&design, &outcome, &cases.unit, width, binary)?;
    let coefficient = |place: usize, unit: f64| Coefficient {
        value: solution[place].value * scale / unit,
        error: solution[place].error * scale / unit,
    };
    let of_input = |input: &Input| match input {
        Input::Number { deviation, place, .. } => vec![place.map(|place| coefficient(place, *deviation))],
        Input::Category { places } => places.iter().map(|place| place.map(|place| coefficient(place, 1.0))).collect(),
    };
    Ok(inputs.iter().flat_map(of_input).collect())
}

/// How one covariate becomes inputs of the fit; without a place where there is nothing to estimate.
enum Input {
    Number {
        mean: f64,
        deviation: f64,
        place: Option<usize>,
    },
    /// Of each category but the reference.
    Category {
        places: Vec<Option<usize>>,
    },
}

impl Input {
    /// Place and value of the one input that is not 0.
    fn entry(&self, cell: f64) -> Option<(u32, f64)> {
        match self {
            Self::Number { mean, deviation, place } => Some(((*place)? as u32, (cell - mean) / deviation)),
            Self::Category { places } => Some((places[(cell as usize).checked_sub(1)?]? as u32, 1.0)),
        }
    }
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = metrics::mean(values.iter().copied());
    (mean, metrics::mean(values.iter().map(|v| (v - mean).powi(2))).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Z95;
    use crate::evaluate::analyses::Estimate;
    use crate::evaluate::fixture::{frame, number, patients, patients_schema, text};
    use crate::evaluate::numpy_choice::NumpyRng;
    use crate::ingest::Frame;

    const LOGISTIC: &str =
        "[[regression]]\nname = \"r\"\noutcome = \"outcome\"\ntask = \"binary\"\npositive = [\"yes\"]\n";
    const LINEAR: &str = "[[regression]]\nname = \"r\"\noutcome = \"stay\"\ntask = \"regression\"\n";
    const COVARIATES: &str = "covariates = [\"age\", \"dose\", \"sex\", \"site\"]\n";

    fn fitted(tables: &Tables, declared: &str) -> RegressionFigures {
        let schema = patients_schema(declared);
        regression(tables, &schema, &schema.regressions[0]).unwrap()
    }

    /// The tables that `crate::evaluate::tests` compares with the reference judge.
    fn reference() -> Tables {
        let [real, holdout, synthetic] =
            [patients(1, 800, 1.0, false), patients(2, 600, 1.0, false), patients(3, 1000, 0.6, true)];
        let mut tables = Tables::align(&real, &holdout, &synthetic).unwrap();
        tables.synthetic = tables.synthetic.take(&NumpyRng::new(&[0, 9]).choose(1000, 800));
        tables
    }

    /// Coefficient on the real and on the synthetic rows, each with its standard error where each row is a unit and where
    /// three rows after each other are one. statsmodels 0.15.0: `Logit(outcome == "yes", X).fit(tol=1e-12)` and
    /// `OLS(stay, X).fit()`, both with `cov_type="cluster"`, on the complete rows of the schema's categories, a constant added.
    type Golden = (&'static str, Option<&'static str>, [(f64, f64, f64); 2]);

    const LOGIT: [Golden; 6] = [
        ("age", None, [(0.1255488554, 0.0085655793, 0.0087582211), (0.0521033888, 0.0053245854, 0.0051490607)]),
        ("dose", None, [(-0.0004414886, 0.006792283, 0.0064660547), (-0.00237095, 0.0052956704, 0.0053871397)]),
        ("sex", Some("M"), [(-0.2855176336, 0.2220050191, 0.2200101241), (0.2619700384, 0.1733130747, 0.1788868377)]),
        (
            "site",
            Some("south"),
            [(2.5520637838, 0.2984113309, 0.3049082567), (0.9647384705, 0.211409394, 0.2220756641)],
        ),
        ("site", Some("east"), [(0.3211736344, 0.319716074, 0.3334566325), (-0.2461538138, 0.279513392, 0.271994629)]),
        (
            "site",
            Some("rare"),
            [(0.7036185762, 0.6666272747, 0.7646727386), (-0.5026159454, 0.5129794341, 0.5173133362)],
        ),
    ];
    const OLS: [Golden; 6] = [
        ("age", None, [(0.0789629815, 0.0019543079, 0.0020061751), (0.0448804796, 0.0133002506, 0.0131386562)]),
        ("dose", None, [(0.0507452366, 0.0019742911, 0.0018362576), (0.0281720267, 0.0119554047, 0.0123544388)]),
        ("sex", Some("M"), [(0.0647314067, 0.0680316475, 0.0725774727), (0.1089495855, 0.4246884877, 0.4051854219)]),
        (
            "site",
            Some("south"),
            [(3.9752230603, 0.0791780323, 0.0740305998), (2.3203939984, 0.4882017184, 0.4685597696)],
        ),
        ("site", Some("east"), [(7.8498423245, 0.09995901, 0.1036459067), (4.2172702042, 0.5319037968, 0.5229765928)]),
        (
            "site",
            Some("rare"),
            [(12.2247958124, 0.1861682732, 0.1949515976), (7.3616026453, 1.1072837791, 1.1108962122)],
        ),
    ];

    #[test]
    fn estimates_are_statsmodels() {
        let mut tables = reference();
        for of_three in [false, true] {
            if of_three {
                for table in [&mut tables.train, &mut tables.holdout, &mut tables.synthetic] {
                    table.unit = (0..table.rows as u32).map(|row| row / 3).collect();
                }
            }
            let error = |&(_, row, three): &(f64, f64, f64)| if of_three { three } else { row };
            for (declared, golden) in [(LOGISTIC, LOGIT), (LINEAR, OLS)] {
                let found = fitted(&tables, &format!("{declared}{COVARIATES}"));
                let link = |x: f64| if found.task == Task::Binary { x.ln() } else { x };
                assert_eq!((found.terms.len(), found.remark.as_deref()), (golden.len(), None));
                for (term, (covariate, category, sides)) in found.terms.iter().zip(golden) {
                    assert_eq!((term.covariate.as_str(), term.category.as_deref()), (covariate, category));
                    for (estimate, side) in [term.real, term.synthetic].into_iter().zip(&sides) {
                        let (e, half) = (estimate.unwrap(), Z95 * error(side));
                        for (ours, theirs) in [(e.estimate, side.0), (e.lower, side.0 - half), (e.upper, side.0 + half)]
                        {
                            assert!(
                                (link(ours) - theirs).abs() < 1e-7,
                                "{covariate} {category:?}: {} {theirs}",
                                link(ours)
                            );
                        }
                    }
                    let difference = (sides[1].0 - sides[0].0) / error(&sides[0]);
                    assert!((term.standardised_difference.unwrap() - difference).abs() < 1e-5);
                }
            }
        }
        let tables = reference();
        let logistic = fitted(&tables, &format!("{LOGISTIC}{COVARIATES}"));
        assert_eq!(logistic.terms[2].reference.as_deref(), Some("F"));
        assert!((logistic.left_out.real - (1.0 - 682.0 / 800.0)).abs() < 1e-12);
        assert!(
            (logistic.left_out.synthetic - (1.0 - 662.0 / 800.0)).abs() < 1e-12,
            "what the schema does not list is missing"
        );
        // Age and the south are significant in all three tables, the other four in none.
        assert_eq!(logistic.same_conclusion, Some(Figure { synthetic: 1.0, floor: 1.0 }));
        assert_eq!((logistic.terms[0].overlap, logistic.terms[3].overlap), (Some(0.0), Some(0.0)));
        let overlap = logistic.mean_overlap.unwrap();
        assert!(overlap.synthetic < overlap.floor && overlap.floor < 1.0, "{overlap:?}");
    }

    /// Patients of `sites`, `(site, positive, negative)`, the sex without meaning.
    fn sites(of: &[(&str, usize, usize)]) -> Frame {
        let cells = of.iter().flat_map(|&(site, positive, negative)| {
            std::iter::repeat_n((site, "yes"), positive).chain(std::iter::repeat_n((site, "no"), negative))
        });
        let (site, outcome): (Vec<&str>, Vec<&str>) = cells.unzip();
        let sex: Vec<&str> = (0..site.len()).map(|i| if i % 2 == 0 { "F" } else { "M" }).collect();
        let age: Vec<f64> = outcome.iter().map(|&o| if o == "yes" { 60.0 } else { 40.0 }).collect();
        frame(vec![
            text("site", &site),
            text("outcome", &outcome),
            text("sex", &sex),
            number("age", &age),
            number("stay", &age),
        ])
    }

    const SITE: &str = "covariates = [\"site\"]\n";

    /// With one categorical covariate the odds ratio is that of the two-by-two table.
    #[test]
    fn few_rows_are_not_shown_and_a_category_without_contrast_is_left_out() {
        let real = sites(&[("north", 20, 30), ("south", 32, 20), ("east", 5, 4), ("rare", 0, 25)]);
        let synthetic = sites(&[("north", 20, 30), ("south", 20, 20), ("east", 50, 40)]);
        let tables = Tables::align(&real, &real, &synthetic).unwrap();
        let found = fitted(&tables, &format!("{LOGISTIC}{SITE}"));
        let [south, east, rare] = [0, 1, 2].map(|i| &found.terms[i]);
        assert!(
            (south.real.unwrap().estimate - 2.4).abs() < 1e-9 && (south.synthetic.unwrap().estimate - 1.5).abs() < 1e-9
        );
        assert_eq!((east.real, east.synthetic, east.overlap), (None, None, None), "nine real rows");
        assert_eq!((rare.real, rare.synthetic, found.remark), (None, None, None), "all have the same outcome");
        assert_eq!(found.same_conclusion, Some(Figure { synthetic: 0.0, floor: 1.0 }));
        let few = sites(&[("north", 20, 30), ("south", 5, 4)]);
        let found = fitted(&Tables::align(&real, &few, &synthetic).unwrap(), &format!("{LOGISTIC}{SITE}"));
        assert_eq!((found.terms[0].real, found.mean_overlap), (None, None), "nine holdout rows");
    }

    /// Four copies of each row tell nothing new of their people: the interval stays, but for the correction for few; taken for
    /// people of their own they would halve it.
    #[test]
    fn copies_within_a_person_do_not_narrow_an_interval() {
        let people = sites(&[("north", 40, 60), ("south", 60, 40)]);
        let four = sites(&[("north", 160, 240), ("south", 240, 160)]);
        let width = |frame: &Frame, unit: Option<Vec<u32>>| {
            let frame = Frame { unit, ..frame.clone() };
            let found = fitted(&Tables::align(&frame, &frame, &frame).unwrap(), &format!("{LOGISTIC}{SITE}"));
            let Estimate { lower, upper, .. } = found.terms[0].real.unwrap();
            (upper / lower).ln()
        };
        // Rows of one site and outcome stand together, so that four after each other are alike.
        let (once, within) = (width(&people, None), width(&four, Some((0..800).map(|row| row / 4).collect())));
        assert!((within / once - 1.0).abs() < 0.01, "{once} {within}");
        assert!((width(&four, None) / once - 0.5).abs() < 0.01);
    }

    #[test]
    fn what_cannot_be_estimated_gets_a_remark() {
        let real = sites(&[("north", 20, 30), ("south", 30, 20)]);
        let remark = |synthetic: &Frame, declared: &str| {
            let tables = Tables::align(&real, &real, synthetic).unwrap();
            let found = fitted(&tables, declared);
            assert!(found.terms.iter().all(|term| term.synthetic.is_none() && term.overlap.is_none()));
            found.remark.unwrap()
        };
        let separated = remark(&real, &format!("{LOGISTIC}covariates = [\"age\", \"site\"]"));
        assert!(separated.starts_with("real table: some covariate tells the outcomes apart"), "{separated}");
        let twice = remark(&real, &format!("{LINEAR}covariates = [\"age\", \"outcome\"]"));
        assert!(twice.starts_with("real table: some covariates determine each other"), "{twice}");
        let no_reference = remark(&sites(&[("south", 30, 20)]), &format!("{LOGISTIC}{SITE}"));
        assert_eq!(
            no_reference,
            "synthetic table: the reference category of `site` has no two rows that differ in the outcome"
        );
        let few = remark(&sites(&[("north", 1, 1)]), &format!("{LINEAR}covariates = [\"site\", \"age\"]"));
        assert!(few.ends_with("synthetic table: no more people with complete rows than terms"), "{few}");
    }
}
