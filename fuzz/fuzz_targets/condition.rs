//! What stands after `--where`, asked of a model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use synthward::cohort::Condition;
use synthward::model::ModelFile;

static MODEL: LazyLock<ModelFile> = LazyLock::new(|| {
    ModelFile::from_bytes(include_bytes!("../../fixtures/golden/model.safetensors")).unwrap()
});

fuzz_target!(|text: &str| {
    let _ = Condition::new(&MODEL, text, 1);
});
