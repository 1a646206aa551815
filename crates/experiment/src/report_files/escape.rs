//! Text from outside in HTML, SVG and Markdown.

use report::text::is_mark;

/// Text for HTML and SVG, in content and in quoted attributes. Control characters and marks that change the direction of
/// text become U+FFFD, line feeds and tabs spaces.
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' | '\r' => escaped.push(' '),
            c if is_mark(c) || c == '\u{fffe}' || c == '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text for one line or one table cell of Markdown.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            c if c.is_control() => escaped.push(' '),
            c if is_mark(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An address that is safe as a link; anything but `http` and `https` is shown as text only.
pub(crate) fn link(url: &str) -> Option<&str> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = !url.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"'()`\\".contains(c));
    (is_web && is_plain).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_text_cannot_leave_its_place() {
        let hostile = "</title><script>alert('x')</script>\" onload=\"y\" & \u{0}\u{202e}\u{2067}\u{9b}\u{61c}";
        let escaped = html(hostile);
        assert!(!escaped.contains(is_mark) && !markdown(hostile).contains(is_mark));
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{0}']));
        assert!(escaped.contains("&amp; \u{fffd}"));
    }

    #[test]
    fn markdown_text_cannot_start_markup_or_a_new_cell() {
        assert_eq!(markdown("a|b\n<i>*x*</i>"), "a\\|b &lt;i&gt;\\*x\\*&lt;/i&gt;");
        assert_eq!(markdown("![x](y) `c`"), "\\!\\[x\\](y) \\`c\\`");
    }

    #[test]
    fn only_web_addresses_are_links() {
        assert_eq!(link("https://a.org/x?y=1&z"), Some("https://a.org/x?y=1&z"));
        for hostile in ["javascript:alert(1)", "data:text/html,x", "https://a\" onclick=\"x", "https://a b", ""] {
            assert_eq!(link(hostile), None, "{hostile}");
        }
    }
}
