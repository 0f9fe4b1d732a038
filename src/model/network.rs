//! What training needs to know of a network.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::encode::{CodeStore, Codes};
use crate::error::{Error, Result};
use crate::model::steps::{Fitted, most_steps};
use crate::nn::Network;

/// A network whose loss is a sum over privacy units.
pub trait Trainable: Sync {
    /// Activations and gradients of a tile of rows.
    type Buffers: Default + Send + Sync;

    /// Number of parameters.
    fn parameters(&self) -> usize;

    /// The loss of the units of `codes`. A unit's random draws are fixed by `key`, its identity and `step`, so that no
    /// other unit has a say in them. On real rows the key must be secret and fresh for each fit.
    ///
    /// # Panics
    /// When `codes` does not have the layout of the network.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    fn loss<'a>(&'a self, codes: &'a CodeStore, key: [u8; 32], step: u32)
    -> impl Network<Buffers = Self::Buffers> + 'a;

    /// Rows of `units` units of the network's own, as public as its parameters.
    fn draw(&self, parameters: &[f32], units: usize, rng: &mut ChaCha8Rng) -> Codes;

    /// The parameters that [`Trainable::draw`] uses.
    fn drawn_with(&self) -> Range<usize>;

    /// Puts weights that the network must not have back to 0, as after every step.
    fn mask(&self, parameters: &mut [f32]);
}

/// Where the draws of a step begin in the stream of random words that a unit has under its identity: 2^36 words further for
/// each step.
pub(super) fn first_word(step: u32) -> u128 {
    u128::from(step) << 36
}

/// Expected number of units of a batch, at least and at most: an eighth of all between them. Noise grows with the batch
/// only by what sampling no longer hides, so a larger batch costs time and no privacy.
const LEAST_BATCH: usize = 256;
const LARGEST_BATCH: usize = 8192;

/// How a network is trained by DP-SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Expected number of units of a Poisson batch.
    pub expected_batch_size: usize,
    pub steps: usize,
    pub learning_rate: f32,
    /// Bound on the norm of a unit's gradient.
    pub clipping_norm: f32,
    /// Decay of the running average of the weights.
    pub average_decay: f32,
}

/// Steps of a training.
const STEPS: usize = 200;

impl Training {
    /// From a public fact only: the number of units.
    pub fn choose(units: usize) -> Self {
        Self {
            expected_batch_size: (units / 8).clamp(LEAST_BATCH, LARGEST_BATCH).min(units.max(1)),
            steps: most_steps(Fitted::Network, STEPS),
            learning_rate: 3e-3,
            clipping_norm: 1.0,
            average_decay: 0.98,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        within("steps", self.steps, 0, 1 << 30)?;
        within("expected_batch_size", self.expected_batch_size, 1, 1 << 30)?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("clipping_norm", self.clipping_norm)?;
        not_negative("average_decay", self.average_decay)
    }
}

/// Refuses a whole number out of range, so that a hostile model file cannot ask for more memory than there is.
pub(super) fn within(name: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::bad_input(format!("network setting `{name}` is {value}")).expected(format!("{low} to {high}")))
}

pub(super) fn not_negative(name: &str, value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::bad_input(format!("network setting `{name}` is not a number of at least zero")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::encode::{Identities, Layout};
    use crate::model::{Diffusion, DiffusionSettings, Mixture, Vae, VaeSettings};
    use crate::nn::{Workspace, add_parts, assert_units_do_not_see_each_other, clipped_sum, softmax};
    use rand::{Rng, SeedableRng};
    use std::sync::Arc;
    use synthward_privacy::UnitKey;

    const CLASSES: usize = 300;

    /// A mixture of many classes: its products are long sums.
    fn mixture(layout: &Layout, rng: &mut ChaCha8Rng) -> Arc<Mixture> {
        let mut rows: Vec<f32> = (0..CLASSES * layout.total()).map(|_| rng.random_range(-2.0..2.0)).collect();
        softmax::probabilities(&mut rows, &layout.offsets());
        let weights = vec![1.0 / CLASSES as f32; CLASSES];
        let tensors = [
            ("mixture.probabilities".to_owned(), vec![CLASSES, layout.total()], rows),
            ("mixture.weights".to_owned(), vec![1, CLASSES], weights),
        ];
        Arc::new(Mixture::from_tensors(layout, &tensors).unwrap())
    }

    /// At parameters at which every weight says something.
    pub(crate) fn assert_units_leave_the_same_behind<T: Trainable>(
        network: &T,
        mut parameters: Vec<f32>,
        codes: &CodeStore,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.2..0.2));
        network.mask(&mut parameters);
        assert_units_do_not_see_each_other(&network.loss(codes, [7; 32], 1), &parameters, codes.units() as u32);
    }

    #[test]
    fn units_do_not_see_each_other_in_either_network() {
        let layout = Layout { cells: vec![3, 7, 2, 40] };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        for unit in 0..120usize {
            for _ in 0..[1, 1, 3, 0, 40][unit % 5] {
                codes.extend(layout.cells.iter().map(|&cells| rng.random_range(0..cells as u16)));
            }
            offsets.push((codes.len() / 4) as u32);
        }
        let codes = CodeStore::from(Codes { codes, width: 4, offsets });
        let mixture = mixture(&layout, &mut rng);
        let vae = Vae::new(&layout, VaeSettings::choose(), mixture.clone(), None).unwrap();
        assert_units_leave_the_same_behind(&vae, vae.initialise(1), &codes);
        let diffusion = Diffusion::new(&layout, DiffusionSettings::choose(&layout), mixture, None).unwrap();
        assert_units_leave_the_same_behind(&diffusion, diffusion.initialise(1), &codes);
    }

    /// Puts the last of these units before each of the others: alone in a batch, all others have the gradient that they have
    /// without it, bit for bit, whether they are known by a key or by their rows.
    pub fn one_unit_more_changes_nobody_elses_draws<T: Trainable>(
        network: &T,
        parameters: &[f32],
        units: &[Vec<u16>],
        width: usize,
    ) {
        let key = Arc::new(UnitKey::from_system().unwrap());
        let gradients = |units: &[(usize, &Vec<u16>)]| -> Vec<(usize, Vec<f32>)> {
            let mut offsets = vec![0];
            units.iter().for_each(|unit| offsets.push(offsets[offsets.len() - 1] + (unit.1.len() / width) as u32));
            let codes = units.iter().flat_map(|unit| unit.1.clone()).collect();
            let store = CodeStore::from(Codes { codes, width, offsets: offsets.clone() });
            let named = Arc::new(units.iter().map(|unit| unit.0 as u64 % 3).collect());
            let identities = Identities::Secret { named, key: key.clone() };
            let shape = (units.len(), width);
            let store = CodeStore::woven(&[(0, store, offsets)], shape, identities, u64::MAX, |_, rows| rows.to_vec());
            let store = store.unwrap();
            let loss = network.loss(&store, [7; 32], 3);
            let alone = |place: usize| {
                let (mut workspace, mut sum) = (Workspace::default(), vec![0.0; parameters.len()]);
                add_parts(clipped_sum(&loss, parameters, &[place as u32], &|_| 1.0, &mut workspace), 0, &mut sum);
                sum
            };
            let mut all: Vec<_> = units.iter().enumerate().map(|(place, unit)| (unit.0, alone(place))).collect();
            all.sort_by_key(|unit| unit.0);
            all
        };
        let (last, others) = units.split_last().unwrap();
        let others: Vec<(usize, &Vec<u16>)> = others.iter().enumerate().collect();
        let before = gradients(&others);
        for place in 0..=others.len() {
            let mut with = others.clone();
            with.insert(place, (others.len(), last));
            let mut after = gradients(&with);
            assert_eq!(after.pop().unwrap().0, others.len());
            assert!(before == after, "the unit at place {place}");
        }
        let says = before.iter().all(|(_, gradient)| gradient.iter().any(|g| *g != 0.0));
        assert!(says, "gradients of zero say nothing");
    }

    #[test]
    fn draws_of_both_networks_belong_to_the_unit() {
        let layout = Layout { cells: vec![3, 7, 2, 40] };
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let mut unit = |rows: usize| -> Vec<u16> {
            (0..rows).flat_map(|_| layout.cells.clone()).map(|cells| rng.random_range(0..cells as u16)).collect()
        };
        let units: Vec<Vec<u16>> = [1, 3, 2, 1, 5, 1, 2].map(&mut unit).to_vec();
        let mixture = mixture(&layout, &mut rng);
        let vae = Vae::new(&layout, VaeSettings::choose(), mixture.clone(), None).unwrap();
        let shaken = |mut parameters: Vec<f32>| {
            let mut rng = ChaCha8Rng::seed_from_u64(8);
            parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.2..0.2));
            parameters
        };
        one_unit_more_changes_nobody_elses_draws(&vae, &shaken(vae.initialise(1)), &units, 4);
        let diffusion = Diffusion::new(&layout, DiffusionSettings::choose(&layout), mixture, None).unwrap();
        one_unit_more_changes_nobody_elses_draws(&diffusion, &shaken(diffusion.initialise(1)), &units, 4);
    }
}
