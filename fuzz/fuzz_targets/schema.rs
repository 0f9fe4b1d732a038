//! A schema in TOML: read, checked, written, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthward::schema::Schema;

fuzz_target!(|text: &str| {
    if let Ok(schema) = Schema::from_toml(text) {
        let _ = schema.check_for_fit();
        let _ = schema.check_for_discovery();
        let written = schema.to_toml();
        assert!(Schema::from_toml(&written).is_ok_and(|again| again == schema));
    }
});
