//! Text of other ranks, made fit to be printed.

/// Longer texts of others are cut.
const LONGEST: usize = 200;

/// The first 200 characters, with control and direction characters escaped, so that no peer can write to a terminal or fill it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for (at, letter) in text.chars().enumerate() {
        if at == LONGEST {
            quoted.push('…');
            break;
        }
        match letter {
            '\'' | '"' | '\\' => quoted.push(letter),
            _ => quoted.extend(letter.escape_debug()),
        }
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
    }
}
