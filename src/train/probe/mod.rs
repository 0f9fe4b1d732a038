//! What a fit will take, measured on invented rows before a real one is read.

mod linked;

use super::fit::{FitRequest, plan};
use super::flat::{self, learn};
use super::network::{self, Start, train_network};
use super::rows::joined;
use super::tables;
use super::witness::Unwatched;
use crate::encode::{Codec, Codes, Domain, Layout, Leaf, ModelColumn, TableDomain};
use crate::error::{Error, Result};
use crate::ingest::Frame;
use crate::model::{
    FORMAT, Generator, Header, Marginals, Measured, MeasuredTable, Mixture, ModelFile, ModelKind, mixture,
};
use crate::nn::softmax;
use crate::schema::{DomainFrom, Schema};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::time::Instant;
use synthward_privacy::plan::{Mechanism, Plan};
use synthward_privacy::{Budget, Sensitive};

pub use linked::{CountedTables, bare, count_linked, fit_counted, invent_linked};

/// Kinds of invented people, and how unlike each other they are (standard deviation of their log odds).
const CLASSES: usize = 64;
const UNLIKE: f32 = 1.5;
/// Runs of positions that an invented numeric column is cut into.
const LEAVES: u32 = 256;
/// Steps of the two measurements whose difference is what a step takes.
const FEW_STEPS: usize = 4;
const MORE_STEPS: usize = 16;
/// Seconds that the difference has to be, or else more steps are measured: it is multiplied, and whatever else the machine
/// did meanwhile is multiplied with it.
const LONG_ENOUGH: f64 = 1.0;
/// An epsilon at which no count stands out of its noise.
const ALL_NOISE: f64 = 1e-3;
/// Units that are drawn to measure it.
const DRAWN: usize = 4096;

/// A model of invented people under the schema of `request`, whose rows stand in for real ones in a measurement of time.
/// `units` is how many units the real table is taken to have.
///
/// # Errors
/// What [`plan`] refuses; a domain that nobody knows yet.
///
/// # Privacy
/// Touches no rows. What comes of a draft whose domains are yet to be learnt is as sensitive as the draft.
pub fn invent(request: &FitRequest, units: u64) -> Result<ModelFile> {
    let planned = plan(request)?.plan;
    let domain = TableDomain::of(request.schema)?;
    let bins = tables::bins(&domain, units as f64, request.budget.epsilon());
    let (total, noise_std) = (units as f64, one_way_noise(&planned));
    let codec = |column: &ModelColumn| invented_codec(column, (total, noise_std), bins);
    let codecs: Vec<Codec> = domain.columns.iter().map(codec).collect();
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let mixture = classes(&layout, request.seed, &[])?;
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        model: ModelKind::Marginal,
        plan: planned,
        units: units as f64,
        seed: request.seed,
        settings: None,
        // Constraints may be such that no invented row holds them.
        schema: Schema { constraints: Vec::new(), ..request.schema.released() },
        codecs,
    };
    ModelFile::new(header, Box::new(mixture))
}

/// The codec of a column of which invented people have all values, `total` of them.
fn invented_codec(column: &ModelColumn, (total, noise_std): (f64, f64), bins: usize) -> Codec {
    match column.domain {
        Domain::Labels { .. } => {
            let counts = skewed(column.domain.positions() as usize + usize::from(column.nullable), total);
            Codec::of_labels(&column.domain, column.nullable, &counts, total, noise_std)
        }
        Domain::Numbers { positions, .. } => of_leaves(column, &even_leaves(positions, total), total, bins),
    }
}

/// The codec of numbers that `total` people have, and a tenth as many lack.
fn of_leaves(column: &ModelColumn, leaves: &[Leaf], total: f64, bins: usize) -> Codec {
    Codec::of_leaves(leaves, column.nullable.then_some(0.1 * total), 1.1 * total, bins)
}

/// Kinds of people who differ in all columns but those that are `alike`, which have one law in each.
fn classes(layout: &Layout, seed: u64, alike: &[(usize, Vec<f64>)]) -> Result<Mixture> {
    let (total, offsets) = (layout.total(), layout.offsets());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut classes: Vec<f32> = (0..CLASSES * total).map(|_| UNLIKE * rng.sample::<f32, _>(StandardNormal)).collect();
    softmax::probabilities(&mut classes, &offsets);
    for class in classes.chunks_exact_mut(total.max(1)) {
        for (column, law) in alike {
            let cells = &mut class[offsets[*column]..offsets[column + 1]];
            cells.iter_mut().zip(law).for_each(|(cell, probability)| *cell = *probability as f32);
        }
    }
    let tensors = [
        ("mixture.probabilities".to_owned(), vec![CLASSES, total], classes),
        ("mixture.weights".to_owned(), vec![1, CLASSES], vec![1.0 / CLASSES as f32; CLASSES]),
    ];
    Mixture::from_tensors(layout, &tensors)
}

/// The noise on a one-way count, of the last of them.
fn one_way_noise(plan: &Plan) -> f64 {
    let mut counts = plan.entries().iter().filter(|entry| entry.mechanism == Mechanism::Histogram);
    counts.next_back().map_or(0.0, |entry| entry.noise_multiplier)
}

/// Counts of `labels` labels, few of which most people have: their shares fall with the square of their rank.
fn skewed(labels: usize, total: f64) -> Vec<f64> {
    let shares: Vec<f64> = (1..=labels).map(|rank| (rank as f64).powi(-2)).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum * total).collect()
}

/// Rows that a person has on average where at most `most` are used and few have many.
pub fn mean_rows(most: u32) -> f64 {
    let rows = |rank: usize| (rank + 1) as f64;
    skewed(most as usize, 1.0).iter().enumerate().map(|(rank, share)| rows(rank) * share).sum()
}

/// Runs of positions of about equal length and weight.
fn even_leaves(positions: u32, total: f64) -> Vec<Leaf> {
    let leaves = positions.clamp(1, LEAVES);
    let end = |leaf: u32| (u64::from(leaf) * u64::from(positions) / u64::from(leaves)) as u32;
    let count = total / f64::from(leaves);
    (0..leaves).map(|leaf| Leaf { first: end(leaf), last: end(leaf + 1) - 1, count }).collect()
}

/// What a fit and what comes of it will take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FitTime {
    /// Seconds from the noisy counts on: the mixture, and the network if there is one.
    pub fit: f64,
    /// Seconds to draw one unit.
    pub draw: f64,
}

/// Measures what the fit of `request` will take, and drawing from it.
///
/// # Errors
/// A failure of the training.
///
/// # Privacy
/// Touches invented rows only.
pub fn time(request: &FitRequest, invented: &ModelFile) -> Result<FitTime> {
    let draw = |generator: &dyn Generator| timed(|| codes(generator, invented, DRAWN)).1 / DRAWN as f64;
    if request.model == ModelKind::Independent {
        return Ok(FitTime { fit: 0.0, draw: draw(&*invented.generator) });
    }
    let Header { codecs, schema, units, plan, .. } = &invented.header;
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let measured = measured(codecs, &layout, tables::chosen(&layout, schema, &invented.domain).0)?;
    let steps = mixture::steps_of_member(*units, request.budget.epsilon());
    let mut last = None;
    let mixture = extrapolated(steps, LONG_ENOUGH, |steps| {
        let (fitted, seconds) = timed(|| mixture::fit(&measured, request.seed, steps, &|_| ()));
        last = Some(fitted);
        Ok(seconds)
    })?;
    let fitted = last.ok_or_else(|| Error::failed("nothing was measured"))?;
    let settings = network::settings(request.model, &invented.domain.largest_layout(), *units as u64);
    let Some(settings) = settings else { return Ok(FitTime { fit: mixture, draw: draw(&fitted) }) };
    let codes = Sensitive::new(codes(&*invented.generator, invented, *units as usize).into());
    let mut drawing = 0.0;
    let network = extrapolated(settings.training.steps as f64, LONG_ENOUGH, |steps| {
        let mut settings = settings.clone();
        settings.training.steps = steps;
        let requests = network::requests(&settings, *units as u64);
        let mut plan = Plan::calibrate(plan.unit().clone(), Budget::new(1.0, 1e-9)?, requests)?;
        let start = Start {
            mixture: std::sync::Arc::new(fitted.clone()),
            layout: &layout,
            rows_column: invented.domain.rows_column,
            units: *units,
            seed: request.seed,
            begun: None,
        };
        let (generator, seconds) =
            timed(|| train_network(&mut plan, &codes, &settings, start, None, &Unwatched, &mut |_| {}));
        drawing = draw(&*generator?);
        Ok(seconds)
    })?;
    Ok(FitTime { fit: mixture + network, draw: drawing })
}

/// Takes a table through the part of a fit that grows with its rows: bounding, placing, counting. Nothing is fitted to the
/// counts, which are all noise.
///
/// # Errors
/// Bad input: fewer rows than a fit asks for.
///
/// # Privacy
/// For invented rows.
pub fn count(request: &FitRequest, invented: Frame) -> Result<()> {
    let mut schema = request.schema.clone();
    schema.table.units = Some(invented.units() as u64);
    // Of invented rows all is public.
    for column in schema.columns.iter_mut().filter(|column| column.domain_from == Some(DomainFrom::Data)) {
        column.domain_from = Some(DomainFrom::Public);
    }
    // A rule that nobody vouches for is left out, as by a fit.
    schema.constraints = schema.public_constraints();
    let request = FitRequest {
        source: request.source,
        schema: &schema,
        model: if request.model == ModelKind::Independent { ModelKind::Independent } else { ModelKind::Marginal },
        budget: Budget::new(ALL_NOISE, 1e-9)?,
        discover_epsilon: None,
        seed: request.seed,
        memory: request.memory,
    };
    let planned = plan(&request)?;
    let table = joined(&planned.schema, Sensitive::new(invented), &Unwatched)?;
    let (mut plan, learnt, rest) = learn(planned, &table)?;
    flat::count(&request, &mut plan, learnt, rest, table, &Unwatched).map(|_| ())
}

/// Marginals as the plan would release, without anything behind them.
fn measured(codecs: &[Codec], layout: &Layout, tables: Vec<Vec<usize>>) -> Result<Measured> {
    let shares: Vec<f64> = codecs.iter().flat_map(Codec::marginal).collect();
    let marginals = Marginals::from_noisy(layout, &shares)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let table = |columns: Vec<usize>| {
        let cells: usize = columns.iter().map(|&column| layout.cells[column]).product();
        // Far more structure than noise, so that no measured step is the last.
        let shares = (0..cells).map(|_| rng.random::<f32>() * 2.0 / cells as f32).collect();
        MeasuredTable { columns, shares, noise_std: 1e-3 / cells as f32 }
    };
    let tables = tables.into_iter().map(table).collect();
    let marginals_noise_std = vec![1e-6; layout.total()];
    Ok(Measured { layout: layout.clone(), marginals, marginals_noise_std, tables })
}

/// The codes of invented units.
fn codes(generator: &dyn Generator, invented: &ModelFile, units: usize) -> Codes {
    let mut codes = Codes { codes: Vec::new(), width: invented.domain.columns.len(), offsets: Vec::new() };
    let mut rng = ChaCha8Rng::seed_from_u64(invented.header.seed);
    let rows_column = invented.domain.rows_column;
    generator.generate(units, rows_column, None, &mut rng, &mut codes.codes, &mut codes.offsets);
    codes
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed().as_secs_f64())
}

/// Seconds of `steps` steps, where `seconds` says what few and what more of them take, until the difference is long enough.
fn extrapolated(steps: f64, long_enough: f64, mut seconds: impl FnMut(usize) -> Result<f64>) -> Result<f64> {
    let few = seconds(FEW_STEPS)?;
    let mut more_steps = MORE_STEPS;
    let more = loop {
        let more = seconds(more_steps)?;
        if more - few >= long_enough || more_steps as f64 >= steps {
            break more;
        }
        more_steps *= (long_enough / (more - few)).clamp(2.0, 16.0).ceil() as usize;
    };
    let step = (more - few).max(0.0) / (more_steps - FEW_STEPS) as f64;
    Ok(few + step * (steps - FEW_STEPS as f64).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_cover_every_position_once() {
        for positions in [1, 2, 255, 256, 257, 1_000_003, u32::MAX] {
            let leaves = even_leaves(positions, 1.0);
            assert!(leaves.len() == positions.min(LEAVES) as usize && leaves[0].first == 0);
            assert!(leaves.windows(2).all(|pair| pair[0].last + 1 == pair[1].first && pair[0].first <= pair[0].last));
            assert_eq!(leaves.last().unwrap().last, positions - 1);
        }
    }

    #[test]
    fn steps_are_extrapolated_and_what_comes_once_is_counted_once() {
        let seconds = |steps: usize| Ok(0.25 + 0.5 * steps as f64);
        assert_eq!(extrapolated(1000.0, LONG_ENOUGH, seconds).unwrap(), 500.25);
        assert_eq!(extrapolated(1.0, LONG_ENOUGH, seconds).unwrap(), 2.25, "no fewer than were measured");
    }
}
