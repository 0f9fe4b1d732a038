//! The compute core: small dense networks whose gradients are clipped per privacy unit
//! without ever forming a per-unit gradient.
//!
//! # The idea
//! A dense layer `y = x W + b` sees, for row `r`, an input `a_r` and receives a gradient `g_r` with
//! respect to `y`. The row's gradient is the outer product `a_r g_r^T`, so its squared norm is
//! `|g_r|^2 (|a_r|^2 + 1)` (Goodfellow, arXiv:1510.01799): two vector passes. For a unit with several
//! rows, the squared norm of the *sum* of its rows' gradients is `sum_{s,t} (g_s.g_t)(a_s.a_t + 1)`, a
//! product of two small Gram matrices. Once every layer has added its part, the clip coefficient `c`
//! of each unit is known and the clipped sum is one product a layer, `A^T diag(c) G`, from what the
//! backward pass left behind (book-keeping, arXiv:2210.00038): no second backward pass.
//!
//! # The parts
//! - [`Table`] and [`Slot`]: all parameters live in one flat `[f32]`, so that noise, optimiser and
//!   averaging are single passes; a layer knows its slots.
//! - [`Dense`], [`Embedding`] (rows of codes in, never one-hot) and [`Mlp`]: forward and backward.
//! - [`softmax`]: block-wise softmax and cross-entropy over a row of categorical blocks.
//! - [`Network`], [`Trace`], [`clipped_sums`]: the per-unit part.
//! - [`Adam`]: the optimiser, with a running average of the weights.
//!
//! Nothing here mixes rows of different units: there is no batch statistic to refuse. Matrix products
//! run on one thread each; [`clipped_sums`] spreads leaves of units over rayon, and its result does not
//! depend on the number of threads.

mod activation;
mod adam;
#[cfg(test)]
pub(crate) mod allocations;
mod dense;
mod embedding;
mod gemm;
mod matrix;
mod mlp;
mod parameters;
mod per_unit;
mod simd;
pub mod softmax;

pub use activation::Activation;
pub use adam::{Adam, AdamBlock, AdamSettings};
pub use dense::Dense;
pub use embedding::Embedding;
pub use gemm::gemm;
pub use matrix::Matrix;
pub use mlp::{Mlp, MlpBuffers};
pub use parameters::{Slot, Table, Tensor, find_tensor};
#[cfg(test)]
pub(crate) use per_unit::tests::assert_units_do_not_see_each_other;
pub use per_unit::{MOST_ROWS, Network, Trace, Workspace, add_parts, clipped_sum, clipped_sums, plain_sum, terms};
pub(crate) use simd::vectorised;
