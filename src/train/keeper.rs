//! When a training is kept, and that it stops when it is asked to.

use super::attempt::Attempt;
use super::checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{Adam, Tensor};
use std::time::{Duration, Instant};
use synthward_privacy::mechanism::SubsampledGaussian;
use synthward_privacy::plan::{Plan, PlanProgress};

/// A crash loses at most this part of the time that a training took, ...
const PART: u32 = 4;
/// ... which is no less than this, so that a short training is not all checkpoints, ...
const LEAST: Duration = Duration::from_secs(1);
/// ... and no more than this.
const MOST: Duration = Duration::from_secs(60);

/// The bytes of a checkpoint of a training, whose tensors these are.
type Bytes<'k> = Box<dyn Fn(PlanProgress, Vec<Tensor>) -> Result<Vec<u8>> + 'k>;

/// Keeps a training between its steps. When, depends on the clock alone.
pub(super) struct Keeper<'k, 'a> {
    attempt: &'k mut Attempt<'a>,
    bytes: Bytes<'k>,
    began: Instant,
    kept: Option<Instant>,
}

impl<'k, 'a> Keeper<'k, 'a> {
    pub fn new(
        attempt: &'k mut Attempt<'a>,
        bytes: impl Fn(PlanProgress, Vec<Tensor>) -> Result<Vec<u8>> + 'k,
    ) -> Self {
        attempt.stop().train(true);
        Self { attempt, bytes: Box::new(bytes), began: Instant::now(), kept: None }
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
        let stop = self.attempt.stop().is_wished();
        if !stop && self.kept.is_some_and(|kept| kept.elapsed() < pause) {
            return Ok(());
        }
        let training = checkpoint::training(parameters, optimiser);
        self.attempt.keep(&(self.bytes)(plan.progress(Some(mechanism)), training)?)?;
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
        self.attempt.stop().train(false);
    }
}
