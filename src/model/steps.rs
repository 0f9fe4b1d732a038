//! How much work a fit is.

/// What is fitted: in steps, and the projection to so many drawn units.
#[derive(Clone, Copy)]
pub enum Fitted {
    Network,
    Mixture,
    Projection,
}

/// The steps that a fit takes at most, or the units it draws, of as many as are planned.
#[cfg(not(feature = "test-noise"))]
pub(super) fn most_steps(_: Fitted, planned: usize) -> usize {
    planned
}

/// The steps that a fit takes at most, or the units it draws, of as many as are planned: see [`take_fewer_steps`].
#[cfg(feature = "test-noise")]
pub(super) fn most_steps(of: Fitted, planned: usize) -> usize {
    FEWER_STEPS[of as usize].load(std::sync::atomic::Ordering::Relaxed).min(planned)
}

#[cfg(feature = "test-noise")]
static FEWER_STEPS: [std::sync::atomic::AtomicUsize; 3] =
    [const { std::sync::atomic::AtomicUsize::new(usize::MAX) }; 3];

/// No such fit of this process takes more steps, where a test is about each step and not about what is learnt.
#[cfg(feature = "test-noise")]
pub fn take_fewer_steps(of: Fitted, steps: usize) {
    FEWER_STEPS[of as usize].store(steps, std::sync::atomic::Ordering::Relaxed);
}
