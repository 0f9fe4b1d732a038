//! The one integration binary: the program as its users meet it, and the house rules.

mod analysts;
mod arrow_types;
mod audit;
mod bad_input;
mod budget;
mod canary;
mod cohort;
mod condition;
mod discover;
mod golden;
mod hospital;
mod infer;
mod inspect;
mod ledger;
mod plan;
mod report;
mod run;
mod schemas;
mod small_cells;
mod terminal;
mod test_noise;
mod tidy;
mod world;
