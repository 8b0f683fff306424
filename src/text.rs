//! Client-supplied text, made fit for logs.

use std::fmt;

/// Longest piece of a client's text in a log line, in characters.
const SHOWN: usize = 64;

/// Shows text with control characters escaped and cut to 64 characters, so that a log line stays
/// one line and says what it seems to say.
pub(crate) fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

/// See [`shown`].
pub(crate) struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(SHOWN) {
            if c.is_control() || is_deceptive(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        if chars.next().is_some() {
            f.write_str("…")
        } else {
            Ok(())
        }
    }
}

/// Characters that reorder or hide what stands around them.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        assert_eq!(shown("a\nb\u{1b}[31m").to_string(), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(shown("a\u{202e}b").to_string(), "a\\u{202e}b");
        let long = shown(&"x".repeat(100)).to_string();
        assert_eq!((long.chars().count(), long.ends_with('…')), (65, true));
    }
}
