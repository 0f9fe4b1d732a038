//! The gradient against differences, the fit against a law known by hand, generation against the classes.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::objective::{Objective, Workspace};
use super::project::toward;
use super::{Measured, MeasuredTable, Mixture, STEPS, Steps, fit};
use crate::encode::Layout;
use crate::model::{Evidence, Generator, Marginals};
use crate::nn::{Matrix, softmax};

/// Three columns: the first two agree nine times in ten, the third is 1 when they differ.
fn law(a: usize, b: usize, label: usize) -> f64 {
    let agree = a == b;
    let pair = if agree { 0.9 / 3.0 } else { 0.1 / 6.0 };
    if agree == (label == 0) { pair } else { 0.0 }
}

fn measured(noise_std: f32, rng: &mut ChaCha8Rng) -> Measured {
    let layout = Layout { cells: vec![3, 3, 2] };
    let mut noise = || noise_std * (rng.random::<f32>() - 0.5) * 12f32.sqrt();
    let columns = [vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]];
    let mut tables: Vec<MeasuredTable> = Vec::new();
    for columns in columns {
        let cells = columns.iter().map(|&c| layout.cells[c]).product();
        let mut shares = vec![0.0f32; cells];
        for cell in 0..18 {
            let codes = [cell / 6, cell / 2 % 3, cell % 2];
            let place = columns.iter().fold(0, |place, &c| place * layout.cells[c] + codes[c]);
            shares[place] += law(codes[0], codes[1], codes[2]) as f32;
        }
        shares.iter_mut().for_each(|share| *share += noise());
        tables.push(MeasuredTable { columns, shares, noise_std });
    }
    let third = 1.0 / 3.0;
    let marginals = Marginals::from_shares(&layout, vec![third, third, third, third, third, third, 0.9, 0.1]);
    Measured { marginals, marginals_noise_std: vec![noise_std; 8], layout, tables }
}

/// A pair that was counted twice, and each time to be something else, cannot be had at once.
#[test]
fn what_contradicts_itself_is_not_fitted_for_ever() {
    let mut measured = measured(0.002, &mut ChaCha8Rng::seed_from_u64(5));
    let mut other = measured.tables[0].clone();
    other.shares.rotate_left(1);
    measured.tables.push(other);
    let steps = std::sync::Mutex::new(0);
    fit(&measured, 1, STEPS, &|_| *steps.lock().unwrap() += 1);
    let steps = steps.into_inner().unwrap();
    assert!(steps > 4 * 128 && steps < 4 * STEPS / 2, "{steps}");
}

/// The gradient by each number of `P` and `w` is the slope of the objective, triples included.
#[test]
fn gradient_is_the_derivative_of_the_objective() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let measured = measured(0.05, &mut rng);
    let objective = Objective::new(&measured);
    let cells = 8.0 + 9.0 + 6.0 + 6.0 + 18.0;
    let mut p = Matrix::default();
    p.reshape(4, 8);
    p.values_mut().fill_with(|| rng.random_range(-1.0..1.0));
    softmax::probabilities(p.values_mut(), &measured.layout.offsets());
    let w = [0.1f32, 0.2, 0.3, 0.4];
    let mut workspace = Workspace::default();
    objective.gradient(&p, &w, &mut workspace);
    let (by_probability, by_weight) = (workspace.by_probability.values().to_vec(), workspace.by_weight.clone());
    let mut value = |p: &Matrix, w: &[f32]| cells * objective.gradient(p, w, &mut workspace);
    let step = 1e-2;
    for (i, &slope) in by_probability.iter().enumerate() {
        let mut shifted = |by: f32| {
            let mut p = p.clone();
            p.values_mut()[i] += by;
            value(&p, &w)
        };
        let difference = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
        assert!(
            (difference - f64::from(slope)).abs() < 0.02 * f64::from(slope.abs().max(1.0)),
            "p {i}: {difference} {slope}"
        );
    }
    for (i, &slope) in by_weight.iter().enumerate() {
        let mut shifted = |by: f32| {
            let mut w = w;
            w[i] += by;
            value(&p, &w)
        };
        let difference = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
        assert!(
            (difference - f64::from(slope)).abs() < 0.02 * f64::from(slope.abs().max(1.0)),
            "w {i}: {difference} {slope}"
        );
    }
}

/// Enough for any two sums in another order to have drifted apart.
const FEW_STEPS: usize = 256;

/// The fit finds the law within its noise, generation draws it, and the number of threads changes no bit. Once a member has
/// ended, what is left to do is known within a factor of two.
#[test]
fn the_law_is_found_and_drawn_at_any_number_of_threads() {
    let measured = measured(0.002, &mut ChaCha8Rng::seed_from_u64(5));
    let told = std::sync::Mutex::new(Vec::new());
    let fitted = |threads: usize, steps: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&measured, 1, steps, &|steps| told.lock().unwrap().push(steps)))
    };
    assert!(fitted(1, FEW_STEPS).tensors() == fitted(3, FEW_STEPS).tensors(), "threads change the fit");
    told.lock().unwrap().clear();
    let mixture = fitted(1, STEPS);
    let told: Vec<Steps> = std::mem::take(&mut *told.lock().unwrap());
    let all = told.len();
    assert!(told.iter().zip(1..).all(|(steps, number)| steps.done == number), "each step of each member is told");
    let likely: Vec<usize> = told.iter().filter_map(|steps| steps.likely).collect();
    assert!(likely.len() > all / 2 && likely.iter().all(|&likely| likely <= 2 * all && all <= 2 * likely), "{all}");
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    mixture.generate(20_000, None, None, &mut ChaCha8Rng::seed_from_u64(7), &mut codes, &mut offsets);
    assert_eq!((codes.len(), offsets.len()), (60_000, 20_001));
    for cell in 0..18 {
        let wanted = [cell / 6, cell / 2 % 3, cell % 2];
        let share = codes.chunks(3).filter(|row| (0..3).all(|c| usize::from(row[c]) == wanted[c])).count() as f64 / 2e4;
        // Four standard errors of a draw (below 0.013) and the noise of what was measured.
        assert!((share - law(wanted[0], wanted[1], wanted[2])).abs() < 0.02, "{wanted:?}: {share}");
    }
}

#[test]
fn a_unit_has_as_many_rows_as_its_column_says() {
    let layout = Layout { cells: vec![2, 3] };
    let mut probabilities = Matrix::default();
    probabilities.reshape(2, 5);
    probabilities.values_mut().copy_from_slice(&[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    let mixture = Mixture::new(layout.offsets(), probabilities, vec![0.25, 0.75]);
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    mixture.generate(1000, Some(1), None, &mut ChaCha8Rng::seed_from_u64(1), &mut codes, &mut offsets);
    let of_one = offsets.windows(2).filter(|unit| unit[1] - unit[0] == 1).count();
    assert!(of_one.abs_diff(250) <= 1, "classes are taken in proportion: {of_one}");
    for unit in offsets.windows(2) {
        let rows = &codes[2 * unit[0] as usize..2 * unit[1] as usize];
        assert!(rows.chunks(2).all(|row| row == if rows.len() == 2 { [0, 0] } else { [1, 2] }));
        assert!(rows.len() == 2 || rows.len() == 6);
    }
}

#[test]
fn shares_move_by_what_noise_does_not_explain() {
    assert_eq!(toward(&[0.5, 0.5], &[0.6, 0.4], &[0.1, 0.1]), [0.5, 0.5]);
    let moved = toward(&[0.5, 0.5], &[0.6, 0.4], &[0.05, 0.05]);
    assert!((moved[0] - 0.575).abs() < 1e-6 && (moved[1] - 0.425).abs() < 1e-6, "{moved:?}");
    assert_eq!(toward(&[0.5], &[0.7], &[0.0]), [0.7]);
}

#[test]
fn hostile_tensors_are_refused() {
    let layout = Layout { cells: vec![2] };
    let mut probabilities = Matrix::default();
    probabilities.reshape(1, 2);
    probabilities.values_mut().copy_from_slice(&[0.25, 0.75]);
    let good = Mixture::new(layout.offsets(), probabilities, vec![1.0]).tensors();
    assert_eq!(Mixture::from_tensors(&layout, &good).unwrap().tensors(), good);
    for (tensor, place, value) in [(0, 0, -0.25), (0, 1, 0.5), (0, 0, f32::NAN), (1, 0, 0.5), (1, 0, -1.0)] {
        let mut bad = good.clone();
        bad[tensor].2[place] = value;
        assert!(Mixture::from_tensors(&layout, &bad).is_err(), "{tensor} {place} {value}");
    }
    assert!(Mixture::from_tensors(&layout, &good[..1]).is_err());
    assert!(Mixture::from_tensors(&Layout { cells: vec![3] }, &good).is_err());
}

/// Two classes that say the opposite: the second is three times as likely.
fn opposites() -> Mixture {
    let layout = Layout { cells: vec![2, 2] };
    let mut probabilities = Matrix::default();
    probabilities.reshape(2, 4);
    probabilities.values_mut().copy_from_slice(&[0.9, 0.1, 0.8, 0.2, 0.2, 0.8, 0.0, 1.0]);
    Mixture::new(layout.offsets(), probabilities, vec![0.25, 0.75])
}

#[test]
fn evidence_moves_the_classes_by_bayes_rule() {
    let mixture = opposites();
    let mut evidence = Evidence::none(&Layout { cells: vec![2, 2] });
    evidence.observe(0, 0);
    // 0.25 * 0.9 = 0.225 and 0.75 * 0.2 = 0.15.
    let expected = mixture.probabilities(&evidence, &mut ChaCha8Rng::seed_from_u64(1));
    assert_eq!(expected.len(), 1);
    assert!((expected[0] - 0.375).abs() < 1e-6);
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    mixture.generate(10_000, None, Some(&evidence), &mut ChaCha8Rng::seed_from_u64(2), &mut codes, &mut offsets);
    assert!(codes.chunks(2).all(|row| row[0] == 0));
    // The other column is 0 only in the first class: 0.6 * 0.8, four standard errors below 0.02.
    let zeros = codes.chunks(2).filter(|row| row[1] == 0).count() as f64 / 1e4;
    assert!((zeros - 0.48).abs() < 0.02, "{zeros}");
}

/// A unit of one row, or of two: that both agree is the less likely.
#[test]
fn all_rows_of_a_unit_agree_with_the_evidence() {
    let layout = Layout { cells: vec![2, 2] };
    let mut probabilities = Matrix::default();
    probabilities.reshape(1, 4);
    probabilities.values_mut().copy_from_slice(&[0.5, 0.5, 0.5, 0.5]);
    let mixture = Mixture::new(layout.offsets(), probabilities, vec![1.0]);
    let mut evidence = Evidence::none(&layout);
    evidence.observe(0, 1);
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    mixture.generate(10_000, Some(1), Some(&evidence), &mut ChaCha8Rng::seed_from_u64(3), &mut codes, &mut offsets);
    assert!(codes.chunks(2).all(|row| row[0] == 1));
    let singles = offsets.windows(2).filter(|unit| unit[1] - unit[0] == 1).count() as f64 / 1e4;
    assert!((singles - 2.0 / 3.0).abs() < 0.02, "{singles}");
}

#[test]
fn nats_add_up_to_the_likelihood_of_the_row() {
    let mixture = opposites();
    let rows = [0u16, 0, 0, 1, 1, 1];
    let mut nats = [0.0; 6];
    mixture.nats(&rows, &mut ChaCha8Rng::seed_from_u64(1), &mut nats);
    for (row, nats) in rows.chunks(2).zip(nats.chunks(2)) {
        let (a, b) = (usize::from(row[0]), usize::from(row[1]));
        let likelihood: f64 = 0.25 * [0.9, 0.1][a] * [0.8, 0.2][b] + 0.75 * [0.2, 0.8][a] * [0.0, 1.0][b];
        assert!(((-nats[0] - nats[1]).exp() - likelihood).abs() < 1e-6);
    }
}

#[test]
fn one_class_is_the_control() {
    let layout = Layout { cells: vec![3, 2] };
    let marginals = Marginals::from_noisy(&layout, &[0.0, 500.0, 500.0, 900.0, 100.0]).unwrap();
    let (mut codes, mut offsets) = (Vec::new(), Vec::new());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    Mixture::independent(&marginals).generate(4000, Some(0), None, &mut rng, &mut codes, &mut offsets);
    assert_eq!((offsets.len(), codes.len()), (4001, 2 * offsets[4000] as usize));
    for unit in offsets.windows(2) {
        assert!((unit[0]..unit[1]).all(|r| u32::from(codes[2 * r as usize]) + 1 == unit[1] - unit[0]));
    }
    let twos = offsets.windows(2).filter(|u| u[1] - u[0] == 2).count();
    assert!(twos.abs_diff(2000) < 160); // five standard deviations
    let ones = codes.chunks(2).filter(|row| row[1] == 1).count() as f64;
    assert!((ones / f64::from(offsets[4000]) - 0.1).abs() < 0.015);
}
