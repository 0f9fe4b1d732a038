//! The projection against a law that is known, selection by weights.

use super::*;
use crate::encode::Layout;
use crate::model::Marginals;

/// A network that draws each of two columns evenly.
struct Even;

impl Sampler for Even {
    fn sample(
        &self,
        units: usize,
        _rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        *codes = (0..2 * units).map(|_| rng.random_range(0..2)).collect();
        *offsets = (0..=units as u32).collect();
    }

    fn nats(&self, _codes: &[u16], _rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        nats.fill(2f64.ln());
    }

    fn tensors(&self) -> Vec<Tensor> {
        Vec::new()
    }
}

/// One class: the first column is 1 in three of four rows, the second in one of two.
fn refined() -> Refined {
    let marginals = Marginals::from_noisy(&layout(), &[250.0, 750.0, 500.0, 500.0]).unwrap();
    Refined::fit(Box::new(Even), Arc::new(Mixture::independent(&marginals)), None, 40_000.0, 1)
}

fn layout() -> Layout {
    Layout { cells: vec![2, 2] }
}

#[test]
fn rows_come_to_the_mixtures_marginals() {
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    refined().generate(20_000, None, None, &mut ChaCha8Rng::seed_from_u64(2), &mut codes, &mut offsets);
    assert_eq!((codes.len(), offsets.len()), (40_000, 20_001));
    let ones = codes.chunks(2).filter(|row| row[0] == 1).count() as f64 / 2e4;
    // Four standard errors, and the two deviations of sampling that the projection leaves alone.
    assert!((ones - 0.75).abs() < 0.02, "{ones}");
}

#[test]
fn evidence_holds_and_its_probability_is_that_of_the_rows() {
    let refined = refined();
    let mut evidence = Evidence::none(&layout());
    evidence.observe(0, 0);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let p = refined.probabilities(&evidence, &mut rng)[0];
    assert!((p - 0.25).abs() < 0.02, "{p}");
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    refined.generate(1000, None, Some(&evidence), &mut rng, &mut codes, &mut offsets);
    assert!(codes.len() == 2000 && codes.chunks(2).all(|row| row[0] == 0));
}

#[test]
fn nats_are_those_of_the_projected_rows() {
    let mut nats = [0.0; 4];
    refined().nats(&[1, 0, 0, 1], &mut ChaCha8Rng::seed_from_u64(4), &mut nats);
    assert!((nats[0] + nats[1] + (0.75f64 * 0.5).ln()).abs() < 0.05, "{nats:?}");
    assert!((nats[2] + nats[3] + (0.25f64 * 0.5).ln()).abs() < 0.05, "{nats:?}");
}

#[test]
fn tensors_bring_the_same_projection_back() {
    let refined = refined();
    let tensors = refined.tensors();
    let read = |tensors: &[Tensor]| {
        let mixture = Arc::new(Mixture::from_tensors(&layout(), tensors)?);
        Refined::from_tensors(&layout(), Box::new(Even), mixture, tensors)
    };
    assert_eq!(read(&tensors).unwrap().tensors(), tensors);
    for spoiled in 0..tensors.len() {
        let mut broken = tensors.clone();
        broken[spoiled].2.pop();
        assert!(read(&broken).is_err());
    }
}

#[test]
fn inclusion_adds_up_and_stays_below_one() {
    let shares = inclusion(&[0.0, 0.0, 0.0, 5.0, f64::NEG_INFINITY, f64::NAN], 2);
    assert!((shares.iter().sum::<f64>() - 2.0).abs() < 1e-9, "{shares:?}");
    assert_eq!((shares[3], shares[4], shares[5]), (1.0, 0.0, 0.0));
    assert!((shares[0] - 1.0 / 3.0).abs() < 1e-9);
    let even = inclusion(&[1.0; 8], 2);
    assert!(even.iter().all(|s| (s - 0.25).abs() < 1e-9));
    assert!(inclusion(&[f64::NEG_INFINITY; 4], 2).iter().all(|s| (s - 0.5).abs() < 1e-9));
}

#[test]
fn selection_follows_the_weights_and_takes_none_twice() {
    let drawn = Drawn {
        codes: (0..400).collect(),
        offsets: (0..=400).collect(),
        log_weights: (0..400).map(|i| if i < 200 { 3f64.ln() } else { 0.0 }).collect(),
    };
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    drawn.select(100, &mut ChaCha8Rng::seed_from_u64(1), &mut codes, &mut offsets);
    assert_eq!((codes.len(), offsets.len()), (100, 101));
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(codes.iter().filter(|&&c| c < 200).count().abs_diff(75) <= 1);
}
