//! The attacks that once broke the claim, each as a test: what was found with the released program must stay closed.

mod budget;
mod clip;
mod draft;
mod judges;
mod reference;
mod releases;
mod units;
