//! What an audit plants in a fit, and what it sees of it.

use crate::encode::{CodeStore, Codec, Codes, GridColumn, TableDomain};
use crate::error::Result;
use crate::ingest::Frame;
use crate::model::Trainable;
use crate::nn::Network;
use synthward_privacy::{Clip, Sensitive};

/// The cells of a unit's rows in one histogram: `cells_of(data, unit, into)`.
pub(crate) type CellsOf<'a, T> = &'a (dyn Fn(&T, usize, &mut Vec<usize>) + Sync);

/// The same in one of several histograms: `cells_of(codes, histogram, unit, into)`.
pub(crate) type CellsOfPart<'a> = &'a (dyn Fn(&Codes, usize, usize, &mut Vec<usize>) + Sync);

/// Looks on while a model is fitted: it may add units to the table, replace the gradients of those, and is shown what
/// the mechanisms release. The fit goes through the same code whoever looks on; nobody does when a model is made that
/// will be kept ([`Unwatched`]).
///
/// # Privacy
/// What is shown to it was released. What it plants are units like others to every mechanism.
pub(crate) trait Witness: Sync {
    /// The table that is fitted to: whole units may be added behind those of `frame`.
    fn join(&self, frame: Frame) -> Frame {
        frame
    }

    /// The columns' domains are known.
    fn placed(&self, _domain: &TableDomain) -> Result<()> {
        Ok(())
    }

    /// The columns' joint cells are known.
    fn encoded(&self, _codecs: &[Codec]) -> Result<()> {
        Ok(())
    }

    /// Noisy counts of the positions of the domain's column of index `_column` were released, each with noise of standard
    /// deviation `_noise_std`, in units.
    fn counted_positions(
        &self,
        _column: usize,
        _cells: &Sensitive<GridColumn>,
        _noise_std: f64,
        _counts: &[f64],
        _cells_of: CellsOf<'_, GridColumn>,
    ) {
    }

    /// The same of codes, for all histograms of a release, each with its own noise.
    fn counted_codes(
        &self,
        _codes: &Sensitive<CodeStore>,
        _noise_stds: &[f64],
        _counts: &[Vec<f64>],
        _cells_of: CellsOfPart<'_>,
    ) {
    }

    /// A network is about to be trained from `parameters` on; so many units are public or were released.
    fn starts<T: Trainable>(
        &self,
        _network: &T,
        _parameters: &[f32],
        _codes: &Sensitive<CodeStore>,
        _clip: Clip,
        _units: f64,
    ) -> Result<()> {
        Ok(())
    }

    /// The loss of `units` units in this step, as it is to be differentiated.
    fn plant<N: Network>(&self, loss: N, units: usize, step: u64) -> impl Network<Buffers = N::Buffers>;

    /// The gradient that was released for the parameters from `start` on: the noisy mean, less what the network's own
    /// rows make of it.
    fn stepped(&self, _step: u64, _start: usize, _gradient: &[f32]) {}
}

/// Nobody looks on.
pub(crate) struct Unwatched;

impl Witness for Unwatched {
    fn plant<N: Network>(&self, loss: N, _units: usize, _step: u64) -> impl Network<Buffers = N::Buffers> {
        loss
    }
}
