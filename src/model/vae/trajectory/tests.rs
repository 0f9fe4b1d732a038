use super::loss::{MOST_ROWS, TrajectoryBuffers, TrajectoryLoss};
use super::*;
use crate::encode::{CodeStore, Codes};
use crate::model::network::tests::assert_units_leave_the_same_behind;
use crate::model::vae::tests::assert_derivative;
use crate::model::{Marginals, Mixture, Trainable};
use crate::nn::{Adam, AdamSettings, Workspace, add_parts, clipped_sum, softmax};
use rand::Rng;

/// A root of two columns, the second the number of rows below, and a chapter below it of three columns: two that are drawn
/// and one that is known.
const CELLS: [[usize; 3]; 2] = [[3, 4, 0], [2, 3, 2]];

fn told(cells: &[usize], drawn: usize, above: Option<Above>) -> Told {
    let layout = Layout { cells: cells.to_vec() };
    let counts: Vec<f64> = (0..layout.total()).map(|cell| 100.0 + 40.0 * (cell % 3) as f64).collect();
    let marginals = Marginals::from_noisy(&layout, &counts).unwrap();
    let law = Arc::new(Tied::untied(Mixture::independent(&marginals)));
    Told { law, drawn, known: (drawn..cells.len()).collect(), first: Some(1), layout, above }
}

fn trajectory(hidden: Vec<usize>) -> Trajectory {
    let settings = VaeSettings { hidden, latent: 4, shared: 4, kl_weight: 0.5 };
    let above = Above { chapter: 0, column: 1, rows: vec![0, 1, 2, 5] };
    Trajectory::new(settings, vec![told(&CELLS[0][..2], 2, None), told(&CELLS[1], 2, Some(above))]).unwrap()
}

/// Trajectories of persons: for each the rows of their views, each with its chapter.
fn store(trajectory: &Trajectory, persons: &[Vec<(u16, Vec<u16>)>]) -> CodeStore {
    let (mut codes, mut offsets) = (Vec::new(), vec![0]);
    for rows in persons {
        rows.iter().for_each(|(chapter, view)| codes.extend(trajectory.rows(*chapter, view)));
        offsets.push((codes.len() / trajectory.width()) as u32);
    }
    Codes { codes, width: trajectory.width(), offsets }.into()
}

/// Persons with so many rows below each.
fn codes(trajectory: &Trajectory, below: &[usize], rng: &mut ChaCha8Rng) -> CodeStore {
    let person = |&rows: &usize| {
        let mut person = vec![(0, vec![rng.random_range(0..3), rng.random_range(0..4)])];
        let row = |_| (1, vec![rng.random_range(0..2), rng.random_range(0..3), rng.random_range(0..2)]);
        person.extend((0..rows).map(row));
        person
    };
    store(trajectory, &below.iter().map(person).collect::<Vec<_>>())
}

/// Parameters at which every weight says something.
fn shaken(trajectory: &Trajectory, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = trajectory.initialise(1);
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.4..0.4));
    trajectory.mask(&mut parameters);
    parameters
}

/// Negative evidence bound of one person, from the definitions.
fn bound(trajectory: &Trajectory, parameters: &[f32], codes: &CodeStore, unit: u32) -> f64 {
    let loss = TrajectoryLoss { trajectory, codes, key: [3; 32], step: 4, most_rows: MOST_ROWS };
    let mut buffers = TrajectoryBuffers::default();
    loss.encode(parameters, &[unit], &mut buffers);
    let latent = trajectory.settings.latent;
    let cost = |posterior: &[f32]| -> f64 {
        let law = |l: usize| (f64::from(posterior[l]), f64::from(posterior[latent + l]));
        let kl = |(mean, log_variance): (f64, f64)| 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance);
        (0..latent).map(|l| kl(law(l))).sum()
    };
    let mut sum = f64::from(trajectory.settings.kl_weight) * cost(buffers.posterior.values());
    loss.decode(parameters, &mut buffers);
    for (number, chapter) in trajectory.chapters.iter().enumerate() {
        let offsets = chapter.drawn_offsets();
        let (logits, drawn) = buffers.output(number);
        for (r, drawn) in drawn.chunks_exact(offsets.len() - 1).enumerate() {
            sum += softmax::cross_entropy(logits.row_mut(r), &offsets, drawn);
        }
    }
    sum
}

#[test]
fn gradient_is_the_derivative_of_the_bound_of_the_whole_trajectory() {
    let trajectory = trajectory(vec![9, 7]);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let codes = codes(&trajectory, &[0, 1, 4], &mut rng);
    let parameters = shaken(&trajectory, 2);
    for unit in 0..3 {
        let mut gradient = vec![0.0; parameters.len()];
        let mut workspace = Workspace::default();
        let loss = trajectory.loss(&codes, [3; 32], 4);
        add_parts(clipped_sum(&loss, &parameters, &[unit], &|_| 1.0, &mut workspace), 0, &mut gradient);
        let bound = |parameters: &[f32]| bound(&trajectory, parameters, &codes, unit);
        assert_derivative(&trajectory.table, &parameters, &gradient, bound, &mut rng);
    }
}

#[test]
fn persons_do_not_see_each_other() {
    let trajectory = trajectory(vec![24]);
    let below: Vec<usize> = (0..120).map(|person| [1, 0, 3, 0, 60][person % 5]).collect();
    let codes = codes(&trajectory, &below, &mut ChaCha8Rng::seed_from_u64(5));
    assert_units_leave_the_same_behind(&trajectory, trajectory.initialise(1), &codes);
}

/// Each person has a secret bit, which all rows below show and nothing that they are told from does: the share of
/// neighbouring rows that agree is a half without the latent (2,000 rows, standard deviation .011), and near one with it.
#[test]
fn the_latent_ties_the_rows_of_a_person() {
    let trajectory = trajectory(vec![24]);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let person = |_| {
        let secret = rng.random_range(0..2u16);
        let mut person = vec![(0, vec![rng.random_range(0..3), 3])];
        person.extend((0..5).map(|_| (1, vec![secret, rng.random_range(0..3), rng.random_range(0..2)])));
        person
    };
    let codes = store(&trajectory, &(0..1000).map(person).collect::<Vec<_>>());
    let agreement = |parameters: &[f32]| {
        let drawn = trajectory.draw(parameters, 600, &mut ChaCha8Rng::seed_from_u64(4));
        let (mut same, mut all) = (0, 0);
        for person in 0..drawn.units() {
            let below = drawn.unit_rows(person).map(|r| drawn.row(r)).filter(|row| row[0] == 1);
            // In the order of the network: what is known, the column that is first, and this one.
            let bits: Vec<u16> = below.map(|row| row[3]).collect();
            same += bits.windows(2).filter(|pair| pair[0] == pair[1]).count();
            all += bits.len().saturating_sub(1);
        }
        f64::from(same as u32) / f64::from(all.max(1) as u32)
    };
    let mut parameters = trajectory.initialise(1);
    let before = agreement(&parameters);
    let settings = AdamSettings { learning_rate: 1e-2, average_decay: 0.9 };
    let mut optimiser = Adam::new(settings, &parameters);
    let (mut workspace, units) = (Workspace::default(), (0..1000).collect::<Vec<u32>>());
    for step in 0..300 {
        let clip = |squared: f64| (1.0 / squared.sqrt()).min(1.0) as f32;
        let mut gradient = vec![0.0; parameters.len()];
        let loss = trajectory.loss(&codes, [1; 32], step);
        add_parts(clipped_sum(&loss, &parameters, &units, &clip, &mut workspace), 0, &mut gradient);
        gradient.iter_mut().for_each(|g| *g /= 1000.0);
        optimiser.step(&mut parameters, &gradient);
        trajectory.mask(&mut parameters);
    }
    let after = agreement(optimiser.average());
    assert!((0.45..0.56).contains(&before), "{before}");
    assert!(after > 0.9, "{after}");
}

/// What a row is told from stays, and an impossible cell is never drawn.
#[test]
fn a_row_keeps_what_is_known_of_it() {
    let trajectory = trajectory(vec![24]);
    let parameters = shaken(&trajectory, 8);
    let generator = TrajectoryGenerator::new(trajectory, parameters);
    let (mut room, mut rng) = (Room::default(), ChaCha8Rng::seed_from_u64(1));
    let mut seen = [0; 3];
    for i in 0..300u16 {
        let mut codes = [0, 0, i % 2];
        let latent = generator.latent(&mut rng);
        generator.draw_row(1, &latent, &[(1, &[1.0, 0.0, 0.5])], &mut room, &mut rng, &mut codes);
        assert_eq!(codes[2], i % 2);
        seen[usize::from(codes[1])] += 1;
    }
    assert_eq!(seen[1], 0);
    assert!(seen[0] > 0 && seen[2] > 0, "{seen:?}");
}

#[test]
fn what_is_stored_is_read_back_or_refused() {
    let trajectory = trajectory(vec![9, 7]);
    let parameters = shaken(&trajectory, 8);
    let mut tensors = trajectory.tensors(&parameters);
    assert_eq!(trajectory.parameters(&tensors).unwrap(), parameters);
    tensors[0].2[0] = f32::NAN;
    assert!(trajectory.parameters(&tensors).is_err());
    tensors.remove(0);
    assert!(trajectory.parameters(&tensors).is_err());
}
