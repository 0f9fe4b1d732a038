//! What a fit of linked tables will take, measured on invented persons.

use super::super::checkpoint::marginals;
use super::super::dp_sgd::{Course, own_units, train};
use super::super::linked::{Counted, LinkedPlanned, LinkedRequest, Story, count, known_codec, plan_linked, woven};
use super::super::measure::Column;
use super::super::units::PublicUnits;
use super::super::witness::Unwatched;
use super::super::{network, tables};
use super::{LONG_ENOUGH, classes, extrapolated, invented_codec, of_leaves, timed};
use crate::encode::{Codec, Domain, Layout, Leaf, ModelColumn};
use crate::error::{Error, Result};
use crate::ingest::LinkedTables;
use crate::model::{
    LinkedHeader, LinkedModel, Measured, Mixture, ModelKind, PartHeader, Tied, Training, TrajectorySettings, mixture,
};
use crate::schema::linked::{From, LinkedSchema, LinkedTable};
use crate::schema::{Constraint, Kind, Reading, Rule};
use std::sync::Arc;
use synthward_privacy::plan::Plan;
use synthward_privacy::{Budget, LARGEST_EPSILON, Sensitive};

/// Rows of one parent have numbers that fall by this power of `e` from each to the next, at least and at most.
const STEEPEST: f64 = 30.0;
/// Halvings in which that power is found.
const HALVINGS: usize = 60;
/// A number of rows that so few of the likeliest one's have is nobody's.
const NOBODYS: f64 = 1e-9;
/// Noise is taken to be so much less than it is while steps are timed, so that none is the last.
const QUIET: f32 = 1e-3;

/// A schema without the rules that perhaps no invented row holds, read as the program writes. What shapes the tables stays:
/// what is constant or does not go down, what a map gives from another column, which moment is the later one.
///
/// # Privacy
/// Public facts only.
pub fn bare(schema: &LinkedSchema) -> LinkedSchema {
    let mut schema = schema.clone();
    for table in &mut schema.tables {
        let mut rules = std::mem::take(&mut table.constraints);
        rules.retain(|constraint| shapes(table, constraint));
        (table.constraints, table.reading) = (rules, Reading::default());
    }
    if let Some(flat) = &mut schema.history {
        flat.constraints.retain(|c| matches!(c.rule, Rule::Constant { .. } | Rule::Ascending { .. }));
        flat.table.reading = Reading::default();
    }
    schema
}

fn shapes(table: &LinkedTable, constraint: &Constraint) -> bool {
    let is_moment = |name: &String| table.column(name).is_some_and(|column| column.kind == Kind::Datetime);
    match &constraint.rule {
        Rule::Ascending { .. } | Rule::Dependency { .. } => true,
        Rule::Inequality { low, high, .. } => is_moment(low) && is_moment(high),
        _ => false,
    }
}

/// A model of invented persons under the schema of `request`, whose tables stand in for real ones in a measurement of time.
/// `persons` is how many the real tables are taken to have, `rows` how many rows each table has a row of its parent, by its
/// place in the schema.
///
/// # Errors
/// What [`plan_linked`] refuses.
///
/// # Privacy
/// Touches no rows.
pub fn invent_linked(request: &LinkedRequest, persons: f64, rows: &[f64]) -> Result<LinkedModel> {
    let LinkedPlanned { plan, stories, .. } = plan_linked(request)?;
    let (mut counted, mut laws): (Vec<Counted>, Vec<_>) = (Vec::new(), Vec::new());
    for (number, story) in stories.iter().enumerate() {
        let bins = tables::bins(&story.domain, persons, request.budget.epsilon());
        let mut columns: Vec<Column> = Vec::new();
        let mut alike = Vec::new();
        for (column, told) in story.drawn.columns.iter().zip(&story.view.columns) {
            let codec = match told.from {
                From::Count(below) => {
                    // Whoever is in a table with an order has a row there.
                    let least = u32::from(request.schema.history.is_some());
                    let leaves = falling(column.domain.positions(), least, rows[below], persons);
                    let codec = of_leaves(column, &leaves, persons, bins);
                    alike.push((columns.len(), codec.marginal()));
                    codec
                }
                from if from.is_amount() => of_leaves(column, &growing(column, persons), persons, bins),
                _ => invented_codec(column, (persons, 0.0), bins),
            };
            columns.push(Column::known(codec));
        }
        for j in story.view.drawn..story.view.columns.len() {
            columns.push(Column::known(known_codec(story, j, &columns, (&stories, &counted))?));
        }
        let codecs: Vec<Codec> = columns.into_iter().map(|column| column.codec).collect();
        let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
        laws.push(Arc::new(Tied::untied(classes(&layout, request.seed + number as u64, &alike)?)));
        let table = request.schema.tables[story.table].name.clone();
        counted.push(Counted { part: PartHeader { table, units: persons, codecs }, measured: None, codes: None });
    }
    let parts = counted.into_iter().map(|counted| counted.part).collect();
    let identity = (persons, request.seed);
    let header = LinkedHeader::new(request.schema, ModelKind::Marginal, plan, identity, None, parts);
    LinkedModel::new(header, laws, |_| Ok(Vec::new()))
}

/// Numbers of rows from `least` on, each as much rarer than the one before that `mean` rows are the mean.
fn falling(positions: u32, least: u32, mean: f64, total: f64) -> Vec<Leaf> {
    let last = (positions - 1).max(least);
    let weights = |power: f64| -> Vec<f64> {
        let most = if power > 0.0 { f64::from(last - least) } else { 0.0 };
        (0..=last - least).map(|n| (power * (f64::from(n) - most)).exp()).collect()
    };
    let mean_of = |power: f64| {
        let weights = weights(power);
        let sum: f64 = weights.iter().sum();
        f64::from(least) + weights.iter().enumerate().map(|(n, weight)| n as f64 * weight).sum::<f64>() / sum
    };
    let (mut low, mut high) = (-STEEPEST, STEEPEST);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if mean_of(middle) < mean { low = middle } else { high = middle }
    }
    let weights = weights(high);
    let sum: f64 = weights.iter().sum();
    let (first, end) = match (weights.iter().position(|&w| w > NOBODYS), weights.iter().rposition(|&w| w > NOBODYS)) {
        (Some(first), Some(end)) => (first as u32 + least, end as u32 + least),
        _ => (least, last),
    };
    let leaf = |n: u32| Leaf { first: n, last: n, count: total * weights[(n - least) as usize] / sum };
    let before = (first > 0).then(|| Leaf { first: 0, last: first - 1, count: 0.0 });
    let after = (end + 1 < positions).then(|| Leaf { first: end + 1, last: positions - 1, count: 0.0 });
    before.into_iter().chain((first..=end).map(leaf)).chain(after).collect()
}

/// Runs of positions of equal weight, each twice as long as the one that is next to where the column grows from: most time
/// that passes is short.
fn growing(column: &ModelColumn, total: f64) -> Vec<Leaf> {
    let Domain::Numbers { positions, .. } = column.domain else { return Vec::new() };
    let from = column.grows_from.unwrap_or(0).min(positions - 1);
    let ends = |room: u32| (0..u32::BITS - room.leading_zeros()).map(|power| 1u32 << power);
    let mut firsts: Vec<u32> = ends(from).map(|length| from - length).rev().collect();
    if firsts.first().is_some_and(|&first| first > 0) {
        firsts[0] = 0;
    }
    firsts.push(from);
    firsts.extend(ends(positions - 1 - from).map(|length| from + length));
    let count = total / firsts.len() as f64;
    let lasts = firsts[1..].iter().map(|first| first - 1).chain([positions - 1]);
    firsts.iter().zip(lasts).map(|(&first, last)| Leaf { first, last, count }).collect()
}

/// Invented tables as far as their noisy counts.
pub struct CountedTables {
    schema: LinkedSchema,
    plan: Plan,
    stories: Vec<Story>,
    counted: Vec<Counted>,
    tables: Sensitive<Arc<LinkedTables>>,
    persons: usize,
}

/// Takes invented tables through the part of a fit that grows with the rows. They stand for `persons` persons, beside whom
/// noise is as large as it will be beside the real ones.
///
/// # Errors
/// What [`plan_linked`] refuses; the temporary files cannot be read.
///
/// # Privacy
/// For invented rows.
pub fn count_linked(request: &LinkedRequest, persons: f64, invented: Arc<LinkedTables>) -> Result<CountedTables> {
    let mut schema = request.schema.clone();
    let own = invented.persons()?;
    schema.linked.units = Some(own as u64);
    let budget = match request.budget.is_unlimited() {
        true => request.budget,
        false => {
            let epsilon = (request.budget.epsilon() * persons / own as f64).min(LARGEST_EPSILON);
            Budget::new(epsilon, request.budget.delta())?
        }
    };
    let request = LinkedRequest { schema: &schema, budget, ..*request };
    let LinkedPlanned { mut plan, settings, stories } = plan_linked(&request)?;
    let tables = Sensitive::new(invented);
    let mut counted = Vec::with_capacity(stories.len());
    for story in &stories {
        counted.push(count(&request, &mut plan, story, &tables, (&stories, &counted), settings.is_some())?);
    }
    Ok(CountedTables { plan, stories, counted, tables, persons: own, schema })
}

/// Measures what the rest of the fit of `request` to `persons` persons will take, from the noisy counts on. Returns its seconds,
/// and a model that was fitted in a few steps: it draws in the time in which the real one will.
///
/// # Errors
/// A failure of the training.
///
/// # Privacy
/// Touches invented rows only.
pub fn fit_counted(request: &LinkedRequest, persons: f64, counted: CountedTables) -> Result<(f64, LinkedModel)> {
    let CountedTables { schema, plan, stories, counted, tables, persons: own } = counted;
    let LinkedRequest { model, budget, seed, .. } = *request;
    let long_enough = LONG_ENOUGH / stories.len() as f64;
    let (mut seconds, mut laws, mut parts, mut chapters) = (0.0, Vec::new(), Vec::new(), Vec::new());
    for (number, (story, Counted { part, measured, codes })) in stories.iter().zip(counted).enumerate() {
        let law = match measured {
            None => Tied::untied(Mixture::independent(&marginals(&part.codecs, part.units)?.1)),
            Some(measured) => {
                let units = part.units * persons / own as f64;
                let steps = mixture::steps_of_member(units, story.epsilon(budget.epsilon()));
                let quiet = quiet(&measured);
                let mut last = None;
                seconds += extrapolated(steps, long_enough, |steps| {
                    let (fitted, seconds) = timed(|| mixture::fit(&quiet, seed, steps, &|_| ()));
                    last = Some(fitted);
                    Ok(seconds)
                })?;
                let fitted = last.ok_or_else(|| Error::failed("nothing was measured"))?;
                let (law, tying) = timed(|| Tied::fit(fitted, &measured, story.view.drawn));
                seconds += tying;
                law
            }
        };
        laws.push(Arc::new(law));
        parts.push(part);
        chapters.extend(codes.map(|codes| (number as u16, story.table, codes)));
    }
    let settings = plan_linked(request)?.settings;
    let header = LinkedHeader::new(&schema, model, plan, (own as f64, seed), settings, parts);
    let parameters = match (header.trajectory(&laws)?, &header.settings) {
        (Some(trajectory), Some(TrajectorySettings { training, .. })) => {
            let codes = woven(request, &trajectory, &tables, chapters)?;
            let expected = training.expected_batch_size as f64;
            let units = PublicUnits::of(&request.schema.linked.table()).for_settings() as f64;
            // The batch of the real fit, as far as there are so many invented persons.
            let batch = (expected / units).min(1.0) * persons;
            let own_batch = batch.clamp(1.0, own as f64);
            let beside = own_units(training.expected_batch_size) as f64;
            let steps = training.steps as f64 * (beside + batch) / (beside + own_batch);
            let mut last = Vec::new();
            seconds += extrapolated(steps, LONG_ENOUGH, |steps| {
                let training = Training { steps, ..training.clone() };
                let planned = vec![network::training(&training, (expected * own as f64 / own_batch) as u64, 1.0)];
                let mut plan = Plan::calibrate(header.plan.unit().clone(), Budget::new(1.0, 1e-9)?, planned)?;
                let begin = (trajectory.initialise(seed), None);
                let course = Course { training: &training, units: own as f64, seed, begin };
                let (trained, seconds) =
                    timed(|| train(&mut plan, &codes, &trajectory, course, None, &Unwatched, &mut |_| {}));
                last = trained?;
                Ok(seconds)
            })?;
            last
        }
        _ => Vec::new(),
    };
    Ok((seconds, LinkedModel::new(header, laws, |_| Ok(parameters))?))
}

/// The same with little noise.
fn quiet(measured: &Measured) -> Measured {
    let mut quiet = measured.clone();
    quiet.marginals_noise_std.iter_mut().for_each(|std| *std *= QUIET);
    quiet.tables.iter_mut().for_each(|table| table.noise_std *= QUIET);
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(leaves: &[Leaf], positions: u32) -> bool {
        let follows = |pair: &[Leaf]| pair[0].last + 1 == pair[1].first;
        let is_run = |leaf: &Leaf| leaf.first <= leaf.last;
        leaves[0].first == 0
            && leaves[leaves.len() - 1].last == positions - 1
            && leaves.windows(2).all(follows)
            && leaves.iter().all(is_run)
    }

    #[test]
    fn there_are_as_many_rows_as_asked_for() {
        for (positions, least, mean) in
            [(9, 0, 0.01), (9, 0, 4.0), (9, 1, 1.5), (9, 1, 7.5), (2001, 0, 30.0), (2, 1, 1.0)]
        {
            let leaves = falling(positions, least, mean, 1000.0);
            let rows: f64 = leaves.iter().map(|leaf| f64::from(leaf.first) * leaf.count).sum();
            assert!(covers(&leaves, positions) && (rows - 1000.0 * mean).abs() < 1.0, "{positions} {mean}: {rows}");
            assert!(leaves.iter().all(|leaf| leaf.last >= least || leaf.count == 0.0));
        }
    }

    #[test]
    fn passed_time_is_short_on_both_sides_of_none() {
        for (positions, grows_from) in [(1, 0), (2, 1), (1000, 0), (1000, 999), (1000, 300), (1 << 30, 1 << 29)] {
            let domain = Domain::Numbers { min: 0.0, step: 1.0, positions };
            let column = ModelColumn { name: String::new(), domain, nullable: false, grows_from: Some(grows_from) };
            let leaves = growing(&column, 1.0);
            assert!(covers(&leaves, positions), "{positions} {grows_from}: {leaves:?}");
            assert!(leaves.iter().any(|leaf| leaf.first == grows_from && leaf.last == grows_from));
        }
    }
}
