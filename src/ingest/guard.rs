//! The one place where a reader's panic or error text is caught.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

/// Runs a third-party reader on bytes that nobody has checked. `None` when it
/// fails or panics: its message may quote a cell, so it is neither printed nor
/// passed on.
pub(super) fn quietly<T, E>(read: impl FnOnce() -> Result<T, E>) -> Option<T> {
    // The panic hook belongs to the process: one reader at a time exchanges it.
    static HOOK: Mutex<()> = Mutex::new(());
    let _turn = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(read));
    panic::set_hook(hook);
    outcome.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_an_error_are_both_none() {
        assert_eq!(quietly(|| Ok::<_, ()>(3)), Some(3));
        assert_eq!(quietly(|| Err::<u8, _>("cell 42")), None);
        assert_eq!(quietly(|| -> Result<u8, ()> { panic!("cell 42") }), None);
    }
}
