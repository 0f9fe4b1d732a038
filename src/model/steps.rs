//! How many steps a fit takes.

/// What is fitted in steps.
#[derive(Clone, Copy)]
pub enum Fitted {
    Network,
    Mixture,
}

/// The steps that a fit takes at most, of as many as are planned.
#[cfg(not(feature = "test-noise"))]
pub(super) fn most_steps(_: Fitted, planned: usize) -> usize {
    planned
}

/// The steps that a fit takes at most, of as many as are planned: see [`take_fewer_steps`].
#[cfg(feature = "test-noise")]
pub(super) fn most_steps(of: Fitted, planned: usize) -> usize {
    FEWER_STEPS[of as usize].load(std::sync::atomic::Ordering::Relaxed).min(planned)
}

#[cfg(feature = "test-noise")]
static FEWER_STEPS: [std::sync::atomic::AtomicUsize; 2] =
    [const { std::sync::atomic::AtomicUsize::new(usize::MAX) }; 2];

/// No such fit of this process takes more steps, where a test is about each step and not about what is learnt.
#[cfg(feature = "test-noise")]
pub fn take_fewer_steps(of: Fitted, steps: usize) {
    FEWER_STEPS[of as usize].store(steps, std::sync::atomic::Ordering::Relaxed);
}
