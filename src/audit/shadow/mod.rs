//! Shadow models: what somebody learns who can fit models of his own.
//!
//! # The attacker's story
//! Someone has the released model, knows a person's whole record and has other records of the same population. He fits
//! models by the same code and the same plan, some with that record and some without it, and looks which of them the
//! released model is like. No attacker who has but the model knows more of what a model does with one record.
//!
//! # What is fitted
//! [`MODELS`] models on random halves of members and holdout together, drawn whoever is a member, so that each unit is in
//! half of them. They have the released model's kind, settings, seed and budget, and are thrown away: only a score of
//! each unit under each of them is kept, in a folder, so that a run that was stopped goes on with the next model.
//!
//! # Why the test is valid
//! A score compares the released model with models that know no label. If the released model knows nothing of
//! membership, the labels are a random arrangement over the scores, whatever those are: as for any other attack here.
//! That the shadow models are fitted to other numbers of units than the released one costs power, not validity.
//!
//! | file | holds |
//! |---|---|
//! | `pool` | the real rows, and halves of them |
//! | `scores` | how likely a model takes each unit to be |
//! | `store` | those scores on the disk |
//! | `attack` | LiRA and RMIA |

mod attack;
mod pool;
mod scores;
mod store;
#[cfg(test)]
mod tests;

use super::attack::Scored;
use super::statistics::membership_test;
use crate::error::{Error, Result};
use crate::ingest::{Frame, Source};
use crate::model::ModelFile;
use crate::train::{FitRequest, LedgerFile, TABLE_MEMORY, imitate, plan_again};
use attack::{Reference, lira, rmia};
use pool::Pool;
use schemars::JsonSchema;
use scores::{Channel, channels};
use serde::{Deserialize, Serialize};
use std::path::Path;
use store::Store;
use synthward_privacy::Sensitive;
use synthward_privacy::ledger::Rehearsal;
use tracing::subscriber::{NoSubscriber, with_default};

/// Fewest and most models: with fewer a unit's laws are not known, and more tell little more.
const MODELS: std::ops::RangeInclusive<usize> = 16..=64;

/// What to fit shadow models to, and like what.
pub struct ShadowRequest<'a> {
    pub released: &'a ModelFile,
    /// The table that the released model was fitted to, for messages.
    pub source: &'a Source,
    /// Both tables under the released model's schema.
    pub members: Sensitive<Frame>,
    pub holdout: Sensitive<Frame>,
    /// How many models.
    pub models: usize,
    /// Where their scores are kept until the audit is done.
    pub folder: &'a Path,
    /// Hashes of the tables and of the released model.
    pub origin: &'a str,
    /// Fixes the halves.
    pub seed: u64,
    /// Of the members' source.
    pub ledger: &'a LedgerFile,
}

/// What shadow models say of the units of an audit: [`audit`](super::audit) makes tests of it.
///
/// # Privacy
/// Holds a score of each real unit. For the data's controller, outside the guarantee.
pub struct Shadow {
    pub(super) scored: Vec<Scored>,
    pub(super) units: usize,
    pub(super) members: usize,
    pub(super) figures: ShadowFigures,
    store: Store,
}

/// The shadow models of an audit. What they found stands among its attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowFigures {
    /// Models that were fitted and thrown away.
    pub models: usize,
    /// Their kind: that of the released model.
    pub kind: String,
    /// Units that each of them was fitted to.
    pub units: usize,
    pub attacks: Vec<ShadowAttack>,
}

/// What one attack finds of models whose members are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowAttack {
    pub name: String,
    /// Area under the ROC curve when each shadow model in turn is attacked with the others, the mean: what such a fit
    /// betrays of an average unit, and what the attack can see. 0.5 is chance.
    pub auc_on_shadows: f64,
}

/// The attacks on a channel's scores.
type Attack = fn(&[f64], &[Reference]) -> Vec<f64>;

fn attacks(channel: Channel) -> [(&'static str, Attack); 2] {
    match channel {
        Channel::Likelihood => [("LiRA, likelihood", lira), ("RMIA, likelihood", rmia)],
        Channel::Measured => [("LiRA, measured cells", lira), ("RMIA, measured cells", rmia)],
    }
}

/// Fits shadow models, as far as their scores are not in the folder, and attacks the released model with them.
/// `observe` is told how many are done.
///
/// Takes as long as so many fits, each about as long as the released model's: on two cores and 3,000 units of 15 columns
/// `marginal` takes a minute for 16 at epsilon 1, and without noise, where it fits longest, a quarter of an hour or more.
///
/// # Errors
/// Bad input: fewer than 16 or more than 64 models; a folder with another audit's files; no ledger of the source. What a
/// fit refuses. The folder cannot be written.
///
/// # Privacy
/// Touches sensitive data, for the data's controller, outside the guarantee. The ledger gets a line before a model is fitted,
/// which no cap counts: the models are dropped. The folder holds scores of real units until [`Shadow::remove_files`].
pub fn shadow(request: ShadowRequest, observe: &mut dyn FnMut(usize)) -> Result<Shadow> {
    let ShadowRequest { released, source, members, holdout, models, folder, origin, seed, ledger } = request;
    if !MODELS.contains(&models) {
        let range = format!("{} to {}", MODELS.start(), MODELS.end());
        return Err(Error::bad_input(format!("{models} shadow models")).expected(range));
    }
    let pool = Pool::new(members.for_controller(), holdout.for_controller())?;
    let header = &released.header;
    let channels = channels(header.model);
    let store = Store::open(folder, &format!("{origin} {seed}"), channels.len(), pool.units())?;
    let known = (0..models).map(|shadow| store.read(shadow)).collect::<Result<Vec<_>>>()?;
    let unknown = known.iter().filter(|scores| scores.is_none()).count();
    if unknown > 0 {
        ledger.rehearse(Rehearsal::ShadowModels, unknown, header.plan.target()?)?;
    }
    let mut fitted: Vec<(Vec<Vec<f64>>, Vec<bool>)> = Vec::with_capacity(models);
    for (shadow, kept) in known.into_iter().enumerate() {
        let within = pool.half(shadow, seed);
        let scores = if let Some(scores) = kept {
            scores
        } else {
            let frame = pool.part(&within);
            let mut planned = plan_again(header)?;
            planned.schema.table.units = header.schema.table.units.map(|_| frame.units() as u64);
            let request = FitRequest {
                source,
                schema: &header.schema,
                model: header.model,
                budget: header.plan.target()?,
                discover_epsilon: None,
                seed: header.seed,
                memory: TABLE_MEMORY,
            };
            // What a fit has to say of the table was said by the released model's.
            let fit = || imitate(&request, planned, Sensitive::new(frame), &mut |_| {});
            let scores = scores::scores(&with_default(NoSubscriber::default(), fit)?, &pool);
            store.write(shadow, &scores)?;
            scores
        };
        fitted.push((scores, within));
        observe(shadow + 1);
    }
    let observed = scores::scores(released, &pool);
    let mut scored = Vec::new();
    let mut found = Vec::new();
    for (place, &channel) in channels.iter().enumerate() {
        let references: Vec<Reference> =
            fitted.iter().map(|(scores, within)| Reference { scores: &scores[place], within }).collect();
        for (name, attack) in attacks(channel) {
            scored.push(Scored { name, scores: attack(&observed[place], &references) });
            found.push(ShadowAttack { name: name.into(), auc_on_shadows: auc_on_shadows(attack, &references) });
        }
    }
    let figures = ShadowFigures { models, kind: header.model.to_string(), units: pool.units() / 2, attacks: found };
    Ok(Shadow { scored, units: pool.units(), members: pool.members(), figures, store })
}

/// The mean, over the references, of the area under the ROC curve when one is attacked with the others.
fn auc_on_shadows(attack: Attack, references: &[Reference]) -> f64 {
    let auc = |target: usize| {
        let others = [&references[..target], &references[target + 1..]].concat();
        membership_test(&attack(references[target].scores, &others), references[target].within).auc
    };
    (0..references.len()).map(auc).sum::<f64>() / references.len() as f64
}

impl Shadow {
    /// The scores of these units, by their numbers in the two tables.
    pub(super) fn in_order(&self, numbers: &[u32]) -> Vec<Scored> {
        let scored = |of: &Scored| Scored {
            name: of.name,
            scores: numbers.iter().map(|&number| of.scores[number as usize]).collect(),
        };
        self.scored.iter().map(scored).collect()
    }

    /// Removes the files that held the models' scores, once nothing is to be resumed.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_files(&self) -> Result<()> {
        self.store.remove(self.figures.models)
    }
}
