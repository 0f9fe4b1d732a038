//! A model file: read, and asked for a few rows. Built for fuzzing, the checksum is not compared, so that what lies behind
//! it is tried.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synthward::model::ModelFile;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = ModelFile::from_bytes(bytes) {
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        model.generator.generate(3, model.domain.rows_column, None, &mut rng, &mut codes, &mut offsets);
    }
});
