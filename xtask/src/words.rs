//! Foreign text and times, as pages show them.

use report::text::is_mark;

/// `24 s` or `6 min`.
pub(crate) fn time(seconds: f64) -> String {
    if seconds < 120. { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.) }
}

/// Text for HTML: no markup, and nothing that changes the direction of the text after it.
pub(crate) fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    escaped.replace('\'', "&#39;").replace(['\n', '\r', '\t'], " ").replace(is_mark, "\u{fffd}")
}

/// Text for a cell of a table in Markdown: no markup of either kind, no line breaks.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => escaped.extend(['\\', c]),
            c if is_mark(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(html("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        assert_eq!(html("a\u{202e}\u{1b}[2J'"), "a\u{fffd}\u{fffd}[2J&#39;");
        assert_eq!(markdown("a|b\n<i>*x*</i>\u{202e}"), "a\\|b &lt;i&gt;\\*x\\*&lt;/i&gt;\u{fffd}");
    }

    #[test]
    fn times_are_short() {
        assert_eq!([time(24.4), time(370.)], ["24 s", "6 min"]);
    }
}
