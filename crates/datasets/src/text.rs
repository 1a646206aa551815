//! Text from outside in messages: short, on one line, and without marks that a terminal would act on.

/// The most characters of a foreign text that a message quotes.
const MAX_QUOTED: usize = 200;

/// The most characters of a whole reason; what is foreign in it is already [`quoted`].
const MAX_REASON: usize = 1000;

/// A foreign text for a message: at most 200 characters, control characters and marks of direction escaped.
pub(crate) fn quoted(text: &str) -> String {
    shortened(text, MAX_QUOTED)
}

/// As [`quoted`], of bytes that may be no UTF-8.
pub(crate) fn quoted_bytes(bytes: &[u8]) -> String {
    // A character has at most four bytes: a long text is not copied to be cut.
    quoted(&String::from_utf8_lossy(bytes.get(..4 * MAX_QUOTED).unwrap_or(bytes)))
}

/// A reason in our own words, with foreign texts that are [`quoted`]: the last net for those that are not.
pub(crate) fn reason(text: &str) -> String {
    shortened(text, MAX_REASON)
}

fn shortened(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    // The length of `shown`, and where it is cut if the text turns out to be longer: the sign of the cut needs a place.
    let (mut length, mut cut) = (0, 0);
    for character in text.chars() {
        let before = shown.len();
        match is_mark(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
        length += shown[before..].chars().count();
        if length > limit {
            shown.truncate(cut);
            shown.push('…');
            break;
        }
        if length < limit {
            cut = shown.len();
        }
    }
    shown
}

/// Control characters, and characters that change the direction of the text after them.
fn is_mark(character: char) -> bool {
    let is_direction = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    character.is_control() || is_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_a_short_one_is_not() {
        assert_eq!(quoted("é ok"), "é ok");
        assert_eq!(quoted(&"a".repeat(200)), "a".repeat(200));
        let cut = quoted(&"a".repeat(1 << 20));
        assert_eq!((cut.chars().count(), cut.ends_with("a…")), (200, true));
        assert_eq!(quoted_bytes(&[b'b'; 10_000]).chars().count(), 200);
        assert!(quoted(&"\u{202e}".repeat(500)).chars().count() <= 200);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(quoted("a\x1b[2J\n\u{202e}b\u{9b}"), "a\\u{1b}[2J\\n\\u{202e}b\\u{9b}");
        assert_eq!(quoted_bytes(b"\xff\0"), "\u{fffd}\\u{0}");
    }
}
