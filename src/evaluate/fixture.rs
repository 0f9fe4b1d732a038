//! Small tables for the tests of this module.

use crate::ingest::{Frame, FrameColumn, MISSING, Values};
use crate::schema::Schema;

pub fn number(name: &str, values: &[f64]) -> FrameColumn {
    FrameColumn { name: name.to_owned(), values: Values::Number(values.to_vec()) }
}

/// An empty string is missing.
pub fn text(name: &str, cells: &[&str]) -> FrameColumn {
    let mut labels: Vec<String> = Vec::new();
    let mut code = |cell: &&str| {
        if cell.is_empty() {
            return MISSING;
        }
        let known = labels.iter().position(|l| l == cell);
        known.unwrap_or_else(|| {
            labels.push((*cell).to_owned());
            labels.len() - 1
        }) as u32
    };
    let codes = cells.iter().map(&mut code).collect();
    FrameColumn { name: name.to_owned(), values: Values::Text { codes, labels } }
}

pub fn frame(columns: Vec<FrameColumn>) -> Frame {
    let rows = columns.first().map_or(0, |c| match &c.values {
        Values::Number(values) => values.len(),
        Values::Text { codes, .. } => codes.len(),
    });
    Frame { rows, columns, unit: None }
}

/// Knuth's 64-bit linear congruential generator (MMIX), upper bits only.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn uniform(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }
}

/// Six columns with a spike, missing cells, a rare category and three outcomes. `link` is how much
/// these have to do with the rest; a `sloppy` table has cells that cannot be. Only sums and products
/// that every machine rounds alike, so that the reference figures hold everywhere.
pub fn patients(seed: u64, rows: usize, link: f64, sloppy: bool) -> Frame {
    const SITES: [&str; 4] = ["north", "south", "east", "rare"];
    let mut lcg = Lcg(seed);
    let (mut age, mut dose, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sex, mut site, mut outcome) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let years = (18.0 + 72.0 * lcg.uniform().max(lcg.uniform())).floor();
        let place = (lcg.uniform() * lcg.uniform() * 4.0) as usize;
        let risk = 0.5 + link * ((years - 65.0) / 50.0 + if place == 1 { 0.3 } else { -0.1 });
        let amount = if lcg.uniform() < 0.3 { 0.0 } else { (lcg.uniform() * 200.0).floor() / 4.0 };
        let days = 2.0 + link * (years / 12.0 + 4.0 * place as f64) + amount / 20.0 + 3.0 * lcg.uniform();
        age.push(if sloppy && row % 20 == 0 { years + 0.5 } else { years });
        dose.push(if lcg.uniform() < 0.1 { f64::NAN } else { amount });
        stay.push(if sloppy && row % 33 == 0 { 40.0 } else { days.floor() });
        sex.push(if lcg.uniform() < 0.55 { "F" } else { "M" });
        site.push(if sloppy && row % 50 == 1 { "elsewhere" } else { SITES[place] });
        let happened = if lcg.uniform() < risk { "yes" } else { "no" };
        outcome.push(if lcg.uniform() < 0.05 { "" } else { happened });
    }
    frame(vec![
        number("age", &age),
        text("sex", &sex),
        number("dose", &dose),
        text("site", &site),
        number("stay", &stay),
        text("outcome", &outcome),
    ])
}

/// What is public about [`patients`], with targets and analyses as TOML tables.
pub fn patients_schema(declared: &str) -> Schema {
    const COLUMNS: &str = r#"
        [table]
        name = "patients"
        [[column]]
        name = "age"
        kind = "integer"
        min = 18
        max = 90
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["F", "M"]
        [[column]]
        name = "dose"
        kind = "real"
        min = 0
        max = 50
        [[column]]
        name = "site"
        kind = "categorical"
        categories = ["north", "south", "east", "rare"]
        [[column]]
        name = "stay"
        kind = "integer"
        min = 0
        max = 60
        [[column]]
        name = "outcome"
        kind = "categorical"
        categories = ["no", "yes"]
    "#;
    Schema::from_toml(&format!("{COLUMNS}\n{declared}")).unwrap()
}
