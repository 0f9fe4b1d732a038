//! The text of a ledger.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthward_privacy::ledger::Ledger;

fuzz_target!(|text: &str| {
    if let Ok(ledger) = Ledger::parse(text) {
        assert!(ledger.check_head(&ledger.head()).is_ok());
        let _ = (ledger.spent(None), ledger.left(None), ledger.tables());
    }
});
