//! The gradient against differences, rows against the law that the network states, hostile tensors.

use rand::Rng;

use super::loss::{DiffusionBuffers, DiffusionLoss};
use super::sample::Uncovering;
use super::*;
use crate::encode::{CodeStore, Codes};
use crate::model::refined::Sampler;
use crate::model::{Marginals, Trainable};
use crate::nn::{Matrix, Network, Workspace, add_parts, clipped_sum, softmax};

fn layout() -> Layout {
    Layout { cells: vec![3, 4, 2] }
}

fn settings() -> DiffusionSettings {
    DiffusionSettings { hidden: vec![12, 9], multiplicity: 3, sampling_steps: 3 }
}

fn mixture() -> Arc<Mixture> {
    let counts = [200.0, 300.0, 500.0, 200.0, 300.0, 500.0, 0.0, 600.0, 400.0];
    Arc::new(Mixture::independent(&Marginals::from_noisy(&layout(), &counts).unwrap()))
}

/// A model at whose parameters every weight says something.
fn shaken(seed: u64) -> (Diffusion, Vec<f32>) {
    let model = Diffusion::new(&layout(), settings(), mixture(), Some(2)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = model.initialise(1);
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.4..0.4));
    (model, parameters)
}

/// The denoising loss of one unit, from the definitions.
fn bound(model: &Diffusion, parameters: &[f32], codes: &CodeStore, unit: u32) -> f64 {
    let loss = DiffusionLoss { model, codes, key: [3; 32], step: 4 };
    let mut buffers = DiffusionBuffers::default();
    loss.hide(&[unit], &mut buffers);
    loss.denoise(parameters, &mut buffers);
    let (whole, shown, weights) = (buffers.whole.clone(), buffers.shown.clone(), buffers.weights.clone());
    let logits = buffers.mlp.output();
    softmax::probabilities(logits.values_mut(), &model.offsets);
    let mut sum = 0.0;
    for (r, weight) in weights.iter().enumerate() {
        for j in 0..3 {
            if shown[3 * r + j] == model.hidden_code(j) {
                let p = logits.row(r)[model.offsets[j] + usize::from(whole[3 * r + j])];
                sum -= f64::from(*weight) * f64::from(p).ln();
            }
        }
    }
    sum
}

#[test]
fn gradient_is_the_derivative_of_the_bound_whatever_the_rows_of_the_unit() {
    let (model, parameters) = shaken(2);
    let codes = CodeStore::from(Codes { codes: vec![0, 3, 0, 2, 1, 1, 1, 0, 1], width: 3, offsets: vec![0, 1, 3] });
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for unit in 0..2 {
        let mut gradient = vec![0.0; parameters.len()];
        let mut workspace = Workspace::default();
        let loss = model.loss(&codes, [3; 32], 4);
        assert_eq!(loss.rows(unit), 3 * (unit as usize + 1));
        add_parts(clipped_sum(&loss, &parameters, &[unit], &|_| 1.0, &mut workspace), 0, &mut gradient);
        for (name, shape, _) in model.table.export(&parameters) {
            let range = model.table.range(&name).unwrap();
            let direction: Vec<f32> = range.clone().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
            let shifted = |by: f32| {
                let mut p = parameters.clone();
                p[range.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += by * d);
                bound(&model, &p, &codes, unit)
            };
            let step = 1e-2 / (shape[0] * shape[1]) as f32;
            let difference = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
            let part = &gradient[range.clone()];
            let wanted: f64 = part.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let scale = part.iter().map(|g| f64::from(g.abs())).sum::<f64>();
            assert!((difference - wanted).abs() < 0.01 * scale + 1e-2, "{name}: {difference} for {wanted} of {scale}");
        }
    }
}

/// The probability of a row when its columns are uncovered in this order.
fn probability(model: &Diffusion, parameters: &[f32], row: &[u16], order: &[usize]) -> f64 {
    let (mut state, mut logits) = (Uncovering::default(), Matrix::default());
    model.base.start(1, &mut state.posterior);
    model.hide(parameters, 1, &mut state);
    order
        .iter()
        .map(|&j| {
            model.think(parameters, &mut state);
            model.logits(parameters, j, &mut state, &mut logits);
            let cells = [0, logits.columns()];
            softmax::probabilities(logits.values_mut(), &cells);
            model.show(parameters, j, 0, row[j], &mut state);
            model.base.observe(0, j, row[j], &mut state.posterior);
            f64::from(logits.row(0)[usize::from(row[j])])
        })
        .product()
}

/// With as many steps as columns a row has the mean of its probabilities over all orders. A tile has one order, so 1,500
/// tiles of 20 rows are drawn; within a tile rows are as good as independent, and orders differ little: the bound is
/// four standard errors and a little for the orders.
#[test]
fn drawn_rows_have_the_probabilities_of_the_network() {
    let (model, parameters) = shaken(5);
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let rows: Vec<[u16; 3]> = (0..24u16).map(|i| [i / 8, i / 2 % 4, i % 2]).collect();
    let of_order =
        |order: &[usize; 3]| rows.iter().map(|row| probability(&model, &parameters, row, order)).sum::<f64>();
    assert!(orders.iter().all(|order| (of_order(order) - 1.0).abs() < 1e-4));
    let generator = DiffusionGenerator::new(model.clone(), parameters.clone());
    let (mut drawn, mut codes, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..1500 {
        generator.sample(20, None, &mut rng, &mut codes, &mut offsets);
        drawn.extend_from_slice(&codes);
    }
    for row in &rows {
        let p = orders.iter().map(|order| probability(&model, &parameters, row, order)).sum::<f64>() / 6.0;
        let share = drawn.chunks(3).filter(|other| other == row).count() as f64 / 3e4;
        assert!((share - p).abs() < 4.0 * (p / 3e4).sqrt() + 0.002, "{row:?}: {share} for {p}");
    }
}

#[test]
fn rows_of_a_unit_agree_on_their_number_and_a_seed_is_a_seed() {
    let (model, parameters) = shaken(1);
    let generator = DiffusionGenerator::new(model, parameters);
    let draw = |seed| {
        let (mut out, mut offsets) = (vec![9; 4], vec![9; 4]);
        generator.sample(700, Some(2), &mut ChaCha8Rng::seed_from_u64(seed), &mut out, &mut offsets);
        (out, offsets)
    };
    let (out, offsets) = draw(1);
    assert_eq!((offsets.len(), out.len()), (701, 3 * offsets[700] as usize));
    for unit in offsets.windows(2) {
        for row in out[3 * unit[0] as usize..3 * unit[1] as usize].chunks(3) {
            assert!(row[0] < 3 && row[1] < 4 && u32::from(row[2]) + 1 == unit[1] - unit[0]);
        }
    }
    assert_eq!((out, offsets), draw(1));
    assert_ne!(draw(1).0, draw(2).0);
}

#[test]
fn nats_of_a_network_that_says_nothing_are_the_mixtures() {
    let model = Diffusion::new(&layout(), settings(), mixture(), None).unwrap();
    let parameters = model.initialise(1);
    let mut nats = [0.0; 3];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    DiffusionGenerator::new(model, parameters).nats(&[2, 0, 1], &mut rng, &mut nats);
    for (nats, p) in nats.iter().zip([0.5f64, 0.2, 0.4]) {
        assert!((nats + p.ln()).abs() < 1e-5, "{nats} for {p}");
    }
}

#[test]
fn hostile_tensors_and_settings_are_refused() {
    let (model, parameters) = shaken(1);
    let tensors = DiffusionGenerator::new(model, parameters).tensors();
    let read = |tensors: &[_]| DiffusionGenerator::from_tensors(&layout(), settings(), mixture(), None, tensors);
    assert_eq!(read(&tensors).unwrap().tensors(), tensors);
    for spoiled in 0..tensors.len() {
        let mut broken = tensors.clone();
        broken[spoiled].2.pop();
        assert!(read(&broken).is_err());
        broken.remove(spoiled);
        assert!(read(&broken).is_err());
    }
    let new = |settings| Diffusion::new(&layout(), settings, mixture(), None);
    for hidden in [vec![], vec![0], vec![usize::MAX]] {
        assert!(new(DiffusionSettings { hidden, ..settings() }).is_err());
    }
    assert!(new(DiffusionSettings { multiplicity: 0, ..settings() }).is_err());
    assert!(new(DiffusionSettings { sampling_steps: 4, ..settings() }).is_err());
    assert!(new(DiffusionSettings { sampling_steps: 0, ..settings() }).is_err());
}
