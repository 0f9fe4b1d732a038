//! A dense layer.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, s};
use rand::Rng;
use rand_distr::StandardNormal;

use super::gemm::gemm;
use super::matrix::Matrix;
use super::parameters::{Slot, Table};

/// `y = x W + b` with `W` of `inputs x outputs`.
#[derive(Clone, Debug)]
pub struct Dense {
    pub weight: Slot,
    pub bias: Slot,
}

impl Dense {
    /// Takes its place in the table as `name.weight` and `name.bias`.
    pub fn new(table: &mut Table, name: &str, inputs: usize, outputs: usize) -> Self {
        Self {
            weight: table.add(format!("{name}.weight"), inputs, outputs),
            bias: table.add(format!("{name}.bias"), 1, outputs),
        }
    }

    pub fn inputs(&self) -> usize {
        self.weight.shape().0
    }

    pub fn outputs(&self) -> usize {
        self.weight.shape().1
    }

    /// Weights from a normal law of standard deviation `gain / sqrt(inputs)`, biases zero.
    pub fn initialise(&self, parameters: &mut [f32], gain: f32, rng: &mut impl Rng) {
        let scale = gain / (self.inputs() as f32).sqrt();
        parameters[self.weight.range()].fill_with(|| scale * rng.sample::<f32, _>(StandardNormal));
        parameters[self.bias.range()].fill(0.0);
    }

    /// `y = x W + b`; `x` is `rows x inputs`, `y` is `rows x outputs`.
    pub fn forward(&self, parameters: &[f32], x: ArrayView2<'_, f32>, mut y: ArrayViewMut2<'_, f32>) {
        y.assign(&self.bias.view(parameters));
        gemm(x, self.weight.view(parameters), 1.0, y);
    }

    /// The outputs `part` of `y = x W + b`, from the first inputs alone: `x` is `rows x some inputs`, `y` is `rows x
    /// part`.
    pub fn forward_part(
        &self,
        parameters: &[f32],
        x: ArrayView2<'_, f32>,
        part: Range<usize>,
        mut y: ArrayViewMut2<'_, f32>,
    ) {
        y.assign(&self.bias.view(parameters).slice(s![.., part.clone()]));
        gemm(x.view(), self.weight.view(parameters).slice(s![..x.ncols(), part]), 1.0, y);
    }

    /// The gradient of the input, `dx = g W^T`, from the gradient `g` of the output.
    pub fn backward(&self, parameters: &[f32], g: ArrayView2<'_, f32>, dx: ArrayViewMut2<'_, f32>) {
        gemm(g, self.weight.view(parameters).reversed_axes(), 0.0, dx);
    }

    /// Adds the gradient of the parameters, `x^T g` and the column sums of `g`, to `out`, or, when it is the `first`,
    /// puts it there.
    pub fn accumulate(&self, x: ArrayView2<'_, f32>, g: &Matrix, first: bool, out: &mut [f32]) {
        gemm(x.reversed_axes(), g.view(), if first { 0.0 } else { 1.0 }, self.weight.view_mut(out));
        g.add_rows(first, &mut out[self.bias.range()]);
    }
}
