//! From a table and a schema to a released model.

use super::attempt::{Asked, Attempt, Found};
use super::checkpoint::Checkpoint;
use super::discover::{self, BoundedTable, discover};
use super::keeper::Keeper;
use super::ledger_file::LedgerFile;
use super::measure::{measure, requests, rounds};
use super::network::{self, MEASURED_SHARE, Start, train_network};
use super::stop::Stop;
use super::tables::{self, Analysis, measure_tables};
use super::units::{COUNT, COUNT_SHARE, PublicUnits};
use super::witness::{Unwatched, Witness};
use crate::encode::{CodeStore, Codec, Grid, Layout, MAX_BINS, TableDomain, UnitRows};
use crate::error::{Error, Result};
use crate::ingest::{ColumnStore, Frame, Source, broken, count_class, load, outside, store};
use crate::model::{
    FORMAT, Generator, Header, Marginals, Measured, Mixture, ModelFile, ModelKind, NetworkSettings, mixture, sha256,
};
use crate::schema::{DomainFrom, Schema};
use std::path::Path;
use std::sync::{Arc, Mutex};
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
    /// The most that there may be to do.
    pub total: u64,
    /// Epsilon of everything released so far.
    pub epsilon_spent: f64,
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
    /// Ends a training after a step.
    pub stop: &'a Stop,
}

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
    let Place { ledger, output, tables, resume, stop } = *place;
    let asked_for = asked_for(request, &planned.schema, output, tables)?;
    let asked = Asked { ledger, output, plan: &planned.plan, request: &asked_for };
    let (mut attempt, checkpoint) = match resume.then(|| Attempt::resume(asked, ModelFile::from_bytes)).transpose()? {
        None => (Attempt::begin(asked)?, None),
        Some(Found::Intent(attempt)) => (attempt, None),
        Some(Found::Checkpoint(attempt, checkpoint)) => (attempt, Some(*checkpoint)),
        Some(Found::Model(model, sha256)) => return Ok((*model, sha256)),
    };
    let table = match read_table(request, &planned.schema) {
        Ok(table) => table,
        Err(e) => {
            // Nothing was released yet.
            if !resume {
                attempt.refuse()?;
            }
            return Err(e);
        }
    };
    let mut keep = Keep { attempt: &mut attempt, stop };
    let model = match checkpoint {
        None => release(request, planned, table, Some(keep), observe)?,
        Some(checkpoint) => go_on(request, planned, checkpoint, table, &mut keep, observe)?,
    };
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

/// What keeps a network's training.
struct Keep<'k, 'a> {
    attempt: &'k mut Attempt<'a>,
    stop: &'a Stop,
}

impl<'a> Keep<'_, 'a> {
    fn keeper(&mut self, header: Header, mixture: Arc<Mixture>) -> Keeper<'_, 'a> {
        Keeper::new(self.attempt, self.stop, header, mixture)
    }
}

/// From a checkpoint to a released model.
///
/// # Privacy
/// Releases what is left of the planned events, and nothing else.
fn go_on(
    request: &FitRequest,
    planned: Planned,
    checkpoint: Checkpoint,
    table: Sensitive<BoundedTable>,
    keep: &mut Keep<'_, '_>,
    observe: &mut Observe<'_>,
) -> Result<ModelFile> {
    let Checkpoint { facts, domain, layout, mixture, parameters, memory } = checkpoint;
    let header = facts.header;
    let mut plan = planned.plan;
    plan.resume(&facts.progress)?;
    let settings = header.settings.as_ref().ok_or_else(|| Error::bad_input("the checkpoint has no network"))?;
    let grid = place(table, &header.schema, &domain)?;
    let codes = grid.map(|grid| grid.encode(&header.codecs, request.memory / 2)).transpose()?;
    let mixture = Arc::new(mixture);
    let keeper = keep.keeper(header.clone(), mixture.clone());
    let start = Start {
        mixture,
        layout: &layout,
        rows_column: domain.rows_column,
        units: header.units,
        seed: header.seed,
        begun: Some((parameters, Some(memory))),
    };
    let generator = train_network(&mut plan, &codes, settings, start, Some(keeper), &Unwatched, observe)?;
    ModelFile::new(header, generator)
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
    let mut counted = count(request, planned, table, witness)?;
    // Without a network nothing is released after the counts.
    if counted.settings.is_some() {
        generator(request, &mut counted, None, witness, observe)?;
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
    release(request, planned, table, None, observe)
}

/// The groups of columns of which a fit of this kind counts all cells at once: pairs, pairs with a label, and what declared
/// analyses hang on.
pub(crate) fn counted_together(model: &ModelFile) -> Vec<Vec<usize>> {
    let Header { model: kind, schema, codecs, .. } = &model.header;
    if *kind == ModelKind::Independent {
        return Vec::new();
    }
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    chosen(&layout, schema, &model.domain).0
}

/// From a table to a released model.
///
/// # Privacy
/// Releases the planned events and nothing else.
fn release(
    request: &FitRequest,
    planned: Planned,
    table: Sensitive<BoundedTable>,
    keep: Option<Keep<'_, '_>>,
    observe: &mut Observe<'_>,
) -> Result<ModelFile> {
    let mut counted = count(request, planned, table, &Unwatched)?;
    let generator = generator(request, &mut counted, keep, &Unwatched, observe)?;
    ModelFile::new(header(request, &counted), generator)
}

/// What the model file will say of itself.
fn header(request: &FitRequest, counted: &Counted) -> Header {
    Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        model: request.model,
        plan: counted.plan.clone(),
        units: counted.units,
        seed: request.seed,
        settings: counted.settings.clone(),
        schema: counted.schema.released(),
        codecs: counted.codecs.clone(),
    }
}

/// A fit as far as its noisy counts.
struct Counted {
    plan: Plan,
    /// With the discovered domains.
    schema: Schema,
    settings: Option<NetworkSettings>,
    rows_column: Option<usize>,
    /// Declared or released number of units.
    units: f64,
    codecs: Vec<Codec>,
    marginals: Marginals,
    /// The table's codes and what was measured of several columns at once; none where columns are independent.
    tables: Option<(Sensitive<CodeStore>, Measured)>,
}

/// Discovers what is to be discovered, and takes all noisy counts.
///
/// # Privacy
/// Releases planned events and nothing else.
fn count<W: Witness>(
    request: &FitRequest,
    planned: Planned,
    table: Sensitive<BoundedTable>,
    witness: &W,
) -> Result<Counted> {
    let Planned { mut plan, schema, rounds, settings } = planned;
    let units = match schema.table.units {
        Some(units) => units as f64,
        None => {
            let units = |table: &BoundedTable| table.rows.units();
            let count = plan.histogram(COUNT)?.release(&table, units, 1, |_, _, into| into.push(0))?;
            let units = count.get()[0].max(1.0);
            PublicUnits::counted(&request.budget, units);
            units
        }
    };
    let schema = discover(&mut plan, &table, &schema, units)?;
    let domain = TableDomain::of(&schema)?;
    witness.placed(&domain)?;
    let grid = place(table, &schema, &domain)?;
    let bins = match request.model {
        ModelKind::Independent => MAX_BINS,
        _ => tables::bins(&domain, units, request.budget.epsilon()),
    };
    let (columns, units) = measure(&mut plan, "", &grid, &domain, &rounds, units, bins, witness)?;
    let codecs: Vec<Codec> = columns.iter().map(|column| column.codec.clone()).collect();
    witness.encoded(&codecs)?;
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let counts: Vec<f64> = codecs.iter().flat_map(Codec::marginal).map(|p| p * units).collect();
    let marginals = Marginals::from_noisy(&layout, &counts)?;
    let tables = if request.model == ModelKind::Independent {
        None
    } else {
        let codes = grid.map(|grid| grid.encode(&codecs, request.memory / 2)).transpose()?;
        let chosen = chosen(&layout, &schema, &domain);
        let measured = measure_tables(&mut plan, "", &codes, &columns, marginals.clone(), chosen, units, witness)?;
        Some((codes, measured))
    };
    let rows_column = domain.rows_column;
    Ok(Counted { plan, schema, settings, rows_column, units, codecs, marginals, tables })
}

/// From noisy counts to what draws rows.
///
/// # Privacy
/// Releases planned events and nothing else.
fn generator<W: Witness>(
    request: &FitRequest,
    counted: &mut Counted,
    mut keep: Option<Keep<'_, '_>>,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<Box<dyn Generator>> {
    let header = header(request, counted);
    let Counted { plan, settings, rows_column, units, marginals, tables, .. } = counted;
    let Some((codes, measured)) = tables else { return Ok(Box::new(Mixture::independent(marginals))) };
    let epsilon_spent = plan.epsilon_spent(0)?;
    let observer = Mutex::new(&mut *observe);
    let mixture = mixture::fit(measured, request.seed, mixture::STEPS, &|step| {
        if let Ok(mut observe) = observer.lock() {
            observe(Progress { what: "marginals", done: step as u64, total: mixture::STEPS as u64, epsilon_spent });
        }
    });
    let Some(settings) = settings else { return Ok(Box::new(mixture)) };
    let (rows_column, units, mixture) = (*rows_column, *units, Arc::new(mixture));
    let keeper = keep.as_mut().map(|keep| keep.keeper(header, mixture.clone()));
    let start = Start { mixture, layout: &measured.layout, rows_column, units, seed: request.seed, begun: None };
    train_network(plan, codes, settings, start, keeper, witness, observe)
}

/// The tables that a fit counts, and their weights: see [`tables::choose`].
pub(super) fn chosen(layout: &Layout, schema: &Schema, domain: &TableDomain) -> (Vec<Vec<usize>>, Vec<Part>) {
    let mut labels: Vec<usize> = schema.targets.iter().filter_map(|target| domain.index(&target.column)).collect();
    labels.sort_unstable();
    labels.dedup();
    tables::choose(layout, &labels, &analyses(schema, domain))
}

/// The regressions and survival curves of the schema: of a curve the event is what is to be explained, by the time and the
/// group.
fn analyses(schema: &Schema, domain: &TableDomain) -> Vec<Analysis> {
    let analysis = |outcome: &String, covariates: Vec<&String>| {
        let covariates: Option<Vec<usize>> = covariates.into_iter().map(|name| domain.index(name)).collect();
        Some(Analysis { outcome: domain.index(outcome)?, covariates: covariates? })
    };
    let regressions = schema.regressions.iter().map(|fit| analysis(&fit.outcome, fit.covariates.iter().collect()));
    let curves = schema
        .survival
        .iter()
        .map(|curve| analysis(&curve.event, [&curve.time].into_iter().chain(&curve.by).collect()));
    regressions.chain(curves).flatten().collect()
}

/// Reads the table and bounds the rows of each unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the table fits its schema
/// or where it does not; tells the operator, outside the guarantee, where it has another number of units than is declared.
fn read_table(request: &FitRequest, schema: &Schema) -> Result<Sensitive<BoundedTable>> {
    let table = bound(schema, store(request.source, schema, request.memory / 2)?);
    Ok(table.map(|table| {
        PublicUnits::of(&schema.table).compare(table.rows.units());
        table
    }))
}

/// A table in memory, with what `witness` adds to it, and the rows of each unit bounded.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
fn joined<W: Witness>(schema: &Schema, frame: Sensitive<Frame>, witness: &W) -> Result<Sensitive<BoundedTable>> {
    Ok(bound(schema, frame.map(|frame| ColumnStore::of(witness.join(frame))).transpose()?))
}

/// Bounds the rows of each unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
fn bound(schema: &Schema, table: Sensitive<ColumnStore>) -> Sensitive<BoundedTable> {
    let most = schema.table.max_rows_per_unit() as usize;
    table.map(|columns| BoundedTable { rows: Arc::new(UnitRows::new(&columns, most)), columns })
}

/// Places the cells of the table in the domain.
///
/// # Privacy
/// Touches sensitive data; tells the operator, outside the guarantee, in which
/// columns values were moved into the domain, in classes of ten.
fn place(table: Sensitive<BoundedTable>, schema: &Schema, domain: &TableDomain) -> Result<Sensitive<Grid>> {
    table
        .map(|BoundedTable { columns, rows }| {
            for column in schema.modelled() {
                let Some(values) = columns.column(&column.name)? else { continue };
                if let Some(class) = count_class(outside(&values, column)) {
                    tracing::warn!(
                        "column `{}`: {class} values outside the domain were moved to where the schema says",
                        column.name
                    );
                }
            }
            for constraint in &schema.constraints {
                let frame = columns.frame(&constraint.rule.columns())?;
                if let Some(class) = count_class(broken(&frame, schema, &constraint.rule)) {
                    let title = constraint.title();
                    tracing::warn!("constraint `{title}`: {class} rows break it; generated rows will hold it");
                }
            }
            Ok(Grid::new(columns, rows, domain.clone()))
        })
        .transpose()
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
