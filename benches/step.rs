//! What a DP-SGD step costs beside a plain one: `cargo bench --bench step`. One thread and all of them, both networks,
//! two batch sizes; medians of interleaved steps, so that the ratios of a row come from one sitting.

#[path = "../examples/dpsgd_bench/measure.rs"]
mod measure;

use measure::{Model, measure};

const STEPS: usize = 20;

fn main() {
    println!(
        "network  batch threads   DP ms  /plain  8 rows/plain  noise share  noise ms per million  of the products"
    );
    let all = rayon::current_num_threads();
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        for (name, model) in [("ddpm", Model::Ddpm), ("tvae", Model::Tvae)] {
            for batch in [1024, 4096] {
                let costs = pool.install(|| measure(model, batch, STEPS));
                let (dp, plain, noise) = (costs.dp.cpu_ms, costs.plain.cpu_ms, costs.noise.cpu_ms);
                println!(
                    "{name:<8}{batch:>6}{threads:>8}{:>8.2}{:>8.3}{:>14.3}{:>12.1}%{:>22.2}{:>16.1}%",
                    costs.dp.wall_ms,
                    dp / plain,
                    costs.dp_8_rows.cpu_ms / plain,
                    100.0 * noise / dp,
                    noise * 1e6 / costs.parameters as f64,
                    100.0 * costs.products.cpu_ms / dp,
                );
            }
        }
    }
}
