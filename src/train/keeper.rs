//! When a training is kept, and that it stops when it is asked to.

use super::attempt::Attempt;
use super::checkpoint::{Checkpoint, Facts};
use super::stop::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Header, Mixture};
use crate::nn::Adam;
use std::sync::Arc;
use std::time::{Duration, Instant};
use synthward_privacy::mechanism::SubsampledGaussian;
use synthward_privacy::plan::Plan;

/// A crash loses at most this part of the time that a training took, ...
const PART: u32 = 4;
/// ... which is no less than this, so that a short training is not all checkpoints, ...
const LEAST: Duration = Duration::from_secs(1);
/// ... and no more than this.
const MOST: Duration = Duration::from_secs(60);

/// Keeps a training between its steps. When, depends on the clock alone.
pub(super) struct Keeper<'k, 'a> {
    attempt: &'k mut Attempt<'a>,
    stop: &'a Stop,
    header: Header,
    mixture: Arc<Mixture>,
    began: Instant,
    kept: Option<Instant>,
}

impl<'k, 'a> Keeper<'k, 'a> {
    pub fn new(attempt: &'k mut Attempt<'a>, stop: &'a Stop, header: Header, mixture: Arc<Mixture>) -> Self {
        stop.hear(true);
        Self { attempt, stop, header, mixture, began: Instant::now(), kept: None }
    }

    /// Between two steps: keeps the training when it is time to, and ends it when somebody wishes so.
    ///
    /// # Errors
    /// Interrupted, when it was to stop; the disk; what the ledger refuses.
    ///
    /// # Privacy
    /// Post-processing of the steps that were released.
    pub fn between(
        &mut self,
        plan: &Plan,
        mechanism: &SubsampledGaussian,
        parameters: &[f32],
        optimiser: &Adam,
    ) -> Result<()> {
        let pause = (self.began.elapsed() / PART).clamp(LEAST, MOST);
        let stop = self.stop.is_wished();
        if !stop && self.kept.is_some_and(|kept| kept.elapsed() < pause) {
            return Ok(());
        }
        let facts =
            Facts { fit: self.attempt.fit().into(), progress: plan.progress(mechanism), header: self.header.clone() };
        self.attempt.keep(&Checkpoint::to_bytes(&facts, &self.mixture, parameters, optimiser)?)?;
        self.kept = Some(Instant::now());
        if stop {
            let done = mechanism.steps_done();
            return Err(Error::new(ErrorKind::Interrupted, format!("stopped: the first {done} steps are kept"))
                .remedy("give the same command with --resume to go on; it spends nothing more"));
        }
        Ok(())
    }
}

impl Drop for Keeper<'_, '_> {
    fn drop(&mut self) {
        self.stop.hear(false);
    }
}
