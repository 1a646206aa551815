use std::io::Write as _;

/// Prints a line to standard output: a result. Whoever reads may have stopped reading.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain(text));
}

/// Prints a line to standard error: progress, a warning, an error.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", plain(text));
}

/// Without characters that steer a terminal or turn the direction of text: names come from outside.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}
