//! The model of tables that hang together: one file, with a part a table.

use super::file::{lay_out, take_apart};
use super::tied::Known;
use super::vae::trajectory::{Above, Told, Trajectory, TrajectoryGenerator};
use super::{FORMAT, Header, ModelFile, ModelKind, Tied, Training, VaeSettings, sha256};
use crate::encode::{Codec, Domain, Layout, TableDomain};
use crate::error::{Error, Result, why};
use crate::nn::Tensor;
use crate::schema::Schema;
use crate::schema::linked::{From, LinkedSchema, View};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use synthward_privacy::plan::Plan;

/// Version of the header that this code writes.
const LINKED_FORMAT: u32 = 1;
/// Key of the header in the metadata of the file.
const HEADER_KEY: &str = "synthward-linked";
/// How the names of the network's tensors begin.
const NETWORK: &str = "network/";

/// Everything in a file but the weights. Public: made of the schema, the plan and released numbers.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct LinkedHeader {
    /// Version of this header.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    pub model: ModelKind,
    /// What was planned and spent; its fields stand at the top level.
    #[serde(flatten)]
    #[schemars(with = "Map<String, Value>")]
    pub plan: Plan,
    /// Public or released number of persons.
    pub units: f64,
    /// Seed of the initialisation; never of the noise.
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub settings: Option<TrajectorySettings>,
    pub schema: LinkedSchema,
    /// Where the tables are two sides of one, the schema of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Box<Schema>>,
    /// One a table of persons, each after its parent.
    pub parts: Vec<PartHeader>,
}

/// What shapes the network over trajectories, and how it was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrajectorySettings {
    pub training: Training,
    pub network: VaeSettings,
}

/// What a file says of one table.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct PartHeader {
    pub table: String,
    /// Released number of persons who have rows there.
    pub units: f64,
    /// One codec a column of the table's view.
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub codecs: Vec<Codec>,
}

/// The story of one table.
pub struct Part {
    /// Its place in the schema.
    pub table: usize,
    pub view: View,
    /// The law of a row of the view ...
    pub law: Arc<Tied>,
    /// ... and the same as the model of a flat table.
    pub model: ModelFile,
}

/// Memory of [`LinkedModel::draw_row`].
#[derive(Clone, Debug, Default)]
pub struct Room {
    known: Known,
    pub network: super::vae::trajectory::Room,
}

/// A model of tables that hang together.
pub struct LinkedModel {
    pub header: LinkedHeader,
    /// Each after its parent.
    pub parts: Vec<Part>,
    /// What ties a person's rows beyond the laws of the parts; none where they are all there is.
    pub network: Option<TrajectoryGenerator>,
}

impl LinkedModel {
    /// A model of these parts, in the order of [`LinkedSchema::tree`]. Where the header has settings of a network, `network`
    /// gives its parameters.
    ///
    /// # Errors
    /// A part does not fit its table; what `network` gives.
    ///
    /// # Privacy
    /// Post-processing: takes released values only.
    pub fn new(
        header: LinkedHeader,
        laws: Vec<Arc<Tied>>,
        network: impl FnOnce(&Trajectory) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let trajectory = header.trajectory(&laws)?;
        let network = trajectory.map(|t| network(&t).map(|parameters| TrajectoryGenerator::new(t, parameters)));
        let tree = header.schema.tree();
        let parts = tree.iter().zip(&header.parts).zip(laws).map(|((&table, part), law)| {
            let view = header.schema.view(table)?;
            let flat = Header {
                format: FORMAT,
                version: header.version.clone(),
                model: header.model,
                plan: header.plan.clone(),
                units: part.units,
                seed: header.seed,
                settings: None,
                schema: view.schema.clone(),
                codecs: part.codecs.clone(),
            };
            let model = ModelFile::new(flat, Box::new(law.mixture().clone()))?;
            Ok(Part { table, view, law, model })
        });
        Ok(Self { parts: parts.collect::<Result<_>>()?, network: network.transpose()?, header })
    }

    /// Persons of the training tables, public or released.
    pub fn expected_persons(&self) -> u64 {
        self.header.units.round().max(1.0) as u64
    }

    /// Rows of the training table with an order, as far as the model knows: those that its persons have on average by the
    /// released law.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn expected_rows(&self) -> u64 {
        let persons = &self.parts[0];
        let count = persons.view.columns.iter().position(|column| matches!(column.from, From::Count(_)));
        let mean = count.map_or(1.0, |column| {
            let position = persons.model.header.codecs[column].mean_position(None);
            match persons.model.domain.columns[column].domain {
                Domain::Numbers { min, step, .. } => min + step * position,
                Domain::Labels { .. } => position,
            }
        });
        (self.header.units * mean).round().max(1.0) as u64
    }

    /// Draws a row of a part: `codes` has what the row is told from, and gets the other columns. `latent` are the person's
    /// numbers, where there is a network; `agreement` has drawn columns, and how far each of their cells agrees with what is
    /// known of the row.
    pub fn draw_row(
        &self,
        part: usize,
        latent: &[f32],
        agreement: &[(usize, &[f32])],
        room: &mut Room,
        rng: &mut ChaCha8Rng,
        codes: &mut [u16],
    ) {
        let Part { view, law, .. } = &self.parts[part];
        let is_drawn = |j: usize| view.columns[j].from.is_drawn();
        let known = &mut room.known;
        law.start(known);
        for j in (0..codes.len()).filter(|&j| !is_drawn(j)) {
            law.observe(j, codes[j], known);
        }
        for &(j, agreement) in agreement {
            law.restrict(j, agreement, known);
        }
        let class = law.draw_class(known, rng);
        for j in (0..codes.len()).filter(|&j| is_drawn(j)) {
            let own = agreement.iter().find(|(limited, _)| *limited == j);
            codes[j] = law.draw_code(class, j, own.map(|(_, agreement)| *agreement), known, rng);
        }
        if let Some(network) = &self.network {
            network.draw_row(part, latent, agreement, &mut room.network, rng, codes);
        }
    }

    /// The bytes of the model file.
    ///
    /// # Errors
    /// The header or a tensor cannot be laid out.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let named = |(number, part): (usize, &Part)| {
            let tensors = part.law.tensors().into_iter();
            tensors
                .map(move |(name, shape, values)| (format!("{number}/{name}"), shape, values))
                .collect::<Vec<Tensor>>()
        };
        let mut tensors: Vec<Tensor> = self.parts.iter().enumerate().flat_map(named).collect();
        let network = self.network.iter().flat_map(TrajectoryGenerator::tensors);
        tensors.extend(network.map(|(name, shape, values)| (format!("{NETWORK}{name}"), shape, values)));
        lay_out(HEADER_KEY, &self.header, &tensors)
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    /// Bad input when they are damaged, were written by a newer version, or do not fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::bad_input("is not a model of synthward, or is damaged").remedy("fit or copy it again");
        let (text, tensors) = take_apart(HEADER_KEY, bytes).ok_or_else(damaged)?;
        let mut header: LinkedHeader = serde_json::from_str(&text).map_err(|_| damaged())?;
        if header.format > LINKED_FORMAT {
            return Err(Error::bad_input("was written by a newer version of synthward").remedy("update synthward"));
        }
        if let Some(flat) = &header.history {
            flat.check()?;
            let schema = flat.history()?.ok_or_else(damaged)?;
            if schema.tables != header.schema.tables {
                return Err(damaged());
            }
            header.schema = schema;
        }
        header.schema.check()?;
        let tree = header.schema.tree();
        let names = tree.iter().map(|&table| &header.schema.tables[table].name);
        if tree.len() != header.parts.len() || names.zip(&header.parts).any(|(name, part)| *name != part.table) {
            return Err(damaged());
        }
        let mut laws = Vec::with_capacity(tree.len());
        for (number, (&table, part)) in tree.iter().zip(&header.parts).enumerate() {
            let view = header.schema.view(table)?;
            let domain = TableDomain::of(&view.schema)?;
            let fits =
                |(codec, column): (&Codec, &crate::encode::ModelColumn)| codec.fits(&column.domain, column.nullable);
            if part.codecs.len() != domain.columns.len() || !part.codecs.iter().zip(&domain.columns).all(fits) {
                return Err(damaged());
            }
            let own = |(name, shape, values): &Tensor| {
                let name = name.strip_prefix(&format!("{number}/"))?.to_owned();
                Some((name, shape.clone(), values.clone()))
            };
            let tensors: Vec<Tensor> = tensors.iter().filter_map(own).collect();
            let layout = Layout { cells: part.codecs.iter().map(Codec::cells).collect() };
            laws.push(Arc::new(Tied::from_tensors(&layout, view.drawn, &tensors)?));
        }
        let of_network = |(name, shape, values): &Tensor| {
            Some((name.strip_prefix(NETWORK)?.to_owned(), shape.clone(), values.clone()))
        };
        Self::new(header, laws, |trajectory| {
            trajectory.parameters(&tensors.iter().filter_map(of_network).collect::<Vec<_>>())
        })
    }

    /// How a cohort of this model says where it comes from.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn provenance(&self, model_sha256: &str, seed: u64) -> Vec<(String, String)> {
        let of_root = |part: &Part| part.model.provenance(model_sha256, seed);
        let mut provenance = self.parts.first().map(of_root).unwrap_or_default();
        for (key, value) in &mut provenance {
            match key.as_str() {
                "synthward.schema" => value.clone_from(&self.header.schema.linked.name),
                "synthward.domains_assumed_public" => *value = self.header.schema.linked.assumed_public.to_string(),
                _ => {}
            }
        }
        provenance
    }
}

/// A model of whatever kind.
pub enum AnyModel {
    Table(Box<ModelFile>, String),
    Linked(Box<LinkedModel>, String),
}

impl AnyModel {
    /// Reads a model file, and the SHA-256 of its bytes in hex.
    ///
    /// # Errors
    /// As [`ModelFile::read`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|e| Error::bad_input(format!("the model cannot be read ({})", why(e.kind()))).file(path))?;
        let sha256 = sha256(&bytes);
        let metadata = safetensors::SafeTensors::read_metadata(&bytes).ok();
        let is_linked =
            metadata.is_some_and(|(_, m)| m.metadata().as_ref().is_some_and(|m| m.contains_key(HEADER_KEY)));
        let model = match is_linked {
            true => LinkedModel::from_bytes(&bytes).map(|model| Self::Linked(Box::new(model), sha256)),
            false => ModelFile::from_bytes(&bytes).map(|model| Self::Table(Box::new(model), sha256)),
        };
        model.map_err(|e| e.file(path))
    }
}

impl LinkedHeader {
    /// What a fit of this plan made.
    pub fn new(
        schema: &LinkedSchema,
        model: ModelKind,
        plan: Plan,
        (units, seed): (f64, u64),
        settings: Option<TrajectorySettings>,
        parts: Vec<PartHeader>,
    ) -> Self {
        let (format, version) = (LINKED_FORMAT, env!("CARGO_PKG_VERSION").into());
        let schema = schema.released();
        let history = schema.history.clone();
        Self { format, version, model, plan, units, seed, settings, schema, history, parts }
    }

    /// The network over trajectories that the settings ask for, on the laws of the parts.
    ///
    /// # Errors
    /// Bad input: settings that no network can be built from; a part that does not fit its table.
    pub fn trajectory(&self, laws: &[Arc<Tied>]) -> Result<Option<Trajectory>> {
        let Some(settings) = &self.settings else { return Ok(None) };
        settings.training.check()?;
        let tree = self.schema.tree();
        let views: Vec<View> = tree.iter().map(|&table| self.schema.view(table)).collect::<Result<_>>()?;
        let told = tree.iter().zip(&views).zip(&self.parts).zip(laws).map(|(((&table, view), part), law)| {
            let parent = self.schema.parent(table).and_then(|parent| tree.iter().position(|&t| t == parent));
            let above = parent.and_then(|chapter| {
                let column = views[chapter].columns.iter().position(|column| column.from == From::Count(table))?;
                let codec = &self.parts[chapter].codecs[column];
                let rows = |code: usize| codec.likeliest(code as u16).map_or(0, |(rows, _)| rows as usize);
                Some(Above { chapter, column, rows: (0..codec.cells()).map(rows).collect() })
            });
            Told {
                law: law.clone(),
                layout: Layout { cells: part.codecs.iter().map(Codec::cells).collect() },
                drawn: view.drawn,
                known: (view.drawn..view.columns.len()).filter(|&j| !view.columns[j].from.is_drawn()).collect(),
                first: view.columns.iter().position(|column| matches!(column.from, From::Gap(_))),
                above,
            }
        });
        Trajectory::new(settings.network.clone(), told.collect()).map(Some)
    }
}
