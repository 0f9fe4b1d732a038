//! The compute core against PyTorch: losses, norms and clipped sums of two small networks, from
//! `fixtures/golden/make.py`.

#[path = "../../examples/dpsgd_bench/networks.rs"]
mod networks;

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use networks::{Autoencoder, AutoencoderBuffers, Batch, Denoiser, DenoiserBuffers};
use serde::Deserialize;
use synthward::nn::{Matrix, Network, Table, Workspace, add_parts, clipped_sum};

#[derive(Deserialize)]
struct Golden {
    /// Rows of each unit.
    units: Vec<usize>,
    clipping_norm: f64,
    layers: Vec<Layer>,
    input: Vec<Vec<f32>>,
    aux: Vec<Vec<f32>>,
    target: Vec<Vec<f32>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    losses: Vec<f64>,
    squared_norms: Vec<f64>,
    clipped_sum: Vec<Layer>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn batch(&self) -> Batch {
        let mut offsets = vec![0];
        self.units.iter().for_each(|rows| offsets.push(offsets[offsets.len() - 1] + rows));
        let [inputs, auxiliary, targets] = [&self.input, &self.aux, &self.target].map(|rows| matrix(rows));
        Batch { inputs, auxiliary, targets, offsets }
    }

    /// Layers as one flat vector. `places` says where each layer of the file lies in ours: the name of ours, and which
    /// of its outputs.
    fn flat(table: &Table, layers: &[Layer], places: &[(&str, &str, Range<usize>)]) -> Vec<f64> {
        let mut flat = vec![f64::NAN; table.len()];
        for layer in layers {
            let (_, ours, outputs) = places.iter().find(|(theirs, ..)| *theirs == layer.name).unwrap();
            let weight = table.range(&format!("{ours}.weight")).unwrap();
            let bias = table.range(&format!("{ours}.bias")).unwrap();
            let width = bias.len();
            for (i, row) in layer.weight.iter().enumerate() {
                flat[weight.clone()][i * width..][outputs.clone()].copy_from_slice(row);
            }
            flat[bias][outputs.clone()].copy_from_slice(&layer.bias);
        }
        assert!(flat.iter().all(|v| v.is_finite()), "every parameter has its place");
        flat
    }

    /// Everything the file expects of `network`; `losses` gives those of the rows that went through the buffers last.
    fn check<N: Network>(
        &self,
        table: &Table,
        network: &N,
        places: &[(&str, &str, Range<usize>)],
        losses: impl Fn(&mut N::Buffers) -> f64,
    ) {
        let close = |seen: f64, wanted: f64| (seen - wanted).abs() <= 1e-5 * wanted.abs();
        let parameters: Vec<f32> = Self::flat(table, &self.layers, places).iter().map(|&p| p as f32).collect();
        let clip = |squared: f64| (self.clipping_norm / squared.sqrt()).min(1.0) as f32;
        for unit in 0..self.units.len() as u32 {
            let (wanted, norm) = (self.expected.losses[unit as usize], self.expected.squared_norms[unit as usize]);
            let seen = Mutex::new(0.0);
            let spy = |squared: f64| {
                *seen.lock().unwrap() = squared;
                clip(squared)
            };
            clipped_sum(network, &parameters, &[unit], &spy, &mut Workspace::default());
            assert!(close(*seen.lock().unwrap(), norm), "squared norm of unit {unit}");
            if self.units[unit as usize] > 0 {
                let mut buffers = N::Buffers::default();
                network.backpropagate(&parameters, &[unit], &mut buffers);
                assert!(close(losses(&mut buffers), wanted), "loss of unit {unit}");
            }
        }
        let units: Vec<u32> = (0..self.units.len() as u32).collect();
        let mut sum = vec![0.0; table.len()];
        add_parts(clipped_sum(network, &parameters, &units, &clip, &mut Workspace::default()), 0, &mut sum);
        let wanted = Self::flat(table, &self.expected.clipped_sum, places);
        let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let error = length(&mut sum.iter().zip(&wanted).map(|(&s, w)| f64::from(s) - w));
        assert!(error <= 1e-5 * length(&mut wanted.iter().copied()), "clipped sum off by {error}");
    }
}

fn matrix(rows: &[Vec<f32>]) -> Matrix {
    let mut matrix = Matrix::default();
    matrix.reshape(rows.len(), rows[0].len());
    rows.iter().enumerate().for_each(|(r, row)| matrix.row_mut(r).copy_from_slice(row));
    matrix
}

fn squares(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum()
}

#[test]
fn the_denoiser_agrees_with_pytorch() {
    let (columns, width, time) = (5, 7, 6);
    let golden = Golden::read("ddpm.json");
    let network = Denoiser::new(columns, time, width);
    let places = [
        ("t1", "time.0", 0..width),
        ("t2", "time.1", 0..width),
        ("l1", "input", 0..width),
        ("l2", "trunk.0", 0..width),
        ("l3", "trunk.1", 0..width),
        ("o", "trunk.2", 0..columns),
    ];
    // The gradient of the mean of squared errors e is 2 e / columns.
    let loss = |buffers: &mut DenoiserBuffers| columns as f64 / 4.0 * squares(buffers.trunk.output().values());
    golden.check(&network.table, &network.on(&golden.batch()), &places, loss);
}

#[test]
fn the_autoencoder_agrees_with_pytorch() {
    let (columns, hidden, latent) = (6, [8, 5], 3);
    let golden = Golden::read("tvae.json");
    let network = Autoencoder::new(columns, hidden, latent);
    let places = [
        ("e1", "encoder.0", 0..hidden[0]),
        ("e2", "encoder.1", 0..hidden[1]),
        ("mu", "encoder.2", 0..latent),
        ("lv", "encoder.2", latent..2 * latent),
        ("d1", "decoder.0", 0..hidden[1]),
        ("d2", "decoder.1", 0..hidden[0]),
        ("d3", "decoder.2", 0..columns),
    ];
    // The gradient of a squared error e^2 is 2 e; that of a latent mean m is m and what comes through its draw.
    let loss = |buffers: &mut AutoencoderBuffers| {
        let error = squares(buffers.decoder.output().values()) / 4.0;
        let mut divergence = 0.0;
        for r in 0..buffers.spread.rows() {
            let means = buffers.encoder.output().row(r)[..latent].iter().zip(buffers.gradient.row(r));
            for ((&slope, &through), &spread) in means.zip(buffers.spread.row(r)) {
                let (mean, variance) = (f64::from(slope - through), f64::from(spread).powi(2));
                divergence -= 0.5 * (1.0 + variance.ln() - mean * mean - variance);
            }
        }
        error + divergence
    };
    golden.check(&network.table, &network.on(&golden.batch()), &places, loss);
}
