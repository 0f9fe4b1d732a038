//! From a table and a schema to a released model.

use super::discover::{self, BoundedTable, discover};
use super::dp_sgd::{self, TRAIN};
use super::ledger_file::LedgerFile;
use super::measure::{measure, requests, rounds};
use super::tables::{self, measure_tables};
use crate::encode::{Codec, Codes, Grid, Layout, MAX_BINS, TableDomain, UnitRows};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Source, count_outside, load};
use crate::model::{
    FORMAT, Generator, Header, Marginals, Mixture, ModelFile, ModelKind, Prior, Refined, Training, Vae, VaeGenerator,
    VaeSettings, mixture,
};
use crate::schema::{Schema, Target};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use synthward_privacy::ledger::Record;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive, UnitKey};

/// Fewest units a model is fitted to: less than one useful batch, and nothing
/// but noise comes out.
const LEAST_UNITS: u64 = 100;
/// Number of units that settings are chosen for while it is not public.
const NOMINAL_UNITS: u64 = 20_000;
/// Name of the entry that counts the units.
const COUNT: &str = "number of units";
/// Part of the budget (of rho) for counting the units, where their number is not public.
const COUNT_SHARE: f64 = 0.01;
/// Part of the budget (of rho) for one-way marginals, when pairs of columns are measured too.
const ONE_WAY_SHARE: f64 = 0.2;
/// Part of the budget (of rho) for the latent prior.
const PRIOR_SHARE: f64 = 0.02;
/// Name of the latent prior's entry in the plan.
const PRIOR: &str = "latent prior";

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
}

/// A plan, what is public before a row is read, and the settings of the
/// network that the plan pays for.
pub struct Planned {
    pub plan: Plan,
    /// Without the domains that are to be discovered.
    pub schema: Schema,
    /// Splitting rounds of each column: see [`rounds`].
    pub rounds: Vec<u32>,
    pub settings: Option<(VaeSettings, Training)>,
}

/// How far the training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    /// Epsilon of everything released so far.
    pub epsilon_spent: f64,
}

/// Plans a fit from public facts, before a row is read.
///
/// # Errors
/// Bad input: a schema that may not be fitted, a budget out of range, fewer
/// units than one batch.
pub fn plan(request: &FitRequest) -> Result<Planned> {
    let (schema, mut planned) = to_discover(request)?;
    let domain = TableDomain::of(&schema)?;
    if let Some(units) = schema.table.units {
        check_units(&request.budget, units)?;
    } else {
        planned.push(Request {
            name: COUNT.into(),
            share: Share::Discover,
            weight: COUNT_SHARE,
            mechanism: Mechanism::Histogram,
        });
    }
    let settings = match request.model {
        ModelKind::Independent => {
            planned.extend(requests(&domain, 1.0));
            None
        }
        ModelKind::Marginal => {
            planned.extend(measure_requests(&domain, 1.0));
            None
        }
        ModelKind::Vae => {
            let units = schema.table.units.unwrap_or(NOMINAL_UNITS);
            let settings = VaeSettings::choose(&domain.largest_layout(), units as usize, request.budget.epsilon());
            let training = Training::choose(units as usize, request.budget.epsilon());
            let var = |n: &str, d: f64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
            let measured = var("SW_M", if request.budget.epsilon() < 2.0 { 0.6 } else { 0.3 });
            planned.extend(measure_requests(&domain, measured));
            planned.push(Request {
                name: PRIOR.into(),
                share: Share::Prior,
                weight: PRIOR_SHARE,
                mechanism: Mechanism::GaussianSum { clipping_norm: 1.0 },
            });
            planned.push(Request {
                name: TRAIN.into(),
                share: Share::Train,
                weight: 1.0 - measured - PRIOR_SHARE,
                mechanism: Mechanism::SubsampledGaussian {
                    clipping_norm: f64::from(training.clipping_norm),
                    sampling_rate: (training.expected_batch_size as f64 / units as f64).min(1.0),
                    steps: training.steps as u64,
                },
            });
            Some((settings, training))
        }
    };
    let unit = schema.table.unit_column().map_or(PrivacyUnit::Row, |name| PrivacyUnit::Column(name.into()));
    let plan = Plan::calibrate(unit, request.budget, planned)?;
    Ok(Planned { plan, rounds: rounds(&domain), schema, settings })
}

/// The events of `marginal`: one-way counts, then pairs of columns.
fn measure_requests(domain: &TableDomain, share: f64) -> Vec<Request> {
    let mut planned = requests(domain, share * ONE_WAY_SHARE);
    planned.push(tables::request(share * (1.0 - ONE_WAY_SHARE)));
    planned
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

/// Fits a model: plan, intent, rows, mechanisms. The caller writes the model
/// and then the outcome, with the returned name of the fit.
///
/// # Errors
/// What [`plan`] refuses; a ledger that cannot be written; bad input, in which
/// case the ledger says that nothing was spent.
///
/// # Privacy
/// Releases the planned events and nothing else.
pub fn fit(
    request: &FitRequest,
    ledger: &LedgerFile,
    observe: &mut dyn FnMut(Progress),
) -> Result<(ModelFile, String)> {
    let Planned { mut plan, schema, rounds, settings } = plan(request)?;
    let fit = fit_name(&plan)?;
    ledger.append(Record::Intent {
        fit: fit.clone(),
        epsilon: plan.epsilon(),
        delta: plan.delta(),
        unit: plan.unit().clone(),
        adjacency: plan.adjacency(),
        event: plan.event(),
    })?;
    let table = match read_table(request, &schema) {
        Ok(table) => table,
        Err(e) => {
            if e.kind == ErrorKind::BadInput {
                ledger.append(Record::Refused { fit })?;
            }
            return Err(e);
        }
    };
    let units = match schema.table.units {
        Some(units) => units as f64,
        None => {
            let units = |table: &BoundedTable| table.rows.units();
            let count = plan.histogram(COUNT)?.release(&table, units, 1, |_, _, into| into.push(0))?;
            let units = count.get()[0].max(1.0);
            check_units(&request.budget, units as u64)?;
            units
        }
    };
    let schema = discover(&mut plan, &table, &schema, units)?;
    let domain = TableDomain::of(&schema)?;
    let grid = place(table, &schema, &domain)?;
    let bins = match request.model {
        ModelKind::Independent => MAX_BINS,
        _ => tables::bins(&domain, units, request.budget.epsilon()),
    };
    let columns = measure(&mut plan, &grid, &domain, &rounds, units, bins)?;
    let codecs: Vec<Codec> = columns.iter().map(|column| column.codec.clone()).collect();
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let counts: Vec<f64> = codecs.iter().flat_map(Codec::marginal).map(|p| p * units).collect();
    let marginals = Marginals::from_noisy(&layout, &counts)?;
    let generator: Box<dyn Generator> = if request.model == ModelKind::Independent {
        Box::new(Mixture::independent(&marginals))
    } else {
        let codes: Sensitive<Codes> = grid.map(|grid| grid.encode(&codecs));
        let labels = labels(&schema, &domain);
        let measured = measure_tables(&mut plan, &codes, &columns, marginals.clone(), layout.clone(), &labels, units)?;
        let cache = std::env::var("SW_CACHE").ok();
        let mixture = match cache.as_ref().and_then(|c| std::fs::read(c).ok()) {
            Some(bytes) => {
                let t = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                let ts: Vec<crate::nn::Tensor> = t.tensors().into_iter().map(|(n, v)| (n, v.shape().to_vec(), v.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())).collect();
                Mixture::from_tensors(&layout, &ts).unwrap()
            }
            None => {
                let m = mixture::fit(&measured, request.seed);
                if let Some(c) = cache {
                    let ts: Vec<(String, Vec<usize>, Vec<u8>)> = m.tensors().into_iter().map(|(n, s, v)| (n, s, v.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
                    let views: Vec<_> = ts.iter().map(|(n, s, b)| (n.as_str(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, s.clone(), b).unwrap())).collect();
                    std::fs::write(c, safetensors::serialize(views, None).unwrap()).unwrap();
                }
                m
            }
        };
        match &settings {
            None => Box::new(mixture),
            Some((settings, training)) => {
                let mixture = Arc::new(mixture);
                let vae = Vae::new(&layout, settings.clone(), mixture.clone(), domain.rows_column)?;
                let parameters = vae.initialise(request.seed);
                let parameters = dp_sgd::train(&mut plan, &codes, &vae, training, parameters, units, request.seed, observe)?;
                let key = UnitKey::from_system()?.bytes();
                let moments =
                    plan.gaussian_sum(PRIOR)?.release(&codes, Codes::units, vae.moments(), |codes, unit, out| {
                        vae.latent_moments(&parameters, codes, unit, key, out);
                    })?;
                let prior = Prior::from_moments(&vae, moments.get(), units);
                let network = Box::new(VaeGenerator::new(vae, parameters, prior));
                Box::new(Refined::fit(network, mixture, &measured, domain.rows_column, request.seed))
            }
        }
    };
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        model: request.model,
        plan,
        units,
        seed: request.seed,
        settings: settings.map(|(settings, _)| settings),
        schema: schema.released(),
        codecs,
    };
    Ok((ModelFile::new(header, generator)?, fit))
}

/// The modelled columns that the schema names as targets.
fn labels(schema: &Schema, domain: &TableDomain) -> Vec<usize> {
    let name = |target: &Target| domain.columns.iter().position(|column| column.name == target.column);
    let mut labels: Vec<usize> = schema.targets.iter().filter_map(name).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// Reads the table and bounds the rows of each unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the table fits its schema
/// and the public number of units, or where it does not.
fn read_table(request: &FitRequest, schema: &Schema) -> Result<Sensitive<BoundedTable>> {
    let frame = load(request.source, schema)?;
    frame
        .map(|frame| {
            let rows = UnitRows::new(&frame, schema.table.max_rows_per_unit() as usize, &UnitKey::from_system()?);
            match schema.table.units {
                Some(units) if units != rows.units() as u64 => {
                    Err(Error::bad_input("the table does not have the number of units that the schema makes public")
                        .file(request.source.as_path())
                        .remedy("correct `units` in [table], or remove it to have the units counted privately"))
                }
                _ => Ok(BoundedTable { frame, rows }),
            }
        })
        .transpose()
}

/// Places the cells of the table in the domain.
///
/// # Privacy
/// Touches sensitive data; tells the operator, outside the guarantee, in which
/// columns values were moved into the domain, in classes of ten.
fn place(table: Sensitive<BoundedTable>, schema: &Schema, domain: &TableDomain) -> Result<Sensitive<Grid>> {
    table
        .map(|BoundedTable { frame, rows }| {
            for (column, count) in count_outside(&frame, schema) {
                let class = match count {
                    0 => continue,
                    1..10 => "fewer than 10",
                    10..100 => "10 to 99",
                    100..1000 => "100 to 999",
                    _ => "1000 or more",
                };
                tracing::warn!(
                    "column `{column}`: {class} values outside the domain were moved to where the schema says"
                );
            }
            Grid::new(&frame, &rows, domain)
        })
        .transpose()
}

fn check_units(budget: &Budget, units: u64) -> Result<()> {
    budget.check_units(units)?;
    if units < LEAST_UNITS {
        return Err(Error::bad_input("the table has fewer units than one batch")
            .expected(format!("at least {LEAST_UNITS} units"))
            .remedy("a model of so few people would be noise alone; pool the table with others"));
    }
    Ok(())
}

/// A name for this fit in the ledger: a hash of the plan, the time and the process.
fn fit_name(plan: &Plan) -> Result<String> {
    let plan = serde_json::to_string(plan).map_err(|e| Error::failed(e.to_string()))?;
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
    let digest = Sha256::digest(format!("{plan}{now}{}", std::process::id()));
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
