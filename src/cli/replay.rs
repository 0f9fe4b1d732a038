//! What only a build for tests hears: a seed for the noise, a tape of what mechanisms held, and fewer steps.

use crate::model::{Fitted, take_fewer_steps};
use std::path::PathBuf;
use synthward_privacy::{seed_noise, tape};

/// Writes the tape, or how far each release moved from it, when the command has ended.
pub enum Tape {
    Record(PathBuf),
    Play(PathBuf),
    Off,
}

impl Tape {
    /// As the environment says: `SYNTHWARD_TEST_NOISE` is a seed, `SYNTHWARD_TEST_STEPS` a number of steps of a network,
    /// `SYNTHWARD_TEST_MIXTURE_STEPS` one of a mixture, `SYNTHWARD_TEST_DRAWN_UNITS` one of units that a projection draws, and
    /// `SYNTHWARD_TEST_TAPE` is `record:FILE` or `replay:FILE`.
    pub fn start() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        if let Some(seed) = number("SYNTHWARD_TEST_NOISE") {
            tracing::warn!("the noise is seeded: nothing that is made is private");
            seed_noise(seed);
        }
        for (name, of) in [
            ("SYNTHWARD_TEST_STEPS", Fitted::Network),
            ("SYNTHWARD_TEST_MIXTURE_STEPS", Fitted::Mixture),
            ("SYNTHWARD_TEST_DRAWN_UNITS", Fitted::Projection),
        ] {
            if let Some(steps) = number(name) {
                take_fewer_steps(of, steps as usize);
            }
        }
        let asked = std::env::var("SYNTHWARD_TEST_TAPE").unwrap_or_default();
        match asked.split_once(':') {
            Some(("record", file)) => {
                tape::record();
                Self::Record(file.into())
            }
            Some(("replay", file)) => {
                tape::replay(&std::fs::read(file).unwrap_or_default());
                Self::Play(file.into())
            }
            _ => Self::Off,
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let written = match self {
            Self::Off => return,
            Self::Record(file) => std::fs::write(file, tape::recorded()),
            Self::Play(file) => {
                let moved = serde_json::to_vec(&tape::replayed()).unwrap_or_default();
                std::fs::write(file.with_extension("moved"), moved)
            }
        };
        if let Err(e) = written {
            tracing::warn!("the tape was not written: {}", e.kind());
        }
    }
}
