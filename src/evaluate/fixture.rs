//! Small tables for the tests of this module.

use crate::ingest::{Frame, FrameColumn, MISSING, Values};

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
