//! The training loop of the VAE.

use super::fit::Progress;
use crate::encode::Codes;
use crate::error::Result;
use crate::model::{Marginals, Prior, Vae, VaeGenerator, VaeWorkspace};
use crate::nn::{Adam, AdamSettings};
use std::time::{Duration, Instant};
use synthward_privacy::mechanism::ClippedSum;
use synthward_privacy::plan::Plan;
use synthward_privacy::{Sensitive, UnitKey};

/// Name of the DP-SGD entry in the plan.
pub(super) const TRAIN: &str = "dp-sgd";
/// Name of the latent prior's entry in the plan.
pub(super) const PRIOR: &str = "latent prior";

/// Time between two looks at the progress.
const INTERVAL: Duration = Duration::from_millis(500);

/// Trains a VAE by DP-SGD and gives it a released latent prior.
///
/// No loss is ever computed for show: a loss on real rows is a release. The
/// last weights' running average is the model; no checkpoint is chosen.
///
/// # Privacy
/// Releases the planned steps [`TRAIN`] and the planned sum [`PRIOR`].
pub(super) fn train(
    plan: &mut Plan,
    codes: &Sensitive<Codes>,
    vae: Vae,
    marginals: &Marginals,
    units: f64,
    seed: u64,
    observe: &mut dyn FnMut(Progress),
) -> Result<VaeGenerator> {
    let settings = vae.settings().clone();
    let steps = settings.steps as u64;
    let mut mechanism = plan.subsampled_gaussian(TRAIN, units)?;
    let mut parameters = vae.initialise(marginals, seed); // P
    let mut optimiser = Adam::new(
        AdamSettings { learning_rate: settings.learning_rate, average_decay: settings.average_decay },
        &parameters,
    );
    let latents = UnitKey::from_system()?.bytes();
    let mut workspace = VaeWorkspace::default();
    let mut looked = Instant::now();
    for step in 0..steps {
        let sum = mechanism.accumulate(codes, Codes::units, |codes, batch, clip| {
            let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
            vae.clipped_sum(&parameters, codes, batch, latents, step as u32, &coefficient, &mut workspace)
        })?;
        sum.release(parameters.len(), optimiser.blocks(&mut parameters, ClippedSum::BLOCK), |block, gradient| {
            block.step(gradient);
        });
        if looked.elapsed() > INTERVAL || step + 1 == steps {
            looked = Instant::now();
            observe(Progress { done: step + 1, total: steps, epsilon_spent: plan.epsilon_spent(step + 1)? });
        }
    }
    let mut parameters = optimiser.average().to_vec();
    let moments = plan.gaussian_sum(PRIOR)?.release(codes, Codes::units, vae.moments(), |codes, unit, out| {
        vae.latent_moments(&parameters, codes, unit, latents, out);
    })?;
    let prior = Prior::from_moments(&vae, moments.get(), units);
    vae.calibrate(&mut parameters, &prior, marginals, seed);
    Ok(VaeGenerator::new(vae, parameters, prior))
}
