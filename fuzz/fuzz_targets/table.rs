//! The bytes of a table in any format: told apart, read, and a schema drafted from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthward::ingest::{Source, inspect, read_bytes};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_bytes(&Source::Stdin, bytes.to_vec()).map(|table| inspect(&table, None, false));
});
