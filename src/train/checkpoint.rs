//! What a network's training needs to go on in another process, as one file.

use crate::encode::{Codec, Layout, TableDomain};
use crate::error::{Error, Result};
use crate::model::{Generator, Header, Mixture, lay_out, take_apart};
use crate::nn::{Adam, Tensor, find_tensor};
use serde::{Deserialize, Serialize};
use synthward_privacy::plan::PlanProgress;

/// Key of the facts in the metadata of the file.
const KEY: &str = "synthward-checkpoint";
/// Names of the training's tensors: the weights, and what the optimiser remembers.
const PARAMETERS: &str = "training.parameters";
const MEMORY: [&str; 3] = ["training.first_moment", "training.second_moment", "training.average"];

/// Everything in a checkpoint but its tensors.
#[derive(Serialize, Deserialize)]
pub(super) struct Facts {
    /// The fit's name in the ledger.
    pub fit: String,
    pub progress: PlanProgress,
    /// As the finished model will have it.
    pub header: Header,
}

/// A training between two steps.
///
/// # Privacy
/// Post-processing of what was released: noisy counts, and weights after noisy steps.
pub(super) struct Checkpoint {
    pub facts: Facts,
    pub domain: TableDomain,
    pub layout: Layout,
    pub mixture: Mixture,
    pub parameters: Vec<f32>,
    /// The optimiser's: see [`Adam::memory`].
    pub memory: [Vec<f32>; 3],
}

impl Checkpoint {
    /// The bytes of a checkpoint.
    ///
    /// # Errors
    /// The facts cannot be laid out.
    pub fn to_bytes(facts: &Facts, mixture: &Mixture, parameters: &[f32], optimiser: &Adam) -> Result<Vec<u8>> {
        let named = |name: &str, values: &[f32]| -> Tensor { (name.into(), vec![1, values.len()], values.to_vec()) };
        let mut tensors = mixture.tensors();
        tensors.push(named(PARAMETERS, parameters));
        tensors.extend(MEMORY.iter().zip(optimiser.memory()).map(|(name, values)| named(name, values)));
        lay_out(KEY, facts, &tensors)
    }

    /// Reads the bytes of a checkpoint.
    ///
    /// # Errors
    /// Bad input when they are none, or were damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::bad_input("is not a checkpoint of this version of synthward, or is damaged");
        let (text, tensors) = take_apart(KEY, bytes).ok_or_else(damaged)?;
        let facts: Facts = serde_json::from_str(&text).map_err(|_| damaged())?;
        let domain = TableDomain::of(&facts.header.schema)?;
        let codecs = &facts.header.codecs;
        if codecs.len() != domain.columns.len() {
            return Err(damaged());
        }
        let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
        let mixture = Mixture::from_tensors(&layout, &tensors)?;
        let length = tensors.iter().find(|(name, ..)| name == PARAMETERS).map_or(0, |(_, _, values)| values.len());
        let values = |name: &str| find_tensor(&tensors, name, &[1, length]).map(<[f32]>::to_vec);
        let memory = [values(MEMORY[0])?, values(MEMORY[1])?, values(MEMORY[2])?];
        Ok(Self { parameters: values(PARAMETERS)?, memory, facts, domain, layout, mixture })
    }
}
