//! The bytes of a table in any format: told apart, read, and a schema drafted from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use synthward::ingest::{Source, Vouched, inspect, read_to_inspect};
use synthward::schema::Reading;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let _ = read_to_inspect(&Source::from(file.path()), &Reading::default()).map(|table| inspect(&table, &[], None, Vouched::Nothing));
});
