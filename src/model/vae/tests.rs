use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::loss::{VaeBuffers, VaeLoss};
use super::*;
use crate::encode::Codes;
use crate::model::Generator;
use crate::nn::{Adam, AdamSettings, add_parts, softmax};

fn settings() -> VaeSettings {
    VaeSettings {
        hidden: vec![12, 9],
        latent: 5,
        shared: 2,
        kl_weight: 0.5,
        expected_batch_size: 64,
        steps: 0,
        learning_rate: 1e-2,
        clipping_norm: 1.0,
        average_decay: 0.9,
    }
}

fn layout() -> Layout {
    Layout { cells: vec![3, 4, 2] }
}

/// The second column copies the first, the third is the number of rows less one.
fn codes(rows: &[usize], seed: u64) -> Codes {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut codes, mut offsets) = (Vec::new(), vec![0]);
    for &count in rows {
        for _ in 0..count {
            let first = rng.random_range(0..3u16);
            codes.extend([first, first, count as u16 - 1]);
        }
        offsets.push((codes.len() / 3) as u32);
    }
    Codes { codes, width: 3, offsets }
}

fn marginals() -> Marginals {
    Marginals::from_noisy(&layout(), &[200.0, 300.0, 500.0, 200.0, 300.0, 500.0, 0.0, 600.0, 400.0]).unwrap()
}

/// Negative evidence bound of one unit, from the definitions.
fn bound(vae: &Vae, parameters: &[f32], codes: &Codes, unit: u32) -> f64 {
    let loss = VaeLoss { vae, codes, key: [3; 32], step: 4 };
    let mut buffers = VaeBuffers::default();
    loss.encode(parameters, &[unit], &mut buffers);
    let VaeSettings { latent, shared, kl_weight, .. } = vae.settings;
    let rows = codes.unit_rows(unit as usize);
    let mut sum = 0.0;
    for r in 0..rows.len() {
        let posterior = buffers.encoder.output().row(r).to_vec();
        for l in 0..latent {
            let weight = if l < shared { 1.0 / rows.len() as f64 } else { 1.0 };
            let (mean, log_variance) = (f64::from(posterior[l]), f64::from(posterior[latent + l]));
            sum += f64::from(kl_weight) * weight * 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance);
        }
    }
    vae.decoder.forward(parameters, &mut buffers.decoder);
    let logits = buffers.decoder.output();
    for (r, row) in rows.enumerate() {
        sum += softmax::cross_entropy(logits.row_mut(r), &vae.offsets, codes.row(row));
    }
    sum
}

#[test]
fn gradient_is_the_derivative_of_the_bound_whatever_the_rows_of_the_unit() {
    let vae = Vae::new(&layout(), settings()).unwrap();
    let codes = codes(&[1, 2, 1], 1);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut parameters = vae.initialise(&marginals(), 1);
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.2..0.2));
    for unit in 0..3 {
        let mut gradient = vec![0.0; parameters.len()];
        let mut workspace = VaeWorkspace::default();
        let parts = vae.clipped_sum(&parameters, &codes, &[unit], [3; 32], 4, &|_| 1.0, &mut workspace);
        add_parts(parts, 0, &mut gradient);
        for (name, shape, _) in vae.table.export(&parameters) {
            let range = vae.table.range(&name).unwrap();
            let along: Vec<f32> = gradient[range.clone()].iter().map(|g| g.signum()).collect();
            let random: Vec<f32> = range.clone().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
            for direction in [along, random] {
                let shifted = |by: f32| {
                    let mut p = parameters.clone();
                    p[range.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += by * d);
                    bound(&vae, &p, &codes, unit)
                };
                let step = 1e-2 / (shape[0] * shape[1]) as f32;
                let difference = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
                let part = &gradient[range.clone()];
                let wanted: f64 = part.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                let scale = part.iter().map(|g| f64::from(g.abs())).sum::<f64>();
                assert!(
                    (difference - wanted).abs() < 0.01 * scale + 1e-2,
                    "{name}: {difference} for {wanted} of {scale}"
                );
            }
        }
    }
}

#[test]
fn training_learns_that_one_column_copies_another() {
    let vae = Vae::new(&layout(), VaeSettings { kl_weight: 0.2, ..settings() }).unwrap();
    let codes = codes(&[1; 256], 5);
    let units: Vec<u32> = (0..256).collect();
    let mut counts = vec![0.0; 9];
    codes.codes.chunks(3).for_each(|row| (0..3).for_each(|j| counts[vae.offsets[j] + usize::from(row[j])] += 1.0));
    let marginals = Marginals::from_noisy(&layout(), &counts).unwrap();
    let mut parameters = vae.initialise(&marginals, 6);
    let mut adam = Adam::new(AdamSettings { learning_rate: 2e-2, average_decay: 0.9 }, &parameters);
    let (mut workspace, mut gradient) = (VaeWorkspace::default(), vec![0.0; parameters.len()]);
    let copies = |parameters: &[f32]| {
        let mut sums = vec![0.0; vae.moments()];
        let mut moments = sums.clone();
        for unit in 0..256 {
            vae.latent_moments(parameters, &codes, unit, [7; 32], &mut moments);
            assert!(moments.iter().map(|m| m * m).sum::<f64>() <= 1.0 + 1e-9);
            sums.iter_mut().zip(&moments).for_each(|(s, m)| *s += m);
        }
        let prior = Prior::from_moments(&vae, &sums, 256.0);
        let generator = VaeGenerator::new(vae.clone(), parameters.to_vec(), prior);
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        generator.generate(1000, None, None, &mut ChaCha8Rng::seed_from_u64(8), &mut out, &mut offsets);
        out.chunks(3).filter(|row| row[0] == row[1]).count()
    };
    let before = copies(&parameters);
    for step in 0..150 {
        let clip = |squared: f64| (1.0 / squared.sqrt()).min(1.0) as f32;
        let parts = vae.clipped_sum(&parameters, &codes, &units, [9; 32], step, &clip, &mut workspace);
        add_parts(parts, 0, &mut gradient);
        gradient.iter_mut().for_each(|g| *g /= 256.0);
        adam.step(&mut parameters, &gradient);
    }
    let after = copies(adam.average());
    assert!(before < 500 && after > 800, "{before} of 1000 rows agreed before, {after} after");
}

#[test]
fn calibration_puts_the_marginals_back() {
    let vae = Vae::new(&layout(), settings()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut parameters = vae.initialise(&marginals(), 1);
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.5..0.5));
    let prior = Prior::standard(5);
    let frequencies = |parameters: &[f32]| {
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        let generator = VaeGenerator::new(vae.clone(), parameters.to_vec(), prior.clone());
        generator.generate(20_000, None, None, &mut ChaCha8Rng::seed_from_u64(3), &mut out, &mut offsets);
        let mut counts = vec![0.0f32; 9];
        out.chunks(3)
            .for_each(|row| (0..3).for_each(|j| counts[vae.offsets[j] + usize::from(row[j])] += 1.0 / 20_000.0));
        counts
    };
    let worst = |parameters: &[f32]| {
        frequencies(parameters).iter().zip(marginals().probabilities()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(worst(&parameters) > 0.1);
    vae.calibrate(&mut parameters, &prior, &marginals(), 4);
    assert!(worst(&parameters) < 0.025); // 4,096 draws stand for the prior, 20,000 rows measure it
}

#[test]
fn generated_rows_fit_the_layout_and_the_number_of_rows_says_itself() {
    let vae = Vae::new(&layout(), settings()).unwrap();
    let generator = VaeGenerator::new(vae.clone(), vae.initialise(&marginals(), 1), Prior::standard(5));
    let draw = |seed, rows_column| {
        let (mut out, mut offsets) = (vec![9; 4], vec![9; 4]);
        generator.generate(700, rows_column, None, &mut ChaCha8Rng::seed_from_u64(seed), &mut out, &mut offsets);
        (out, offsets)
    };
    let (out, offsets) = draw(1, Some(2));
    assert_eq!((offsets.len(), out.len()), (701, 3 * offsets[700] as usize));
    assert!(offsets[700] > 800 && offsets[700] < 1200); // 40 % of the units have a second row
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
    let vae = Vae::new(&layout(), settings()).unwrap();
    let generator = VaeGenerator::new(vae.clone(), vae.initialise(&marginals(), 1), Prior::standard(5));
    let tensors = generator.tensors();
    let again = VaeGenerator::from_tensors(&layout(), settings(), &tensors).unwrap();
    let draw = |generator: &VaeGenerator| {
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        generator.generate(300, Some(2), None, &mut ChaCha8Rng::seed_from_u64(1), &mut out, &mut offsets);
        out
    };
    assert_eq!(draw(&generator), draw(&again));
    for spoiled in 0..tensors.len() {
        let mut broken = tensors.clone();
        broken[spoiled].2.pop();
        assert!(VaeGenerator::from_tensors(&layout(), settings(), &broken).is_err());
        let mut broken = tensors.clone();
        broken[spoiled].1 = vec![usize::MAX, 2];
        assert!(VaeGenerator::from_tensors(&layout(), settings(), &broken).is_err());
        let mut broken = tensors.clone();
        broken.remove(spoiled);
        assert!(VaeGenerator::from_tensors(&layout(), settings(), &broken).is_err());
    }
    let extremes = [vec![], vec![0], vec![usize::MAX], vec![8; 100]];
    for hidden in extremes {
        assert!(Vae::new(&layout(), VaeSettings { hidden, ..settings() }).is_err());
    }
    assert!(Vae::new(&layout(), VaeSettings { shared: 6, ..settings() }).is_err());
    assert!(Vae::new(&layout(), VaeSettings { kl_weight: f32::NAN, ..settings() }).is_err());
    assert!(Vae::new(&Layout { cells: vec![usize::MAX, 2] }, settings()).is_err());
    assert!(Vae::new(&Layout { cells: vec![] }, settings()).is_err());
    let huge = Layout { cells: vec![1 << 16; 1 << 16] };
    assert!(Vae::new(&huge, settings()).is_err());
}

#[test]
fn a_unit_without_rows_has_no_say() {
    let vae = Vae::new(&layout(), settings()).unwrap();
    let parameters = vae.initialise(&marginals(), 1);
    let codes = codes(&[0, 2], 1);
    let mut moments = vec![1.0; vae.moments()];
    vae.latent_moments(&parameters, &codes, 0, [1; 32], &mut moments);
    assert!(moments.iter().all(|&m| m == 0.0));
    let mut gradient = vec![1.0; parameters.len()];
    let mut workspace = VaeWorkspace::default();
    add_parts(vae.clipped_sum(&parameters, &codes, &[0], [1; 32], 1, &|_| 1.0, &mut workspace), 0, &mut gradient);
    assert!(gradient.iter().all(|&g| g == 0.0));
}
