//! Text of other ranks, made fit to be printed.

/// Longer texts of others are cut.
const LONGEST: usize = 200;

/// The first of it, with control and direction characters escaped and at most 200 characters in all, so that no peer can write to a terminal or fill it.
pub(crate) fn quote(text: &str) -> String {
    let (mut quoted, mut len) = (String::new(), 0);
    for letter in text.chars() {
        let escaped = match letter {
            '\'' | '"' | '\\' => letter.to_string(),
            _ => letter.escape_debug().to_string(),
        };
        len += escaped.chars().count();
        if len > LONGEST {
            return quoted + "…";
        }
        quoted += &escaped;
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn text_of_others_is_short_and_printable() {
        assert_eq!(quote("rank 1 has `a/b` \\ \"c\" 'd' é²"), "rank 1 has `a/b` \\ \"c\" 'd' é²");
        assert_eq!(quote("\u{1b}[2J\r\n\u{202e}\0"), "\\u{1b}[2J\\r\\n\\u{202e}\\0");
        let long = quote(&"x".repeat(1_000_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (201, true));
        let escaped = quote(&"\u{1b}".repeat(1_000_000));
        assert!(escaped.chars().count() <= 201 && escaped.ends_with("\\u{1b}…"), "{escaped}");
    }
}
