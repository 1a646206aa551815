//! Lines for the terminal. `println!` panics when nobody reads any more (`cargo xtask list | head -1`); these go on.

/// Prints a line on standard output.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        // Nobody is left to be told that nobody listens.
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

/// Prints a line on standard error.
macro_rules! complain {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arguments)*);
    }};
}
