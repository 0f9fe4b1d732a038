//! The two networks that DP-SGD libraries are compared on: a denoiser and a variational autoencoder, on real-valued
//! columns, the first as TabDDPM's (arXiv:2209.15421), the second as TVAE's (arXiv:1907.00503).

use synthward::nn::{Activation, Dense, Matrix, Mlp, MlpBuffers, Network, Table, Trace};

/// The rows that a network is trained on, and how they belong to units.
pub struct Batch {
    pub inputs: Matrix,
    /// Time embeddings of the denoiser; draws of the latent numbers of the autoencoder.
    pub auxiliary: Matrix,
    pub targets: Matrix,
    /// First row of each unit, and the number of rows at the end.
    pub offsets: Vec<usize>,
}

impl Batch {
    fn rows(&self, unit: u32) -> std::ops::Range<usize> {
        self.offsets[unit as usize]..self.offsets[unit as usize + 1]
    }

    /// Copies the rows of `units` from `from`.
    fn gather(&self, from: &Matrix, units: &[u32], into: &mut Matrix) {
        let rows = || units.iter().flat_map(|&unit| self.rows(unit));
        into.reshape(rows().count(), from.columns());
        rows().enumerate().for_each(|(i, r)| into.row_mut(i).copy_from_slice(from.row(r)));
    }
}

/// `o(silu(l3 silu(l2 silu(l1 x + t2 silu(t1 t)))))`; the loss of a row is its mean squared error.
pub struct Denoiser {
    pub table: Table,
    time: Mlp,
    input: Dense,
    trunk: Mlp,
}

impl Denoiser {
    pub fn new(columns: usize, time: usize, width: usize) -> Self {
        let mut table = Table::default();
        let time = Mlp::new(&mut table, "time", &[time, width, width], Activation::Silu);
        let input = Dense::new(&mut table, "input", columns, width);
        let trunk = Mlp::new(&mut table, "trunk", &[width, width, width, columns], Activation::Silu);
        Self { table, time, input, trunk }
    }

    pub fn on<'a>(&'a self, batch: &'a Batch) -> DenoiserLoss<'a> {
        DenoiserLoss { network: self, batch }
    }
}

pub struct DenoiserLoss<'a> {
    network: &'a Denoiser,
    batch: &'a Batch,
}

#[derive(Default)]
pub struct DenoiserBuffers {
    inputs: Matrix,
    targets: Matrix,
    time: MlpBuffers,
    slope: Matrix,
    gradient: Matrix,
    pub trunk: MlpBuffers,
}

impl Network for DenoiserLoss<'_> {
    type Buffers = DenoiserBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.batch.rows(unit).len()
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut DenoiserBuffers) {
        let (Self { network, batch }, silu) = (self, Activation::Silu);
        let DenoiserBuffers { inputs, targets, time, slope, gradient, trunk } = buffers;
        batch.gather(&batch.inputs, units, inputs);
        batch.gather(&batch.targets, units, targets);
        batch.gather(&batch.auxiliary, units, time.input());
        network.time.forward(parameters, time);
        let (rows, width) = (inputs.rows(), network.input.outputs());
        let hidden = trunk.input();
        hidden.reshape(rows, width);
        network.input.forward(parameters, inputs.view(), hidden.view_mut());
        hidden.values_mut().iter_mut().zip(time.output().values()).for_each(|(h, e)| *h += e);
        slope.reshape(rows, width);
        silu.apply_with_slope(hidden.values_mut(), slope.values_mut());
        network.trunk.forward(parameters, trunk);

        let scale = 2.0 / targets.columns() as f32;
        let output = trunk.output().values_mut();
        output.iter_mut().zip(targets.values()).for_each(|(o, t)| *o = scale * (*o - t));
        network.trunk.backward(parameters, trunk, Some(gradient));
        gradient.values_mut().iter_mut().zip(slope.values()).for_each(|(g, s)| *g *= s);
        time.output().values_mut().copy_from_slice(gradient.values());
        network.time.backward(parameters, time, None);
    }

    fn traces(&self, buffers: &mut DenoiserBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        let DenoiserBuffers { inputs, time, gradient, trunk, .. } = buffers;
        visit(Trace::Dense { layer: &self.network.input, input: inputs, gradient, units: None });
        self.network.time.traces(time, None, visit);
        self.network.trunk.traces(trunk, None, visit);
    }
}

/// Encoder and decoder of two hidden layers each; the loss of a row is its squared error and the Kullback-Leibler
/// divergence of its latent law from the standard normal one.
pub struct Autoencoder {
    pub table: Table,
    encoder: Mlp,
    decoder: Mlp,
    latent: usize,
}

impl Autoencoder {
    pub fn new(columns: usize, hidden: [usize; 2], latent: usize) -> Self {
        let mut table = Table::default();
        let [wide, narrow] = hidden;
        let encoder = Mlp::new(&mut table, "encoder", &[columns, wide, narrow, 2 * latent], Activation::Relu);
        let decoder = Mlp::new(&mut table, "decoder", &[latent, narrow, wide, columns], Activation::Relu);
        Self { table, encoder, decoder, latent }
    }

    pub fn on<'a>(&'a self, batch: &'a Batch) -> AutoencoderLoss<'a> {
        AutoencoderLoss { network: self, batch }
    }
}

pub struct AutoencoderLoss<'a> {
    network: &'a Autoencoder,
    batch: &'a Batch,
}

#[derive(Default)]
pub struct AutoencoderBuffers {
    targets: Matrix,
    draws: Matrix,
    /// Standard deviations of the latent numbers, and the gradient of their draws.
    pub spread: Matrix,
    pub gradient: Matrix,
    pub encoder: MlpBuffers,
    pub decoder: MlpBuffers,
}

impl Network for AutoencoderLoss<'_> {
    type Buffers = AutoencoderBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.batch.rows(unit).len()
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut AutoencoderBuffers) {
        let Self { network: Autoencoder { encoder: encode, decoder: decode, latent, .. }, batch } = self;
        let AutoencoderBuffers { targets, draws, spread, gradient, encoder, decoder } = buffers;
        batch.gather(&batch.inputs, units, encoder.input());
        batch.gather(&batch.targets, units, targets);
        batch.gather(&batch.auxiliary, units, draws);
        encode.forward(parameters, encoder);
        let rows = targets.rows();
        spread.reshape(rows, *latent);
        decoder.input().reshape(rows, *latent);
        for r in 0..rows {
            let (mean, log_variance) = encoder.output().row(r).split_at(*latent);
            let z = decoder.input().row_mut(r).iter_mut().zip(spread.row_mut(r)).zip(draws.row(r));
            for (((z, s), e), (m, l)) in z.zip(mean.iter().zip(log_variance)) {
                *s = (0.5 * l).exp();
                *z = m + e * *s;
            }
        }
        decode.forward(parameters, decoder);
        let output = decoder.output().values_mut();
        output.iter_mut().zip(targets.values()).for_each(|(o, t)| *o = 2.0 * (*o - t));
        decode.backward(parameters, decoder, Some(gradient));
        for r in 0..rows {
            let (mean, log_variance) = encoder.output().row_mut(r).split_at_mut(*latent);
            let slopes = gradient.row(r).iter().zip(spread.row(r)).zip(draws.row(r));
            for (((g, s), e), (m, l)) in slopes.zip(mean.iter_mut().zip(log_variance)) {
                *m += g;
                *l = 0.5 * (g * e * s + s * s - 1.0);
            }
        }
        encode.backward(parameters, encoder, None);
    }

    fn traces(&self, buffers: &mut AutoencoderBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        self.network.encoder.traces(&mut buffers.encoder, None, visit);
        self.network.decoder.traces(&mut buffers.decoder, None, visit);
    }
}
