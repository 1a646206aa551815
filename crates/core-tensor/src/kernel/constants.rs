//! Whether parameters count as constants on this thread.

use std::cell::Cell;

thread_local! {
    static ARE_CONSTANT: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, operations of this crate take the variables that they meet on this thread off the tape.
pub(crate) struct Scope {
    before: bool,
}

impl Scope {
    pub(crate) fn new() -> Self {
        Self { before: ARE_CONSTANT.replace(true) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ARE_CONSTANT.set(self.before);
    }
}

/// Whether a [`Scope`] lives on this thread.
pub(crate) fn are_constant() -> bool {
    ARE_CONSTANT.get()
}
