//! Singling out, linkability and inference, each as excess over equally many people who were not in the training table
//! (Anonymeter, 2211.10459).

use super::attack::Attacks;
use super::bound::binomial_tail;
use super::neighbours::{Measure, Side};
use super::records::{LAST_PLACE, NOWHERE, Places, Records};
use super::result::RiskKind;
use super::statistics::{clopper_pearson, expected_hits, more_hits};
use rand::seq::{SliceRandom, index::sample};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// People of either side that are attacked, at most.
const MOST_ATTACKED: usize = 2_000;
/// Synthetic rows that an attacker looks at, at most.
const MOST_SYNTHETIC: usize = 20_000;
/// Predicates that are tried of each kind.
const PREDICATES: usize = 1_000;
/// Columns of a predicate that is made of several.
const PREDICATE_COLUMNS: usize = 4;
/// Columns taken for secrets, where the schema names no target.
const MOST_SECRETS: usize = 6;
/// What an interval leaves out is rejected at this level on either side.
const SIGNIFICANCE: f64 = 0.025;
/// A number is inferred when it is within this part of the ranks.
const NEAR: u16 = LAST_PLACE / 32;

/// A risk before correction.
pub(super) struct Measured {
    pub kind: RiskKind,
    pub what: String,
    pub attacked: usize,
    pub members: f64,
    pub control: f64,
    pub excess: f64,
    pub excess_ci: (f64, f64),
    pub p: f64,
}

/// All three. `secrets` are the columns that an attacker wants to know; without any, those with the evenest values.
pub(super) fn risks(records: &Records, attacks: &Attacks, secrets: &[usize], seed: u64) -> Vec<Measured> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (members, control) = equal_sides(records, &mut rng);
    let mut risks = vec![
        singling_out(records, &members, &control, 1, &mut rng),
        singling_out(records, &members, &control, PREDICATE_COLUMNS, &mut rng),
        compared(RiskKind::Linkability, "two halves of the columns".into(), &members, &control, |row| {
            attacks.linked[row]
        }),
    ];
    let secrets = if secrets.is_empty() { evenest(records) } else { secrets.to_vec() };
    let some = records.synthetic_rows().min(MOST_SYNTHETIC);
    let made: Vec<u32> = sample(&mut rng, records.synthetic_rows(), some).iter().map(|row| row as u32).collect();
    for secret in secrets {
        risks.push(inference(records, &members, &control, secret, made.clone()));
    }
    risks
}

/// One row each of equally many members and others.
fn equal_sides(records: &Records, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
    let mut side = |of: bool| -> Vec<usize> {
        let mut units: Vec<usize> = (0..records.units()).filter(|&unit| records.member[unit] == of).collect();
        units.shuffle(rng);
        units.truncate(MOST_ATTACKED);
        let row = |&unit: &usize| rng.random_range(records.offsets[unit]..records.offsets[unit + 1]) as usize;
        units.iter().map(row).collect()
    };
    let (mut members, mut control) = (side(true), side(false));
    let size = members.len().min(control.len());
    members.truncate(size);
    control.truncate(size);
    (members, control)
}

/// Predicates that one synthetic row satisfies, over one column or several. A success isolates one person.
fn singling_out(
    records: &Records,
    members: &[usize],
    control: &[usize],
    columns: usize,
    rng: &mut ChaCha8Rng,
) -> Measured {
    let width = records.columns.len();
    let (mut isolated, mut isolated_control) = (Vec::new(), Vec::new());
    for _ in 0..PREDICATES {
        let row = rng.random_range(0..records.synthetic_rows());
        let chosen = sample(rng, width, columns.min(width)).into_vec();
        let terms: Vec<(&Places, u16)> =
            chosen.iter().map(|&c| (&records.columns[c], records.columns[c].synthetic[row])).collect();
        // A number alone is taken as it is, among others by the side of the middle on which it lies.
        let holds = |row: usize| {
            terms.iter().all(|&(column, place)| match column.pool[row] {
                p if !column.is_number || place == NOWHERE || columns == 1 => p == place,
                p if place > LAST_PLACE / 2 => p >= place && p != NOWHERE,
                p => p <= place,
            })
        };
        let only = |rows: &[usize]| {
            let mut found = rows.iter().copied().filter(|&row| holds(row));
            found.next().filter(|_| found.next().is_none())
        };
        isolated.extend(only(members));
        isolated_control.extend(only(control));
    }
    for rows in [&mut isolated, &mut isolated_control] {
        rows.sort_unstable();
        rows.dedup();
    }
    let what = if columns == 1 { "a value of one column".into() } else { format!("{columns} columns together") };
    // Whoever is isolated is a member or not by a fair coin, if the synthetic table knows nothing.
    let hits = [isolated.len(), isolated_control.len()];
    let all = hits[0] + hits[1];
    let p = binomial_tail(all, 0.5, hits[0]);
    let (low, high) = if all > 0 { clopper_pearson(hits[0], all, SIGNIFICANCE) } else { (0.0, 1.0) };
    figures(RiskKind::SinglingOut, what, hits, members.len(), p, (low * all as f64, high * all as f64))
}

/// Whether the nearest synthetic row on all other columns has the secret of a person.
fn inference(records: &Records, members: &[usize], control: &[usize], secret: usize, made: Vec<u32>) -> Measured {
    let measure = Measure::new(records, Some(secret));
    let targets = measure.targets(Side::Synthetic, made);
    let rows = [members, control].concat();
    let near = measure.surroundings(records, &rows, &targets, Side::Synthetic);
    let column = &records.columns[secret];
    let hits: std::collections::HashSet<usize> = rows
        .iter()
        .zip(&near)
        .filter(|(row, near)| {
            let (truth, guess) = (column.pool[**row], column.synthetic[near.nearest as usize]);
            let reach = if column.is_number && truth != NOWHERE { NEAR } else { 0 };
            truth.abs_diff(guess) <= reach
        })
        .map(|(row, _)| *row)
        .collect();
    compared(RiskKind::Inference, records.names[secret].clone(), members, control, |row| hits.contains(&row))
}

/// Columns whose commonest value is the rarest: the hardest to guess.
fn evenest(records: &Records) -> Vec<usize> {
    let commonest = |column: usize| {
        let runs = records.columns[column].sorted.chunk_by(|a, b| a == b).map(<[u16]>::len).max().unwrap_or(0);
        (runs, column)
    };
    let mut columns: Vec<(usize, usize)> = (0..records.columns.len()).map(commonest).collect();
    columns.sort_unstable();
    columns.into_iter().take(MOST_SECRETS).map(|(_, column)| column).collect()
}

fn compared(
    kind: RiskKind,
    what: String,
    members: &[usize],
    control: &[usize],
    succeeds: impl Fn(usize) -> bool,
) -> Measured {
    let hits = [members, control].map(|rows| rows.iter().filter(|&&row| succeeds(row)).count());
    let p = more_hits(hits[0], members.len(), hits[1], control.len());
    let units = (members.len() + control.len(), members.len());
    let expected = expected_hits(units, hits[0] + hits[1], hits[0], SIGNIFICANCE);
    figures(kind, what, hits, members.len(), p, expected)
}

/// Shares, and the excess between those that it would have were the hits among members the lowest and the highest number that
/// the test does not reject, of as many hits altogether.
fn figures(kind: RiskKind, what: String, hits: [usize; 2], of: usize, p: f64, (low, high): (f64, f64)) -> Measured {
    let n = of as f64;
    let all = (hits[0] + hits[1]) as f64;
    let excess = |hits: f64| {
        let (members, control) = (hits / n, (all - hits) / n);
        if control < 1.0 { ((members - control) / (1.0 - control)).clamp(-1.0, 1.0) } else { 0.0 }
    };
    let [members, control] = hits.map(|hits| hits as f64 / n);
    let excess_ci = (excess(low), excess(high));
    Measured { kind, what, attacked: of, members, control, excess: excess(hits[0] as f64), excess_ci, p }
}
