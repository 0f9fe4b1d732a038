//! How many steps a fit takes.

/// The steps that a fit takes at most, of as many as are planned.
#[cfg(not(feature = "test-noise"))]
pub(super) fn most_steps(planned: usize) -> usize {
    planned
}

/// The steps that a fit takes at most, of as many as are planned: see [`take_fewer_steps`].
#[cfg(feature = "test-noise")]
pub(super) fn most_steps(planned: usize) -> usize {
    FEWER_STEPS.load(std::sync::atomic::Ordering::Relaxed).min(planned)
}

#[cfg(feature = "test-noise")]
static FEWER_STEPS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(usize::MAX);

/// No fit of this process takes more steps, where a test is about each step and not about what is learnt.
#[cfg(feature = "test-noise")]
pub fn take_fewer_steps(steps: usize) {
    FEWER_STEPS.store(steps, std::sync::atomic::Ordering::Relaxed);
}
