//! The mechanisms: the only way from `Sensitive` to `Released`.
//!
//! A mechanism is handed out by the [`Plan`](crate::plan::Plan), which has
//! paid for it; it binds sampling, clipping, noise and the accounted event in
//! one value, so what runs is what was accounted.

mod category_list;
mod gaussian_sum;
mod histogram;
mod integer_noise;
mod quantile;
mod subsampled_gaussian;
mod weighted_histograms;

pub use category_list::CategoryList;
pub use gaussian_sum::GaussianSum;
pub use histogram::Histogram;
pub use quantile::Quantile;
pub use subsampled_gaussian::{ClippedSum, SubsampledGaussian};
pub use weighted_histograms::{Part, WeightedHistograms};
