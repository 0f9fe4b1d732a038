//! What a fit has released so far, and needs to go on in another process, as one file.

use super::dp_sgd::Begin;
use crate::encode::{Codec, Layout};
use crate::error::{Error, Result};
use crate::model::{Marginals, Measured, MeasuredTable, lay_out, take_apart};
use crate::nn::{Adam, Tensor, find_tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synthward_privacy::plan::PlanProgress;

/// Key of the facts in the metadata of the file.
const KEY: &str = "synthward-checkpoint";
/// Names of a training's tensors: the weights, and what the optimiser remembers.
const PARAMETERS: &str = "training.parameters";
const MEMORY: [&str; 3] = ["training.first_moment", "training.second_moment", "training.average"];
/// Names of the tensors of counts: shares of one table after the other, their noise, and that of one-way shares.
const SHARES: &str = "counts.shares";
const NOISE: &str = "counts.noise";
const ONE_WAY_NOISE: &str = "counts.one_way_noise";

/// A fit between two of its mechanisms, or two of its steps.
///
/// # Privacy
/// Post-processing of what was released.
pub(super) struct Checkpoint<S> {
    pub progress: PlanProgress,
    /// How far the fit is, and everything that is known by then but for the tensors.
    pub stage: S,
    pub tensors: Vec<Tensor>,
}

/// Everything in a checkpoint but its tensors.
#[derive(Serialize, Deserialize)]
struct Facts<S> {
    progress: PlanProgress,
    stage: S,
}

/// The bytes of a checkpoint.
///
/// # Errors
/// The facts cannot be laid out.
pub(super) fn to_bytes(progress: PlanProgress, stage: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>> {
    lay_out(KEY, &Facts { progress, stage }, tensors)
}

impl<S: DeserializeOwned> Checkpoint<S> {
    /// Reads the bytes of a checkpoint.
    ///
    /// # Errors
    /// Bad input when they are none, or were damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::bad_input("is not a checkpoint of this version of synthward, or is damaged");
        let (text, tensors) = take_apart(KEY, bytes).ok_or_else(damaged)?;
        let Facts { progress, stage } = serde_json::from_str(&text).map_err(|_| damaged())?;
        Ok(Self { progress, stage, tensors })
    }
}

/// The tensors of a training.
pub(super) fn training(parameters: &[f32], optimiser: &Adam) -> Vec<Tensor> {
    let of_memory = MEMORY.iter().zip(optimiser.memory()).map(|(name, values)| list(name, values));
    std::iter::once(list(PARAMETERS, parameters)).chain(of_memory).collect()
}

/// Where a training goes on.
///
/// # Errors
/// Bad input where the tensors are not of one.
pub(super) fn trained(tensors: &[Tensor]) -> Result<Begin> {
    let length = tensors.iter().find(|(name, ..)| name == PARAMETERS).map_or(0, |(_, _, values)| values.len());
    let values = |name: &str| find_tensor(tensors, name, &[1, length]).map(<[f32]>::to_vec);
    Ok((values(PARAMETERS)?, Some([values(MEMORY[0])?, values(MEMORY[1])?, values(MEMORY[2])?])))
}

/// Which columns were counted together: what is kept of counts beside their tensors.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Counts(Vec<Vec<usize>>);

impl Counts {
    /// What is to be kept of counts.
    pub fn of(measured: &Measured) -> (Self, Vec<Tensor>) {
        let tables = &measured.tables;
        let shares: Vec<f32> = tables.iter().flat_map(|table| table.shares.iter().copied()).collect();
        let noise: Vec<f32> = tables.iter().map(|table| table.noise_std).collect();
        let tensors =
            vec![list(SHARES, &shares), list(NOISE, &noise), list(ONE_WAY_NOISE, &measured.marginals_noise_std)];
        (Self(tables.iter().map(|table| table.columns.clone()).collect()), tensors)
    }

    /// The counts of a table with these codecs and so many units.
    ///
    /// # Errors
    /// Bad input where the tensors do not fit.
    pub fn measured(&self, codecs: &[Codec], units: f64, tensors: &[Tensor]) -> Result<Measured> {
        let (layout, marginals) = marginals(codecs, units)?;
        let cells = |columns: &Vec<usize>| {
            let of_columns = columns.iter().map(|&column| layout.cells.get(column).copied());
            of_columns.product::<Option<usize>>().ok_or_else(|| Error::bad_input("the counts are of other columns"))
        };
        let cells: Vec<usize> = self.0.iter().map(cells).collect::<Result<_>>()?;
        let mut shares = find_tensor(tensors, SHARES, &[1, cells.iter().sum()])?;
        let noise = find_tensor(tensors, NOISE, &[1, self.0.len()])?;
        let of_table = |((columns, cells), &noise_std): ((&Vec<usize>, usize), &f32)| {
            let (own, rest) = shares.split_at(cells);
            shares = rest;
            MeasuredTable { columns: columns.clone(), shares: own.to_vec(), noise_std }
        };
        let tables = self.0.iter().zip(cells).zip(noise).map(of_table).collect();
        let marginals_noise_std = find_tensor(tensors, ONE_WAY_NOISE, &[1, layout.total()])?.to_vec();
        Ok(Measured { layout, marginals, marginals_noise_std, tables })
    }
}

/// The shape of columns, and what was measured of each alone.
///
/// # Errors
/// Of columns that were measured there is none.
pub(super) fn marginals(codecs: &[Codec], units: f64) -> Result<(Layout, Marginals)> {
    let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
    let counts: Vec<f64> = codecs.iter().flat_map(Codec::marginal).map(|p| p * units).collect();
    let marginals = Marginals::from_noisy(&layout, &counts)?;
    Ok((layout, marginals))
}

/// Tensors under names that begin with this.
pub(super) fn scoped(scope: String, tensors: Vec<Tensor>) -> impl Iterator<Item = Tensor> {
    tensors.into_iter().map(move |(name, shape, values)| (format!("{scope}{name}"), shape, values))
}

/// The tensors under names that begin with this, without it.
pub(super) fn of_scope(scope: &str, tensors: &[Tensor]) -> Vec<Tensor> {
    let own =
        |(name, shape, values): &Tensor| Some((name.strip_prefix(scope)?.to_owned(), shape.clone(), values.clone()));
    tensors.iter().filter_map(own).collect()
}

fn list(name: &str, values: &[f32]) -> Tensor {
    (name.into(), vec![1, values.len()], values.to_vec())
}
