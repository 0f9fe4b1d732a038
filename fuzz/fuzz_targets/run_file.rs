//! A run file in TOML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthward::config::RunConfig;

fuzz_target!(|text: &str| {
    let _ = RunConfig::from_toml(text);
});
