//! A wish to stop, and what it comes to: it depends on how far the fit is.

use crate::error::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes an intent back.
type TakeBack = Box<dyn FnOnce() -> Result<()> + Send>;

/// A wish to stop. It is heard on a thread of its own, while the fit may be about to draw: the two wait for each other.
#[derive(Default)]
pub struct Stop {
    moment: Mutex<Moment>,
    wished: AtomicBool,
}

/// How far a fit is, as far as its end goes.
#[derive(Default)]
enum Moment {
    /// There is none that anything is spent on.
    #[default]
    Nothing,
    /// Nothing was drawn, and the intent can be taken back.
    Intended(TakeBack),
    /// The intent was taken back: nothing may be drawn.
    TakenBack,
    /// What was drawn counts.
    Drawn,
    /// A training, which ends after a step.
    Training,
}

/// What came of a wish.
#[derive(Debug)]
pub enum Heard {
    /// Nothing is spent: the process may end.
    Nothing,
    /// Nothing was drawn. The intent was taken back, or could not be.
    TakenBack(Result<()>),
    /// What was drawn counts, and what was kept can be gone on with: the process may end.
    Drawn,
    /// The training ends after this step.
    AfterStep,
}

impl Stop {
    /// Nobody wishes to stop yet.
    pub const fn new() -> Self {
        Self { moment: Mutex::new(Moment::Nothing), wished: AtomicBool::new(false) }
    }

    /// Wishes to stop.
    pub fn wish(&self) -> Heard {
        let mut moment = self.moment();
        match std::mem::take(&mut *moment) {
            Moment::Intended(take_back) => {
                *moment = Moment::TakenBack;
                Heard::TakenBack(take_back())
            }
            Moment::Training if !self.wished.swap(true, Ordering::SeqCst) => {
                *moment = Moment::Training;
                Heard::AfterStep
            }
            Moment::Nothing => Heard::Nothing,
            Moment::TakenBack => {
                *moment = Moment::TakenBack;
                Heard::Nothing
            }
            Moment::Drawn | Moment::Training => {
                *moment = Moment::Drawn;
                Heard::Drawn
            }
        }
    }

    /// Writes an intent, which a wish takes back from then on.
    pub(super) fn intend<T>(&self, write: impl FnOnce() -> Result<(T, TakeBack)>) -> Result<T> {
        let mut moment = self.moment();
        let (written, take_back) = write()?;
        *moment = Moment::Intended(take_back);
        Ok(written)
    }

    /// Takes the intent back, if there is one that can be. Returns whether it did.
    pub(super) fn take_back(&self) -> Result<bool> {
        let mut moment = self.moment();
        match std::mem::take(&mut *moment) {
            Moment::Intended(take_back) => take_back().map(|()| true),
            other => {
                *moment = other;
                Ok(false)
            }
        }
    }

    /// Writes that something is drawn from here on, unless the intent was taken back.
    ///
    /// # Errors
    /// Interrupted, where it was; what `write` gives.
    pub(super) fn draw<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut moment = self.moment();
        if matches!(*moment, Moment::TakenBack) {
            return Err(Error::new(ErrorKind::Interrupted, "stopped: nothing was drawn, and nothing is spent"));
        }
        let written = write()?;
        *moment = Moment::Drawn;
        Ok(written)
    }

    /// A fit is gone on with: its intent counts.
    pub(super) fn resume(&self) {
        *self.moment() = Moment::Drawn;
    }

    /// A training begins to look whether it is to stop, or has ended.
    pub(super) fn train(&self, trains: bool) {
        *self.moment() = if trains { Moment::Training } else { Moment::Drawn };
    }

    /// The fit is over.
    pub(super) fn forget(&self) {
        *self.moment() = Moment::Nothing;
    }

    pub(super) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn intended(stop: &Stop) -> Arc<AtomicBool> {
        let taken_back = Arc::new(AtomicBool::new(false));
        let own = taken_back.clone();
        stop.intend(|| {
            let take_back: TakeBack = Box::new(move || {
                assert!(!own.swap(true, Ordering::SeqCst), "it is taken back once");
                Ok(())
            });
            Ok(((), take_back))
        })
        .unwrap();
        taken_back
    }

    /// Whichever comes first, the wish or the first draw: what is drawn is not taken back, and what is taken back draws nothing.
    #[test]
    fn a_wish_takes_back_what_has_drawn_nothing() {
        let stop = Stop::new();
        assert!(matches!(stop.wish(), Heard::Nothing));
        let taken_back = intended(&stop);
        assert!(matches!(stop.wish(), Heard::TakenBack(Ok(()))) && taken_back.load(Ordering::SeqCst));
        let refused = stop.draw(|| Ok(())).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Interrupted);
        assert!(matches!(stop.wish(), Heard::Nothing) && !stop.take_back().unwrap());

        let stop = Stop::new();
        let taken_back = intended(&stop);
        stop.draw(|| Ok(())).unwrap();
        assert!(matches!(stop.wish(), Heard::Drawn) && !stop.take_back().unwrap());
        assert!(!taken_back.load(Ordering::SeqCst));
        stop.forget();
        assert!(matches!(stop.wish(), Heard::Nothing));
    }

    #[test]
    fn a_training_is_let_take_its_step_once() {
        let stop = Stop::new();
        stop.draw(|| Ok(())).unwrap();
        stop.train(true);
        assert!(matches!(stop.wish(), Heard::AfterStep) && stop.is_wished());
        assert!(matches!(stop.wish(), Heard::Drawn));
    }

    /// A line that cannot be written draws nothing, and can be taken back.
    #[test]
    fn what_could_not_be_written_is_not_drawn() {
        let stop = Stop::new();
        let taken_back = intended(&stop);
        assert!(stop.draw(|| Err::<(), _>(Error::failed("full"))).is_err());
        assert!(stop.take_back().unwrap() && taken_back.load(Ordering::SeqCst));
    }
}
