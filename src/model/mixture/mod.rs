//! A mixture of products, fitted to noisy marginals.
//!
//! # The idea
//! The model is `p(x) = sum_k w_k prod_j P_k(x_j)`: a few hundred latent classes, in each of which the columns are
//! independent. With the classes' distributions as the rows of a matrix `P` (classes by cells of all columns), all
//! one-way marginals are `P^T w`, and all marginals of two columns are blocks of one Gram matrix `P^T diag(w) P`. So the
//! squared distance to any number of noisy marginals, and its gradient, are two matrix products: no row of the table is
//! ever needed again, and the memory does not depend on how the columns hang together. (Lines of work: RAP
//! arXiv:2103.06641, GEM arXiv:2106.07153, MargNet arXiv:2511.13893.)
//!
//! # How it is fitted
//! 1. A committee of small networks, each from its own fixed latent vectors to the rows of its own `P`, minimises the
//!    distance to the marginals as they were released ([`fit`]), until what is left is what noise explains. Networks
//!    are slow to follow noise, which free parameters fit at once; and the members err differently, so the committee
//!    errs less than each.
//! 2. The classes of all members together are one mixture. Its own parameters are then freed, and it is moved towards
//!    the released marginals, each shrunk towards the committee's by its own noise (empirical Bayes: `project`): what
//!    the data say clearly and the networks missed comes back, the rest of the noise stays out. Pairs of columns are
//!    shrunk along products of a few trends one by one, and along all other directions together.
//!
//! All of it is post-processing of the released marginals.

mod conditionals;
mod fit;
mod generate;
mod joint;
mod measured;
mod objective;
mod posterior;
mod project;

pub use conditionals::{Factors, LEAST_PROBABILITY, Posterior};
pub use fit::{STEPS, Steps, fit, likely_steps, steps_of_member};
pub use generate::Mixture;
pub use measured::{Measured, MeasuredTable};
pub(crate) use project::trends;

#[cfg(test)]
mod tests;
