//! What the decoder starts from: the mixture's law of each column given those before it.

use std::sync::Arc;

use super::decoder::Start;
use crate::model::mixture::{Mixture, Posterior};
use crate::nn::Matrix;

/// A mixture under a network: the network's logits are added to the logarithms of the mixture's probabilities, so that
/// a network that says nothing is the mixture.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub mixture: Arc<Mixture>,
    /// The column that all rows of a unit share, if there is one: it says something once.
    pub rows_column: Option<usize>,
}

/// The next rows of some units, drawn on top of the mixture.
pub(super) struct NextRows<'a> {
    pub base: &'a Base,
    /// Whether they are the units' first rows.
    pub is_first: bool,
    pub posterior: &'a mut Posterior,
}

impl Start for NextRows<'_> {
    fn add_logs(&mut self, j: usize, logits: &mut Matrix) {
        let logs = self.base.mixture.column_logs(j, self.posterior);
        logits.values_mut().iter_mut().zip(logs.values()).for_each(|(l, s)| *l += s);
    }

    fn observe(&mut self, r: usize, j: usize, code: u16) {
        if self.is_first || Some(j) != self.base.rows_column {
            self.base.mixture.observe(r, j, code, self.posterior);
        }
    }
}

/// Memory of [`Base::add`].
#[derive(Clone, Debug, Default)]
pub(super) struct BaseBuffers {
    posterior: Posterior,
    /// First rows of the units that have a row left.
    active: Vec<(usize, usize)>,
    kept: Vec<usize>,
}

impl Base {
    /// Adds the logarithms of the mixture's probabilities to `logits`, given the columns before and the unit's rows
    /// before: all rows of a unit come from one class.
    ///
    /// # Shapes
    /// `codes` holds as many rows as `logits`; `rows` the row offsets of units, and the number of rows.
    pub fn add(&self, codes: &[u16], rows: &[usize], buffers: &mut BaseBuffers, logits: &mut Matrix) {
        let BaseBuffers { posterior, active, kept } = buffers;
        let offsets = self.mixture.offsets();
        let width = offsets.len() - 1;
        active.clear();
        active.extend(rows.windows(2).map(|unit| (unit[0], unit[1])).filter(|unit| unit.1 > unit.0));
        self.mixture.start(active.len(), posterior);
        let mut round = 0;
        while !active.is_empty() {
            for j in 0..width {
                let column = self.mixture.column_logs(j, posterior);
                for (i, (first, _)) in active.iter().enumerate() {
                    let own = &mut logits.row_mut(first + round)[offsets[j]..offsets[j + 1]];
                    own.iter_mut().zip(column.row(i)).for_each(|(l, log)| *l += log);
                }
                if round == 0 || Some(j) != self.rows_column {
                    for (i, (first, _)) in active.iter().enumerate() {
                        self.mixture.observe(i, j, codes[(first + round) * width + j], posterior);
                    }
                }
            }
            round += 1;
            kept.clear();
            kept.extend(active.iter().enumerate().filter(|(_, (a, b))| a + round < *b).map(|(i, _)| i));
            self.mixture.keep(kept, posterior);
            active.retain(|(a, b)| a + round < *b);
        }
    }
}
