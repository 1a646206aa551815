//! Lines for the terminal. `println!` panics when nobody reads any more (`cargo xtask list | head -1`); these go on. Names and
//! messages come from reports, data and other programs: what a terminal would act on is not printed.

/// Prints a line on standard output.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        // Nobody is left to be told that nobody listens.
        let _ = writeln!(std::io::stdout(), "{}", ::report::text::printable(&format!($($arguments)*)));
    }};
}

/// Prints a line on standard error.
macro_rules! complain {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{}", ::report::text::printable(&format!($($arguments)*)));
    }};
}

/// Prints a line of a program that was started here on standard output, as it is: with its colours.
macro_rules! relay {
    ($line:expr) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), "{}", $line);
    }};
}
