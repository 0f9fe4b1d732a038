//! A chain of dense layers.

use std::ops::Range;

use rand::Rng;

use super::activation::Activation;
use super::dense::Dense;
use super::matrix::Matrix;
use super::parameters::Table;
use super::per_unit::Trace;

/// Dense layers with an activation between them, none after the last.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Dense>,
    activation: Activation,
}

/// What a forward and a backward pass of an [`Mlp`] leave behind. Reused from tile to tile.
#[derive(Clone, Debug, Default)]
pub struct MlpBuffers {
    /// Input of each layer.
    inputs: Vec<Matrix>,
    /// Slope of the activation that made the input of each layer but the first.
    slopes: Vec<Matrix>,
    /// Output of the last layer; then, layer by layer, the gradient of each output.
    outputs: Vec<Matrix>,
}

impl MlpBuffers {
    /// The rows to feed: shape it, fill it, then call [`Mlp::forward`].
    pub fn input(&mut self) -> &mut Matrix {
        if self.inputs.is_empty() {
            self.inputs.push(Matrix::default());
        }
        &mut self.inputs[0]
    }

    /// The last layer's output after [`Mlp::forward`]; to be replaced by its gradient before [`Mlp::backward`].
    ///
    /// # Panics
    /// Before the first forward pass.
    pub fn output(&mut self) -> &mut Matrix {
        self.outputs.last_mut().expect("a forward pass came before")
    }
}

impl Mlp {
    /// `widths` are those of the input, of the hidden layers and of the output.
    pub fn new(table: &mut Table, name: &str, widths: &[usize], activation: Activation) -> Self {
        let layer = |(i, w): (usize, &[usize])| Dense::new(table, &format!("{name}.{i}"), w[0], w[1]);
        Self { layers: widths.windows(2).enumerate().map(layer).collect(), activation }
    }

    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// Hidden layers with gain `sqrt 2`, the last one with `last_gain`.
    pub fn initialise(&self, parameters: &mut [f32], last_gain: f32, rng: &mut impl Rng) {
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate() {
            layer.initialise(parameters, if i == last { last_gain } else { std::f32::consts::SQRT_2 }, rng);
        }
    }

    /// Runs `buffers.input()` through the layers; `buffers.output()` then holds the result.
    pub fn forward(&self, parameters: &[f32], buffers: &mut MlpBuffers) {
        self.forward_hidden(parameters, buffers);
        if let (Some(last), Some(input), Some(output)) =
            (self.layers.last(), buffers.inputs.last(), buffers.outputs.last_mut())
        {
            output.reshape(input.rows(), last.outputs());
            last.forward(parameters, input.view(), output.view_mut());
        }
    }

    /// As [`Mlp::forward`], up to the last hidden layer.
    pub fn forward_hidden(&self, parameters: &[f32], buffers: &mut MlpBuffers) {
        let (count, rows) = (self.layers.len(), buffers.input().rows());
        buffers.inputs.resize_with(count, Matrix::default);
        buffers.slopes.resize_with(count, Matrix::default);
        buffers.outputs.resize_with(count, Matrix::default);
        for (i, layer) in self.layers.iter().enumerate().take(count.saturating_sub(1)) {
            let (done, rest) = buffers.inputs.split_at_mut(i + 1);
            let (next, slope) = (&mut rest[0], &mut buffers.slopes[i + 1]);
            next.reshape(rows, layer.outputs());
            layer.forward(parameters, done[i].view(), next.view_mut());
            slope.reshape(rows, layer.outputs());
            self.activation.apply_with_slope(next.values_mut(), slope.values_mut());
        }
    }

    /// The outputs `part`, after [`Mlp::forward_hidden`], into `out`.
    pub fn forward_outputs(&self, parameters: &[f32], part: Range<usize>, buffers: &MlpBuffers, out: &mut Matrix) {
        if let (Some(last), Some(input)) = (self.layers.last(), buffers.inputs.last()) {
            out.reshape(input.rows(), part.len());
            last.forward_part(parameters, input.view(), part, out.view_mut());
        }
    }

    /// Carries the gradient in `buffers.output()` back through the layers, and into `input_gradient`, which takes
    /// the shape of the input, when there is one.
    pub fn backward(&self, parameters: &[f32], buffers: &mut MlpBuffers, input_gradient: Option<&mut Matrix>) {
        let rows = buffers.input().rows();
        for i in (1..self.layers.len()).rev() {
            let (before, after) = buffers.outputs.split_at_mut(i);
            let gradient = &mut before[i - 1];
            gradient.reshape(rows, self.layers[i].inputs());
            self.layers[i].backward(parameters, after[0].view(), gradient.view_mut());
            gradient.values_mut().iter_mut().zip(buffers.slopes[i].values()).for_each(|(g, s)| *g *= s);
        }
        if let (Some(dx), Some(first)) = (input_gradient, self.layers.first()) {
            dx.reshape(rows, first.inputs());
            first.backward(parameters, buffers.outputs[0].view(), dx.view_mut());
        }
    }

    /// Shows each layer's input and output gradient to `visit`; `units` as in [`Trace`].
    pub fn traces(&self, buffers: &mut MlpBuffers, units: Option<&[usize]>, visit: &mut dyn FnMut(Trace<'_>)) {
        for ((layer, input), gradient) in self.layers.iter().zip(&mut buffers.inputs).zip(&mut buffers.outputs) {
            visit(Trace::Dense { layer, input, gradient, units });
        }
    }
}
