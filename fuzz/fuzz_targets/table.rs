//! The bytes of a table in any format: told apart, read, and a schema drafted from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use synthward::ingest::{Source, inspect, read};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let _ = read(&Source::from(file.path())).map(|table| inspect(&table, None, false));
});
