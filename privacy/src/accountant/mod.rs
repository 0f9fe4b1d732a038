//! From an event to (epsilon, delta): three accountants behind one door.
//!
//! | accountant | composes | answer |
//! |---|---|---|
//! | [`Accountant::Pld`] | privacy loss distributions | tight; a rounded-up figure |
//! | [`Accountant::Rdp`] | Renyi divergences at fixed orders | an upper bound, some 5 to 15 % above for DP-SGD |
//! | [`Accountant::Zcdp`] | rho | an upper bound; knows no subsampling |
//!
//! All take add/remove adjacency, both directions, and adaptive composition.
//! Every figure is an upper bound on what the mechanisms leak. An event that
//! an accountant cannot read is refused by name; [`Event::NonPrivate`] costs
//! infinity.

mod lattice;
mod numeric;
mod pair;
mod pld;
mod rdp;
pub(crate) mod zcdp;

use crate::event::Event;
use pair::Bound;
use serde::{Deserialize, Serialize};

/// What an accountant refuses. It names the culprit.
///
/// # Privacy
/// Holds public parameters only.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AccountingError {
    /// A parameter outside its range.
    #[error("{name} = {found} is not usable; expected {expected}")]
    Parameter { name: &'static str, found: f64, expected: &'static str },
    /// An event that this accountant has no sound bound for.
    #[error("{accountant} cannot account for the event {event}; take another accountant")]
    Unsupported { accountant: &'static str, event: &'static str },
    /// No noise in the searched range meets the target.
    #[error("no {what} between {low:e} and {high:e} meets epsilon {epsilon} at delta {delta:e}")]
    Unreachable { what: &'static str, low: f64, high: f64, epsilon: f64, delta: f64 },
}

impl AccountingError {
    pub(crate) fn parameter(name: &'static str, found: f64, expected: &'static str) -> Self {
        AccountingError::Parameter { name, found, expected }
    }
}

/// Which theory turns an event into (epsilon, delta).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accountant {
    /// Privacy loss distributions, composed by FFT.
    #[default]
    Pld,
    /// Renyi differential privacy (Mironov 2017, arXiv:1702.07476).
    Rdp,
    /// Zero-concentrated differential privacy (Bun and Steinke 2016, arXiv:1605.02065).
    Zcdp,
}

impl Accountant {
    /// The smallest epsilon this accountant can prove at `delta`: at least 0,
    /// infinite where there is no guarantee.
    ///
    /// # Errors
    /// A delta outside (0, 1), a parameter of the event out of range, or an
    /// event that this accountant does not read.
    ///
    /// # Privacy
    /// Post-processing: arithmetic on public parameters, touches no data.
    pub fn epsilon(self, event: &Event, delta: f64) -> Result<f64, AccountingError> {
        check_delta(delta)?;
        match self {
            Accountant::Pld => pld::epsilon(event, delta, Bound::Upper),
            Accountant::Rdp => rdp::epsilon(event, delta),
            Accountant::Zcdp => Ok(zcdp::epsilon(zcdp::rho(event)?, delta)),
        }
    }

    /// The smallest delta this accountant can prove at `epsilon`: at most 1.
    ///
    /// # Errors
    /// An epsilon that is negative or not finite, and as [`Accountant::epsilon`].
    ///
    /// # Privacy
    /// Post-processing: arithmetic on public parameters, touches no data.
    pub fn delta(self, event: &Event, epsilon: f64) -> Result<f64, AccountingError> {
        check_epsilon(epsilon)?;
        match self {
            Accountant::Pld => pld::delta(event, epsilon, Bound::Upper),
            Accountant::Rdp => rdp::delta(event, epsilon),
            Accountant::Zcdp => Ok(zcdp::delta(zcdp::rho(event)?, epsilon)),
        }
    }
}

/// The optimistic twin of [`Accountant::Pld`]: no sound accounting of the event
/// can prove an epsilon below this at `delta`.
///
/// # Errors
/// As [`Accountant::epsilon`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn epsilon_lower(event: &Event, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    pld::epsilon(event, delta, Bound::Lower)
}

/// The optimistic twin of [`Accountant::Pld`] for delta at `epsilon`.
///
/// # Errors
/// As [`Accountant::delta`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn delta_lower(event: &Event, epsilon: f64) -> Result<f64, AccountingError> {
    check_epsilon(epsilon)?;
    pld::delta(event, epsilon, Bound::Lower)
}

pub(crate) fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if delta > 0.0 && delta < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::parameter("delta", delta, "a probability above 0 and below 1"))
    }
}

pub(crate) fn check_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon >= 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::parameter("epsilon", epsilon, "a finite number, at least 0"))
    }
}
