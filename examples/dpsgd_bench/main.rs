//! What a DP-SGD step costs on this machine, as one JSON object:
//! `cargo run --release --example dpsgd_bench -- --model ddpm --batch 1024 --steps 20 --threads 1 --json`

mod measure;

use std::process::Command;

use clap::{Parser, ValueEnum};
use measure::{Cost, Costs, LATENT, Model, TIME, Trainee, autoencoder, batch_of, denoiser, measure};
use serde_json::{Value, json};
use synthward::nn::Network;

#[derive(Parser)]
struct Arguments {
    /// ddpm: the denoiser, 985,728 parameters. tvae: the autoencoder, 156,672 parameters.
    #[arg(long, default_value = "ddpm")]
    model: ModelName,
    /// Rows of a batch.
    #[arg(long, default_value_t = 1024)]
    batch: usize,
    /// Steps that are timed, of each kind.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Takes two steps and prints the peak memory in MB: what the program runs itself as to measure memory.
    #[arg(long, hide = true)]
    memory: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModelName {
    Ddpm,
    Tvae,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Dp,
    Plain,
}

fn main() {
    let arguments = Arguments::parse();
    let model = match arguments.model {
        ModelName::Ddpm => Model::Ddpm,
        ModelName::Tvae => Model::Tvae,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build().expect("a thread pool");
    if let Some(kind) = arguments.memory {
        pool.install(|| two_steps(model, arguments.batch, kind));
        println!("{}", json!(peak_rss_mb()));
        return;
    }
    let costs = pool.install(|| measure(model, arguments.batch, arguments.steps));
    let report = report(&arguments, &costs);
    if arguments.json {
        println!("{report}");
    } else if let Value::Object(fields) = report {
        fields.iter().for_each(|(name, value)| println!("{name:<16}{value}"));
    }
}

fn report(arguments: &Arguments, costs: &Costs) -> Value {
    let Costs { dp, plain, dp_8_rows, noise, products, parameters } = *costs;
    // Forward, backward and the weights' gradient of each layer are two operations a parameter and row each. Per
    // second of processor time: other work on the machine does not count, nor do further threads.
    let operations = 6.0 * parameters as f64 * arguments.batch as f64;
    let gflops = |cost: Cost| operations / (cost.cpu_ms * 1e6);
    json!({
        "model": if matches!(arguments.model, ModelName::Ddpm) { "ddpm" } else { "tvae" },
        "batch": arguments.batch,
        "threads": arguments.threads,
        "step_ms": { "dp": dp.wall_ms, "plain": plain.wall_ms, "dp_8_rows": dp_8_rows.wall_ms },
        "cpu_ms": { "dp": dp.cpu_ms, "plain": plain.cpu_ms, "dp_8_rows": dp_8_rows.cpu_ms },
        "gflops": gflops(dp),
        "gemm_gflops": gflops(products),
        "noise_ms": noise.cpu_ms,
        "parameters": parameters,
        "peak_rss_mb": child_memory(arguments, "dp"),
        "plain_peak_rss_mb": child_memory(arguments, "plain"),
    })
}

/// Two steps of one kind and nothing else.
fn two_steps(model: Model, batch: usize, kind: Kind) {
    fn take<N: Network>(mut trainee: Trainee<'_, N>, kind: Kind) {
        for _ in 0..2 {
            match kind {
                Kind::Dp => trainee.dp_step(),
                Kind::Plain => trainee.plain_step(),
            }
        }
    }
    match model {
        Model::Ddpm => {
            let (network, rows) = (denoiser(), batch_of(batch, TIME, 1));
            take(Trainee::new(&network.table, &network.on(&rows), batch, 2), kind);
        }
        Model::Tvae => {
            let (network, rows) = (autoencoder(), batch_of(batch, LATENT, 1));
            take(Trainee::new(&network.table, &network.on(&rows), batch, 2), kind);
        }
    }
}

/// Peak memory of a process that takes two steps of one kind, in MB; none where the system does not say.
fn child_memory(arguments: &Arguments, kind: &str) -> Option<f64> {
    let model = if matches!(arguments.model, ModelName::Ddpm) { "ddpm" } else { "tvae" };
    let (batch, threads) = (arguments.batch.to_string(), arguments.threads.to_string());
    let program = std::env::current_exe().ok()?;
    let child = Command::new(program)
        .args(["--model", model, "--batch", &batch, "--threads", &threads, "--memory", kind])
        .output()
        .ok()?;
    serde_json::from_slice(&child.stdout).ok()
}

/// High-water mark of this process, where the system tells it.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
