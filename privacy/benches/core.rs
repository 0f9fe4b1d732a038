//! What the trusted core costs: `cargo bench -p synthward-privacy`. Prints the median of several runs of each row.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use synthward_privacy::accountant::Accountant;
use synthward_privacy::mechanism::ClippedSum;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, Event, PrivacyUnit, Sensitive, calibrate};

const RUNS: usize = 7;

fn row(name: &str, unit: &str, per: f64, mut work: impl FnMut()) {
    work();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:<58}{:>12.3} {unit}", times[RUNS / 2] * per);
}

fn main() {
    for (name, event, delta) in [
        ("PLD: DP-SGD, q .02, sigma 2, 2,500 steps, delta 1e-12", Event::dp_sgd(0.02, 2.0, 2500), 1e-12),
        ("PLD: DP-SGD, q .001, sigma 50, 1,000,000 steps, delta 1e-12", Event::dp_sgd(0.001, 50.0, 1_000_000), 1e-12),
        ("PLD: DP-SGD, q .05, sigma 1, 1,000 steps, delta 1e-6", Event::dp_sgd(0.05, 1.0, 1000), 1e-6),
    ] {
        row(name, "ms", 1e3, || {
            black_box(Accountant::Pld.epsilon(&event, delta)).ok();
        });
        row(&name.replace("PLD", "RDP"), "ms", 1e3, || {
            black_box(Accountant::Rdp.epsilon(&event, delta)).ok();
        });
    }
    row("calibrate: noise of DP-SGD, q .05, 1,000 steps, epsilon 1", "ms", 1e3, || {
        black_box(calibrate::noise_multiplier(Accountant::Pld, 0.05, 1000, 1.0, 1e-6)).ok();
    });
    row("plan: 50 histograms, a sum and 1,000 steps of DP-SGD", "ms", 1e3, || {
        black_box(plan(1000)).ok();
    });

    const PARAMETERS: usize = 1 << 20;
    let data = Sensitive::new(Vec::<()>::new());
    let mut gradient = vec![0.0f32; PARAMETERS];
    let mut plan = plan(RUNS as u64 + 1).unwrap();
    let mut mechanism = plan.subsampled_gaussian("dp-sgd", 10_000.0).unwrap();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    row("noise of a DP-SGD step, one thread", "ns a number, ms a million", 1e9 / PARAMETERS as f64, || {
        let sum = mechanism.accumulate(&data, Vec::len, |_, unit| unit.into(), |_, _| 1, |_, _, _, _| ()).unwrap();
        let blocks = gradient.par_chunks_mut(ClippedSum::BLOCK);
        one_thread.install(|| sum.release(PARAMETERS, blocks, |out, mean| out.copy_from_slice(mean)));
    });
    let cells = 10_000;
    let histogram = plan.histogram("column 0").unwrap();
    let start = Instant::now();
    black_box(histogram.release(&data, Vec::len, cells, |_, _, _| ())).unwrap();
    let name = "exact noise of a histogram, a cell, one core";
    println!("{name:<58}{:>12.3} us", start.elapsed().as_secs_f64() * 1e6 / cells as f64);
}

fn plan(steps: u64) -> Result<Plan, synthward_privacy::Error> {
    let request = |name: String, weight, mechanism| Request { name, share: Share::Measure, weight, mechanism };
    let mut requests: Vec<Request> =
        (0..50).map(|i| request(format!("column {i}"), 0.15 / 50.0, Mechanism::Histogram)).collect();
    requests.push(request("prior".into(), 0.05, Mechanism::GaussianSum { clipping_norm: 1.0 }));
    let sampled = Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 1.0 / 32.0, steps };
    requests.push(request("dp-sgd".into(), 0.8, sampled));
    Plan::calibrate(PrivacyUnit::Row, Budget::new(1.0, 1e-6)?, requests)
}
