//! The language of `--where` and of constraints: tests of columns, joined by `and`, `or` and `not`.
//!
//! Comparisons are those of SQL: a missing cell makes each of them unknown, neither true nor false, and `is null` finds
//! it.

mod meaning;
mod names;
mod parse;
mod tokens;

pub(crate) use meaning::{Cell, Unfit};
pub(crate) use names::{list, nearest};
pub(crate) use parse::{Asked, Expression, Literal, Test, Value, parse};
