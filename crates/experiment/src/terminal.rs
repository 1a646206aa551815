//! Lines for the person who watches.
//!
//! The printing macros panic when nobody listens any more: a closed pipe, a terminal that hung up. A run must not die of
//! that, so these ignore it.

use std::io::Write;

/// Prints a line to standard error: progress, warnings, errors.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line to standard output: results.
pub(crate) fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
