//! How far can an estimate on a cohort be off by the noise of its release?
//!
//! The interval of an analyst who takes the cohort's rows for real ones knows nothing of the noise. But what noise does to an
//! estimate can be told, for its law is public. A regression hangs on the products of outcome and covariates, and on those of
//! covariates with each other, and these are sums over the cells of released tables. So their noise is a sum of the noise of
//! cells, and that of the estimate follows by the delta method: it is the sandwich with the noise in the middle (Evans and King
//! 2023, Political Analysis 31:1, correct regressions on noisy releases by the same moments). The model moves what it cannot
//! tell from noise towards nothing, and is not fitted to its end: that is counted as noise is. And the rows are a sample twice,
//! once of the patients and once of the model. `docs/effects.md` has how often the intervals hold.
//!
//! A survival curve is a sum over cells, too, to first order: what one more patient of a cell does to it is its influence
//! function, which the variance by patient is made of.

use super::analyses::{Estimate, RegressionFigures, RegressionTerm};
use super::cholesky::Cholesky;
use super::coefficient::Coefficient;
use super::regression::{Fitted, Term};
use crate::encode::{Codec, Domain, Layout, Positions};
use crate::ingest::MISSING;
use crate::model::{ModelFile, trends};
use crate::schema::{Survival, target::Task};
use crate::train::noise_of_tables;

/// The square of an estimate's error, in variances of its noise: the noise; that the model moves what it cannot tell from noise,
/// by up to as much; and that it is not fitted to its end, by about as much (`docs/effects.md`).
const WITH_MODEL: f64 = 3.0;

/// The cells that a release counted, and the noise in them.
pub struct ReleaseNoise<'m> {
    model: &'m ModelFile,
    layout: Layout,
    /// Groups of columns that were counted together, and the standard deviation of the noise in a share of one of their cells.
    tables: Vec<(Vec<usize>, f64)>,
}

/// What a term is in each cell of its column, around its mean.
struct Values {
    column: usize,
    of_cells: Vec<f64>,
}

impl<'m> ReleaseNoise<'m> {
    /// Of a model whose columns were counted together.
    ///
    /// # Privacy
    /// Post-processing: of the model's public plan and its released counts of single columns.
    pub fn of(model: &'m ModelFile) -> Self {
        let layout = Layout { cells: model.header.codecs.iter().map(Codec::cells).collect() };
        Self { model, layout, tables: noise_of_tables(model) }
    }

    /// The estimate with an interval that includes the noise, of each term of a regression on the cohort; `None` of those
    /// of which nothing was counted.
    ///
    /// # Privacy
    /// Post-processing: looks at the cohort and the model.
    pub(super) fn intervals(&self, fitted: &Fitted) -> Vec<Option<Coefficient>> {
        self.covariance(fitted).unwrap_or_else(|| vec![None; fitted.coefficients.len()])
    }

    fn covariance(&self, fitted: &Fitted) -> Option<Vec<Option<Coefficient>>> {
        let outcome = self.values(&fitted.outcome)?;
        let kept: Vec<usize> = (0..fitted.terms.len()).filter(|&t| fitted.coefficients[t].is_some()).collect();
        let values: Vec<Values> = kept.iter().map(|&t| self.values(&fitted.terms[t])).collect::<Option<_>>()?;
        let size = kept.len();
        let slopes: Vec<f64> = kept.iter().map(|&t| fitted.coefficients[t].map_or(0.0, |c| c.value)).collect();
        let mut noise = vec![0.0; size * size];
        let mut add = |row: usize, column: usize, variance: f64| noise[row * size + column] += variance;
        let mut columns: Vec<usize> = values.iter().map(|values| values.column).collect();
        columns.sort_unstable();
        columns.dedup();
        let values = &values;
        let own = |column: usize| (0..size).filter(move |&t| values[t].column == column);
        let of = |t: usize| &values[t].of_cells[..];
        // What the terms of a column make of an outcome, by its cell.
        let score = |column: usize| -> Vec<f64> {
            let mut score = vec![0.0; self.layout.cells[column]];
            own(column).for_each(|t| score.iter_mut().zip(of(t)).for_each(|(sum, x)| *sum += slopes[t] * x));
            score
        };
        for (place, &a) in columns.iter().enumerate() {
            let variance = self.variance(&[a, outcome.column])? * dot(&outcome.of_cells, &outcome.of_cells);
            own(a).for_each(|t| own(a).for_each(|u| add(t, u, variance * dot(of(t), of(u)))));
            for &b in &columns[place + 1..] {
                let variance = self.variance(&[a, b])? * fitted.weight.powi(2);
                let scores = [score(a), score(b)];
                for (one, other, [mine, theirs]) in [(a, b, [&scores[0], &scores[1]]), (b, a, [&scores[1], &scores[0]])]
                {
                    let of_other = variance * dot(theirs, theirs);
                    own(one).for_each(|t| own(one).for_each(|u| add(t, u, of_other * dot(of(t), of(u)))));
                    let mixed = |t: usize, u: usize| variance * dot(of(t), mine) * dot(of(u), theirs);
                    own(one).for_each(|t| own(other).for_each(|u| add(t, u, mixed(t, u))));
                }
            }
        }
        let curvature: Vec<f64> =
            kept.iter().flat_map(|&r| kept.iter().map(move |&c| fitted.curvature[[r, c]])).collect();
        let inverse = Cholesky::new(&curvature, size)?;
        let twice = self.samples(fitted.units);
        let mut all = vec![None; fitted.terms.len()];
        for (place, &term) in kept.iter().enumerate() {
            let mut unit = vec![0.0; size];
            unit[place] = 1.0;
            let row = inverse.solve(&unit);
            let through: Vec<f64> = noise.chunks_exact(size).map(|noise| dot(noise, &row)).collect();
            let variance = WITH_MODEL * dot(&row, &through) / fitted.complete.powi(2);
            all[term] = fitted.coefficients[term].map(|Coefficient { value, error }| Coefficient {
                value,
                error: (variance + twice * error * error).sqrt(),
            });
        }
        Some(all)
    }

    /// The variance that noise, and what the model makes of it, bring to the logarithm of a survival. `influence` is what one
    /// more patient of the group, by time and whether that ended in the event, does to it, and `rows` are those of the cohort.
    /// `None` where the columns were not counted together.
    pub(super) fn of_survival(
        &self,
        declared: &Survival,
        group: Option<&str>,
        rows: usize,
        influence: impl Fn(f64, bool) -> f64,
    ) -> Option<f64> {
        let [time, event] = [&declared.time, &declared.event].map(|name| self.model.domain.index(name));
        let (time, event) = (time?, event?);
        let by = declared.by.as_ref().zip(group);
        let by = by.map(|(by, group)| Some((self.model.domain.index(by)?, vec![group.to_owned()])));
        let in_group = match by {
            None => None,
            Some(by) => Some(by?).map(|(column, group)| (column, self.parts(column, &group))),
        };
        let (is_event, missing) = (self.parts(event, &declared.event_is), self.missing(event));
        let Domain::Numbers { min, step, .. } = self.model.domain.columns[time].domain else { return None };
        let codec = &self.model.header.codecs[time];
        let of_cell = |cell: u16| {
            let at = min + step * codec.mean_position(Some(cell));
            let is_known = Some(cell) != self.missing(time);
            if is_known { [true, false].map(|event| influence(at, event)) } else { [0.0; 2] }
        };
        let influences: Vec<[f64; 2]> = (0..codec.cells() as u16).map(of_cell).collect();
        let of_outcome = |share: f64| {
            let along = self
                .along_trends(time, influences.iter().map(|[ends, goes_on]| share * ends + (1.0 - share) * goes_on));
            dot(&along, &along)
        };
        let events = (0u16..).zip(&is_event).filter(|(cell, _)| Some(*cell) != missing);
        let squares: f64 = events.map(|(_, &share)| of_outcome(share)).sum();
        let columns: Vec<usize> = [time, event].into_iter().chain(in_group.iter().map(|(column, _)| *column)).collect();
        let of_group = in_group.map_or(1.0, |(_, shares)| dot(&shares, &shares));
        Some(WITH_MODEL * self.variance(&columns)? * squares * of_group * (rows as f64).powi(2))
    }

    /// How often the variance of a sample of so many units counts: rows are one of the model, which is made of one of patients.
    pub(super) fn samples(&self, units: usize) -> f64 {
        1.0 + units as f64 / self.model.header.units.max(1.0)
    }

    /// The variance of the noise in the share of cells of some columns, from all tables that have these.
    fn variance(&self, wanted: &[usize]) -> Option<f64> {
        // What does not vary has no noise.
        if wanted.iter().any(|&column| self.layout.cells[column] == 1) {
            return Some(0.0);
        }
        let cells = |columns: &[usize]| columns.iter().map(|&c| self.layout.cells[c]).product::<usize>() as f64;
        let having = self.tables.iter().filter(|(columns, _)| wanted.iter().all(|column| columns.contains(column)));
        let precision: f64 = having.map(|(columns, std)| cells(wanted) / cells(columns) / (std * std)).sum();
        (precision > 0.0).then(|| precision.recip())
    }

    /// What is left of a number for each cell of a column: of these the fit follows trends, and not each cell.
    fn along_trends(&self, column: usize, of_cells: impl Iterator<Item = f64>) -> Vec<f64> {
        let of_cells: Vec<f64> = of_cells.collect();
        let shares: Vec<f32> = self.model.header.codecs[column].marginal().iter().map(|&share| share as f32).collect();
        let mut along = vec![0.0; of_cells.len()];
        for trend in trends(&shares) {
            let length = dot(&trend, &of_cells);
            along.iter_mut().zip(&trend).for_each(|(sum, x)| *sum += length * x);
        }
        along
    }

    /// The cell of what is missing.
    fn missing(&self, column: usize) -> Option<u16> {
        let is_nullable = self.model.domain.columns[column].nullable;
        is_nullable.then(|| self.model.header.codecs[column].joint_code(MISSING))
    }

    /// The part of each cell of a column that is one of these categories.
    fn parts(&self, column: usize, wanted: &[String]) -> Vec<f64> {
        let places: Vec<u32> = match &self.model.domain.columns[column].domain {
            Domain::Labels { labels, .. } => {
                (0..).zip(labels).filter(|(_, label)| wanted.contains(label)).map(|(place, _)| place).collect()
            }
            Domain::Numbers { min, step, positions } => {
                let numbers = wanted.iter().filter_map(|text| text.trim().parse::<f64>().ok());
                let places = numbers.map(|number| ((number - min) / step).round());
                places.filter(|place| (0.0..f64::from(*positions)).contains(place)).map(|p| p as u32).collect()
            }
        };
        let positions = Positions::of_runs(places.into_iter().map(|position| (position, position)));
        self.model.header.codecs[column].shares(&positions).into_iter().map(f64::from).collect()
    }

    /// What a term is in the cells of its column; `None` of a column that the model does not have.
    fn values(&self, term: &Term) -> Option<Values> {
        let column = self.model.domain.index(&term.column)?;
        let codec = &self.model.header.codecs[column];
        let value: Vec<f64> = match (&self.model.domain.columns[column].domain, &term.is_one_of) {
            (Domain::Numbers { step, .. }, None) => {
                (0..codec.cells() as u16).map(|cell| step * codec.mean_position(Some(cell))).collect()
            }
            (_, Some(wanted)) => self.parts(column, wanted),
            (Domain::Labels { .. }, None) => return None,
        };
        let shares = codec.marginal();
        let missing = self.missing(column);
        let present = |cell: &u16| Some(*cell) != missing;
        let cells = 0..codec.cells() as u16;
        let mass: f64 = cells.clone().filter(present).map(|cell| shares[usize::from(cell)]).sum();
        let mean =
            cells.clone().filter(present).map(|cell| shares[usize::from(cell)] * value[usize::from(cell)]).sum::<f64>()
                / mass;
        let centred = cells.map(|cell| if present(&cell) { value[usize::from(cell)] - mean } else { 0.0 });
        let of_cells = match term.is_one_of {
            Some(_) => centred.collect(),
            None => self.along_trends(column, centred),
        };
        (mass > 0.0).then_some(Values { column, of_cells })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl RegressionFigures {
    /// Whether the noise takes from a term what the cohort's own interval concludes: that there is an effect, and of which sign.
    pub fn is_doubtful(&self, term: &RegressionTerm) -> bool {
        let none = if self.task == Task::Binary { 1.0 } else { 0.0 };
        let conclusion = |of: Estimate| i8::from(of.lower > none) - i8::from(of.upper < none);
        term.synthetic.zip(term.with_noise).is_some_and(|(own, noisy)| conclusion(own) != conclusion(noisy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Source;
    use crate::schema::Schema;
    use crate::train::{FitRequest, TABLE_MEMORY, probe};
    use ndarray::array;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;
    use synthward_privacy::Budget;

    const UNITS: u64 = 1000;

    /// Three columns of two categories each, the last explained by the others, and a time of five. and a time of five.
    fn model() -> ModelFile {
        let column = |name: &str| {
            let more =
                "kind = \"categorical\"\ncategories = [\"no\", \"yes\"]\nnullable = false\ndomain_from = \"public\"";
            format!("[[column]]\nname = \"{name}\"\n{more}\n")
        };
        let schema = Schema::from_toml(&format!(
            "[table]\nname = \"t\"\nprivacy_unit = \"row\"\nunits = {UNITS}\n{}{}{}[[column]]\nname = \"t\"\n\
             kind = \"integer\"\nmin = 0\nmax = 4\nnullable = false\ndomain_from = \"public\"\n[[regression]]\n\
             name = \"y\"\noutcome = \"y\"\npositive = [\"yes\"]\ntask = \"binary\"\ncovariates = [\"b\", \"a\"]\n\
             [[survival]]\nname = \"y\"\ntime = \"t\"\nevent = \"y\"\nevent_is = [\"yes\"]\nby = \"b\"\n",
            column("a"),
            column("b"),
            column("y")
        ))
        .unwrap();
        let request = FitRequest {
            source: &Source::from("t.csv"),
            schema: &schema,
            model: crate::model::ModelKind::Marginal,
            budget: Budget::new(1.0, 1e-6).unwrap(),
            discover_epsilon: None,
            seed: 0,
            memory: TABLE_MEMORY,
        };
        probe::invent(&request, UNITS).unwrap()
    }

    fn fitted() -> Fitted {
        let term = |column: &str| Term { column: column.into(), is_one_of: Some(vec!["yes".into()]) };
        let coefficient = |value| Some(Coefficient { value, error: 0.0 });
        Fitted {
            outcome: term("y"),
            terms: vec![term("b"), term("a")],
            coefficients: vec![coefficient(0.8), coefficient(-0.5)],
            curvature: array![[0.2, 0.05], [0.05, 0.15]],
            weight: 0.21,
            complete: 0.9,
            units: 500,
        }
    }

    /// Noise drawn in each cell of each pair, taken through the estimating equations, spreads the estimates as the formula says.
    /// Of 20,000 draws a variance is known to one part in a hundred; a tenth is asked. The seed is fixed.
    #[test]
    fn the_spread_is_that_of_drawn_noise() {
        let (model, fitted) = (model(), fitted());
        let noise = ReleaseNoise::of(&model);
        let of = |term: &Term| noise.values(term).unwrap();
        let (y, terms) = (of(&fitted.outcome), [of(&fitted.terms[0]), of(&fitted.terms[1])]);
        let slopes = [0.8, -0.5];
        let inverse = Cholesky::new(fitted.curvature.as_slice().unwrap(), 2).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut drawn = |pair: [usize; 2]| -> [[f64; 2]; 2] {
            let std = noise.variance(&pair).unwrap().sqrt();
            [(); 2].map(|()| [(); 2].map(|()| std * rng.sample::<f64, _>(StandardNormal)))
        };
        let product = |cells: &[[f64; 2]; 2], a: &[f64], b: &[f64]| -> f64 {
            (0..2).flat_map(|c| (0..2).map(move |d| (c, d))).map(|(c, d)| cells[c][d] * a[c] * b[d]).sum()
        };
        const DRAWS: usize = 20_000;
        let mut squares = [0.0; 2];
        for _ in 0..DRAWS {
            let with_outcome =
                [0, 1].map(|t| product(&drawn([terms[t].column, y.column]), &terms[t].of_cells, &y.of_cells));
            let together = drawn([terms[0].column, terms[1].column]);
            let together = fitted.weight * product(&together, &terms[0].of_cells, &terms[1].of_cells);
            let score = [with_outcome[0] - together * slopes[1], with_outcome[1] - together * slopes[0]];
            let moved = inverse.solve(&score);
            squares.iter_mut().zip(moved).for_each(|(sum, x)| *sum += (x / fitted.complete).powi(2));
        }
        for (square, told) in squares.into_iter().zip(noise.intervals(&fitted)) {
            let ratio = WITH_MODEL * square / DRAWS as f64 / told.unwrap().error.powi(2);
            assert!((0.9..1.1).contains(&ratio), "{ratio}");
        }
    }

    /// A curve hangs on the cells of time, event and group, each as far as one patient more of it moves the curve.
    #[test]
    fn a_curve_has_the_noise_of_its_cells() {
        let model = model();
        let declared = |by: Option<&str>| Survival {
            name: "y".into(),
            time: "t".into(),
            event: "y".into(),
            event_is: vec!["yes".into()],
            by: by.map(str::to_owned),
        };
        let influence = |time: f64, event| if event { time - 3.0 } else { 0.5 };
        let of = |model: &ModelFile, by, group| {
            ReleaseNoise::of(model).of_survival(&declared(by), group, 100, influence).map(|x| x / WITH_MODEL / 1e4)
        };
        let noise = ReleaseNoise::of(&model);
        // Five times, from 0.
        let along = [[-3.0, -2.0, -1.0, 0.0, 1.0], [0.5; 5]].map(|of| noise.along_trends(3, of.into_iter()));
        let squares: f64 = along.iter().map(|along| dot(along, along)).sum();
        assert!(squares > 5.0 && squares < 15.0 + 5.0 / 4.0, "{squares}");
        let near = |found: Option<f64>, columns: &[usize]| {
            let expected = noise.variance(columns).unwrap() * squares;
            assert!((found.unwrap() / expected - 1.0).abs() < 1e-6, "{found:?} {expected}");
        };
        near(of(&model, None, None), &[3, 2]);
        near(of(&model, Some("b"), Some("no")), &[3, 2, 1]);
        assert!(of(&model, Some("a"), Some("no")).is_none(), "not counted together");
    }

    /// The rows are a sample twice: of as many patients as the cohort has, it counts twice.
    #[test]
    fn sampling_is_counted_for_patients_and_for_rows() {
        let model = model();
        let noise = ReleaseNoise::of(&model);
        let error = |error: f64, units: usize| {
            let coefficients = vec![Some(Coefficient { value: 0.8, error }); 2];
            noise.intervals(&Fitted { coefficients, units, ..fitted() })[0].unwrap().error.powi(2)
        };
        let sampled = |units| (error(0.3, units) - error(0.0, units)) / 0.09;
        assert!((sampled(1000) - 2.0).abs() < 1e-9 && (sampled(500) - 1.5).abs() < 1e-9);
    }

    /// A pair is known from its own table and from the one that it has with the outcome, whose two cells tell half as much.
    #[test]
    fn all_tables_of_a_pair_tell_its_noise() {
        let model = model();
        let noise = ReleaseNoise::of(&model);
        let std = |wanted: &[usize]| noise.tables.iter().find(|(columns, _)| columns == wanted).unwrap().1;
        let precision = std(&[0, 1]).powi(-2) + std(&[0, 1, 2]).powi(-2) / 2.0;
        assert!((noise.variance(&[0, 1]).unwrap() * precision - 1.0).abs() < 1e-9);
        let mut independent = model;
        independent.header.model = crate::model::ModelKind::Independent;
        assert!(ReleaseNoise::of(&independent).intervals(&fitted()).iter().all(Option::is_none), "nothing was counted");
    }
}
