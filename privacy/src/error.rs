//! Errors of the trusted core.

use crate::accountant::AccountingError;

/// What the trusted core refuses. No variant carries data.
///
/// # Privacy
/// Names parameters and plan entries, never a value computed from rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter outside its range.
    #[error("{name} = {found} is not usable; expected {expected}")]
    Parameter { name: &'static str, found: String, expected: &'static str },
    /// The accountant refused.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// A mechanism that the plan does not list, or lists with another kind of event.
    #[error("the plan has no unused entry `{name}` of this kind: nothing runs that was not planned")]
    NotPlanned { name: String },
    /// More steps than the plan paid for.
    #[error("all {planned} planned steps of `{name}` are spent")]
    StepsSpent { name: String, planned: u64 },
    /// The operating system gave no randomness.
    #[error("the operating system's random source failed: no noise, no release")]
    NoRandomness,
    /// The exact sampler failed.
    #[error("the exact noise sampler failed")]
    Sampler,
    /// OpenDP's privacy map gives a higher cost than the plan.
    #[error("the {mechanism} is not certified to cost what was planned: no release")]
    NotCertified { mechanism: &'static str },
    /// A ledger line that does not follow from the one before.
    #[error("ledger line {line}: {what}")]
    Ledger { line: usize, what: &'static str },
}
