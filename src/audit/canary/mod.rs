//! The white-box audit: does the real code, in one run, keep the claim?
//!
//! # The attacker's story
//! Someone knows every patient of the table but the canaries, every planned event, and everything that the mechanisms
//! release, step by step: more than anyone will who gets a model or a cohort. For each canary a fair coin decides
//! whether it is in. The attacker guesses the coins that the releases say most about. Whoever is protected with epsilon
//! cannot be guessed more often than epsilon allows: the guesses give a lower bound of the real epsilon.
//!
//! # The canaries
//! A canary is a patient of rare values who goes the whole way: its rows are placed, counted and encoded like any
//! others (`input canaries`), and it takes part in the steps of DP-SGD, where its gradient is replaced, after
//! back-propagation and before the clip, by ten times the clipping norm at one weight of its own (`Dirac canaries`).
//! What counts is the sum of both log likelihood ratios, so the bound is on the whole plan.
//!
//! # What is trained
//! A throwaway model, by the same code and the same plan as the released one. Real rows are used for what the attacker
//! is assumed to know: the result is for the data's controller and lies outside the epsilon claim.

mod candidates;
mod conformity;
mod counts;
mod dirac;
#[cfg(test)]
mod tests;

use super::bound::{Guesses, f_dp, guess, guesses_for, steinke};
use crate::encode::{CodeStore, Codec, Codes, GridColumn, TableDomain};
use crate::error::{Error, Result};
use crate::ingest::Frame;
use crate::model::Trainable;
use crate::nn::Network;
use crate::train::{CellsOf, CellsOfPart, FitRequest, LedgerFile, Observe, Planned, Witness, rehearse};
use candidates::Candidates;
use conformity::{Check, FAMILY_SIGNIFICANCE, corrected};
use counts::{Counts, Noisy};
use dirac::{Claim, Dirac, Planted, quiet};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use synthward_privacy::ledger::Rehearsal;
use synthward_privacy::plan::{Mechanism, Plan};
use synthward_privacy::{Clip, Sensitive};

pub use conformity::Conformity;

/// Canaries of an audit, unless told otherwise.
pub const DEFAULT_CANARIES: usize = 1000;
/// Fewest and most canaries: with fewer no guesses refute anything, with more the table is no longer the table.
const CANARIES: std::ops::RangeInclusive<usize> = 20..=20_000;
/// Confidence of the bounds.
const CONFIDENCE: f64 = 0.95;
/// Most rows of a canary, where a patient may have several.
const MOST_ROWS: usize = 4;

/// What the white-box audit found: for the data's controller, outside the epsilon claim. It says nothing of any single
/// canary or patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhiteBox {
    /// What the plan claims, at `delta`.
    pub claimed_epsilon: f64,
    pub delta: f64,
    /// Canaries whose coin was thrown; about half of them were in.
    pub canaries: usize,
    /// Coins that were guessed: a number fixed by the claim and the number of canaries.
    pub guesses: usize,
    pub right: usize,
    /// The f-DP bound: with `confidence`, the real epsilon is at least this.
    pub epsilon_lower_bound: f64,
    /// Steinke's bound from the same guesses, which assumes nothing of the mechanism.
    pub epsilon_lower_bound_steinke: f64,
    /// What `epsilon_lower_bound` would be with every guess right: the test cannot show more.
    pub epsilon_ceiling: f64,
    pub confidence: f64,
    /// What was released, tested against the plan.
    pub conformity: Vec<Conformity>,
    pub verdict: Verdict,
    pub assumptions: Vec<String>,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// The lower bound is above the claim, or what was released is not what the plan says.
    #[serde(rename = "bug")]
    Bug,
    #[serde(rename = "no bug found")]
    NoBugFound,
}

/// Audits the fit that `request` describes, under its plan, with so many canaries: trains a throwaway model on the table with
/// the canaries in it, by the code that [`train::fit`](crate::train::fit) runs, and bounds epsilon from below.
///
/// # Errors
/// An infinite epsilon, which claims nothing; no ledger of the source; more canaries than the network has room for.
///
/// # Privacy
/// For the data's controller, outside the guarantee. Nothing is kept. The ledger gets a line before a row is read, which no
/// cap counts.
pub fn white_box(
    request: &FitRequest,
    ledger: &LedgerFile,
    planned: Planned,
    canaries: usize,
    observe: &mut Observe<'_>,
) -> Result<WhiteBox> {
    if !CANARIES.contains(&canaries) {
        return Err(Error::bad_input(format!("{canaries} canaries")).expected(format!(
            "{} to {}",
            CANARIES.start(),
            CANARIES.end()
        )));
    }
    if request.budget.is_unlimited() {
        return Err(Error::bad_input("epsilon is infinite: there is no claim to audit").expected("a finite epsilon"));
    }
    let claimed = (planned.plan.epsilon(), planned.plan.delta());
    let trial = Trial::new(&planned, canaries)?;
    ledger.rehearse(Rehearsal::Canaries, 1, request.budget)?;
    rehearse(request, planned, &trial, observe)?;
    Ok(trial.judge(claimed.0, claimed.1))
}

/// One run of the audit: canaries, their coins, and what was seen of them.
struct Trial {
    coins: Vec<bool>,
    /// Rows of a canary, and rows of a patient that count.
    rows: usize,
    most_rows: usize,
    steps: Option<Claim>,
    randomness: Mutex<ChaCha20Rng>,
    candidates: Mutex<Option<Candidates>>,
    counts: Mutex<Counts>,
    dirac: OnceLock<Dirac>,
}

/// A panic elsewhere in the fit ends it; what was seen so far is not used then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trial {
    fn new(planned: &Planned, canaries: usize) -> Result<Self> {
        let most_rows = planned.schema.table.max_rows_per_unit() as usize;
        let rng = ChaCha20Rng::try_from_os_rng().map_err(|_| Error::failed("the system gives no random numbers"))?;
        Ok(Self::with(steps_of(&planned.plan), canaries, most_rows, rng))
    }

    fn with(steps: Option<Claim>, canaries: usize, most_rows: usize, mut rng: ChaCha20Rng) -> Self {
        Self {
            coins: (0..canaries).map(|_| rng.random()).collect(),
            // Of two rows one is not to count, where a patient has one.
            rows: most_rows.clamp(2, MOST_ROWS),
            most_rows,
            steps,
            randomness: Mutex::new(rng),
            candidates: Mutex::default(),
            counts: Mutex::default(),
            dirac: OnceLock::new(),
        }
    }

    /// Canaries that are in.
    fn within(&self) -> usize {
        self.coins.iter().filter(|coin| **coin).count()
    }

    /// Guesses, bounds, tests.
    fn judge(&self, claimed_epsilon: f64, delta: f64) -> WhiteBox {
        let counts = lock(&self.counts);
        let dirac = self.dirac.get();
        let parts = [counts.scores(), dirac.map(Dirac::scores).unwrap_or_default()];
        let score = |canary: usize| parts.iter().filter_map(|part| part.get(canary)).sum();
        let mut scores: Vec<(f64, bool)> = self.coins.iter().enumerate().map(|(c, &coin)| (score(c), coin)).collect();
        // A score that is no number says nothing.
        scores.iter_mut().filter(|(score, _)| score.is_nan()).for_each(|(score, _)| *score = 0.0);
        let guessed = guess(&scores, guesses_for(self.coins.len(), claimed_epsilon));
        let bound = |guesses: Guesses| f_dp(guesses, delta, CONFIDENCE);
        let epsilon_lower_bound = bound(guessed);
        let checks: Vec<Check> =
            [counts.checks(&self.coins), dirac.map(Dirac::checks).unwrap_or_default()].into_iter().flatten().collect();
        let conformity = corrected(checks);
        let broken = conformity.iter().any(|test| test.p_holm < FAMILY_SIGNIFICANCE);
        let bug = broken || epsilon_lower_bound > claimed_epsilon;
        WhiteBox {
            claimed_epsilon,
            delta,
            canaries: guessed.canaries,
            guesses: guessed.guesses,
            right: guessed.right,
            epsilon_lower_bound,
            epsilon_lower_bound_steinke: steinke(guessed, delta, CONFIDENCE),
            epsilon_ceiling: bound(guessed.all_right()),
            confidence: CONFIDENCE,
            conformity,
            verdict: if bug { Verdict::Bug } else { Verdict::NoBugFound },
            assumptions: ASSUMPTIONS.iter().map(|&text| text.to_owned()).collect(),
        }
    }
}

/// What a reader has to know of the figures.
const ASSUMPTIONS: [&str; 5] = [
    "The canaries' coins are fair, come from the operating system, and are known to no release.",
    "The f-DP bound takes the trade-off curve of the plan for a Gaussian one; Steinke's bound does not.",
    "The bounds hold for the mechanisms whose releases were looked at: counts and steps. Discovered domains, the number \
     of units and the latent prior are not scored.",
    "A throwaway model was fitted with canaries in the table; the released model was not touched.",
    "In an honest run the bound is above the truth in at most 5 of 100 audits, and any test of conformity fails in at \
     most 1 of 100.",
];

/// What the plan says of the steps; none where it has none.
fn steps_of(plan: &Plan) -> Option<Claim> {
    plan.entries().iter().find_map(|entry| match entry.mechanism {
        Mechanism::SubsampledGaussian { clipping_norm, sampling_rate, steps } => Some(Claim {
            sampling_rate,
            noise_multiplier: entry.noise_multiplier,
            steps: steps as usize,
            clipping_norm,
        }),
        _ => None,
    })
}

impl Witness for Trial {
    fn join(&self, frame: Frame) -> Frame {
        let mut rng = lock(&self.randomness);
        let candidates = Candidates::draw(&frame, self.coins.len(), self.rows, self.most_rows, &mut rng);
        let joined = candidates.join(frame, &self.coins);
        *lock(&self.candidates) = Some(candidates);
        joined
    }

    fn placed(&self, domain: &TableDomain) -> Result<()> {
        lock(&self.candidates).as_mut().map_or(Ok(()), |candidates| candidates.place(domain))
    }

    fn encoded(&self, codecs: &[Codec]) -> Result<()> {
        lock(&self.candidates).as_mut().map_or(Ok(()), |candidates| candidates.encode(codecs))
    }

    fn counted_positions(
        &self,
        column: usize,
        cells: &Sensitive<GridColumn>,
        noise_std: f64,
        counts: &[f64],
        cells_of: CellsOf<'_, GridColumn>,
    ) {
        if let Some(own) = lock(&self.candidates).as_ref().and_then(|candidates| candidates.columns.get(column)) {
            let noisy = Noisy { counts, noise_std };
            lock(&self.counts).add((cells, GridColumn::units), own, &self.coins, noisy, cells_of);
        }
    }

    fn counted_codes(
        &self,
        codes: &Sensitive<CodeStore>,
        noise_stds: &[f64],
        counts: &[Vec<f64>],
        cells_of: CellsOfPart<'_>,
    ) {
        if let Some(own) = lock(&self.candidates).as_ref().and_then(|candidates| candidates.codes.as_ref()) {
            let codes = codes.map_ref(|codes| codes.units_in(0..codes.units()));
            for (part, (counts, &noise_std)) in counts.iter().zip(noise_stds).enumerate() {
                let cells_of = |codes: &Codes, unit: usize, into: &mut Vec<usize>| cells_of(codes, part, unit, into);
                let noisy = Noisy { counts, noise_std };
                lock(&self.counts).add((&codes, Codes::units), own, &self.coins, noisy, &cells_of);
            }
        }
    }

    fn starts<T: Trainable>(
        &self,
        network: &T,
        parameters: &[f32],
        codes: &Sensitive<CodeStore>,
        clip: Clip,
        units: f64,
    ) -> Result<()> {
        let Some(claim) = self.steps else { return Ok(()) };
        let (count, within) = (self.coins.len(), self.within());
        let choose = |codes: &CodeStore| {
            let mut rng = lock(&self.randomness);
            quiet(network, parameters, codes, codes.units() - within, count, clip, &mut rng)
        };
        let coordinates = codes.map_ref(choose).for_controller()?;
        self.dirac.get_or_init(|| Dirac::new(claim, units, coordinates, &self.coins));
        Ok(())
    }

    fn plant<N: Network>(&self, loss: N, units: usize, step: u64) -> impl Network<Buffers = N::Buffers> {
        Planted { loss, dirac: self.dirac.get(), first: units - self.within(), step: step as usize }
    }

    fn stepped(&self, step: u64, start: usize, gradient: &[f32]) {
        if let Some(dirac) = self.dirac.get() {
            dirac.stepped(step, start, gradient);
        }
    }
}
