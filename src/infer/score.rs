//! How likely rows are.

use crate::encode::Records;
use crate::model::ModelFile;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Serialize;

/// Rows scored from one random stream. Part of what a seed means.
const ROWS_PER_STREAM: usize = 8192;

/// What a model says of rows, in nats.
///
/// The resolution is that of the model's joint cells: what lies inside one is not told apart. The number of rows of the
/// unit is not part of a score, so that a row's score does not depend on how many others stand in the table.
///
/// # Privacy
/// Outside the guarantee: read from real rows, for the data's controller.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Scores {
    /// Log likelihood of each row, or a lower bound of it, in the order of the table.
    #[serde(skip)]
    pub log_likelihood_bound: Vec<f64>,
    pub rows: usize,
    /// Mean of the negative of that. `null` in JSON when a row is impossible in the model.
    #[schemars(with = "Option<f64>")]
    pub nats_per_record: f64,
    /// Rows that the model gives no probability at all.
    pub impossible_rows: usize,
    /// In the order of the model's columns.
    pub columns: Vec<ColumnScore>,
}

/// A column's part of a score, by the chain rule: given the columns before it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ColumnScore {
    pub column: String,
    /// Mean negative logarithm of the probability of the cell.
    #[schemars(with = "Option<f64>")]
    pub nats: f64,
    /// `exp(nats)`: among so many equally likely cells the model is in doubt.
    #[schemars(with = "Option<f64>")]
    pub perplexity: f64,
}

/// Scores rows. A missing cell is a value like any other. The same seed gives the same scores, at any number of threads.
///
/// # Privacy
/// Touches sensitive data; the result is for the data's controller.
pub fn score(model: &ModelFile, records: &Records, seed: u64) -> Scores {
    let width = records.width;
    let rows_column = model.domain.rows_column;
    let codes = records.complete(&model.domain, &model.header.codecs);
    let mut log_likelihood_bound = Vec::with_capacity(records.rows());
    let mut sums = vec![0.0; width];
    let mut nats = Vec::new();
    for (stream, codes) in (0..).zip(codes.chunks(ROWS_PER_STREAM * width.max(1))) {
        nats.clear();
        nats.resize(codes.len(), 0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        model.generator.nats(codes, &mut rng, &mut nats);
        for row in nats.chunks_exact_mut(width) {
            if let Some(column) = rows_column {
                row[column] = 0.0;
            }
            sums.iter_mut().zip(&*row).for_each(|(sum, nats)| *sum += nats);
            log_likelihood_bound.push(-row.iter().sum::<f64>());
        }
    }
    let rows = records.rows();
    let mean = |sum: f64| sum / rows.max(1) as f64;
    let column = |(j, &sum): (usize, &f64)| {
        let name = &model.domain.columns[j].name;
        (Some(j) != rows_column).then(|| ColumnScore {
            column: name.clone(),
            nats: mean(sum),
            perplexity: mean(sum).exp(),
        })
    };
    Scores {
        rows,
        nats_per_record: mean(-log_likelihood_bound.iter().sum::<f64>()),
        impossible_rows: log_likelihood_bound.iter().filter(|x| !x.is_finite()).count(),
        columns: sums.iter().enumerate().filter_map(column).collect(),
        log_likelihood_bound,
    }
}
