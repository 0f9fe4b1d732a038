//! The audit on tables of which the answer is known.

use super::*;
use crate::evaluate::table::Tables;
use crate::ingest::{FrameColumn, Values};
use rand::Rng;

const COLUMNS: usize = 8;

/// `rows` rows of an invented population: four numbers and four categories that hang together.
fn population(rows: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let row = |_| {
        let severity: f64 = rng.random();
        let mut row: Vec<f64> =
            (0..COLUMNS / 2).map(|_| (50.0 * severity + 20.0 * rng.random::<f64>()).round()).collect();
        row.extend((0..COLUMNS / 2).map(|_| (8.0 * severity + 3.0 * rng.random::<f64>()).floor()));
        row
    };
    (0..rows).map(row).collect()
}

fn frame(rows: &[Vec<f64>], unit: Option<Vec<u32>>) -> Frame {
    let number = |c: usize| Values::Number(rows.iter().map(|row| row[c]).collect());
    let category = |c: usize| Values::Text {
        codes: rows.iter().map(|row| row[c] as u32).collect(),
        labels: (0..12).map(|label| format!("group {label}")).collect(),
    };
    let column =
        |c| FrameColumn { name: format!("column {c}"), values: if c < COLUMNS / 2 { number(c) } else { category(c) } };
    Frame { rows: rows.len(), columns: (0..COLUMNS).map(column).collect(), unit }
}

fn audited(members: &[Vec<f64>], holdout: &[Vec<f64>], synthetic: &[Vec<f64>]) -> Audit {
    let (members, holdout, synthetic) = (frame(members, None), frame(holdout, None), frame(synthetic, None));
    audit(&AuditRequest {
        members: &members,
        holdout: &holdout,
        synthetic: &synthetic,
        secrets: &[],
        is_public: &|_, label| label != "group 0",
        shadow: None,
        range: &|_| None,
        tables: 1,
        seed: 1,
    })
    .unwrap()
}

#[test]
fn copies_and_blurred_copies_are_found_and_fresh_rows_are_not() {
    let (members, holdout, fresh) = (population(700, 1), population(700, 2), population(700, 3));
    let clean = audited(&members, &holdout, &fresh);
    assert_eq!(clean.verdict, Verdict::Inconclusive, "{:?}", clean.reasons);
    assert!(clean.reasons[0].contains("a larger holdout helps"), "{:?}", clean.reasons);
    assert!(clean.attacks.iter().all(|a| !a.leak) && clean.risks.iter().all(|r| !r.leak));
    assert!(clean.controls.planted_found && clean.controls.fresh_passes && clean.controls.exchangeable);
    assert!(clean.epsilon_lower_bound < 0.1 && clean.epsilon_ceiling > 4.0);

    let some_copies = [&members[..40], &fresh[40..]].concat();
    let found = audited(&members, &holdout, &some_copies);
    assert_eq!(found.verdict, Verdict::LeakFound, "{:?}", found.reasons);
    assert!(found.attacks[0].leak && found.copies.members > found.copies.holdout);
    assert!(found.epsilon_lower_bound > 1.0 && found.epsilon_lower_bound < found.epsilon_ceiling);

    let blurred: Vec<Vec<f64>> = members
        .iter()
        .map(|row| row.iter().enumerate().map(|(c, &x)| if c < COLUMNS / 2 { x + 1.0 } else { x }).collect())
        .collect();
    let found = audited(&members, &holdout, &blurred);
    assert_eq!(found.verdict, Verdict::LeakFound, "{:?}", found.reasons);
    assert_eq!(found.copies.members, found.copies.holdout, "there is no exact copy");
}

/// A group of people is called by its value where that is public, and not otherwise.
#[test]
fn a_value_that_is_not_public_names_no_group() {
    let found = audited(&population(700, 22), &population(700, 23), &population(300, 24));
    let names: Vec<&str> = found.attacks.iter().map(|attack| attack.stratum.as_str()).collect();
    assert!(names.iter().any(|name| name.contains("= group 10")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("= a value that the schema does not list")), "{names:?}");
    assert!(names.iter().all(|name| !name.ends_with("group 0")), "{names:?}");
}

/// An audit that would pass but for one attack, whose p before correction is this part of its share.
fn passing(clean: &Audit, p: f64) -> Audit {
    let mut audit = clean.clone();
    audit.minimum_detectable_leak = Some(0.5);
    audit.attacks.iter_mut().for_each(|attack| attack.p = 1.0);
    audit.risks.iter_mut().for_each(|risk| risk.p = 1.0);
    audit.attacks[0].p = p * audit.attacks[0].share;
    audit
}

/// The tests of all tables are one family, and the worst verdict of any table is the verdict on all.
#[test]
fn tables_are_judged_together() {
    let (members, holdout, fresh) = (population(400, 25), population(400, 26), population(400, 27));
    let clean = audited(&members, &holdout, &fresh);
    let share: f64 = clean.attacks.iter().map(|a| a.share).chain(clean.risks.iter().map(|r| r.share)).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    let judged = |audits: Vec<Audit>| {
        let mut audits = audits;
        let all = judge(&mut audits.iter_mut().collect::<Vec<_>>());
        (all, audits.iter().map(|audit| audit.verdict).collect::<Vec<_>>(), audits[0].attacks[0].p_holm)
    };
    let one = |p| passing(&clean, p);
    let (alone, _, p) = judged(vec![one(0.006)]);
    assert!(alone == Verdict::LeakFound && (p - 0.006).abs() < 1e-12, "{p}");
    // With a second table the same p is one of twice as many.
    let (both, each, p) = judged(vec![one(0.006), one(1.0)]);
    assert!(both == Verdict::NoLeakFound && (p - 0.012).abs() < 1e-12, "{p}");
    assert_eq!(each, [Verdict::NoLeakFound; 2]);
    // Once the clearest is found, the next has its part of the level.
    let (_, each, _) = judged(vec![one(0.0001), one(0.006)]);
    assert_eq!(each, [Verdict::LeakFound, Verdict::NoLeakFound]);
    let unseen = || Audit { minimum_detectable_leak: Some(3.0), ..one(1.0) };
    assert_eq!(judged(vec![one(1.0), unseen()]).0, Verdict::Inconclusive);
    assert_eq!(judged(vec![one(0.0001), unseen()]).0, Verdict::LeakFound);
    assert_eq!(judge(&mut []), Verdict::Inconclusive, "nothing was looked at");
}

#[test]
fn the_same_figures_at_any_number_of_threads() {
    let (members, holdout, synthetic) = (population(300, 4), population(250, 5), population(200, 6));
    let at = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| audited(&members, &holdout, &synthetic))
    };
    assert_eq!(at(1), at(3));
}

/// People of a survey with few answers: many are alike, and each has so many rows. The labels come in the order in which they
/// are met.
fn survey(people: usize, rows_each: usize, seed: u64) -> Frame {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows = people * rows_each;
    let columns = (0..5).map(|column| {
        let cells: Vec<u32> = (0..rows).map(|_| rng.random_range(0..3)).collect();
        let mut labels: Vec<u32> = Vec::new();
        let code = |cell: u32| {
            let known = labels.iter().position(|&label| label == cell).unwrap_or(labels.len());
            if known == labels.len() {
                labels.push(cell);
            }
            known as u32
        };
        let codes = cells.into_iter().map(code).collect();
        let labels = labels.iter().map(|label| format!("answer {label}")).collect();
        FrameColumn { name: format!("question {column}"), values: Values::Text { codes, labels } }
    });
    let unit = (rows_each > 1).then(|| (0..rows).map(|row| (row / rows_each) as u32).collect());
    Frame { rows, columns: columns.collect(), unit }
}

fn surveyed(members: &Frame, holdout: &Frame, synthetic: &Frame) -> Audit {
    audit(&AuditRequest {
        members,
        holdout,
        synthetic,
        secrets: &[],
        is_public: &|_, _| true,
        shadow: None,
        range: &|_| None,
        tables: 1,
        seed: 1,
    })
    .unwrap()
}

/// Whoever of two tables is called members: each attack finds as much of the one as it lacks of the other, although many
/// rows are alike. Once the first rows of the pool, the members', were taken for the nearest of equals. What is learned from
/// the labels is learned of either.
#[test]
fn exchanged_roles_give_mirrored_scores() {
    let (a, b, made) = (survey(260, 2, 30), survey(240, 2, 31), survey(300, 1, 32));
    let (straight, mirrored) = (surveyed(&a, &b, &made), surveyed(&b, &a, &made));
    assert_eq!(straight.attacks.len(), mirrored.attacks.len());
    for attack in &straight.attacks {
        let of_same = |other: &&AttackFigures| (&other.name, &other.stratum) == (&attack.name, &attack.stratum);
        let other = mirrored.attacks.iter().find(of_same).unwrap();
        let where_ = format!("{}, {}", attack.name, attack.stratum);
        assert_eq!((attack.units, attack.members), (other.units, other.units - other.members), "{where_}");
        let is_learned = attack.name.starts_with("learned");
        let mirrored = if is_learned { attack.auc } else { 1.0 - attack.auc };
        assert!((mirrored - other.auc).abs() < 1e-9, "{where_}: {} and {}", attack.auc, other.auc);
        if attack.p_area.is_some() && !is_learned {
            assert!((attack.auc_ci.0 + other.auc_ci.1 - 1.0).abs() < 1e-9, "{where_}");
        }
    }
}

/// Honest tables in which many rows are alike: of twelve, the mean of each attack's area lies within 0.03 of one half, four
/// standard errors of so many people. It was 0.55 and more of lineage.
#[test]
fn ties_favour_neither_table() {
    let mut sums: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    const TABLES: u64 = 12;
    for seed in 0..TABLES {
        let of = |part: u64| survey(250, 1, 100 * seed + part);
        let found = surveyed(&of(1), &of(2), &of(3));
        for attack in found.attacks.iter().filter(|attack| attack.stratum == "all") {
            *sums.entry(attack.name.clone()).or_default() += attack.auc / TABLES as f64;
        }
    }
    for (name, mean) in sums {
        assert!((mean - 0.5).abs() < 0.03, "{name}: {mean}");
    }
}

/// Of a large pool whole units are looked at, of either side as many rows, whatever their order; of a small one all.
#[test]
fn a_sample_has_whole_units_of_either_side() {
    let (members, holdout, made) = (survey(900, 2, 40), survey(300, 2, 41), survey(2_000, 1, 42));
    let tables = Tables::align(&members, &holdout, &made).unwrap();
    let records = Records::new(tables, members.unit.as_ref().unwrap(), holdout.unit.as_ref().unwrap()).unwrap();
    assert!(records.sample(2_400, 1).is_none());
    let part = records.sample(1_000, 1).unwrap();
    assert_eq!((part.pool_rows(), part.synthetic_rows(), part.members()), (1_000, 1_000, 250));
    assert!(part.offsets.windows(2).all(|o| o[1] - o[0] == 2), "whole units");
    // Where one side is small, the other has its room.
    assert_eq!(records.sample(1_800, 1).map(|part| (part.units(), part.members())), Some((900, 600)));
    // The order of the pool knows no label.
    let first = records.member[..300].iter().filter(|&&member| member).count();
    assert!((195..=255).contains(&first), "{first} of 300, where 225 are expected");
    let sample = sample(&records, &part, 0.01, 1);
    assert_eq!((sample.members, sample.holdout, sample.synthetic_rows), (250, 250, 1_000));
    let told = sample.told(&surveyed(&members, &holdout, &made).sizes);
    assert!(told.contains("28 % of the members, 83 % of the others and 50 % of the synthetic rows"), "{told}");
}

/// Every person has three rows, and of every fifth the synthetic table has the second: the person is the unit.
#[test]
fn rows_of_a_person_are_pooled() {
    let (members, holdout) = (population(1500, 7), population(1500, 8));
    let synthetic: Vec<Vec<f64>> = members.iter().skip(1).step_by(15).cloned().chain(population(400, 9)).collect();
    let persons = Some((0..1500).map(|row| row / 3).collect());
    let (members, holdout) = (frame(&members, persons.clone()), frame(&holdout, persons));
    let synthetic = frame(&synthetic, None);
    let found = audit(&AuditRequest {
        members: &members,
        holdout: &holdout,
        synthetic: &synthetic,
        secrets: &[],
        is_public: &|_, label| label != "group 0",
        shadow: None,
        range: &|_| None,
        tables: 1,
        seed: 1,
    })
    .unwrap();
    assert_eq!((found.sizes.members, found.sizes.holdout, found.sizes.member_rows), (500, 500, 1500));
    assert_eq!(found.verdict, Verdict::LeakFound, "{:?}", found.reasons);
    assert!((found.copies.members - 0.2).abs() < 0.03, "{}", found.copies.members);
    assert!(found.attacks.iter().all(|attack| attack.units <= 1000));
}

#[test]
fn a_holdout_of_members_and_an_empty_column_are_refused() {
    let (members, synthetic) = (population(300, 10), population(300, 11));
    let refused = |members: &Frame, holdout: &Frame| {
        let synthetic = frame(&synthetic, None);
        let request = AuditRequest {
            members,
            holdout,
            synthetic: &synthetic,
            secrets: &[],
            is_public: &|_, label| label != "group 0",
            shadow: None,
            range: &|_| None,
            tables: 1,
            seed: 1,
        };
        audit(&request).unwrap_err().to_string()
    };
    let table = frame(&members, None);
    assert!(refused(&table, &table).contains("the holdout has the rows of the members' table"));
    let empty = |rows: &[Vec<f64>]| {
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| [&[f64::NAN], &row[1..]].concat()).collect();
        frame(&rows, None)
    };
    let message = refused(&empty(&members), &empty(&population(300, 12)));
    assert!(message.contains("column `column 0`: every cell of the column is missing"), "{message}");
}

#[test]
fn too_few_people_and_a_split_that_is_none_are_inconclusive() {
    let few = audited(&population(150, 13), &population(150, 14), &population(150, 15));
    assert_eq!(few.verdict, Verdict::Inconclusive);
    assert!(few.reasons[0].contains("fewer than 200"), "{:?}", few.reasons);
    let mut older = population(800, 16);
    older.iter_mut().for_each(|row| row[0] += 15.0);
    let differ = audited(&population(800, 17), &older, &population(800, 18));
    assert_eq!(differ.verdict, Verdict::Inconclusive);
    assert!(differ.reasons[0].contains("no random split"), "{:?}", differ.reasons);
}

/// Whoever is compared with the pool is not compared with himself, and agreement is what it says.
#[test]
fn neighbours_are_those_that_a_plain_loop_finds() {
    use super::neighbours::{Measure, Side};
    let (members, holdout, made) = (population(90, 19), population(60, 20), population(70, 21));
    let tables = Tables::align(&frame(&members, None), &frame(&holdout, None), &frame(&made, None)).unwrap();
    let units: Vec<u32> = (0..90).map(|row| row / 2).collect();
    let records = Records::new(tables, &units, &(0..60).collect::<Vec<_>>()).unwrap();
    let measure = Measure::new(&records, None);
    let rows: Vec<usize> = (0..150).collect();
    for side in [Side::Pool, Side::Synthetic] {
        let targets = measure.targets(side, (0..if side == Side::Pool { 150 } else { 70 }).collect());
        let near = measure.surroundings(&records, &rows, &targets, side);
        for (row, near) in near.iter().enumerate() {
            let distance = |other: usize| -> u32 {
                let of = |column: &records::Places| {
                    let (places, sizes) = match side {
                        Side::Pool => (&column.pool, &column.pool_sizes),
                        Side::Synthetic => (&column.synthetic, &column.synthetic_sizes),
                    };
                    if column.is_number {
                        let apart = u32::from(sizes[other].abs_diff(column.pool_sizes[row]).min(24));
                        apart * apart / 2
                    } else {
                        24 * u32::from(places[other] != column.pool[row])
                    }
                };
                records.columns.iter().map(of).sum()
            };
            let others = (0..if side == Side::Pool { 150 } else { 70 })
                .filter(|other| side == Side::Synthetic || !records.kin(row).contains(other));
            let least = others.map(distance).min().unwrap();
            assert_eq!(near.distance[0], f64::from(least) / 16.0, "row {row}");
            assert!(near.agreement[0] <= 1.0 && near.agreement.is_sorted_by(|a, b| a >= b));
        }
    }
}
