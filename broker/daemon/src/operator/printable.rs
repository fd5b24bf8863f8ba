//! Text that peers chose, made fit for a terminal.

use std::borrow::Cow;

/// The text with control characters shown as escapes: a terminal obeys them.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_control) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().map(shown).collect()),
    }
}

fn shown(character: char) -> String {
    match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_shows_control_characters_and_leaves_the_rest() {
        assert_eq!(printable("head0 · vblank"), "head0 · vblank");
        assert_eq!(
            printable("a\x1b[2Jb\r\n\u{9b}c"),
            "a\\u{1b}[2Jb\\r\\n\\u{9b}c"
        );
    }
}
