//! The model file: what was written once is read ever after, and what was changed is not read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synthward::model::ModelFile;

use crate::world::World;

const GOLDEN: &[u8] = include_bytes!("../../fixtures/golden/model.safetensors");

#[test]
fn a_model_of_an_earlier_version_is_read_and_draws_the_same_rows() {
    let world = World::new();
    world.write("model.safetensors", GOLDEN);
    world.run("generate model.safetensors --rows 6 --seed 1 -o cohort.csv").succeeds();
    let expected = "\
age,sex,stage,admitted\n\
78,M,I,2020-04-24\n\
42,F,I,2020-06-06\n\
63,F,I,2020-10-05\n\
51,M,I,2020-04-05\n\
64,F,II,2020-03-08\n\
69,F,I,2020-01-09\n\
";
    assert_eq!(world.text("cohort.csv"), expected);
}

/// One bit of any byte, or the end cut off.
#[test]
fn a_model_that_was_changed_is_refused() {
    assert!(ModelFile::from_bytes(GOLDEN).is_ok());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..2000 {
        let mut bytes = GOLDEN.to_vec();
        let place = rng.random_range(0..bytes.len());
        bytes[place] ^= 1 << rng.random_range(0..8);
        assert!(ModelFile::from_bytes(&bytes).is_err(), "byte {place}");
        assert!(ModelFile::from_bytes(&GOLDEN[..place]).is_err(), "cut at {place}");
    }
}
