//! Text from outside, made harmless for a terminal, a page and a message.

use std::borrow::Cow;

/// The most characters of a foreign text that a message quotes.
const MAX_QUOTED: usize = 200;

/// What stands in the place of a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// For the head of a page: no script, nothing from elsewhere, no form; styles within the page, and images as `data:` addresses.
pub const PAGE_POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">";

/// Whether a terminal or a page would act on a character instead of showing it: control characters, and marks that change the
/// direction of the text after them, which can make a text read as another one.
pub fn is_mark(character: char) -> bool {
    let is_direction = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    character.is_control() || is_direction
}

/// A text for the terminal: line feeds and tabs stay, every other character that [`is_mark`] accepts becomes U+FFFD.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_refused = |character: char| is_mark(character) && !matches!(character, '\n' | '\t');
    match text.contains(is_refused) {
        true => text.chars().map(|character| if is_refused(character) { REPLACEMENT } else { character }).collect(),
        false => Cow::Borrowed(text),
    }
}

/// A foreign text for a message: at most 200 characters, those that [`is_mark`] accepts escaped.
pub fn quoted(text: &str) -> String {
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
        if length > MAX_QUOTED {
            shown.truncate(cut);
            shown.push('…');
            break;
        }
        if length < MAX_QUOTED {
            cut = shown.len();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_short_and_shows_its_marks() {
        assert_eq!(quoted("é\x1b[2J\u{202e}"), "é\\u{1b}[2J\\u{202e}");
        assert_eq!(quoted(&"a".repeat(200)), "a".repeat(200));
        let cut = quoted(&"a".repeat(100_000));
        assert_eq!((cut.chars().count(), cut.ends_with("a…")), (200, true));
    }

    #[test]
    fn a_printable_text_keeps_its_lines_and_loses_its_marks() {
        assert_eq!(printable("a\n\tb é ✓"), "a\n\tb é ✓");
        assert_eq!(
            printable("a\x1b[2Jb\r\u{9b}\u{202e}\u{2066}c\0"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}\u{fffd}c\u{fffd}"
        );
    }
}
