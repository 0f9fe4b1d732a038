//! The whole of `evaluate` against the independent reference judge, and on odd tables.

use super::fixture::{Lcg, frame, number, text};
use super::*;
use crate::ingest::Frame;
use crate::schema::target::Task;

/// Six columns with spikes, missing cells, a rare category and two outcomes. `link` is how much
/// the outcomes have to do with the rest; a `sloppy` table has cells that cannot be.
fn table(seed: u64, rows: usize, link: f64, sloppy: bool) -> Frame {
    let mut lcg = Lcg(seed);
    let mut columns: [Vec<f64>; 3] = Default::default();
    let mut texts: [Vec<&str>; 3] = Default::default();
    const SITES: [&str; 8] = ["north", "south", "east", "west", "river", "hill", "lake", "rare"];
    for row in 0..rows {
        let age = (18.0 + 72.0 * lcg.uniform().powf(0.7)).floor();
        let dose = if lcg.uniform() < 0.3 { 0.0 } else { (lcg.uniform() * 200.0).floor() / 4.0 };
        let sex = if lcg.uniform() < 0.55 { "F" } else { "M" };
        let site = (lcg.uniform() * lcg.uniform() * 8.0) as usize;
        let risk = link * ((age - 55.0) / 15.0 + if site % 2 == 1 { 1.0 } else { -0.5 });
        let outcome = if lcg.uniform() < 1.0 / (1.0 + (-risk).exp()) { "yes" } else { "no" };
        let stay = (2.0 + link * age / 12.0 + dose / 20.0 + 3.0 * lcg.uniform()).floor();
        let odd = sloppy && row % 20 == 0;
        columns[0].push(if odd { age + 0.5 } else { age });
        columns[1].push(if lcg.uniform() < 0.1 { f64::NAN } else { dose });
        columns[2].push(if sloppy && row % 33 == 0 { 99.0 } else { stay });
        texts[0].push(sex);
        texts[1].push(if sloppy && row % 50 == 1 { "elsewhere" } else { SITES[site] });
        texts[2].push(if lcg.uniform() < 0.05 { "" } else { outcome });
    }
    let [age, dose, stay] = columns;
    let [sex, site, outcome] = texts;
    frame(vec![
        number("age", &age),
        text("sex", &sex),
        number("dose", &dose),
        text("site", &site),
        number("stay", &stay),
        text("outcome", &outcome),
    ])
}

fn target(name: &str, column: &str, task: Task) -> Target {
    let positive = if task == Task::Binary { vec!["yes".to_owned()] } else { vec![] };
    Target { name: name.to_owned(), column: column.to_owned(), task, positive, exclude: vec![] }
}

#[test]
fn dump() {
    for (n, f) in [("train", table(1, 800, 1.0, false)), ("test", table(2, 600, 1.0, false)), ("synth", table(3, 1000, 0.6, true))] {
        let mut out = f.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(",") + "\n";
        for r in 0..f.rows {
            let cells: Vec<String> = f.columns.iter().map(|c| match &c.values {
                crate::ingest::Values::Number(v) => if v[r].is_nan() { String::new() } else { v[r].to_string() },
                crate::ingest::Values::Text { codes, labels } => labels.get(codes[r] as usize).cloned().unwrap_or_default(),
            }).collect();
            out += &(cells.join(",") + "\n");
        }
        std::fs::write(format!("/tmp/eval/data/gold.{n}.csv"), out).unwrap();
    }
}
