//! The auditor: a second opinion on what a release gives away. It shares no code with the accountants.

pub mod bound;
pub mod canary;
