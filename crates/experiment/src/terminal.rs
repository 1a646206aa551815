//! Lines for the person who watches.
//!
//! The printing macros panic when nobody listens any more: a closed pipe, a terminal that hung up. A run must not die of
//! that, so these ignore it. Texts come from papers, data and the machine: what a terminal would act on is not printed.

use std::io::Write;

use report::text::printable;

/// Prints a line to standard error: progress, warnings, errors.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// Prints a line to standard output: results.
pub(crate) fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printable(line));
}
