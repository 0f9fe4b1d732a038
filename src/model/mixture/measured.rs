//! What was measured, as the fit sees it.

use crate::encode::Layout;
use crate::model::Marginals;

/// A released marginal of two or three columns, as shares of all units.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredTable {
    /// Two columns in the order of the layout, or two such and the label that they are measured with, which is the last.
    pub columns: Vec<usize>,
    /// One noisy share a cell, the last column's code running fastest. They may be negative.
    pub shares: Vec<f32>,
    /// Standard deviation of the noise on each share.
    pub noise_std: f32,
}

/// Released marginals of a table.
#[derive(Clone, Debug)]
pub struct Measured {
    pub layout: Layout,
    pub marginals: Marginals,
    /// Standard deviation of the noise on each one-way share, column after column.
    pub marginals_noise_std: Vec<f32>,
    pub tables: Vec<MeasuredTable>,
}
