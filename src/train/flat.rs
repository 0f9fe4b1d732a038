//! From the rows of one table to what draws rows: domains, counts, a network. What is learnt is kept before anybody is told
//! of it, so that nobody sees two draws of it for one price.

use super::attempt::Attempt;
use super::checkpoint::{self, Checkpoint, Counts, marginals};
use super::discover::{BoundedTable, Unlisted, discover};
use super::fit::{FitRequest, Observe, Planned, Progress};
use super::keeper::Keeper;
use super::measure::measure;
use super::network::{Start, train_network};
use super::rows::{place, tell_of_rows};
use super::tables::{self, measure_tables};
use super::units::{COUNT, PublicUnits};
use super::witness::{Unwatched, Witness};
use crate::encode::{CodeStore, Codec, MAX_BINS, TableDomain};
use crate::error::Result;
use crate::model::{FORMAT, Generator, Header, Measured, Mixture, ModelFile, ModelKind, NetworkSettings, mixture};
use crate::nn::Tensor;
use crate::schema::Schema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use synthward_privacy::plan::{Plan, Share};
use synthward_privacy::{Budget, Sensitive};

/// How far a fit is that is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The number of units and all domains are known.
    Learnt(Learnt),
    /// Everything is counted. Where columns are independent, nothing was counted of several at once.
    Counted { header: Header, counts: Option<Counts> },
    /// A network is between two of its steps.
    Training { header: Header },
}

/// What is known before anything is counted.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Learnt {
    /// Declared or released number of units.
    units: f64,
    /// With the discovered domains, as a model carries it.
    schema: Schema,
    unlisted: Vec<Unlisted>,
}

/// What is public, and wanted once all is learnt.
pub(super) struct Rest {
    rounds: Vec<u32>,
    settings: Option<NetworkSettings>,
}

/// A fit as far as its noisy counts.
pub(super) struct Counted {
    /// What the model file will say of itself.
    header: Header,
    rows_column: Option<usize>,
    /// What was measured of several columns at once; none where columns are independent.
    measured: Option<Measured>,
    /// For a network.
    codes: Option<Sensitive<CodeStore>>,
}

/// From a table to a released model, or from a checkpoint on. What is released is kept where there is an attempt to keep it.
///
/// # Privacy
/// Releases what is left of the planned events, and nothing else.
pub(super) fn release(
    request: &FitRequest,
    planned: Planned,
    table: Sensitive<BoundedTable>,
    checkpoint: Option<Checkpoint<Stage>>,
    mut attempt: Option<&mut Attempt<'_>>,
    observe: &mut Observe<'_>,
) -> Result<ModelFile> {
    let budget = &request.budget;
    let (mut plan, rest, stage, tensors) = match checkpoint {
        Some(Checkpoint { progress, stage, tensors }) => {
            let Planned { mut plan, rounds, settings, .. } = planned;
            plan.resume(&progress)?;
            (plan, Rest { rounds, settings }, stage, tensors)
        }
        None => {
            let (plan, learnt, rest) = learn(planned, &table)?;
            let stage = Stage::Learnt(learnt);
            let has_learnt = plan.entries().iter().any(|entry| entry.share == Share::Discover);
            if let Some(attempt) = attempt.as_deref_mut().filter(|_| has_learnt) {
                attempt.keep(&checkpoint::to_bytes(plan.progress(None), &stage, &[])?)?;
            }
            (plan, rest, stage, Vec::new())
        }
    };
    if attempt.is_some() {
        stage.tell(budget, &table)?;
    }
    let counted = match stage {
        Stage::Learnt(learnt) => {
            let counted = count(request, &mut plan, learnt, rest, table, &Unwatched)?;
            if let Some(attempt) = attempt.as_deref_mut() {
                let (counts, tensors) = counted.measured.as_ref().map(Counts::of).unzip();
                let stage = Stage::Counted { header: counted.header.clone(), counts };
                attempt.keep(&checkpoint::to_bytes(plan.progress(None), &stage, &tensors.unwrap_or_default())?)?;
            }
            counted
        }
        Stage::Counted { header, counts } => {
            let measured = counts.map(|counts| counts.measured(&header.codecs, header.units, &tensors)).transpose()?;
            Counted::kept(request, header, measured, table)?
        }
        Stage::Training { header } => {
            let (layout, _) = marginals(&header.codecs, header.units)?;
            let mixture = Mixture::from_tensors(&layout, &tensors)?;
            let counted = Counted::kept(request, header, None, table)?;
            let header = counted.header.clone();
            let begun = Some(checkpoint::trained(&tensors)?);
            let generator = network(&mut plan, counted, (mixture, begun), attempt, &Unwatched, observe)?;
            return ModelFile::new(header, generator);
        }
    };
    let header = counted.header.clone();
    let generator = generator(&mut plan, counted, attempt, &Unwatched, observe)?;
    ModelFile::new(header, generator)
}

impl Stage {
    /// Tells the operator what was learnt, and how the table fits it.
    ///
    /// # Privacy
    /// Of what was learnt, post-processing; of the rows, as [`tell_of_rows`].
    fn tell(&self, budget: &Budget, table: &Sensitive<BoundedTable>) -> Result<()> {
        let (units, schema) = match self {
            Self::Learnt(Learnt { units, schema, unlisted }) => {
                unlisted.iter().for_each(Unlisted::tell);
                (*units, schema)
            }
            Self::Counted { header, .. } | Self::Training { header } => (header.units, &header.schema),
        };
        if schema.table.units.is_none() {
            PublicUnits::counted(budget, units);
        }
        tell_of_rows(table, schema)
    }
}

/// Learns the number of units and the domains that are not public.
///
/// # Privacy
/// Releases planned events and nothing else.
pub(super) fn learn(planned: Planned, table: &Sensitive<BoundedTable>) -> Result<(Plan, Learnt, Rest)> {
    let Planned { mut plan, schema, rounds, settings } = planned;
    let units = match schema.table.units {
        Some(units) => units as f64,
        None => {
            let units = |table: &BoundedTable| table.rows.units();
            let count = plan.histogram(COUNT)?.release(table, units, 1, |_, _, into| into.push(0))?;
            count.get()[0].max(1.0)
        }
    };
    let (schema, unlisted) = discover(&mut plan, table, &schema, units)?;
    Ok((plan, Learnt { units, schema: schema.released(), unlisted }, Rest { rounds, settings }))
}

/// Takes all noisy counts.
///
/// # Privacy
/// Releases planned events and nothing else.
pub(super) fn count<W: Witness>(
    request: &FitRequest,
    plan: &mut Plan,
    Learnt { units, schema, .. }: Learnt,
    Rest { rounds, settings }: Rest,
    table: Sensitive<BoundedTable>,
    witness: &W,
) -> Result<Counted> {
    let domain = TableDomain::of(&schema)?;
    witness.placed(&domain)?;
    let grid = place(table, &domain);
    let bins = match request.model {
        ModelKind::Independent => MAX_BINS,
        _ => tables::bins(&domain, units, request.budget.epsilon()),
    };
    let (columns, units) = measure(plan, "", &grid, &domain, &rounds, units, bins, witness)?;
    let codecs: Vec<Codec> = columns.iter().map(|column| column.codec.clone()).collect();
    witness.encoded(&codecs)?;
    let (measured, codes) = if request.model == ModelKind::Independent {
        (None, None)
    } else {
        let (layout, marginals) = marginals(&codecs, units)?;
        let codes = grid.map(|grid| grid.encode(&codecs, request.memory / 2)).transpose()?;
        let chosen = tables::chosen(&layout, &schema, &domain);
        let measured = measure_tables(plan, "", &codes, &columns, marginals, chosen, units, witness)?;
        (Some(measured), settings.is_some().then_some(codes))
    };
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        model: request.model,
        plan: plan.clone(),
        units,
        seed: request.seed,
        settings,
        schema,
        codecs,
    };
    Ok(Counted { header, rows_column: domain.rows_column, measured, codes })
}

impl Counted {
    /// What was counted by another process. Of the rows a network alone has need.
    fn kept(
        request: &FitRequest,
        header: Header,
        measured: Option<Measured>,
        table: Sensitive<BoundedTable>,
    ) -> Result<Self> {
        let domain = TableDomain::of(&header.schema)?;
        let encode = || place(table, &domain).map(|grid| grid.encode(&header.codecs, request.memory / 2)).transpose();
        let codes = header.settings.as_ref().map(|_| encode()).transpose()?;
        Ok(Self { rows_column: domain.rows_column, header, measured, codes })
    }
}

/// From noisy counts to what draws rows.
///
/// # Privacy
/// Releases planned events and nothing else.
pub(super) fn generator<W: Witness>(
    plan: &mut Plan,
    counted: Counted,
    attempt: Option<&mut Attempt<'_>>,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<Box<dyn Generator>> {
    let Header { codecs, units, seed, settings, .. } = &counted.header;
    let Some(measured) = &counted.measured else {
        return Ok(Box::new(Mixture::independent(&marginals(codecs, *units)?.1)));
    };
    let epsilon_spent = plan.epsilon_spent(0)?;
    let observer = Mutex::new(&mut *observe);
    let likely = mixture::likely_steps(*units, counted.header.plan.epsilon());
    let mixture = mixture::fit(measured, *seed, mixture::STEPS, &|steps| {
        if let Ok(mut observe) = observer.lock() {
            observe(Progress::of_mixture(steps, likely, epsilon_spent));
        }
    });
    if settings.is_none() {
        return Ok(Box::new(mixture));
    }
    network(plan, counted, (mixture, None), attempt, witness, observe)
}

/// Trains the network that the settings ask for, from the mixture on or from where it stopped.
///
/// # Privacy
/// Releases planned events and nothing else.
fn network<W: Witness>(
    plan: &mut Plan,
    Counted { header, rows_column, codes, .. }: Counted,
    (mixture, begun): (Mixture, Option<super::dp_sgd::Begin>),
    attempt: Option<&mut Attempt<'_>>,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<Box<dyn Generator>> {
    let (Some(settings), Some(codes)) = (&header.settings.clone(), codes) else {
        return Err(crate::error::Error::bad_input("the checkpoint has no network"));
    };
    let (layout, _) = marginals(&header.codecs, header.units)?;
    let (units, seed, mixture) = (header.units, header.seed, Arc::new(mixture));
    let stage = Stage::Training { header };
    let own = mixture.clone();
    let keeper = attempt.map(|attempt| {
        Keeper::new(attempt, move |progress, training| {
            let tensors: Vec<Tensor> = own.tensors().into_iter().chain(training).collect();
            checkpoint::to_bytes(progress, &stage, &tensors)
        })
    });
    let start = Start { mixture, layout: &layout, rows_column, units, seed, begun };
    train_network(plan, &codes, settings, start, keeper, witness, observe)
}
