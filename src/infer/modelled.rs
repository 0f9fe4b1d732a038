//! Columns of a model, as what completes rows draws them.

use crate::cohort::{Row, Rules, Setting};
use crate::encode::{Codec, Decoder};
use crate::ingest::MISSING;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Times that a row is drawn anew because it breaks a constraint, at most.
const ATTEMPTS: usize = 8;

/// What draws one column of the model.
pub(super) struct Modelled {
    pub decoder: Decoder,
    /// Released probability of each cell, the missing one left out.
    marginal: Vec<f64>,
    /// 1 for each cell but the missing one; `None` where no cell is missing, or all are.
    pub present: Option<Vec<f32>>,
}

impl Modelled {
    pub fn new(codec: &Codec, nullable: bool) -> Self {
        let missing = usize::from(codec.joint_code(MISSING));
        let mut marginal = codec.marginal();
        if nullable {
            marginal[missing] = 0.0;
        }
        let present = (nullable && codec.cells() > 1)
            .then(|| (0..codec.cells()).map(|cell| if cell == missing { 0.0 } else { 1.0 }).collect());
        Self { decoder: Decoder::new(codec), marginal, present }
    }

    /// A cell by its released probability alone, where the model has none for the rest of the row.
    pub fn fallback(&self, rng: &mut ChaCha8Rng) -> u16 {
        let mut rest = rng.random::<f64>() * self.marginal.iter().sum::<f64>();
        let mut last = 0;
        for (cell, &probability) in self.marginal.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            last = cell;
            rest -= probability;
            if rest < 0.0 {
                break;
            }
        }
        last as u16
    }
}

/// A row with what is known of it.
pub(super) struct Incomplete<'r> {
    pub positions: &'r [u32],
    /// The numbers of cells that are known, NaN elsewhere.
    pub numbers: &'r [f64],
    /// The columns that are to be drawn.
    pub missing: &'r [usize],
}

impl Incomplete<'_> {
    /// The positions of the row with which it holds the rules, as far as its known cells allow it. `draw` puts other codes
    /// in the place of `codes`.
    pub fn holding(
        &self,
        rules: &Rules,
        modelled: &[Modelled],
        codes: &[u16],
        rng: &mut ChaCha8Rng,
        mut draw: impl FnMut(&mut Vec<u16>, &mut ChaCha8Rng),
    ) -> Vec<u32> {
        let mut codes = codes.to_vec();
        let mut free = vec![false; codes.len()];
        self.missing.iter().for_each(|&j| free[j] = true);
        let decoders = modelled.iter().map(|modelled| &modelled.decoder).collect();
        let setting = Setting { decoders, region: None, free: Some(free) };
        let mut positions = self.positions.to_vec();
        for attempt in 0..=ATTEMPTS {
            for &j in self.missing {
                positions[j] = modelled[j].decoder.draw(codes[j], rng);
            }
            let mut row = Row { positions: &mut positions, codes: &codes, known: self.numbers };
            if rules.settle(&mut row, &setting, rng) || attempt == ATTEMPTS && rules.repair(&mut row, &setting) {
                break;
            }
            draw(&mut codes, rng);
        }
        positions
    }
}
