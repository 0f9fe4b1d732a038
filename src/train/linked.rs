//! From tables that hang together to a released model: the view of each table is measured as a flat table is, and a network
//! may be trained on whole trajectories, all under one plan. The unit is the person, whose rows in a view share the weight 1.

use super::attempt::{Asked, Attempt, Found};
use super::checkpoint::{self, Checkpoint, Counts, marginals, of_scope, scoped};
use super::dp_sgd::{Course, train};
use super::fit::{Observe, Place, Progress, measure_requests};
use super::keeper::Keeper;
use super::measure::{Column, measure, requests, rounds};
use super::network::{self, MEASURED_SHARE, begin};
use super::tables::{self, choose_pairs, measure_tables};
use super::units::{COUNT, COUNT_SHARE, PublicUnits};
use super::witness::Unwatched;
use crate::encode::{CodeStore, Codec, Grid, Identities, MAX_BINS, TableDomain, UnitRows};
use crate::error::{Error, Result};
use crate::ingest::{LinkedTables, MISSING, count_class, outside, read_linked};
use crate::model::{
    LinkedHeader, LinkedModel, Measured, MeasuredTable, Mixture, ModelKind, PartHeader, Tied, Training, Trajectory,
    TrajectorySettings, VaeSettings, mixture, sha256,
};
use crate::nn::Tensor;
use crate::schema::linked::{From, LinkedSchema, View};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive};

/// Cells of ages.
const AGES: usize = 16;

/// What to fit. Everything but the rows in the folder is public.
pub struct LinkedRequest<'a> {
    /// The folder; of a table with an order, its file.
    pub folder: &'a Path,
    pub schema: &'a LinkedSchema,
    pub model: ModelKind,
    pub budget: Budget,
    /// Fixes initialisation; never the noise.
    pub seed: u64,
    /// Bytes of the tables that are kept in memory, at most.
    pub memory: u64,
}

/// A plan, and what is public of each table before a row is read.
pub struct LinkedPlanned {
    pub plan: Plan,
    pub(super) settings: Option<TrajectorySettings>,
    pub(super) stories: Vec<Story>,
}

/// A table's view, as it will be measured.
pub(super) struct Story {
    pub table: usize,
    parent: Option<usize>,
    /// What the names of its events begin with.
    scope: String,
    pub view: View,
    pub domain: TableDomain,
    /// The columns that are measured here. What is known before a row is drawn was measured where it was drawn.
    pub drawn: TableDomain,
    rounds: Vec<u32>,
    /// Its part of the budget, in proportion to the columns that are drawn there.
    share: f64,
}

impl Story {
    /// What its part of the budget is worth beside an epsilon that is spent on one table alone.
    pub fn epsilon(&self, of_all: f64) -> f64 {
        of_all * self.share.sqrt()
    }
}

/// Plans a fit from public facts, before a row is read. Each table has a part of the budget, in proportion to the columns
/// that are drawn there.
///
/// # Errors
/// Bad input: a schema that may not be fitted, a model that knows no linked tables, a budget out of range.
pub fn plan_linked(request: &LinkedRequest) -> Result<LinkedPlanned> {
    let LinkedRequest { schema, budget, .. } = request;
    schema.check_for_fit()?;
    if request.model == ModelKind::Diffusion {
        return Err(Error::bad_input(format!("{} is a model of single tables", request.model))
            .expected("auto, marginal, vae or independent")
            .remedy(match schema.history {
                Some(_) => "leave --model out, or `order` out of the schema",
                None => "leave --model out",
            }));
    }
    let units = PublicUnits::of(&schema.linked.table());
    units.check(budget)?;
    let story = |&table: &usize| {
        let view = schema.view(table)?;
        let domain = TableDomain::of_view(&view)?;
        let scope = format!("{}: ", schema.tables[table].name);
        let drawn = TableDomain { columns: domain.columns[..view.drawn].to_vec(), ..domain.clone() };
        Ok(Story {
            table,
            parent: schema.parent(table),
            scope,
            rounds: rounds(&drawn),
            view,
            domain,
            drawn,
            share: 0.0,
        })
    };
    let mut stories: Vec<Story> = schema.tree().iter().map(story).collect::<Result<_>>()?;
    let all: usize = stories.iter().map(|story| story.view.drawn).sum();
    let units = units.for_settings();
    let settings = (request.model == ModelKind::Vae).then(|| TrajectorySettings {
        training: Training::choose(units as usize),
        network: VaeSettings::of_trajectories(),
    });
    if let Some(settings) = &settings {
        stories.iter().try_for_each(|story| settings.network.check(&story.domain.largest_layout()))?;
    }
    let measured = if settings.is_some() { MEASURED_SHARE } else { 1.0 };
    stories.iter_mut().for_each(|story| story.share = measured * story.view.drawn as f64 / all as f64);
    let mut planned = Vec::new();
    // Of rows that are keys alone there is nothing to measure but how many there are, which the rows above tell.
    for (number, story) in stories.iter().enumerate().filter(|(_, story)| story.view.drawn > 0) {
        let share = story.share;
        if number > 0 || schema.linked.units.is_none() {
            planned.push(Request {
                name: format!("{}{COUNT}", story.scope),
                share: Share::Discover,
                weight: share * COUNT_SHARE,
                mechanism: Mechanism::Histogram,
            });
        }
        match request.model {
            ModelKind::Independent => planned.extend(requests(&story.scope, &story.drawn, share)),
            _ => planned.extend(measure_requests(&story.scope, &story.drawn, share)),
        }
    }
    planned.extend(settings.iter().map(|settings| network::training(&settings.training, units, 1.0 - MEASURED_SHARE)));
    let root = schema.tree()[0];
    let unit = match schema.history.as_ref().and_then(|flat| flat.table.unit_column()) {
        Some(column) => PrivacyUnit::Column(column.to_owned()),
        None => PrivacyUnit::Person(schema.tables[root].name.clone()),
    };
    Ok(LinkedPlanned { plan: Plan::calibrate(unit, request.budget, planned)?, settings, stories })
}

/// How far a fit is that is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Everything is counted: of each table the columns, and what was counted of several at once, if anything was.
    Counted { parts: Vec<PartHeader>, counts: Vec<Option<Counts>> },
    /// The network is between two of its steps.
    Training { parts: Vec<PartHeader> },
}

/// A table's view as far as its noisy counts.
pub(super) struct Counted {
    pub part: PartHeader,
    /// What was measured of several columns at once, if anything was.
    pub measured: Option<Measured>,
    /// For a network.
    pub codes: Option<Sensitive<CodeStore>>,
}

/// Fits a model and writes it: plan, intent, rows, mechanisms, outcome. Returns the model and the SHA-256 of its file.
///
/// # Errors
/// What [`plan_linked`] refuses; a ledger that cannot be written; bad input, in which case the ledger says that nothing was
/// spent; an unfinished fit where there is to be none, or none where there is to be one; a wish to stop.
///
/// # Privacy
/// As [`super::fit()`].
pub fn fit_linked(
    request: &LinkedRequest,
    place: &Place<'_>,
    observe: &mut Observe<'_>,
) -> Result<(LinkedModel, String)> {
    let planned = plan_linked(request)?;
    let Place { ledger, output, tables, resume, overwrites, check, stop } = *place;
    let released = request.schema.released();
    let mut schema = serde_json::to_string(&released).map_err(|e| Error::failed(e.to_string()))?;
    if let Some(flat) = &released.history {
        schema.push_str(&serde_json::to_string(flat).map_err(|e| Error::failed(e.to_string()))?);
    }
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let asked_for = sha256(format!("{schema}\n{}\n{}\n{name}\n{tables}", request.model, request.seed).as_bytes());
    PublicUnits::of(&request.schema.linked.table()).tell(&planned.plan);
    let asked = Asked {
        ledger,
        output,
        plan: &planned.plan,
        request: &asked_for,
        file: &request.folder.display().to_string(),
        overwrites,
        stop,
    };
    let (mut attempt, checkpoint) = match Attempt::of(asked, resume, LinkedModel::from_bytes)? {
        Found::Fit(attempt, checkpoint) => (attempt, checkpoint),
        Found::Model(model, sha256) => return Ok((*model, sha256)),
    };
    let tables = attempt.before_noise(|| {
        check()?;
        let tables = read_linked(request.folder, request.schema, request.memory / 2)?;
        with_persons(request, tables.map(Arc::new), &planned.plan)
    })?;
    let model = release(request, planned, &tables, checkpoint, &mut attempt, observe)?;
    let sha256 = attempt.finish(&model.to_bytes()?)?;
    Ok((model, sha256))
}

/// From tables to a released model, or from a checkpoint on. Counts are kept before anybody is told of them.
///
/// # Privacy
/// Releases what is left of the planned events, and nothing else.
fn release(
    request: &LinkedRequest,
    LinkedPlanned { mut plan, settings, stories }: LinkedPlanned,
    tables: &Sensitive<Arc<LinkedTables>>,
    checkpoint: Option<Checkpoint<Stage>>,
    attempt: &mut Attempt<'_>,
    observe: &mut Observe<'_>,
) -> Result<LinkedModel> {
    let (stage, tensors) = match checkpoint {
        Some(Checkpoint { progress, stage, tensors }) => {
            plan.resume(&progress)?;
            (Some(stage), tensors)
        }
        None => (None, Vec::new()),
    };
    let counted = match &stage {
        None => {
            let mut counted: Vec<Counted> = Vec::with_capacity(stories.len());
            for story in &stories {
                counted.push(count(request, &mut plan, story, tables, (&stories, &counted), settings.is_some())?);
            }
            keep_counts(&plan, &counted, attempt)?;
            counted
        }
        Some(Stage::Counted { parts, .. } | Stage::Training { parts }) if parts.len() == stories.len() => {
            let kept = |(story, part)| Counted::kept(request, story, part, tables, settings.is_some());
            stories.iter().zip(parts).map(kept).collect::<Result<_>>()?
        }
        Some(_) => return Err(Error::bad_input("the checkpoint is of other tables")),
    };
    let units = counted.first().map_or(0.0, |counted| counted.part.units);
    if request.schema.linked.units.is_none() {
        PublicUnits::counted(&request.budget, units);
    }
    let (mut parts, mut laws, mut chapters) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (story, Counted { part, measured, codes })) in stories.iter().zip(counted).enumerate() {
        let own = || of_scope(&scope_of(number), &tensors);
        let law = match &stage {
            Some(Stage::Training { .. }) => {
                Tied::from_tensors(&marginals(&part.codecs, part.units)?.0, story.view.drawn, &own())?
            }
            Some(Stage::Counted { counts, .. }) => {
                let counts = counts.get(number).and_then(Option::as_ref);
                let measured = counts.map(|counts| counts.measured(&part.codecs, part.units, &own())).transpose()?;
                law(request, &plan, story, &part, measured.as_ref(), observe)?
            }
            None => law(request, &plan, story, &part, measured.as_ref(), observe)?,
        };
        laws.push(Arc::new(law));
        parts.push(part);
        chapters.extend(codes.map(|codes| (number as u16, story.table, codes)));
    }
    let identity = (units, request.seed);
    let stage_of_training = Stage::Training { parts: parts.clone() };
    let header = LinkedHeader::new(request.schema, request.model, plan.clone(), identity, settings, parts);
    let parameters = match (header.trajectory(&laws)?, &header.settings) {
        (Some(trajectory), Some(settings)) => {
            let codes = woven(request, &trajectory, tables, chapters)?;
            let begun = match &stage {
                Some(Stage::Training { .. }) => Some(checkpoint::trained(&tensors)?),
                _ => None,
            };
            let begin = begin(trajectory.initialise(request.seed), begun)?;
            let course = Course { training: &settings.training, units, seed: request.seed, begin };
            let keeper = Keeper::new(attempt, |progress, training| {
                let own = laws.iter().enumerate().flat_map(|(number, law)| scoped(scope_of(number), law.tensors()));
                let tensors: Vec<Tensor> = own.chain(training).collect();
                checkpoint::to_bytes(progress, &stage_of_training, &tensors)
            });
            train(&mut plan, &codes, &trajectory, course, Some(keeper), &Unwatched, observe)?
        }
        _ => Vec::new(),
    };
    LinkedModel::new(LinkedHeader { plan, ..header }, laws, |_| Ok(parameters))
}

/// The codes of whole trajectories, made of those of the tables: of each the number of its chapter and its place.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub(super) fn woven(
    request: &LinkedRequest,
    trajectory: &Trajectory,
    tables: &Sensitive<Arc<LinkedTables>>,
    of_tables: Vec<(u16, usize, Sensitive<CodeStore>)>,
) -> Result<Sensitive<CodeStore>> {
    let mut chapters = Sensitive::new(Vec::new());
    for (number, table, codes) in of_tables {
        let offsets = tables.map_ref(|tables| tables.offsets(table)).transpose()?;
        chapters = chapters.zip(codes.zip(offsets)).map(|(mut chapters, (codes, offsets))| {
            chapters.push((number, codes, offsets));
            chapters
        });
    }
    let persons = tables.map_ref(|tables| Ok::<_, Error>((tables.persons()?, tables.identities())));
    let codes = chapters.zip(persons).map(|(chapters, persons)| {
        let (persons, (key, named)) = persons?;
        let (shape, identities) = ((persons, trajectory.width()), Identities::Secret { named, key });
        let told = |number, view: &[u16]| trajectory.rows(number, view);
        CodeStore::woven(&chapters, shape, identities, request.memory / 2, told)
    });
    codes.transpose()
}

/// How the names of a table's tensors begin.
fn scope_of(number: usize) -> String {
    format!("{number}/")
}

/// Keeps the counts of all tables.
fn keep_counts(plan: &Plan, counted: &[Counted], attempt: &mut Attempt<'_>) -> Result<()> {
    let (mut counts, mut tensors) = (Vec::new(), Vec::new());
    for (number, counted) in counted.iter().enumerate() {
        let (own, of_own) = counted.measured.as_ref().map(Counts::of).unzip();
        counts.push(own);
        tensors.extend(scoped(scope_of(number), of_own.unwrap_or_default()));
    }
    let parts = counted.iter().map(|counted| counted.part.clone()).collect();
    attempt.keep(&checkpoint::to_bytes(plan.progress(None), &Stage::Counted { parts, counts }, &tensors)?)
}

/// The rows of a table's view, placed in its domain.
///
/// # Privacy
/// Touches sensitive data; tells the operator, outside the guarantee, in which columns values were moved into the domain, which
/// is public, and which constraints rows break, in classes of ten.
fn place(story: &Story, tables: &Sensitive<Arc<LinkedTables>>) -> Result<Sensitive<Grid>> {
    let Story { table, scope, view, domain, .. } = story;
    let grid = tables.map_ref(|tables| {
        for (title, rows) in tables.broken(*table)? {
            if let Some(class) = count_class(rows) {
                tracing::warn!("{scope}constraint `{title}`: {class} rows break it; generated rows will hold it");
            }
        }
        let store = tables.view(*table, view)?;
        for (column, source) in view.schema.columns.iter().zip(&view.columns) {
            let is_own = matches!(source.from, From::Own(_) | From::Gap(_) | From::Passed(_) | From::End(_));
            let values = if is_own { store.column(&column.name)? } else { None };
            if let Some(class) = values.and_then(|values| count_class(outside(&values, column))) {
                tracing::warn!(
                    "{scope}column `{}`: {class} values outside the domain were moved to where the schema says",
                    column.name
                );
            }
        }
        let rows = Arc::new(UnitRows::new(&store, usize::MAX));
        Ok::<_, Error>(Grid::new(store, rows, domain.clone()))
    });
    grid.transpose()
}

/// Measures one table's view. `counted` are the tables before it.
///
/// # Privacy
/// Releases the planned events of the table and nothing else.
pub(super) fn count(
    request: &LinkedRequest,
    plan: &mut Plan,
    story: &Story,
    tables: &Sensitive<Arc<LinkedTables>>,
    (stories, counted): (&[Story], &[Counted]),
    trains: bool,
) -> Result<Counted> {
    let Story { table, scope, view, domain, drawn, rounds, .. } = story;
    let grid = place(story, tables)?;
    let root = counted.first();
    let units = match (request.schema.linked.units.filter(|_| root.is_none()), root) {
        (Some(units), _) => units as f64,
        (None, Some(root)) if drawn.columns.is_empty() => root.part.units,
        (None, _) => {
            let count = plan.histogram(&format!("{scope}{COUNT}"))?;
            let count = count.release(&grid, Grid::units, 1, |_, _, into| into.push(0))?;
            count.get()[0].max(1.0)
        }
    };
    let is_independent = request.model == ModelKind::Independent;
    let bins = if is_independent { MAX_BINS } else { tables::bins(domain, units, request.budget.epsilon()) };
    let (mut columns, units) = match drawn.columns.is_empty() {
        true => (Vec::new(), units),
        false => measure(plan, scope, &grid, drawn, rounds, units, bins, &Unwatched)?,
    };
    for (column, told) in columns.iter_mut().zip(&view.columns) {
        if matches!(told.from, From::Count(_)) {
            let noise: f64 = column.variances.iter().sum();
            column.codec = column.codec.clone().toward_small(noise / units.powi(2));
        }
    }
    for j in view.drawn..view.columns.len() {
        let codec = known_codec(story, j, &columns, (stories, counted))?;
        columns.push(Column::known(codec));
    }
    let codecs: Vec<Codec> = columns.iter().map(|column| column.codec.clone()).collect();
    let part = PartHeader { table: request.schema.tables[*table].name.clone(), units, codecs };
    if is_independent || drawn.columns.is_empty() {
        return Ok(Counted { part, measured: None, codes: None });
    }
    let (layout, marginals) = marginals(&part.codecs, units)?;
    let codes = encode(request, grid, &part.codecs, stories.len(), trains)?;
    let chosen = choose_pairs(&layout, &view.pairs);
    let mut measured = measure_tables(plan, scope, &codes, &columns, marginals, chosen, units, &Unwatched)?;
    measured.tables.extend(pairs_before(view, &part.codecs, &measured));
    Ok(Counted { part, measured: Some(measured), codes: trains.then_some(codes) })
}

/// The codes of a table's view. A network wants those of all tables at once.
fn encode(
    request: &LinkedRequest,
    grid: Sensitive<Grid>,
    codecs: &[Codec],
    tables: usize,
    trains: bool,
) -> Result<Sensitive<CodeStore>> {
    let kept = if trains { 2 * tables as u64 } else { 2 };
    grid.map(|grid| grid.encode(codecs, request.memory / kept)).transpose()
}

impl Counted {
    /// What was counted by another process. Of the rows a network alone has need.
    fn kept(
        request: &LinkedRequest,
        story: &Story,
        part: &PartHeader,
        tables: &Sensitive<Arc<LinkedTables>>,
        trains: bool,
    ) -> Result<Self> {
        let encode = || encode(request, place(story, tables)?, &part.codecs, request.schema.tree().len(), true);
        let codes = (trains && story.view.drawn > 0).then(encode).transpose()?;
        Ok(Self { part: part.clone(), measured: None, codes })
    }
}

/// The law of a row of a table's view.
///
/// # Privacy
/// Post-processing.
fn law(
    request: &LinkedRequest,
    plan: &Plan,
    story: &Story,
    part: &PartHeader,
    measured: Option<&Measured>,
    observe: &mut Observe<'_>,
) -> Result<Tied> {
    let Some(measured) = measured else {
        return Ok(Tied::untied(Mixture::independent(&marginals(&part.codecs, part.units)?.1)));
    };
    let epsilon_spent = plan.epsilon_spent(0)?;
    let observer = Mutex::new(&mut *observe);
    let likely = mixture::likely_steps(part.units, story.epsilon(plan.epsilon()));
    let mixture = mixture::fit(measured, request.seed, mixture::STEPS, &|steps| {
        if let Ok(mut observe) = observer.lock() {
            observe(Progress::of_mixture(steps, likely, epsilon_spent));
        }
    });
    Ok(Tied::fit(mixture, measured, story.view.drawn))
}

/// The pairs of columns of the row before: those of a row, and where there is no row before, all are missing.
///
/// # Privacy
/// Post-processing.
fn pairs_before(view: &View, codecs: &[Codec], measured: &Measured) -> Vec<MeasuredTable> {
    let place = view.columns.iter().position(|column| column.from == From::Place);
    let with_place = |table: &&MeasuredTable| table.columns[0] < view.drawn && Some(table.columns[1]) == place;
    let firsts: Vec<f32> = measured
        .tables
        .iter()
        .filter(with_place)
        .map(|table| table.shares.iter().step_by(codecs[table.columns[1]].cells()).sum())
        .collect();
    if firsts.is_empty() {
        return Vec::new();
    }
    let first = (firsts.iter().sum::<f32>() / firsts.len() as f32).clamp(0.0, 1.0);
    let previous = |j: usize| match view.columns[j].from {
        From::Own(own) => view.columns.iter().position(|column| column.from == From::Previous(own)),
        _ => None,
    };
    let tables = measured.tables.iter().filter(|table| table.columns[1] < view.drawn);
    let before = tables.filter_map(|table| {
        let columns = [previous(table.columns[0])?, previous(table.columns[1])?];
        let cells = columns.map(|j| codecs[j].cells());
        let [_, own] = [table.columns[0], table.columns[1]].map(|j| codecs[j].cells());
        let mut shares = vec![0.0; cells[0] * cells[1]];
        for (place, share) in table.shares.iter().enumerate() {
            shares[place / own * cells[1] + place % own] = (1.0 - first) * share;
        }
        let [a, b] = columns.map(|j| usize::from(codecs[j].joint_code(MISSING)));
        shares[a * cells[1] + b] += first;
        Some(MeasuredTable { columns: columns.to_vec(), shares, noise_std: table.noise_std })
    });
    before.collect()
}

/// The codec of a column that is known before a row is drawn: that of the column where it was drawn, else cells that are
/// public.
///
/// # Privacy
/// Post-processing.
pub(super) fn known_codec(
    story: &Story,
    j: usize,
    columns: &[Column],
    (stories, counted): (&[Story], &[Counted]),
) -> Result<Codec> {
    let column = &story.domain.columns[j];
    let drawn_above = |table: usize, from: From| {
        let above = stories.iter().position(|story| story.table == table)?;
        let place = stories[above].view.columns.iter().position(|column| column.from == from)?;
        counted.get(above)?.part.codecs.get(place).cloned()
    };
    let drawn_before = |index: usize| {
        let place = story.view.columns.iter().position(|column| column.from == From::Own(index))?;
        columns.get(place).map(|column| column.codec.clone())
    };
    let codec = match story.view.columns[j].from {
        From::Above(table, index) => drawn_above(table, From::Own(index)),
        From::CountAbove(table) => story.parent.and_then(|parent| drawn_above(parent, From::Count(table))),
        From::Previous(index) => drawn_before(index),
        // Its value is given by a map, so one cell will do.
        From::Own(_) => Some(Codec::of_equal(&column.domain, 1)),
        _ => Some(Codec::of_equal(&column.domain, AGES)),
    };
    let codec = codec.ok_or_else(|| Error::failed("a column that rows are told from was not measured"))?;
    Ok(if column.nullable { codec.with_missing() } else { codec })
}

/// Tables of which the root has rows. The operator is told, outside the guarantee, where it has another number of them than
/// is declared.
fn with_persons(
    request: &LinkedRequest,
    tables: Sensitive<Arc<LinkedTables>>,
    plan: &Plan,
) -> Result<Sensitive<Arc<LinkedTables>>> {
    let found = tables.map(|tables| match tables.persons()? {
        0 => Err(Error::bad_input("the table of persons has no rows")
            .file(request.folder)
            .remedy("export the tables again")),
        persons => {
            PublicUnits::of(&request.schema.linked.table()).compare(persons, plan);
            Ok(tables)
        }
    });
    found.transpose()
}
