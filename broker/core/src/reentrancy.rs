//! Debug builds catch a callback that calls back into the registry.

use std::cell::Cell;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Lives as long as callbacks run on this thread.
#[derive(Debug)]
pub(crate) struct Callbacks(bool);

impl Callbacks {
    pub(crate) fn begin() -> Self {
        Self(IN_CALLBACK.replace(true))
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        IN_CALLBACK.set(self.0);
    }
}

/// Panics, in debug builds, when called from a producer's or a consumer's callback.
#[track_caller]
pub(crate) fn forbid() {
    debug_assert!(
        !IN_CALLBACK.get(),
        "a producer's or consumer's callback called its registry"
    );
}
