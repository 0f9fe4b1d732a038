//! The plan: what will run on the data, what each part costs, and the proof
//! that the total is the target. Nothing runs that the plan does not list.

use crate::accountant::Accountant;
use crate::mechanism::{CategoryList, GaussianSum, Histogram, Quantile, SubsampledGaussian, WeightedHistograms};
use crate::rng::noise_is_private;
use crate::{Adjacency, Budget, Clip, Error, Event, PrivacyUnit, calibrate};
use serde::{Deserialize, Serialize};

/// Smallest delta of a plan with DP-SGD. Its noise is drawn in double precision;
/// a draw is within 1e-18 of an exact one in total variation, and 10^8 draws
/// (a hundred thousand parameters, a thousand steps) stay well below this.
const SMALLEST_SAMPLED_DELTA: f64 = 1e-9;
/// Up to this epsilon a guarantee is taken for one. Above it whoever knows all other rows may be led from even odds to 485
/// million to one (`e^20`): that protects nobody, and nothing calls it private.
///
/// # Privacy
/// Public parameter.
pub const NOMINAL_EPSILON: f64 = 20.0;
/// A plan without a limit has delta 0, at which accountants refuse to answer; what it costs is infinite at any other.
const ANY_DELTA: f64 = 0.5;

/// What a part of the budget is spent on.
///
/// # Privacy
/// Public: part of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Learning what the schema does not declare: the number of units, ranges, categories.
    Discover,
    /// Noisy marginals.
    Measure,
    /// The latent prior.
    Prior,
    /// DP-SGD.
    Train,
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discover => "discover",
            Self::Measure => "measure",
            Self::Prior => "prior",
            Self::Train => "train",
        })
    }
}

/// How an entry reads the data.
///
/// # Privacy
/// Public: part of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mechanism", rename_all = "snake_case")]
pub enum Mechanism {
    /// One noisy histogram, one unit of weight each.
    Histogram,
    /// Several noisy histograms at once, one unit of weight over all of them.
    WeightedHistograms,
    /// One noisy sum of clipped vectors.
    GaussianSum { clipping_norm: f64 },
    /// `steps` noisy sums over Poisson-subsampled units.
    SubsampledGaussian { clipping_norm: f64, sampling_rate: f64, steps: u64 },
    /// One candidate near a quantile, at a fixed cost.
    Quantile { epsilon: f64 },
    /// The categories that enough units have, at a fixed cost.
    CategoryList { epsilon: f64, delta: f64, per_unit: u32 },
}

impl Mechanism {
    /// The noise multiplier of a mechanism whose cost is fixed: calibration
    /// leaves it alone.
    ///
    /// # Errors
    /// A cost that the mechanism cannot have.
    fn fixed_noise(&self) -> Result<Option<f64>, Error> {
        let noise = match *self {
            Self::Histogram | Self::WeightedHistograms | Self::GaussianSum { .. } | Self::SubsampledGaussian { .. } => {
                return Ok(None);
            }
            Self::Quantile { epsilon } => Quantile::noise_multiplier(epsilon),
            Self::CategoryList { epsilon, delta, per_unit } => {
                CategoryList::new(epsilon, delta, per_unit)?;
                CategoryList::noise_multiplier(epsilon)
            }
        };
        if noise > 0.0 && noise.is_finite() {
            Ok(Some(noise))
        } else {
            Err(Error::Parameter { name: "epsilon", found: noise.to_string(), expected: "a number above 0" })
        }
    }
}

/// An entry before its noise is known.
///
/// # Privacy
/// Public: made before any row is read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Unique name, by which the mechanism is taken later.
    pub name: String,
    /// The part of the budget it belongs to.
    pub share: Share,
    /// Weight in the budget, in proportion to zCDP's rho; any positive scale.
    /// Without meaning for a mechanism of fixed cost.
    pub weight: f64,
    /// What will run.
    pub mechanism: Mechanism,
}

/// Why a plan protects nobody.
///
/// # Privacy
/// Public: part of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPrivate {
    /// Epsilon is infinite.
    NoNoise,
    /// A test seeded the noise.
    SeededNoise,
}

impl std::fmt::Display for NotPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoNoise => "no noise was added: epsilon is infinite",
            Self::SeededNoise => "the noise was seeded",
        })
    }
}

/// One planned mechanism with its calibrated noise.
///
/// # Privacy
/// Public: part of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Unique name.
    pub name: String,
    /// The part of the budget it belongs to.
    pub share: Share,
    /// What runs.
    #[serde(flatten)]
    pub mechanism: Mechanism,
    /// Noise standard deviation over sensitivity; 0 in a plan without a limit, and nowhere else.
    pub noise_multiplier: f64,
    #[serde(skip)]
    taken: bool,
    /// Steps that an earlier process took.
    #[serde(skip)]
    steps_done: u64,
}

/// How far a plan was carried out: what a checkpoint keeps of it.
///
/// # Privacy
/// Public: names from the plan and a number of steps, which do not depend on the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanProgress {
    /// The mechanisms that were handed out, but for the running one.
    taken: Vec<String>,
    /// The DP-SGD that is between two of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running: Option<Running>,
}

/// A DP-SGD between two of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    name: String,
    steps_done: u64,
}

impl PlanProgress {
    /// Steps that the running DP-SGD has taken; 0 where none is running.
    ///
    /// # Privacy
    /// Public: the number of steps does not depend on the data.
    pub fn steps_done(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.steps_done)
    }
}

impl PlanEntry {
    fn event(&self) -> Event {
        if self.noise_multiplier == 0.0 {
            return Event::NonPrivate;
        }
        match &self.mechanism {
            Mechanism::Histogram => Histogram::event(self.noise_multiplier),
            Mechanism::WeightedHistograms => WeightedHistograms::event(self.noise_multiplier),
            Mechanism::GaussianSum { .. } => GaussianSum::event(self.noise_multiplier),
            Mechanism::SubsampledGaussian { sampling_rate, steps, .. } => {
                SubsampledGaussian::event(*sampling_rate, self.noise_multiplier, *steps)
            }
            Mechanism::Quantile { epsilon } => Quantile::event(*epsilon),
            Mechanism::CategoryList { epsilon, delta, .. } => CategoryList::event(*epsilon, *delta),
        }
    }
}

/// The calibrated plan of one fit.
///
/// # Privacy
/// Public: depends on no row. Taking a mechanism from it is what allows a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    unit: PrivacyUnit,
    adjacency: Adjacency,
    /// False when a test seeded the noise, or there is none: then nothing is protected.
    private: bool,
    accountant: Accountant,
    /// What was asked for.
    #[serde(with = "crate::infinite")]
    target_epsilon: f64,
    /// What all events compose to at `delta`: at most the target.
    #[serde(with = "crate::infinite")]
    epsilon: f64,
    delta: f64,
    #[serde(rename = "events")]
    entries: Vec<PlanEntry>,
}

impl Plan {
    /// Splits the target over the requests by weight and scales all noise by
    /// one factor until the composition of every event meets the target: never
    /// above it. Mechanisms of fixed cost are composed as they are, and the
    /// others get what they leave. Under [`Budget::unlimited`] there is no noise.
    ///
    /// # Errors
    /// A weight, rate or norm out of range; a target the accountant cannot meet,
    /// as when the fixed costs alone exceed it; nothing to scale; a mechanism of
    /// fixed cost, which has noise, where there is no limit.
    ///
    /// # Privacy
    /// Public parameters only; touches no data.
    pub fn calibrate(unit: PrivacyUnit, target: Budget, requests: Vec<Request>) -> Result<Self, Error> {
        let accountant = Accountant::default();
        let fixed = requests.iter().map(|r| r.mechanism.fixed_noise()).collect::<Result<Vec<_>, _>>()?;
        let weights = || requests.iter().zip(&fixed).filter(|(_, fixed)| fixed.is_none()).map(|(r, _)| r.weight);
        let total: f64 = weights().sum();
        if weights().next().is_none() || weights().any(|weight| !(weight > 0.0 && weight.is_finite())) {
            return Err(Error::Parameter {
                name: "weight",
                found: total.to_string(),
                expected: "a positive budget weight for each planned mechanism",
            });
        }
        if target.is_unlimited() {
            return Self::without_noise(unit, accountant, requests, &fixed);
        }
        let sampled = requests.iter().any(|r| matches!(r.mechanism, Mechanism::SubsampledGaussian { .. }));
        if sampled && target.delta() < SMALLEST_SAMPLED_DELTA {
            return Err(Error::Parameter {
                name: "delta",
                found: target.delta().to_string(),
                expected: "at least 1e-9 for a network: below it the error of the double-precision noise sampler would count",
            });
        }
        let rho = zcdp_rho(target);
        let mut entries = Vec::with_capacity(requests.len());
        for (Request { name, share, weight, mechanism }, fixed) in requests.into_iter().zip(fixed) {
            let part = rho * weight / total;
            let noise_multiplier = match (&mechanism, fixed) {
                (_, Some(noise_multiplier)) => noise_multiplier,
                (Mechanism::SubsampledGaussian { sampling_rate, steps, .. }, None) => calibrate::noise_multiplier(
                    accountant,
                    *sampling_rate,
                    *steps,
                    part + 2.0 * (part * (1.0 / target.delta()).ln()).sqrt(),
                    target.delta(),
                )?,
                (_, None) => (0.5 / part).sqrt(),
            };
            let entry = PlanEntry { name, share, mechanism, noise_multiplier, taken: false, steps_done: 0 };
            entries.push((entry, fixed.is_some()));
        }
        let scaled = |scale: f64| -> Vec<PlanEntry> {
            let scale_one = |(e, fixed): &(PlanEntry, bool)| {
                let scale = if *fixed { 1.0 } else { scale };
                PlanEntry { noise_multiplier: e.noise_multiplier * scale, ..e.clone() }
            };
            entries.iter().map(scale_one).collect()
        };
        let scale = calibrate::scale(accountant, |s| composed(&scaled(s)), target.epsilon(), target.delta())?;
        let entries = scaled(scale);
        for entry in &entries {
            if let Mechanism::SubsampledGaussian { .. } = entry.mechanism {
                SubsampledGaussian::check_noise_multiplier(entry.noise_multiplier)?;
            }
        }
        let epsilon = accountant.epsilon(&composed(&entries), target.delta())?;
        Ok(Self {
            unit,
            adjacency: Adjacency::AddRemove,
            private: noise_is_private(),
            accountant,
            target_epsilon: target.epsilon(),
            epsilon,
            delta: target.delta(),
            entries,
        })
    }

    /// The plan of [`Budget::unlimited`]: every noise multiplier is 0, and the accountant says what that costs.
    fn without_noise(
        unit: PrivacyUnit,
        accountant: Accountant,
        requests: Vec<Request>,
        fixed: &[Option<f64>],
    ) -> Result<Self, Error> {
        if fixed.iter().any(Option::is_some) {
            return Err(Error::Parameter {
                name: "epsilon",
                found: f64::INFINITY.to_string(),
                expected: "a finite number, where a planned mechanism has a fixed cost",
            });
        }
        let without = |Request { name, share, mechanism, .. }: Request| PlanEntry {
            name,
            share,
            mechanism,
            noise_multiplier: 0.0,
            taken: false,
            steps_done: 0,
        };
        let entries: Vec<PlanEntry> = requests.into_iter().map(without).collect();
        let epsilon = accountant.epsilon(&composed(&entries), ANY_DELTA)?;
        let (private, target_epsilon, delta) = (false, f64::INFINITY, 0.0);
        Ok(Self { unit, adjacency: Adjacency::AddRemove, private, accountant, target_epsilon, epsilon, delta, entries })
    }

    /// The privacy unit.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn unit(&self) -> &PrivacyUnit {
        &self.unit
    }

    /// The adjacency relation.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    /// Delta of the guarantee.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// Whether there is noise, and it comes from the operating system. Any other
    /// plan protects nobody, and whatever is made of it says so.
    ///
    /// # Privacy
    /// Public: part of the claim.
    pub fn is_private(&self) -> bool {
        self.not_private().is_none()
    }

    /// Why the plan protects nobody; `None` when it does protect.
    ///
    /// # Privacy
    /// Public: part of the claim.
    pub fn not_private(&self) -> Option<NotPrivate> {
        if self.epsilon == f64::INFINITY || self.entries.iter().any(|e| e.noise_multiplier <= 0.0) {
            Some(NotPrivate::NoNoise)
        } else {
            (!self.private).then_some(NotPrivate::SeededNoise)
        }
    }

    /// Whether the guarantee protects anybody: the noise is private, and epsilon at most [`NOMINAL_EPSILON`].
    ///
    /// # Privacy
    /// Public: part of the claim.
    pub fn protects(&self) -> bool {
        self.is_private() && self.epsilon <= NOMINAL_EPSILON
    }

    /// Which accountant composed the events.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn accountant(&self) -> Accountant {
        self.accountant
    }

    /// What was asked for.
    ///
    /// # Errors
    /// A plan, read from a file, whose target is out of range.
    ///
    /// # Privacy
    /// Public: depends on the plan alone.
    pub fn target(&self) -> Result<Budget, Error> {
        if self.target_epsilon == f64::INFINITY {
            Ok(Budget::unlimited())
        } else {
            Budget::new(self.target_epsilon, self.delta)
        }
    }

    /// Epsilon of the whole plan at the target's delta; at most the target, infinite when nothing limits it.
    ///
    /// # Privacy
    /// Public: depends on the plan alone.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The planned mechanisms.
    ///
    /// # Privacy
    /// Public: depends on the plan alone.
    pub fn entries(&self) -> &[PlanEntry] {
        &self.entries
    }

    /// Every planned event as one composition.
    ///
    /// # Privacy
    /// Public: depends on the plan alone.
    pub fn event(&self) -> Event {
        composed(&self.entries)
    }

    /// Epsilon of what was handed out so far, the running DP-SGD counted by
    /// the steps it has taken, those of an earlier process among them.
    ///
    /// # Privacy
    /// Public: depends on the plan and on step counts alone.
    pub fn epsilon_spent(&self, steps_done: u64) -> Result<f64, Error> {
        let spent: Vec<PlanEntry> = self
            .entries
            .iter()
            .filter(|e| e.taken || e.steps_done > 0)
            .cloned()
            .map(|mut e| {
                if let Mechanism::SubsampledGaussian { steps, .. } = &mut e.mechanism {
                    *steps = steps_done.max(e.steps_done).min(*steps);
                }
                e
            })
            .filter(|e| !matches!(e.mechanism, Mechanism::SubsampledGaussian { steps: 0, .. }))
            .collect();
        let delta = if self.epsilon == f64::INFINITY { ANY_DELTA } else { self.delta };
        if spent.is_empty() { Ok(0.0) } else { Ok(self.accountant.epsilon(&composed(&spent), delta)?) }
    }

    /// Hands out a planned histogram; each can be taken once.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    pub fn histogram(&mut self, name: &str) -> Result<Histogram, Error> {
        let entry = self.take(name, |m| matches!(m, Mechanism::Histogram))?;
        Ok(Histogram::new(entry.noise_multiplier))
    }

    /// Hands out planned histograms that are released together; they can be taken once.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    pub fn weighted_histograms(&mut self, name: &str) -> Result<WeightedHistograms, Error> {
        let entry = self.take(name, |m| matches!(m, Mechanism::WeightedHistograms))?;
        Ok(WeightedHistograms::new(entry.noise_multiplier))
    }

    /// Hands out a planned sum; each can be taken once.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    pub fn gaussian_sum(&mut self, name: &str) -> Result<GaussianSum, Error> {
        let entry = self.take(name, |m| matches!(m, Mechanism::GaussianSum { .. }))?;
        match entry.mechanism {
            Mechanism::GaussianSum { clipping_norm } => {
                Ok(GaussianSum::new(Clip::new(clipping_norm)?, entry.noise_multiplier))
            }
            _ => Err(Error::NotPlanned { name: name.into() }),
        }
    }

    /// Hands out the planned DP-SGD steps; they can be taken once. Sums are
    /// divided by the sampling rate times `units`.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    /// `units` must be public or released: it is never counted from the batch.
    pub fn subsampled_gaussian(&mut self, name: &str, units: f64) -> Result<SubsampledGaussian, Error> {
        let entry = self.take(name, |m| matches!(m, Mechanism::SubsampledGaussian { .. }))?;
        match entry.mechanism {
            Mechanism::SubsampledGaussian { clipping_norm, sampling_rate, steps } => SubsampledGaussian::new(
                entry.name,
                Clip::new(clipping_norm)?,
                sampling_rate,
                entry.noise_multiplier,
                sampling_rate * units.max(1.0),
                steps,
                entry.steps_done,
            ),
            _ => Err(Error::NotPlanned { name: name.into() }),
        }
    }

    /// Hands out a planned quantile; each can be taken once.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    pub fn quantile(&mut self, name: &str) -> Result<Quantile, Error> {
        match self.take(name, |m| matches!(m, Mechanism::Quantile { .. }))?.mechanism {
            Mechanism::Quantile { epsilon } => Ok(Quantile::new(epsilon)),
            _ => Err(Error::NotPlanned { name: name.into() }),
        }
    }

    /// Hands out a planned category list; each can be taken once.
    ///
    /// # Privacy
    /// Touches no data; the mechanism it returns releases the planned event.
    pub fn category_list(&mut self, name: &str) -> Result<CategoryList, Error> {
        match self.take(name, |m| matches!(m, Mechanism::CategoryList { .. }))?.mechanism {
            Mechanism::CategoryList { epsilon, delta, per_unit } => CategoryList::new(epsilon, delta, per_unit),
            _ => Err(Error::NotPlanned { name: name.into() }),
        }
    }

    /// How far the plan was carried out, while `running`, if any, is between two of its steps.
    ///
    /// # Privacy
    /// Public: names from the plan and a number of steps.
    pub fn progress(&self, running: Option<&SubsampledGaussian>) -> PlanProgress {
        let is_running = |e: &PlanEntry| {
            running.is_some_and(|running| e.name == running.name())
                && matches!(e.mechanism, Mechanism::SubsampledGaussian { .. })
        };
        let taken = self.entries.iter().filter(|e| e.taken && !is_running(e));
        PlanProgress {
            taken: taken.map(|e| e.name.clone()).collect(),
            running: running.map(|r| Running { name: r.name().into(), steps_done: r.steps_done() }),
        }
    }

    /// Goes on where another process stopped: what it was handed out counts as taken, and of the DP-SGD that was
    /// running only the steps that are left will be handed out, with noise of their own. Two processes that go on
    /// from one progress would take those steps twice: the ledger's order of lines of one fit is there to refuse that.
    ///
    /// # Errors
    /// [`Error::NotPlanned`] for a name that the plan does not list or that is there twice, or more steps than were
    /// planned; a plan that has handed out something already. Then nothing can be taken from the plan any more.
    ///
    /// # Privacy
    /// Touches no data; never adds to what the plan allows.
    pub fn resume(&mut self, progress: &PlanProgress) -> Result<(), Error> {
        let PlanProgress { taken, running } = progress;
        let resumed = self.entries.iter().all(|e| !e.taken && e.steps_done == 0)
            && taken.iter().all(|name| self.take(name, |m| !matches!(m, Mechanism::SubsampledGaussian { .. })).is_ok());
        let goes_on = match running {
            None => resumed,
            Some(Running { name, steps_done }) => {
                let is_running = |e: &&mut PlanEntry| match e.mechanism {
                    Mechanism::SubsampledGaussian { steps, .. } => e.name == *name && *steps_done <= steps,
                    _ => false,
                };
                match self.entries.iter_mut().find(is_running) {
                    Some(entry) if resumed => {
                        entry.steps_done = *steps_done;
                        true
                    }
                    _ => false,
                }
            }
        };
        if goes_on {
            return Ok(());
        }
        self.entries.iter_mut().for_each(|e| e.taken = true);
        let name = running.as_ref().map(|running| &running.name).or(taken.first());
        Err(Error::NotPlanned { name: name.cloned().unwrap_or_default() })
    }

    fn take(&mut self, name: &str, kind: impl Fn(&Mechanism) -> bool) -> Result<PlanEntry, Error> {
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.name == name && !e.taken && kind(&e.mechanism))
            .filter(|e| e.noise_multiplier > 0.0 || self.epsilon == f64::INFINITY)
            .ok_or_else(|| Error::NotPlanned { name: name.into() })?;
        entry.taken = true;
        Ok(entry.clone())
    }
}

/// All entries' events; equal ones are counted instead of repeated.
fn composed(entries: &[PlanEntry]) -> Event {
    let mut counted: Vec<(Event, u64)> = Vec::new();
    for event in entries.iter().map(PlanEntry::event) {
        match counted.iter_mut().find(|(known, _)| *known == event) {
            Some((_, count)) => *count += 1,
            None => counted.push((event, 1)),
        }
    }
    Event::Composed {
        events: counted
            .into_iter()
            .map(|(event, count)| if count == 1 { event } else { Event::Repeated { event: Box::new(event), count } })
            .collect(),
    }
}

/// The rho whose simple conversion `rho + 2 sqrt(rho ln(1/delta))` is the
/// target epsilon (Bun and Steinke 2016, arXiv:1605.02065, proposition 1.3):
/// planning arithmetic, the certified figure comes from the accountant.
fn zcdp_rho(target: Budget) -> f64 {
    let log = (1.0 / target.delta()).ln();
    ((log + target.epsilon()).sqrt() - log.sqrt()).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let request =
            |name: &str, weight, mechanism| Request { name: name.into(), share: Share::Train, weight, mechanism };
        Plan::calibrate(
            PrivacyUnit::Row,
            Budget::new(1.0, 1e-6).unwrap(),
            vec![
                request("age", 0.1, Mechanism::Histogram),
                request("sex", 0.1, Mechanism::Histogram),
                request("prior", 0.05, Mechanism::GaussianSum { clipping_norm: 1.0 }),
                request(
                    "train",
                    0.75,
                    Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 0.05, steps: 500 },
                ),
            ],
        )
        .unwrap()
    }

    #[test]
    fn the_composed_total_is_the_target_and_never_above() {
        let plan = plan();
        assert!(plan.epsilon() <= 1.0 && plan.epsilon() > 0.998, "{}", plan.epsilon());
        let again = Accountant::default().epsilon(&plan.event(), 1e-6).unwrap();
        assert_eq!(again, plan.epsilon());
    }

    #[test]
    fn what_is_not_planned_does_not_run() {
        let mut plan = plan();
        assert!(plan.histogram("weight").is_err(), "not listed");
        assert!(plan.histogram("train").is_err(), "another kind");
        assert!(plan.histogram("age").is_ok());
        assert!(plan.histogram("age").is_err(), "already taken");
    }

    #[test]
    fn spending_grows_to_the_total() {
        let mut plan = plan();
        assert_eq!(plan.epsilon_spent(0).unwrap(), 0.0);
        plan.histogram("age").unwrap();
        let one = plan.epsilon_spent(0).unwrap();
        plan.histogram("sex").unwrap();
        plan.gaussian_sum("prior").unwrap();
        plan.subsampled_gaussian("train", 20_000.0).unwrap();
        let half = plan.epsilon_spent(250).unwrap();
        assert!(0.0 < one && one < half && half < plan.epsilon());
        assert!((plan.epsilon_spent(500).unwrap() - plan.epsilon()).abs() < 1e-9);
    }

    /// Fixed costs stay what they are, the rest is scaled, and the total is the target.
    #[test]
    fn fixed_costs_are_composed_with_the_rest() {
        let request =
            |name: &str, mechanism| Request { name: name.into(), share: Share::Discover, weight: 1.0, mechanism };
        let fixed = || {
            vec![
                request("low", Mechanism::Quantile { epsilon: 0.1 }),
                request("high", Mechanism::Quantile { epsilon: 0.1 }),
                request("list", Mechanism::CategoryList { epsilon: 0.1, delta: 1e-7, per_unit: 3 }),
            ]
        };
        let calibrate =
            |target: f64, requests| Plan::calibrate(PrivacyUnit::Row, Budget::new(target, 1e-6).unwrap(), requests);
        let with_fixed = || fixed().into_iter().chain([request("age", Mechanism::Histogram)]).collect::<Vec<_>>();
        let mut plan = calibrate(1.0, with_fixed()).unwrap();
        assert!(plan.epsilon() <= 1.0 && plan.epsilon() > 0.998, "{}", plan.epsilon());
        assert_eq!(plan.quantile("low").unwrap().epsilon(), 0.1);
        assert!(plan.quantile("low").is_err() && plan.quantile("list").is_err());
        assert!(plan.category_list("list").is_ok() && plan.category_list("list").is_err());
        let spent = plan.epsilon_spent(0).unwrap();
        assert!(spent > 0.1 && spent <= 0.2 + 1e-9, "{spent}");
        let alone = calibrate(1.0, vec![request("age", Mechanism::Histogram)]).unwrap();
        let noise = |plan: &Plan| plan.entries().last().unwrap().noise_multiplier;
        assert!(noise(&plan) > noise(&alone), "the fixed costs leave less");
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap().entries()[2].mechanism, plan.entries()[2].mechanism);
        assert!(calibrate(0.1, with_fixed()).is_err(), "the fixed costs exceed the target");
        assert!(calibrate(1.0, fixed()).is_err(), "nothing to scale");
        for epsilon in [0.0, f64::NAN] {
            let odd = vec![request("low", Mechanism::Quantile { epsilon }), request("age", Mechanism::Histogram)];
            assert!(calibrate(1.0, odd).is_err());
        }
    }

    /// Without a limit there is no noise, the accountant says infinity, and the plan says so when it is read back.
    #[test]
    fn without_a_limit_everything_is_exact_and_says_so() {
        let request =
            |name: &str, mechanism| Request { name: name.into(), share: Share::Measure, weight: 1.0, mechanism };
        let requests = || {
            vec![
                request("age", Mechanism::Histogram),
                request("pairs", Mechanism::WeightedHistograms),
                request("prior", Mechanism::GaussianSum { clipping_norm: 2.0 }),
                request("train", Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 0.5, steps: 4 }),
            ]
        };
        let mut plan = Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), requests()).unwrap();
        assert_eq!((plan.epsilon(), plan.delta(), plan.not_private()), (f64::INFINITY, 0.0, Some(NotPrivate::NoNoise)));
        assert!(!plan.is_private() && plan.entries().iter().all(|e| e.noise_multiplier == 0.0));
        let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(again, plan);
        assert_eq!(Accountant::default().epsilon(&again.event(), 1e-6).unwrap(), f64::INFINITY);
        assert_eq!(plan.epsilon_spent(0).unwrap(), 0.0);

        let data = crate::Sensitive::new(vec![0usize, 1, 1, 2]);
        let cell = |d: &Vec<usize>, unit: usize, into: &mut Vec<usize>| into.push(d[unit]);
        let counts = plan.histogram("age").unwrap().release(&data, Vec::len, 3, cell).unwrap();
        assert_eq!(counts.get(), &[1.0, 2.0, 1.0]);
        let part = crate::mechanism::Part { cells: 3, weight: 0.5 };
        let pairs = plan.weighted_histograms("pairs").unwrap();
        let counts = pairs
            .release(&data, Vec::len, |d, units| d[units].to_vec(), &[part], |d, _, unit, into| into.push(d[unit]))
            .unwrap();
        assert_eq!(counts.get(), &[vec![1.0, 2.0, 1.0]]);
        let sum = plan.gaussian_sum("prior").unwrap();
        let sum = sum.release(&data, Vec::len, 1, || (), |(), d, unit, vector| vector[0] = d[unit] as f64).unwrap();
        assert!((sum.get()[0] - 4.0).abs() < 2e-3, "the coefficient of the clip is a little below 1");
        assert!(plan.subsampled_gaussian("train", 4.0).is_ok());
        assert_eq!(plan.epsilon_spent(1).unwrap(), f64::INFINITY);

        let fixed = requests().into_iter().chain([request("low", Mechanism::Quantile { epsilon: 0.1 })]).collect();
        assert!(Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), fixed).is_err(), "a fixed cost has noise");
        assert!(Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), vec![]).is_err());
    }

    /// Beyond it nothing is known of the sampler's error. No mechanism has been handed out by then.
    #[test]
    fn noise_beyond_what_the_sampler_is_proved_for_is_refused_before_anything_is_spent() {
        let sampled = Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 1.0, steps: 100_000_000 };
        let calibrate = |epsilon| {
            let (name, mechanism) = ("train".into(), sampled.clone());
            let train = Request { name, share: Share::Train, weight: 1.0, mechanism };
            Plan::calibrate(PrivacyUnit::Row, Budget::new(epsilon, 1e-6).unwrap(), vec![train])
        };
        assert!(calibrate(10.0).is_ok());
        let refused = calibrate(1.0);
        assert!(matches!(refused, Err(Error::Parameter { name: "noise multiplier", .. })), "{:?}", refused.err());
    }

    /// Over both processes, no mechanism runs twice and no step beyond the plan.
    #[test]
    fn a_plan_goes_on_where_it_stopped() {
        let step = |mechanism: &mut SubsampledGaussian| {
            let mut mean = [0.0f32; 3];
            let data = crate::Sensitive::new(vec![(); 40]);
            let sum = mechanism.accumulate(&data, Vec::len, |_, unit| unit.into(), |_, _| 1, |_, _, _, _| ())?;
            use rayon::prelude::*;
            sum.release(3, mean.par_chunks_mut(crate::mechanism::ClippedSum::BLOCK), |out, m| out.copy_from_slice(m));
            Ok::<_, Error>(mean)
        };
        let mut first = plan();
        first.histogram("age").unwrap();
        let mut running = first.subsampled_gaussian("train", 20_000.0).unwrap();
        for _ in 0..200 {
            step(&mut running).unwrap();
        }
        let kept = serde_json::to_string(&first.progress(Some(&running))).unwrap();
        let beyond = step(&mut running).unwrap();

        let progress: PlanProgress = serde_json::from_str(&kept).unwrap();
        let mut second = plan();
        second.resume(&progress).unwrap();
        assert_eq!(second.epsilon_spent(0).unwrap(), first.epsilon_spent(200).unwrap());
        assert!(second.histogram("age").is_err(), "the first process took it");
        assert!(second.histogram("sex").is_ok(), "nobody took it");
        let mut running = second.subsampled_gaussian("train", 20_000.0).unwrap();
        assert!(second.subsampled_gaussian("train", 20_000.0).is_err());
        assert_eq!(running.steps_done(), 200);
        assert_ne!(step(&mut running).unwrap(), beyond, "a step that was lost is taken again with other noise");
        while running.steps_done() < 500 {
            step(&mut running).unwrap();
        }
        assert!(matches!(step(&mut running), Err(Error::StepsSpent { planned: 500, .. })));
        assert_eq!(second.progress(Some(&running)).steps_done(), 500);
        second.gaussian_sum("prior").unwrap();
        assert!((second.epsilon_spent(500).unwrap() - second.epsilon()).abs() < 1e-9);
    }

    /// Between two mechanisms, before any training: what was taken is taken, and nothing else.
    #[test]
    fn a_plan_goes_on_between_two_counts() {
        let mut first = plan();
        first.histogram("age").unwrap();
        let kept = serde_json::to_string(&first.progress(None)).unwrap();
        let progress: PlanProgress = serde_json::from_str(&kept).unwrap();
        assert_eq!(progress.steps_done(), 0);
        let mut second = plan();
        second.resume(&progress).unwrap();
        assert!(second.histogram("age").is_err(), "the first process took it");
        assert!(second.histogram("sex").is_ok() && second.gaussian_sum("prior").is_ok());
        assert_eq!(second.subsampled_gaussian("train", 1e4).unwrap().steps_done(), 0);
    }

    /// A progress that is not of this plan gives nothing out, not even what it leaves.
    #[test]
    fn a_progress_that_does_not_fit_ends_the_plan() {
        let progress = |taken: &[&str], running: &str, steps_done| PlanProgress {
            taken: taken.iter().map(|&name| name.into()).collect(),
            running: Some(Running { name: running.into(), steps_done }),
        };
        for wrong in [
            progress(&["age", "age"], "train", 1),
            progress(&["height"], "train", 1),
            progress(&["train"], "train", 1),
            progress(&["age"], "train", 501),
            progress(&["age"], "prior", 1),
            progress(&["age"], "other", 0),
        ] {
            let mut plan = plan();
            assert!(matches!(plan.resume(&wrong), Err(Error::NotPlanned { .. })), "{wrong:?}");
            assert!(plan.histogram("sex").is_err() && plan.subsampled_gaussian("train", 1e4).is_err(), "{wrong:?}");
        }
        let counts = PlanProgress { taken: vec!["age".into(), "train".into()], running: None };
        assert!(plan().resume(&counts).is_err(), "steps that were not all taken cannot count as taken");
        let mut begun = plan();
        begun.histogram("age").unwrap();
        assert!(begun.resume(&progress(&["age"], "train", 1)).is_err(), "a plan that has begun cannot begin again");
        let mut twice = plan();
        twice.resume(&progress(&[], "train", 1)).unwrap();
        assert!(twice.resume(&progress(&[], "train", 0)).is_err(), "steps are never given back");
    }

    #[test]
    fn an_epsilon_that_protects_nobody_is_not_called_private() {
        let plan = |epsilon| {
            let (share, mechanism) = (Share::Measure, Mechanism::Histogram);
            let request = Request { name: "age".into(), share, weight: 1.0, mechanism };
            Plan::calibrate(PrivacyUnit::Row, Budget::new(epsilon, 1e-6).unwrap(), vec![request]).unwrap()
        };
        let [strong, nominal] = [plan(NOMINAL_EPSILON), plan(NOMINAL_EPSILON + 1.0)];
        assert!(strong.protects() && !nominal.protects() && nominal.is_private());
    }

    #[test]
    fn odd_weights_are_refused() {
        let request =
            Request { name: "a".into(), share: Share::Measure, weight: f64::NAN, mechanism: Mechanism::Histogram };
        assert!(Plan::calibrate(PrivacyUnit::Row, Budget::new(1.0, 1e-6).unwrap(), vec![request]).is_err());
    }

    /// A plan that was edited to have no noise hands out nothing, and is not taken for private.
    #[test]
    fn a_finite_plan_without_noise_is_no_plan() {
        let plan = plan();
        let mut edited = serde_json::to_value(&plan).unwrap();
        edited["events"][0]["noise_multiplier"] = 0.0.into();
        let mut edited: Plan = serde_json::from_value(edited).unwrap();
        assert!(plan.is_private() && plan.protects() && !edited.protects());
        assert_eq!(edited.not_private(), Some(NotPrivate::NoNoise));
        assert!(matches!(edited.histogram("age"), Err(Error::NotPlanned { .. })));
    }
}
