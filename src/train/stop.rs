//! A wish to stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, which a training grants at the end of a step.
#[derive(Debug, Default)]
pub struct Stop {
    heard: AtomicBool,
    wished: AtomicBool,
}

impl Stop {
    /// Nobody wishes to stop yet.
    pub const fn new() -> Self {
        Self { heard: AtomicBool::new(false), wished: AtomicBool::new(false) }
    }

    /// Wishes that the training stop. False when there is none to stop, or when it was wished already: whoever wishes
    /// has to end the process then.
    pub fn wish(&self) -> bool {
        self.heard.load(Ordering::SeqCst) && !self.wished.swap(true, Ordering::SeqCst)
    }

    /// A training begins to look whether it is to stop, or has ended.
    pub(super) fn hear(&self, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
    }

    pub(super) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }
}
