//! What DP-SGD adds to `marginal`: the planned events of a network, and its training from the mixture on.

use super::dp_sgd::{Begin, Course, TRAIN, train};
use super::fit::Observe;
use super::keeper::Keeper;
use super::witness::Witness;
use crate::encode::{CodeStore, Layout};
use crate::error::{Error, Result};
use crate::model::refined::Sampler;
use crate::model::vae::VaeBuffers;
use crate::model::{
    Architecture, Diffusion, DiffusionGenerator, DiffusionSettings, Generator, Mixture, ModelKind, NetworkSettings,
    Prior, Refined, Training, Vae, VaeGenerator, VaeSettings,
};
use std::sync::Arc;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Sensitive, UnitKey};

/// Part of the budget (of rho) for marginals, when a network is trained, too.
pub(super) const MEASURED_SHARE: f64 = 0.5;
/// Part of the budget (of rho) for the latent prior of a VAE.
const PRIOR_SHARE: f64 = 0.02;
/// Name of the latent prior's entry in the plan.
const PRIOR: &str = "latent prior";

/// The settings of a network, from public facts; none for a model without one.
pub(super) fn settings(model: ModelKind, layout: &Layout, units: u64) -> Option<NetworkSettings> {
    let network = match model {
        ModelKind::Independent | ModelKind::Marginal => return None,
        ModelKind::Vae => Architecture::Vae(VaeSettings::choose()),
        ModelKind::Diffusion => Architecture::Diffusion(DiffusionSettings::choose(layout)),
    };
    Some(NetworkSettings { training: Training::choose(units as usize), network })
}

/// The events of a network's training.
pub(super) fn requests(settings: &NetworkSettings, units: u64) -> Vec<Request> {
    let has_prior = matches!(settings.network, Architecture::Vae(_));
    let prior = has_prior.then(|| Request {
        name: PRIOR.into(),
        share: Share::Prior,
        weight: PRIOR_SHARE,
        mechanism: Mechanism::GaussianSum { clipping_norm: 1.0 },
    });
    let share = 1.0 - MEASURED_SHARE - prior.as_ref().map_or(0.0, |prior| prior.weight);
    let steps = self::training(&settings.training, units, share);
    prior.into_iter().chain([steps]).collect()
}

/// The steps of DP-SGD, for this part of the budget.
pub(super) fn training(training: &Training, units: u64, share: f64) -> Request {
    Request {
        name: TRAIN.into(),
        share: Share::Train,
        weight: share,
        mechanism: Mechanism::SubsampledGaussian {
            clipping_norm: f64::from(training.clipping_norm),
            sampling_rate: (training.expected_batch_size as f64 / units as f64).min(1.0),
            steps: training.steps as u64,
        },
    }
}

/// What is released before a network is trained.
pub(super) struct Start<'a> {
    pub mixture: Arc<Mixture>,
    pub layout: &'a Layout,
    pub rows_column: Option<usize>,
    /// Public or released number of units.
    pub units: f64,
    pub seed: u64,
    /// Where an earlier process stopped.
    pub begun: Option<Begin>,
}

/// Trains a network from the mixture on, and projects its rows onto the mixture's marginals.
///
/// # Privacy
/// Releases the events of [`requests`], nothing else.
pub(super) fn train_network<W: Witness>(
    plan: &mut Plan,
    codes: &Sensitive<CodeStore>,
    settings: &NetworkSettings,
    start: Start<'_>,
    keeper: Option<Keeper<'_, '_>>,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<Box<dyn Generator>> {
    let Start { mixture, layout, rows_column, units, seed, begun } = start;
    let course = |begin: Begin| Course { training: &settings.training, units, seed, begin };
    let network: Box<dyn Sampler> = match settings.network.clone() {
        Architecture::Vae(architecture) => {
            let vae = Vae::new(layout, architecture, mixture.clone(), rows_column)?;
            let begin = begin(vae.initialise(seed), begun)?;
            let parameters = train(plan, codes, &vae, course(begin), keeper, witness, observe)?;
            let key = UnitKey::from_system()?.bytes();
            let sum = plan.gaussian_sum(PRIOR)?;
            let noise_std = sum.noise_std();
            let moments = sum.release(
                codes,
                CodeStore::units,
                vae.moments(),
                VaeBuffers::default,
                |buffers, codes, unit, out| vae.latent_moments(&parameters, codes, unit, key, buffers, out),
            )?;
            codes.map_ref(CodeStore::check).transpose()?;
            let prior = Prior::from_moments(&vae, moments.get(), noise_std, units);
            Box::new(VaeGenerator::new(vae, parameters, prior))
        }
        Architecture::Diffusion(architecture) => {
            let diffusion = Diffusion::new(layout, architecture, mixture.clone(), rows_column)?;
            let begin = begin(diffusion.initialise(seed), begun)?;
            let parameters = train(plan, codes, &diffusion, course(begin), keeper, witness, observe)?;
            Box::new(DiffusionGenerator::new(diffusion, parameters))
        }
    };
    Ok(Box::new(Refined::fit(network, mixture, rows_column, units, seed)))
}

/// Where the training begins: at the initial weights, or where it stopped.
pub(super) fn begin(initial: Vec<f32>, begun: Option<Begin>) -> Result<Begin> {
    match begun {
        Some((parameters, _)) if parameters.len() != initial.len() => {
            Err(Error::bad_input("the checkpoint is of another network").remedy("begin a new fit"))
        }
        Some(begun) => Ok(begun),
        None => Ok((initial, None)),
    }
}
