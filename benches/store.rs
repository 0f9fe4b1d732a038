//! What it costs a training that its table lies on disk: `cargo bench --bench store [-- ROWS]`. Steps of the VAE on random
//! batches of 8,192 units of one row of 40 columns, from memory and from a file alternately; medians of one sitting.

use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Instant;
use synthward::encode::{CodeStore, Codec, Domain, Grid, Layout, ModelColumn, TableDomain, UnitRows};
use synthward::ingest::{ColumnStore, Frame, FrameColumn, Values};
use synthward::model::{Marginals, Mixture, Trainable, Vae, VaeSettings};
use synthward::nn::{Workspace, clipped_sum};

const ROWS: usize = 2_000_000;
const COLUMNS: usize = 40;
const LABELS: usize = 12;
const BATCH: usize = 8192;
const STEPS: usize = 21;

fn main() {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let (in_memory, on_disk) = stores(rows);
    let layout = Layout { cells: vec![LABELS; COLUMNS] };
    let marginals = Marginals::from_noisy(&layout, &vec![1.0; layout.total()]).expect("marginals");
    let mixture = Arc::new(Mixture::independent(&marginals));
    let vae = Vae::new(&layout, VaeSettings::choose(), mixture, None).expect("a network");
    let parameters = vae.initialise(1);
    let mut workspace = Workspace::default();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut seconds = [Vec::new(), Vec::new()];
    let mut reading = [Vec::new(), Vec::new()];
    for step in 0..STEPS as u32 {
        let mut units: Vec<u32> = sample(&mut rng, rows, BATCH).into_iter().map(|unit| unit as u32).collect();
        units.sort_unstable();
        for (which, store) in [&in_memory, &on_disk].into_iter().enumerate() {
            let started = Instant::now();
            let mut codes = Vec::with_capacity(BATCH * COLUMNS);
            units.iter().for_each(|&unit| store.append_unit(unit as usize, &mut codes));
            reading[which].push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            let loss = vae.loss(store, [0; 32], step);
            clipped_sum(&loss, &parameters, &units, &|norm| (1.0 / norm.sqrt()).min(1.0) as f32, &mut workspace);
            seconds[which].push(started.elapsed().as_secs_f64());
            store.check().expect("the file is read");
        }
    }
    let [memory, disk] = seconds.map(median);
    let [of_memory, of_disk] = reading.map(median);
    println!(
        "{rows} rows, {} threads: milliseconds of a step, of that reading (one thread)",
        rayon::current_num_threads()
    );
    println!("memory {:>8.1} {:>8.2}", 1e3 * memory, 1e3 * of_memory);
    println!("disk   {:>8.1} {:>8.2}   {:.3} of memory", 1e3 * disk, 1e3 * of_disk, disk / memory);
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// The same random rows, all in memory and all on disk.
fn stores(rows: usize) -> (CodeStore, CodeStore) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let labels: Vec<String> = (0..LABELS).map(|label| label.to_string()).collect();
    let mut column = |number: usize| FrameColumn {
        name: number.to_string(),
        values: Values::Text {
            codes: (0..rows).map(|_| rng.random_range(0..LABELS as u32)).collect(),
            labels: labels.clone(),
        },
    };
    let columns = (0..COLUMNS).map(&mut column).collect();
    let domain = || Domain::Labels { labels: labels.clone(), other: None, groups: vec![] };
    let model_column =
        |number: usize| ModelColumn { name: number.to_string(), domain: domain(), nullable: false, grows_from: None };
    let domain_of_all =
        TableDomain { columns: (0..COLUMNS).map(model_column).collect(), rows_column: None, max_rows_per_unit: 1 };
    let table = ColumnStore::of(Frame { rows, columns, unit: None }).expect("a table");
    let unit_rows = UnitRows::new(&table, 1);
    let grid = Grid::new(table, Arc::new(unit_rows), domain_of_all);
    let codec = Codec::of_labels(&domain(), false, &[rows as f64; LABELS], (rows * LABELS) as f64, 1.0);
    let codecs = vec![codec; COLUMNS];
    let encode = |memory: u64| grid.encode(&codecs, memory).expect("codes");
    (encode(u64::MAX), encode(0))
}
