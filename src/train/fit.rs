//! From a table and a schema to a released model.

use super::attempt::{Asked, Attempt, Found};
use super::discover;
use super::flat::{count, generator, learn, release};
use super::ledger_file::LedgerFile;
use super::measure::{requests, rounds};
use super::network::{self, MEASURED_SHARE};
use super::rows::{joined, read_table};
use super::stop::Stop;
use super::tables;
use super::units::{COUNT, COUNT_SHARE, PublicUnits};
use super::witness::{Unwatched, Witness};
use crate::encode::{Codec, Layout, TableDomain};
use crate::error::{Error, Result};
use crate::ingest::{Frame, Source, load};
use crate::model::mixture::Steps;
use crate::model::{Header, ModelFile, ModelKind, NetworkSettings, sha256};
use crate::schema::{DomainFrom, Schema};
use std::path::Path;
use synthward_privacy::mechanism::Part;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive};

/// Bytes of a table that are kept in memory where nobody asks for more or less.
pub const TABLE_MEMORY: u64 = 512 << 20;
/// Part of the budget (of rho) for one-way marginals, when pairs of columns are measured too ...
const ONE_WAY_SHARE: f64 = 0.2;
/// ... and where there are more columns than [`FEW_COLUMNS`]: most pairs of a wide table are next to independent, and
/// then one-way marginals say what they say.
const ONE_WAY_SHARE_OF_MANY_COLUMNS: f64 = 0.4;
const FEW_COLUMNS: usize = 30;

/// What to fit. Everything but the rows behind `source` is public.
pub struct FitRequest<'a> {
    pub source: &'a Source,
    pub schema: &'a Schema,
    pub model: ModelKind,
    pub budget: Budget,
    /// The part of the budget's epsilon that pays for domains which are not
    /// public; without it such domains are refused.
    pub discover_epsilon: Option<f64>,
    /// Fixes initialisation; never the noise, nor any draw that belongs to one unit.
    pub seed: u64,
    /// Bytes of the table that are kept in memory, at most; what is more goes to disk, encrypted.
    pub memory: u64,
}

/// A plan, what is public before a row is read, and the settings of the
/// network that the plan pays for.
pub struct Planned {
    pub plan: Plan,
    /// Without the domains that are to be discovered.
    pub schema: Schema,
    /// Splitting rounds of each column: see [`rounds`].
    pub rounds: Vec<u32>,
    pub settings: Option<NetworkSettings>,
}

/// How far a part of the fit is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is fitted: the marginals' mixture, or a network.
    pub what: &'static str,
    pub done: u64,
    /// What there is likely to do.
    pub total: u64,
    /// Epsilon of everything released so far.
    pub epsilon_spent: f64,
}

impl Progress {
    /// Of the mixture, of which so many steps were likely at first.
    pub(super) fn of_mixture(Steps { done, likely }: Steps, at_first: usize, epsilon_spent: f64) -> Self {
        let total = likely.unwrap_or(at_first).max(done);
        Self { what: "marginals", done: done as u64, total: total as u64, epsilon_spent }
    }
}

/// Who is told of progress.
pub type Observe<'a> = dyn FnMut(Progress) + Send + 'a;

/// Plans a fit from public facts, before a row is read.
///
/// # Errors
/// Bad input: a schema that may not be fitted, a budget out of range, fewer
/// units declared than a model is of use for.
pub fn plan(request: &FitRequest) -> Result<Planned> {
    let (schema, mut planned) = to_discover(request)?;
    let domain = TableDomain::of(&schema)?;
    let units = PublicUnits::of(&schema.table);
    units.check(&request.budget)?;
    if units.declared.is_none() {
        planned.push(Request {
            name: COUNT.into(),
            share: Share::Discover,
            weight: COUNT_SHARE,
            mechanism: Mechanism::Histogram,
        });
    }
    let units = units.for_settings();
    let settings = network::settings(request.model, &domain.largest_layout(), units);
    match (request.model, &settings) {
        (ModelKind::Independent, _) => planned.extend(requests("", &domain, 1.0)),
        (_, None) => planned.extend(measure_requests("", &domain, 1.0)),
        (_, Some(settings)) => {
            planned.extend(measure_requests("", &domain, MEASURED_SHARE));
            planned.extend(network::requests(settings, units));
        }
    }
    let unit = schema.table.unit_column().map_or(PrivacyUnit::Row, |name| PrivacyUnit::Column(name.into()));
    let plan = Plan::calibrate(unit, request.budget, planned)?;
    Ok(Planned { plan, rounds: rounds(&domain), schema, settings })
}

/// What a released model was planned with, so that another is fitted under the same plan for an audit: the events with their
/// noise, the settings, and the domains that it released, which need not be learnt again.
///
/// # Errors
/// Bad input: a model whose schema has no domains.
pub fn plan_again(header: &Header) -> Result<Planned> {
    let as_planned = TableDomain::of(&header.schema.without_private_domains())?;
    let mut schema = header.schema.clone();
    for column in schema.columns.iter_mut().filter(|column| column.domain_from == Some(DomainFrom::Discovered)) {
        column.domain_from = Some(DomainFrom::Public);
    }
    Ok(Planned { plan: header.plan.clone(), schema, rounds: rounds(&as_planned), settings: header.settings.clone() })
}

/// The events of `marginal`: one-way counts, then pairs of columns.
pub(super) fn measure_requests(scope: &str, domain: &TableDomain, share: f64) -> Vec<Request> {
    let one_way = one_way_share(domain.columns.len());
    let mut planned = requests(scope, domain, share * one_way);
    planned.push(tables::request(scope, share * (1.0 - one_way)));
    planned
}

/// The part for one-way marginals, from the public number of columns.
fn one_way_share(columns: usize) -> f64 {
    if columns <= FEW_COLUMNS { ONE_WAY_SHARE } else { ONE_WAY_SHARE_OF_MANY_COLUMNS }
}

/// The schema without what is to be discovered, and the events that pay for it.
fn to_discover(request: &FitRequest) -> Result<(Schema, Vec<Request>)> {
    let Some(epsilon) = request.discover_epsilon else {
        request.schema.check_for_fit()?;
        return Ok((request.schema.clone(), Vec::new()));
    };
    request.schema.check_for_discovery()?;
    if request.budget.is_unlimited() {
        return Err(Error::bad_input("discovery adds noise, and epsilon is infinite: a fit has noise or has none")
            .expected("a finite epsilon, or no discovery")
            .remedy(
                "leave --discover-epsilon out and vouch for the domains in the schema, or give a finite --epsilon",
            ));
    }
    if !(epsilon > 0.0 && epsilon < request.budget.epsilon()) {
        return Err(Error::bad_input(format!("discover epsilon is {epsilon}"))
            .expected(format!("a number above 0 and below epsilon, {}", request.budget.epsilon()))
            .remedy("--epsilon is the whole budget of the fit: leave some of it for what comes after discovery"));
    }
    let schema = request.schema.without_private_domains();
    let planned = discover::requests(&schema, epsilon, request.budget.delta());
    Ok((schema, planned))
}

/// Where a fit is recorded and kept.
pub struct Place<'a> {
    pub ledger: &'a LedgerFile,
    /// The model file; checkpoints lie beside it.
    pub output: &'a Path,
    /// Which tables the fit is one of, where more than the model is made of them: a fit is gone on with by the same alone.
    /// Nothing that could be guessed from rows: a hash of it goes into the ledger.
    pub tables: &'a str,
    /// Whether to go on with the last unfinished fit of the same plan; nothing more is spent then.
    pub resume: bool,
    /// Whether a new fit may write over a model that is there.
    pub overwrites: bool,
    /// What else has to be so before anything is drawn.
    pub check: &'a Check<'a>,
    /// Takes the intent back as long as nothing was drawn, and ends a training after a step.
    pub stop: &'a Stop,
}

/// What has to be so before anything is drawn.
pub type Check<'a> = dyn Fn() -> Result<()> + 'a;

/// Fits a model and writes it: plan, intent, rows, mechanisms, outcome. Returns the model and the SHA-256 of its file.
///
/// # Errors
/// What [`plan`] refuses; a ledger that cannot be written; bad input, in which case the ledger says that nothing was
/// spent; an unfinished fit where there is to be none, or none where there is to be one; a wish to stop.
///
/// # Privacy
/// Releases the planned events and nothing else. When a fit was interrupted and is gone on with, what was released after
/// its last checkpoint was seen by nobody, and is released again with other noise.
pub fn fit(request: &FitRequest, place: &Place, observe: &mut Observe<'_>) -> Result<(ModelFile, String)> {
    let planned = plan(request)?;
    let Place { ledger, output, tables, resume, overwrites, check, stop } = *place;
    let asked_for = asked_for(request, &planned.schema, output, tables)?;
    PublicUnits::of(&request.schema.table).tell(&planned.plan);
    let asked = Asked {
        ledger,
        output,
        plan: &planned.plan,
        request: &asked_for,
        file: &request.source.to_string(),
        overwrites,
        stop,
    };
    let (mut attempt, checkpoint) = match Attempt::of(asked, resume, ModelFile::from_bytes)? {
        Found::Fit(attempt, checkpoint) => (attempt, checkpoint),
        Found::Model(model, sha256) => return Ok((*model, sha256)),
    };
    let table = attempt.before_noise(|| {
        check()?;
        read_table(request, &planned.schema, &planned.plan)
    })?;
    let model = release(request, planned, table, checkpoint, Some(&mut attempt), observe)?;
    let sha256 = attempt.finish(&model.to_bytes()?)?;
    Ok((model, sha256))
}

/// SHA-256 of what a fit is asked for beside its plan: what is public of the schema, the model, the seed, the name of the
/// model's file, and the tables.
fn asked_for(request: &FitRequest, public: &Schema, output: &Path, tables: &str) -> Result<String> {
    let schema = serde_json::to_string(&public.released()).map_err(|e| Error::failed(e.to_string()))?;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    Ok(sha256(format!("{schema}\n{}\n{}\n{name}\n{tables}", request.model, request.seed).as_bytes()))
}

/// Fits a throwaway model as [`fit`] does, by the same code and under the same plan, while `witness` looks on, as far as
/// anything is released. Nothing is kept, so nothing goes into the ledger.
///
/// # Errors
/// Bad input; what the witness refuses.
///
/// # Privacy
/// For the data's controller, outside the guarantee: the model is dropped, and what the witness makes of it is for those
/// who may see the table.
pub(crate) fn rehearse<W: Witness>(
    request: &FitRequest,
    planned: Planned,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<()> {
    let frame = load(request.source, &planned.schema)?;
    let table = joined(&planned.schema, frame, witness)?;
    let has_network = planned.settings.is_some();
    let (mut plan, learnt, rest) = learn(planned, &table)?;
    let counted = count(request, &mut plan, learnt, rest, table, witness)?;
    // Without a network nothing is released after the counts.
    if has_network {
        generator(&mut plan, counted, None, witness, observe)?;
    }
    Ok(())
}

/// Fits a throwaway model as [`fit`] does, by the same code, to `frame` in the place of the table behind
/// `request.source`, which is not read. Nothing goes into the ledger.
///
/// # Errors
/// Bad input.
///
/// # Privacy
/// For the data's controller, outside the guarantee: whoever calls it drops the model.
pub(crate) fn imitate(
    request: &FitRequest,
    planned: Planned,
    frame: Sensitive<Frame>,
    observe: &mut Observe<'_>,
) -> Result<ModelFile> {
    let table = joined(&planned.schema, frame, &Unwatched)?;
    release(request, planned, table, None, None, observe)
}

/// The groups of columns of which a fit of this kind counts all cells at once: see [`tables::choose`].
pub(crate) fn counted_together(model: &ModelFile) -> Vec<Vec<usize>> {
    let Header { model: kind, schema, codecs, .. } = &model.header;
    if *kind == ModelKind::Independent {
        return Vec::new();
    }
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    tables::chosen(&layout, schema, &model.domain).0
}

/// The groups of columns of which `marginal` counts all cells at once, each with the standard deviation of the noise in a cell's
/// share of the units. None of other models: a network has noise of its own, of which the counts say nothing.
///
/// # Privacy
/// Of the model's public plan.
pub(crate) fn noise_of_tables(model: &ModelFile) -> Vec<(Vec<usize>, f64)> {
    let Header { model: kind, schema, codecs, plan, units, .. } = &model.header;
    let planned = plan.entries().iter().find(|entry| entry.name == tables::TABLES);
    let Some(planned) = planned.filter(|_| *kind == ModelKind::Marginal) else { return Vec::new() };
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let (tables, parts) = tables::chosen(&layout, schema, &model.domain);
    let std = |part: Part| planned.noise_multiplier / part.weight / units;
    tables.into_iter().zip(parts.into_iter().map(std)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Domain, ModelColumn};

    /// One budget, of which wide tables pay more for one-way counts.
    #[test]
    fn one_way_counts_and_pairs_share_the_budget() {
        for (columns, one_way) in [(2, 0.2), (FEW_COLUMNS, 0.2), (FEW_COLUMNS + 1, 0.4), (76, 0.4)] {
            let column = |index| ModelColumn {
                name: format!("c{index}"),
                domain: Domain::Numbers { min: 0.0, step: 1.0, positions: 1000 },
                nullable: false,
                grows_from: None,
            };
            let columns = (0..columns).map(column).collect();
            let domain = TableDomain { columns, rows_column: None, max_rows_per_unit: 1 };
            let weights: Vec<f64> = measure_requests("", &domain, 0.5).iter().map(|request| request.weight).collect();
            let (pairs, one_ways) = weights.split_last().unwrap();
            assert!((pairs - 0.5 * (1.0 - one_way)).abs() < 1e-9);
            assert!((one_ways.iter().sum::<f64>() - 0.5 * one_way).abs() < 1e-9);
        }
    }
}
