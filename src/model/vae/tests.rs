use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::loss::{VaeBuffers, VaeLoss};
use super::*;
use crate::encode::{CodeStore, Codes};
use crate::model::refined::Sampler;
use crate::model::{Marginals, Trainable};
use crate::nn::{Adam, AdamSettings, Workspace, add_parts, clipped_sum, softmax};

fn settings() -> VaeSettings {
    VaeSettings { hidden: vec![12, 9], latent: 5, shared: 2, kl_weight: 0.5 }
}

fn layout() -> Layout {
    Layout { cells: vec![3, 4, 2] }
}

/// The second column copies the first, the third is the number of rows less one.
fn codes(rows: &[usize], seed: u64) -> CodeStore {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut codes, mut offsets) = (Vec::new(), vec![0]);
    for &count in rows {
        for _ in 0..count {
            let first = rng.random_range(0..3u16);
            codes.extend([first, first, count as u16 - 1]);
        }
        offsets.push((codes.len() / 3) as u32);
    }
    Codes { codes, width: 3, offsets }.into()
}

fn marginals() -> Marginals {
    Marginals::from_noisy(&layout(), &[200.0, 300.0, 500.0, 200.0, 300.0, 500.0, 0.0, 600.0, 400.0]).unwrap()
}

fn vae(settings: VaeSettings) -> Vae {
    Vae::new(&layout(), settings, Arc::new(Mixture::independent(&marginals())), Some(2)).unwrap()
}

/// Parameters at which every weight says something.
fn shaken(vae: &Vae, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = vae.initialise(1);
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.4..0.4));
    vae.mask(&mut parameters);
    parameters
}

/// Negative evidence bound of one unit, from the definitions.
fn bound(vae: &Vae, parameters: &[f32], codes: &CodeStore, unit: u32) -> f64 {
    let loss = VaeLoss { vae, codes, key: [3; 32], step: 4 };
    let mut buffers = VaeBuffers::default();
    loss.encode(parameters, &[unit], &mut buffers);
    let VaeSettings { latent, shared, kl_weight, .. } = vae.settings;
    let rows = codes.units_in(unit as usize..unit as usize + 1);
    let mut sum = 0.0;
    for r in 0..rows.rows() {
        let posterior = buffers.encoder.output().row(r).to_vec();
        for l in 0..latent {
            let weight = if l < shared { 1.0 / rows.rows() as f64 } else { 1.0 };
            let (mean, log_variance) = (f64::from(posterior[l]), f64::from(posterior[latent + l]));
            sum += f64::from(kl_weight) * weight * 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance);
        }
    }
    buffers.decode(vae, parameters);
    let logits = buffers.decoder.mlp.output();
    for r in 0..rows.rows() {
        sum += softmax::cross_entropy(logits.row_mut(r), &vae.offsets, rows.row(r));
    }
    sum
}

#[test]
fn gradient_is_the_derivative_of_the_bound_whatever_the_rows_of_the_unit() {
    let vae = vae(settings());
    let codes = codes(&[1, 2, 1], 1);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let parameters = shaken(&vae, 2);
    for unit in 0..3 {
        let mut gradient = vec![0.0; parameters.len()];
        let mut workspace = Workspace::default();
        let parts = clipped_sum(&vae.loss(&codes, [3; 32], 4), &parameters, &[unit], &|_| 1.0, &mut workspace);
        add_parts(parts, 0, &mut gradient);
        let bound = |parameters: &[f32]| bound(&vae, parameters, &codes, unit);
        assert_derivative(&vae.table, &parameters, &gradient, bound, &mut rng);
    }
}

/// Holds a gradient against differences of the loss, matrix by matrix, along its own signs and along random ones.
pub(super) fn assert_derivative(
    table: &Table,
    parameters: &[f32],
    gradient: &[f32],
    loss: impl Fn(&[f32]) -> f64,
    rng: &mut ChaCha8Rng,
) {
    for (name, shape, _) in table.export(parameters) {
        let range = table.range(&name).unwrap();
        let along: Vec<f32> = gradient[range.clone()].iter().map(|g| g.signum()).collect();
        let random: Vec<f32> = range.clone().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
        for direction in [along, random] {
            let shifted = |by: f32| {
                let mut p = parameters.to_vec();
                p[range.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += by * d);
                loss(&p)
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

/// The rows that are drawn have the probabilities that the forward pass gives them: 24 rows, 200,000 draws, four
/// standard errors each (false-alarm rate 1.5e-3).
#[test]
fn drawn_rows_have_the_probabilities_of_the_forward_pass() {
    let vae = vae(VaeSettings { kl_weight: 0.0, ..settings() });
    let mut parameters = shaken(&vae, 5);
    // Without the latent numbers the likelihood is exact.
    let latent = vae.table.range("decoder.latent.weight").unwrap();
    parameters[latent].fill(0.0);
    let generator = VaeGenerator::new(vae, parameters, Prior::standard(5));
    let all: Vec<u16> = (0..24).flat_map(|i| [i / 8, i / 2 % 4, i % 2]).collect();
    let mut buffers = VaeBuffers::default();
    let rows = CodeStore::from(Codes { codes: all.clone(), width: 3, offsets: (0..=24).collect() });
    let loss = VaeLoss { vae: generator.vae(), codes: &rows, key: [1; 32], step: 0 };
    loss.encode(generator.parameters(), &(0..24).collect::<Vec<u32>>(), &mut buffers);
    buffers.decode(generator.vae(), generator.parameters());
    let logits = buffers.decoder.mlp.output();
    let (mut drawn, mut offsets) = (Vec::new(), Vec::new());
    generator.sample(200_000, None, &mut ChaCha8Rng::seed_from_u64(6), &mut drawn, &mut offsets);
    let mut total = 0.0;
    for (r, row) in all.chunks(3).enumerate() {
        let p = (-softmax::cross_entropy(logits.row_mut(r), &generator.vae().offsets, row)).exp();
        let share = drawn.chunks(3).filter(|other| *other == row).count() as f64 / 2e5;
        assert!((share - p).abs() < 4.0 * (p / 2e5).sqrt() + 1e-5, "{row:?}: {share} for {p}");
        total += p;
    }
    assert!((total - 1.0).abs() < 1e-4, "{total}");
}

#[test]
fn training_learns_that_one_column_copies_another() {
    let vae = vae(VaeSettings { hidden: vec![24, 24], ..settings() });
    let codes = codes(&[1; 256], 5);
    let units: Vec<u32> = (0..256).collect();
    let mut parameters = vae.initialise(6);
    let mut adam = Adam::new(AdamSettings { learning_rate: 2e-2, average_decay: 0.9 }, &parameters);
    let (mut workspace, mut gradient) = (Workspace::default(), vec![0.0; parameters.len()]);
    let copies = |parameters: &[f32]| {
        let mut sums = vec![0.0; vae.moments()];
        let mut moments = sums.clone();
        for unit in 0..256 {
            vae.latent_moments(parameters, &codes, unit, [7; 32], &mut VaeBuffers::default(), &mut moments);
            assert!(moments.iter().map(|m| m * m).sum::<f64>() <= 1.0 + 1e-9);
            sums.iter_mut().zip(&moments).for_each(|(s, m)| *s += m);
        }
        let prior = Prior::from_moments(&vae, &sums, 0.0, 256.0);
        let generator = VaeGenerator::new(vae.clone(), parameters.to_vec(), prior);
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        generator.sample(1000, None, &mut ChaCha8Rng::seed_from_u64(8), &mut out, &mut offsets);
        out.chunks(3).filter(|row| row[0] == row[1]).count()
    };
    let before = copies(&parameters);
    for step in 0..150 {
        let clip = |squared: f64| (1.0 / squared.sqrt()).min(1.0) as f32;
        let loss = vae.loss(&codes, [9; 32], step);
        let parts = clipped_sum(&loss, &parameters, &units, &clip, &mut workspace);
        add_parts(parts, 0, &mut gradient);
        gradient.iter_mut().for_each(|g| *g /= 256.0);
        adam.step(&mut parameters, &gradient);
        vae.mask(&mut parameters);
    }
    let after = copies(adam.average());
    assert!(before < 500 && after > 800, "{before} of 1000 rows agreed before, {after} after");
}

#[test]
fn generated_rows_fit_the_layout_and_the_number_of_rows_says_itself() {
    let vae = vae(settings());
    let generator = VaeGenerator::new(vae.clone(), shaken(&vae, 1), Prior::standard(5));
    let draw = |seed, rows_column| {
        let (mut out, mut offsets) = (vec![9; 4], vec![9; 4]);
        generator.sample(700, rows_column, &mut ChaCha8Rng::seed_from_u64(seed), &mut out, &mut offsets);
        (out, offsets)
    };
    let (out, offsets) = draw(1, Some(2));
    assert_eq!((offsets.len(), out.len()), (701, 3 * offsets[700] as usize));
    assert!(offsets[700] > 720 && offsets[700] < 1380);
    for unit in offsets.windows(2) {
        for row in out[3 * unit[0] as usize..3 * unit[1] as usize].chunks(3) {
            assert!(row[0] < 3 && row[1] < 4 && u32::from(row[2]) + 1 == unit[1] - unit[0]);
        }
    }
    assert_eq!((out, offsets), draw(1, Some(2)));
    assert_ne!(draw(1, None).0, draw(2, None).0);
    assert_eq!(draw(1, None).1, (0..=700).collect::<Vec<u32>>());
}

#[test]
fn tensors_bring_the_same_generator_back_and_hostile_ones_are_refused() {
    let vae = vae(settings());
    let generator = VaeGenerator::new(vae.clone(), shaken(&vae, 1), Prior::standard(5));
    let tensors = generator.tensors();
    let mixture = Arc::new(Mixture::independent(&marginals()));
    let read = |tensors: &[_]| VaeGenerator::from_tensors(&layout(), settings(), mixture.clone(), Some(2), tensors);
    let again = read(&tensors).unwrap();
    let draw = |generator: &VaeGenerator| {
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        generator.sample(300, Some(2), &mut ChaCha8Rng::seed_from_u64(1), &mut out, &mut offsets);
        out
    };
    assert_eq!(draw(&generator), draw(&again));
    for spoiled in 0..tensors.len() {
        let mut broken = tensors.clone();
        broken[spoiled].2.pop();
        assert!(read(&broken).is_err());
        let mut broken = tensors.clone();
        broken[spoiled].1 = vec![usize::MAX, 2];
        assert!(read(&broken).is_err());
        let mut broken = tensors.clone();
        broken.remove(spoiled);
        assert!(read(&broken).is_err());
    }
    let new = |layout: &Layout, settings| Vae::new(layout, settings, mixture.clone(), None);
    let extremes = [vec![], vec![0], vec![usize::MAX], vec![8; 100]];
    for hidden in extremes {
        assert!(new(&layout(), VaeSettings { hidden, ..settings() }).is_err());
    }
    assert!(new(&layout(), VaeSettings { shared: 6, ..settings() }).is_err());
    assert!(new(&layout(), VaeSettings { kl_weight: f32::NAN, ..settings() }).is_err());
    assert!(new(&Layout { cells: vec![usize::MAX, 2] }, settings()).is_err());
    assert!(new(&Layout { cells: vec![] }, settings()).is_err());
    let huge = Layout { cells: vec![1 << 16; 1 << 16] };
    assert!(new(&huge, settings()).is_err());
}

#[test]
fn a_unit_without_rows_has_no_say() {
    let vae = vae(settings());
    let parameters = shaken(&vae, 1);
    let codes = codes(&[0, 2], 1);
    let mut moments = vec![1.0; vae.moments()];
    vae.latent_moments(&parameters, &codes, 0, [1; 32], &mut VaeBuffers::default(), &mut moments);
    assert!(moments.iter().all(|&m| m == 0.0));
    let mut gradient = vec![1.0; parameters.len()];
    let mut workspace = Workspace::default();
    let loss = vae.loss(&codes, [1; 32], 1);
    add_parts(clipped_sum(&loss, &parameters, &[0], &|_| 1.0, &mut workspace), 0, &mut gradient);
    assert!(gradient.iter().all(|&g| g == 0.0));
}
