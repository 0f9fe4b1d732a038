//! The model file: one `.safetensors` file that is data and nothing else.
//!
//! Weights are tensors; everything else (schema, codecs, plan, settings) is one
//! JSON text in the file's metadata, and a checksum stands beside it. Loading executes
//! nothing, follows no path, and checks every size before it is used.

use super::refined::Sampler;
use super::{DiffusionGenerator, DiffusionSettings, Generator, Mixture, Refined, Training, VaeGenerator, VaeSettings};
use crate::encode::{Codec, Layout, TableDomain};
use crate::error::{Error, Result, why};
use crate::nn::Tensor;
use crate::schema::Schema;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use synthward_privacy::plan::{NOMINAL_EPSILON, Plan};

/// Version of the header that this code writes.
pub const FORMAT: u32 = 3;
/// Key of the header in the metadata of the file.
const HEADER_KEY: &str = "synthward";
/// How the header ends: the SHA-256 of the header without this end, and of the tensors.
const CHECKSUM: &str = ",\"checksum\":\"";

/// Which generator a model file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Independent,
    Marginal,
    Vae,
    Diffusion,
}

impl std::fmt::Display for ModelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Independent => "independent",
            Self::Marginal => "marginal",
            Self::Vae => "vae",
            Self::Diffusion => "diffusion",
        })
    }
}

/// What shapes the network of a model, and how it was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSettings {
    pub training: Training,
    pub network: Architecture,
}

/// What shapes a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    Vae(VaeSettings),
    Diffusion(DiffusionSettings),
}

impl NetworkSettings {
    fn read(
        &self,
        layout: &Layout,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
        tensors: &[Tensor],
    ) -> Result<Box<dyn Sampler>> {
        self.training.check()?;
        Ok(match self.network.clone() {
            Architecture::Vae(settings) => {
                Box::new(VaeGenerator::from_tensors(layout, settings, mixture, rows_column, tensors)?)
            }
            Architecture::Diffusion(settings) => {
                Box::new(DiffusionGenerator::from_tensors(layout, settings, mixture, rows_column, tensors)?)
            }
        })
    }
}

/// Everything in a model file but the weights. Public: made of the schema, the
/// plan and released numbers.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of this header.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    pub model: ModelKind,
    /// What was planned and spent; its fields stand at the top level.
    #[serde(flatten)]
    #[schemars(with = "Map<String, Value>")]
    pub plan: Plan,
    /// Public or released number of units.
    pub units: f64,
    /// Seed of the initialisation; never of the noise.
    pub seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub settings: Option<NetworkSettings>,
    pub schema: Schema,
    /// One codec a modelled column.
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub codecs: Vec<Codec>,
}

/// SHA-256 in hex: how ledger, cohort and report name a model.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file of tensors: `header`, an object, as JSON in the metadata under `key`, with a checksum of it all.
///
/// # Errors
/// The header or a tensor cannot be laid out.
pub(crate) fn lay_out(key: &str, header: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>> {
    let failed = |e: &dyn std::fmt::Display| Error::failed(format!("laying out the model: {e}"));
    let header = serde_json::to_string(header).map_err(|e| failed(&e))?;
    let mut named: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, values)| (&**name, &**shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    named.sort_by_key(|&(name, ..)| name);
    let checksum = checksum(&header, named.iter().map(|(name, shape, bytes)| (*name, *shape, &**bytes)));
    let views = named
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| failed(&e))?;
    let open = header.strip_suffix('}').unwrap_or(&header);
    let metadata = HashMap::from([(key.to_owned(), format!("{open}{CHECKSUM}{checksum}\"}}"))]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| failed(&e))
}

/// The header's text and the tensors of what [`lay_out`] laid out under this key; none when it did not, or when the
/// bytes were changed since.
pub(crate) fn take_apart(key: &str, bytes: &[u8]) -> Option<(String, Vec<Tensor>)> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let (open, rest) = metadata.metadata().as_ref()?.get(key)?.rsplit_once(CHECKSUM)?;
    let header = format!("{open}}}");
    let mut named = SafeTensors::deserialize(bytes).ok()?.tensors();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let parts = named.iter().map(|(name, view)| (&**name, view.shape(), view.data()));
    // A fuzzer cannot guess a hash; what lies behind it is to be tried all the same.
    if !cfg!(fuzzing) && rest.strip_suffix("\"}")? != checksum(&header, parts) {
        return None;
    }
    let values = |view: &TensorView| {
        let floats = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (view.dtype() == Dtype::F32).then(|| floats.collect())
    };
    let tensors = named.iter().map(|(name, view)| Some((name.clone(), view.shape().to_vec(), values(view)?)));
    Some((header, tensors.collect::<Option<_>>()?))
}

/// SHA-256 in hex of a header and of tensors, in the order of their names.
fn checksum<'a>(header: &str, tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [u8])>) -> String {
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    add(header.as_bytes());
    for (name, shape, bytes) in tensors {
        add(name.as_bytes());
        add(&shape.iter().flat_map(|&length| (length as u64).to_le_bytes()).collect::<Vec<u8>>());
        add(bytes);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether what is made of a model is private, in words; an epsilon that protects nobody is no privacy.
fn is_private(plan: &Plan) -> String {
    match plan.not_private() {
        Some(reason) => format!("not private: {reason}"),
        None if plan.protects() => "yes".into(),
        None => format!("no: an epsilon above {NOMINAL_EPSILON} protects nobody"),
    }
}

/// A loaded model.
pub struct ModelFile {
    pub header: Header,
    /// The modelled columns, derived from the schema.
    pub domain: TableDomain,
    pub generator: Box<dyn Generator>,
}

impl ModelFile {
    /// A model that was just fitted.
    ///
    /// # Privacy
    /// Post-processing: takes released values only.
    pub fn new(header: Header, generator: Box<dyn Generator>) -> Result<Self> {
        Ok(Self { domain: TableDomain::of(&header.schema)?, header, generator })
    }

    /// The bytes of the model file.
    ///
    /// # Errors
    /// The header or a tensor cannot be laid out.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        lay_out(HEADER_KEY, &self.header, &self.generator.tensors())
    }

    /// Reads a model file, and the SHA-256 of its bytes in hex.
    ///
    /// # Errors
    /// Bad input when the file cannot be read, is damaged, was written by a
    /// newer version, or does not fit together.
    pub fn read(path: &Path) -> Result<(Self, String)> {
        let bytes = std::fs::read(path)
            .map_err(|e| Error::bad_input(format!("the model cannot be read ({})", why(e.kind()))).file(path))?;
        Ok((Self::from_bytes(&bytes).map_err(|e| e.file(path))?, sha256(&bytes)))
    }

    /// As [`ModelFile::read`], from bytes in memory.
    ///
    /// # Errors
    /// As [`ModelFile::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::bad_input("is not a model of synthward, or is damaged").remedy("fit or copy it again");
        let (text, tensors) = take_apart(HEADER_KEY, bytes).ok_or_else(damaged)?;
        let text = text.as_str();
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(text).map_err(|_| damaged())?;
        if version.format > FORMAT {
            return Err(Error::bad_input("was written by a newer version of synthward").remedy("update synthward"));
        }
        let header: Header = serde_json::from_str(text).map_err(|_| damaged())?;
        header.schema.check()?;
        let domain = TableDomain::of(&header.schema)?;
        if header.codecs.len() != domain.columns.len()
            || header
                .codecs
                .iter()
                .zip(&domain.columns)
                .any(|(codec, column)| !codec.fits(&column.domain, column.nullable))
        {
            return Err(damaged());
        }
        let layout = Layout { cells: header.codecs.iter().map(Codec::cells).collect() };
        let mixture = Mixture::from_tensors(&layout, &tensors)?;
        let generator: Box<dyn Generator> = match (header.model, &header.settings) {
            (ModelKind::Independent | ModelKind::Marginal, None) => Box::new(mixture),
            (ModelKind::Vae | ModelKind::Diffusion, Some(settings)) => {
                let mixture = Arc::new(mixture);
                let network = settings.read(&layout, mixture.clone(), domain.rows_column, &tensors)?;
                Box::new(Refined::from_tensors(&layout, network, mixture, &tensors)?)
            }
            _ => return Err(damaged()),
        };
        Ok(Self { header, domain, generator })
    }

    /// Rows of the training table, as far as the model knows: of its public or released number of units, as many each as they
    /// have on average by the released law.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn expected_rows(&self) -> u64 {
        let rows = self.domain.rows_column.map_or(1.0, |column| 1.0 + self.header.codecs[column].mean_position(None));
        (self.header.units * rows).round().max(1.0) as u64
    }

    /// How a cohort of this model says where it comes from: Parquet key-value metadata.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn provenance(&self, model_sha256: &str, seed: u64) -> Vec<(String, String)> {
        let plan = &self.header.plan;
        [
            ("version", self.header.version.clone()),
            ("model", self.header.model.to_string()),
            ("model_sha256", model_sha256.to_owned()),
            ("schema", self.header.schema.table.name.clone()),
            ("private", is_private(plan)),
            ("epsilon", plan.epsilon().to_string()),
            ("delta", plan.delta().to_string()),
            ("unit", plan.unit().to_string()),
            ("adjacency", "add or remove one unit".to_owned()),
            ("domains_assumed_public", self.header.schema.table.assumed_public.to_string()),
            ("seed", seed.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (format!("synthward.{key}"), value))
        .collect()
    }
}
