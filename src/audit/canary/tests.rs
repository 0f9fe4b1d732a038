//! The audit against the real mechanism, and against ones that are broken on purpose: each fault is made here, at the
//! boundary between a step's parts, so that the parts themselves need no switch for it.

use super::*;
use crate::encode::{CodeStore, Codes, Layout};
use crate::ingest::Source;
use crate::model::{Marginals, Mixture, ModelKind, Vae, VaeSettings};
use crate::nn::{Workspace, add_parts, clipped_sum, clipped_sums, terms};
use crate::schema::Schema;
use crate::train::{TABLE_MEMORY, plan, read_ledger};
use rayon::prelude::*;
use std::sync::Arc;
use synthward_privacy::mechanism::ClippedSum;
use synthward_privacy::plan::{Request, Share};
use synthward_privacy::{Budget, PrivacyUnit};

/// What is wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    NoNoise,
    TenthOfTheNoise,
    NoClip,
    ClipPerBatch,
    ClipPerRow,
}

/// A training that does not move: all its steps are at the same parameters.
struct Laboratory {
    vae: Vae,
    parameters: Vec<f32>,
    plan: Plan,
    /// Real units beside the canaries, and the rows of each and of each canary.
    members: usize,
    rows: usize,
}

const COLUMNS: [usize; 3] = [40, 40, 20];

fn planned(epsilon: f64, clipping_norm: f64, sampling_rate: f64, steps: u64) -> Plan {
    let mechanism = Mechanism::SubsampledGaussian { clipping_norm, sampling_rate, steps };
    let request = Request { name: "steps".into(), share: Share::Train, weight: 1.0, mechanism };
    Plan::calibrate(PrivacyUnit::Row, Budget::new(epsilon, 1e-5).unwrap(), vec![request]).unwrap()
}

impl Laboratory {
    fn new(plan: Plan, members: usize, rows: usize) -> Self {
        let layout = Layout { cells: COLUMNS.to_vec() };
        let marginals = Marginals::from_noisy(&layout, &[1.0; 100]).unwrap();
        let mixture = Arc::new(Mixture::independent(&marginals));
        let vae = Vae::new(&layout, VaeSettings::choose(), mixture, None).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut parameters = vae.initialise(1);
        parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.05..0.05));
        vae.mask(&mut parameters);
        Self { vae, parameters, plan, members, rows }
    }

    /// The codes of so many units, or the one row of each that is the `only` one.
    fn codes(&self, units: usize, only: Option<usize>) -> CodeStore {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        for _ in 0..units {
            for row in 0..self.rows {
                let row_codes = COLUMNS.map(|cells| rng.random_range(0..cells) as u16);
                if only.is_none_or(|only| only == row) {
                    codes.extend(row_codes);
                }
            }
            offsets.push((codes.len() / COLUMNS.len()) as u32);
        }
        Codes { codes, width: COLUMNS.len(), offsets }.into()
    }

    /// One audit with so many canaries. `seed` is that of coins and coordinates; the noise is fresh.
    fn audit(&self, fault: Fault, canaries: usize, seed: u64) -> WhiteBox {
        let claim = steps_of(&self.plan).unwrap();
        let trial = Trial::with(Some(claim), canaries, self.rows, ChaCha20Rng::seed_from_u64(seed));
        let units = self.members + trial.within();
        let data = Sensitive::new(self.codes(units, None));
        let of_rows: Vec<CodeStore> = (0..self.rows).map(|row| self.codes(units, Some(row))).collect();
        // Noise goes with the norm that the mechanism is told; contributions are clipped to the one in the plan.
        let noise_scale = match fault {
            Fault::NoNoise => 1e-6,
            Fault::TenthOfTheNoise => 0.1,
            _ => 1.0,
        };
        let norm = claim.clipping_norm;
        let mut plan: Plan = self.plan.clone();
        if noise_scale != 1.0 {
            let mut told = serde_json::to_value(&plan).unwrap();
            told["events"][0]["clipping_norm"] = (norm * noise_scale).into();
            plan = serde_json::from_value(told).unwrap();
        }
        let clip = Clip::new(norm).unwrap();
        let public_units = self.members.max(1) as f64;
        let mut mechanism = plan.subsampled_gaussian("steps", public_units).unwrap();
        trial.starts(&self.vae, &self.parameters, &data, clip, public_units).unwrap();
        let mut workspace = Workspace::default();
        let length = self.parameters.len();
        for step in 0..claim.steps as u64 {
            let one = clip.norm().powi(2);
            let terms = |codes: &CodeStore, unit| terms(codes.rows_of(unit as usize));
            let summed =
                mechanism.accumulate(&data, CodeStore::units, CodeStore::identity, terms, |codes, batch, _, sums| {
                    let honest = |squared_norm: f64| clip.coefficient(squared_norm);
                    let mut sum = |codes: &CodeStore, coefficient: &(dyn Fn(f64) -> f32 + Sync)| {
                        let loss = trial.plant(self.vae.loss(codes, [3; 32], step as u32), units, step);
                        clipped_sums(
                            &loss,
                            &self.parameters,
                            |leaf| batch.leaf(leaf),
                            coefficient,
                            &mut workspace,
                            sums,
                        );
                        sums.to_vec()
                    };
                    let summed: Vec<Vec<f32>> = match fault {
                        Fault::NoClip => sum(codes, &|_| 1.0),
                        Fault::ClipPerRow => {
                            let of_rows: Vec<_> = of_rows.iter().map(|codes| sum(codes, &honest)).collect();
                            let leaves = 0..of_rows[0].len();
                            let entry = |leaf: usize, i: usize| of_rows.iter().map(|sums| sums[leaf][i]).sum();
                            leaves.map(|leaf| (0..length).map(|i| entry(leaf, i)).collect()).collect()
                        }
                        Fault::ClipPerBatch => {
                            // The norms of all units first, then one coefficient for all.
                            let total = Mutex::new(0.0);
                            sum(codes, &|squared_norm| {
                                *lock(&total) += squared_norm;
                                1.0
                            });
                            let total = lock(&total).max(one);
                            sum(codes, &|_| clip.coefficient(total))
                        }
                        _ => sum(codes, &honest),
                    };
                    sums.clone_from_slice(&summed);
                });
            let blocks = (0..length.div_ceil(ClippedSum::BLOCK)).into_par_iter();
            let see = |block: usize, mean: &[f32]| trial.stepped(step, block * ClippedSum::BLOCK, mean);
            summed.unwrap().release(length, blocks, see);
        }
        trial.judge(self.plan.epsilon(), self.plan.delta())
    }
}

/// The isolated test: one step, everybody drawn, nobody but canaries. Issue E asks for 45 % of the claim with 1,000
/// canaries; 49 % are found at epsilon 2 in the mean, 56 % at 4, 58 % at 8. The noise has no seed: a run has a standard
/// deviation of 12 % of the claim, so that the means of so many runs fall below 45 % in less than 1 of 10,000 runs of this
/// test. The bound may be above the claim in 5 % of runs; none of 6,000 was at epsilon 2 (the highest 96 %). At 1 of 6,000,
/// more than two of 200 are above it in less than 1 of 100,000 runs of this test.
#[test]
fn one_gaussian_step_is_found_and_never_more_than_that() {
    for (epsilon, runs) in [(2.0, 200), (4.0, 40), (8.0, 40)] {
        let laboratory = Laboratory::new(planned(epsilon, 1.0, 1.0, 1), 0, 1);
        let found: Vec<WhiteBox> = (0..runs).map(|seed| laboratory.audit(Fault::None, 1000, seed)).collect();
        let mean = found.iter().map(|one| one.epsilon_lower_bound).sum::<f64>() / runs as f64;
        println!("epsilon {epsilon}: {mean:.3}, {:.0} % of the claim", 100.0 * mean / epsilon);
        assert!(mean >= 0.45 * epsilon, "{mean} of {epsilon}");
        let above = found.iter().filter(|one| one.epsilon_lower_bound > one.claimed_epsilon).count();
        assert!(above <= 2, "{above} of {runs}");
        assert!(found.iter().all(|one| one.epsilon_lower_bound <= one.epsilon_ceiling && one.guesses == 200));
    }
}

/// 5,000 canaries: issue E asks for 55 % of the claim; 62 % are found at epsilon 2 in the mean, 64 % at 4. A run has a
/// standard deviation of 8 % of the claim, so that the mean of 40 is below 55 % in less than 1 of 10,000 runs of this test.
#[test]
fn more_canaries_find_more() {
    for epsilon in [2.0, 4.0] {
        let laboratory = Laboratory::new(planned(epsilon, 1.0, 1.0, 1), 0, 1);
        let found: f64 =
            (0..40).map(|seed| laboratory.audit(Fault::None, 5000, seed).epsilon_lower_bound).sum::<f64>() / 40.0;
        println!("epsilon {epsilon}, 5,000 canaries: {found:.3}, {:.0} % of the claim", 100.0 * found / epsilon);
        assert!(found >= 0.55 * epsilon && found <= epsilon, "{found} of {epsilon}");
    }
}

/// Every mutation of the step that changes the released numbers, at three claims: 400 patients of three rows, 40 steps. At epsilon 1
/// an audit misses a clip by batch in less than 1 of 100 (its statistic lies 5 standard deviations off, and 2.6 are asked for), so two
/// in a row do in less than 1 of 10,000; an honest step is called a bug once in two audits with probability 0.02 at most.
#[test]
fn every_broken_step_is_a_bug() {
    for epsilon in [1.0, 3.0, 8.0] {
        let laboratory = Laboratory::new(planned(epsilon, 1.0, 0.25, 40), 400, 3);
        for fault in [Fault::NoNoise, Fault::TenthOfTheNoise, Fault::NoClip, Fault::ClipPerBatch, Fault::ClipPerRow] {
            let is_found = (1..=2).any(|seed| {
                let found = laboratory.audit(fault, 400, seed);
                let tests: Vec<(&str, f64)> = found.conformity.iter().map(|t| (t.name.as_str(), t.p_holm)).collect();
                println!("epsilon {epsilon}, {fault:?}: at least {:.2}; {tests:?}", found.epsilon_lower_bound);
                found.verdict == Verdict::Bug
            });
            assert!(is_found, "{fault:?} at epsilon {epsilon}");
        }
    }
}

/// 60 honest audits with real gradients beside the canaries: each calls a bug with probability 0.01 at most, so more
/// than 4 of 60 do with probability 4e-4.
#[test]
fn honest_steps_are_no_bug() {
    let laboratory = Laboratory::new(planned(3.0, 1.0, 0.25, 20), 200, 3);
    let bugs: Vec<WhiteBox> = (0..60)
        .map(|seed| laboratory.audit(Fault::None, 200, seed))
        .filter(|found| found.verdict == Verdict::Bug)
        .collect();
    assert!(bugs.len() <= 4, "{} of 60: {:?}", bugs.len(), bugs.first());
}

/// A canary's gradient is one number where it belongs and nearly nothing elsewhere, whatever the layer.
#[test]
fn a_canary_is_clipped_at_its_own_coordinate() {
    let laboratory = Laboratory::new(planned(1.0, 1.0, 1.0, 1), 3, 2);
    let claim = steps_of(&laboratory.plan).unwrap();
    let trial = Trial::with(Some(claim), 50, 2, ChaCha20Rng::seed_from_u64(4));
    let units = 3 + trial.within();
    let data = Sensitive::new(laboratory.codes(units, None));
    let clip = Clip::new(1.0).unwrap();
    trial.starts(&laboratory.vae, &laboratory.parameters, &data, clip, 3.0).unwrap();
    let data = data.for_controller();
    let loss = trial.plant(laboratory.vae.loss(&data, [0; 32], 0), units, 0);
    let canaries: Vec<u32> = (3..units as u32).collect();
    let mut sum = vec![0.0; laboratory.parameters.len()];
    let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
    add_parts(
        clipped_sum(&loss, &laboratory.parameters, &canaries, &coefficient, &mut Workspace::default()),
        0,
        &mut sum,
    );
    let ones = sum.iter().filter(|&&x| (x - 1.0).abs() < 1e-3).count();
    let rest = sum.iter().filter(|&&x| (x - 1.0).abs() >= 1e-3).map(|x| x.abs()).fold(0.0, f32::max);
    assert_eq!(ones, canaries.len());
    assert!(rest < 1e-3, "{rest}");
}

/// 500 patients of up to three stays.
fn hospital() -> (tempfile::NamedTempFile, Schema) {
    let schema = r#"
        [table]
        name = "stays"
        privacy_unit = "patient"
        max_rows_per_unit = 3
        units = 500
        [[column]]
        name = "patient"
        kind = "identifier"
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["f", "m"]
        domain_from = "public"
        [[column]]
        name = "ward"
        kind = "categorical"
        categories = ["a", "b", "c", "d", "e", "g"]
        domain_from = "public"
        [[column]]
        name = "age"
        kind = "integer"
        min = 0
        max = 99
        domain_from = "public"
    "#;
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut text = "patient,sex,ward,age\n".to_owned();
    for patient in 0..500 {
        for _ in 0..rng.random_range(1..=3) {
            let ward = ["a", "a", "a", "b", "b", "c", "d", "e", "g"][rng.random_range(0..9)];
            text += &format!("{patient},{},{ward},{}\n", ["f", "m"][patient % 2], rng.random_range(20..90));
        }
    }
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    (file, Schema::from_toml(schema).unwrap())
}

/// The audit of a whole fit of the hospital. An honest fit is called a bug with probability 0.01, and half of the guesses
/// or fewer are right with probability 1e-3 or less: two audits of three go wrong with probability 4e-4.
fn honest_fit(model: ModelKind, epsilon: f64, tests: usize) {
    let (file, schema) = hospital();
    let source: Source = file.path().to_str().unwrap().into();
    let budget = Budget::new(epsilon, 1e-5).unwrap();
    let request = FitRequest {
        source: &source,
        schema: &schema,
        model,
        budget,
        discover_epsilon: None,
        seed: 0,
        memory: TABLE_MEMORY,
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger = LedgerFile::new(folder.path().join("l.jsonl"), &schema.table);
    ledger.open().unwrap();
    let passes = || {
        let found = white_box(&request, &ledger, plan(&request).unwrap(), 200, &mut |_| ()).unwrap();
        println!("{model}: {} of {} right, {:?}", found.right, found.guesses, found.conformity);
        assert_eq!(found.conformity.len(), tests);
        let kept = found.verdict == Verdict::NoBugFound && found.epsilon_lower_bound <= found.claimed_epsilon;
        kept && found.right * 2 > found.guesses
    };
    // Two of three.
    let passed = (0..2).filter(|_| passes()).count();
    assert!(passed == 2 || passed == 1 && passes(), "{model}");
    assert_eq!(read_ledger(ledger.path()).unwrap().spent(None), (0.0, 0.0), "no cap counts throwaway fits");
}

/// Counts alone.
#[test]
fn counts_are_audited_from_the_table_on() {
    honest_fit(ModelKind::Independent, 8.0, 2);
    honest_fit(ModelKind::Marginal, 8.0, 2);
}

/// Counts and steps; `privacy/mutants.sh` breaks them and expects this to fail.
#[test]
fn a_network_is_audited_from_the_table_on() {
    honest_fit(ModelKind::Vae, 3.0, 5);
}

#[test]
fn a_diffusion_model_is_audited_from_the_table_on() {
    honest_fit(ModelKind::Diffusion, 3.0, 5);
}

#[test]
fn what_cannot_be_audited_is_refused() {
    let (file, schema) = hospital();
    let source: Source = file.path().to_str().unwrap().into();
    let request = |budget| FitRequest {
        source: &source,
        schema: &schema,
        model: ModelKind::Marginal,
        budget,
        discover_epsilon: None,
        seed: 0,
        memory: TABLE_MEMORY,
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger = LedgerFile::new(folder.path().join("l.jsonl"), &schema.table);
    let budget = Budget::new(1.0, 1e-5).unwrap();
    let audited = |budget, canaries| {
        let request = request(budget);
        white_box(&request, &ledger, plan(&request).unwrap(), canaries, &mut |_| ())
    };
    let unknown = audited(budget, 200).unwrap_err().to_string();
    assert!(unknown.contains("no ledger of the source"), "{unknown}");
    ledger.open().unwrap();
    let before = std::fs::read(ledger.path()).unwrap();
    assert!(audited(Budget::unlimited(), 200).is_err());
    assert!(audited(budget, 5).is_err());
    assert_eq!(std::fs::read(ledger.path()).unwrap(), before);
}
