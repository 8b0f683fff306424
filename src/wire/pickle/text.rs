//! Python strings.

use std::{borrow::Cow, fmt, sync::Arc};

/// A Python `str`. Nearly always UTF-8; Python also has strings with lone surrogates (file names
/// that could not be decoded), which it pickles as UTF-8 with each surrogate in three bytes.
/// Clones share the text.
#[derive(Clone)]
pub struct Str(Repr);

#[derive(Clone)]
enum Repr {
    Text(Arc<str>),
    /// Not UTF-8 because of surrogates; otherwise it would be `Text`.
    Surrogates(Arc<[u8]>),
}

/// These bytes are not UTF-8, even with surrogates let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8")]
pub struct NotText;

impl Str {
    /// Reads UTF-8 in which surrogates may be encoded too (Python's `surrogatepass`).
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotText> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::from(text)),
            Err(_) if is_text(bytes) => Ok(Self(Repr::Surrogates(bytes.into()))),
            Err(_) => Err(NotText),
        }
    }

    /// The text; `None` if it has surrogates.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            Repr::Surrogates(_) => None,
        }
    }

    /// The text, with surrogates replaced.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Text(text) => Cow::Borrowed(text),
            Repr::Surrogates(bytes) => String::from_utf8_lossy(bytes),
        }
    }

    /// The bytes as pickled.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Text(text) => text.as_bytes(),
            Repr::Surrogates(bytes) => bytes,
        }
    }

    /// Where the shared text lies: equal for clones of one string; `None` if nobody shares it.
    pub(super) fn shared_at(&self) -> Option<usize> {
        let shared = match &self.0 {
            Repr::Text(text) => Arc::strong_count(text) > 1,
            Repr::Surrogates(bytes) => Arc::strong_count(bytes) > 1,
        };
        shared.then(|| self.as_bytes().as_ptr().addr())
    }
}

/// Whether [`Str::from_bytes`] takes these bytes.
#[inline]
pub(in crate::wire) fn is_text(bytes: &[u8]) -> bool {
    is_ascii(bytes) || is_utf8(bytes)
}

/// The standard library's looks at what is left beyond each 32 bytes one by one; most strings here
/// are names, and shorter.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        let all = |all, word: &[u8; 8]| all | u64::from_ne_bytes(*word);
        // The last word may overlap the one before.
        let bits = words.iter().fold(u64::from_ne_bytes(*last), all);
        return bits & 0x8080_8080_8080_8080 == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let bits = u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last);
        return bits & 0x8080_8080 == 0;
    }
    bytes.iter().fold(0, |all, byte| all | byte) < 0x80
}

/// Whether the first `length` bytes, few of many, are ASCII. `false` proves nothing.
#[inline(always)]
pub(super) fn is_short_ascii(bytes: &[u8], length: usize) -> bool {
    let Some(chunk) = bytes.first_chunk() else {
        return false;
    };
    let high = u128::from_le_bytes(*chunk) & 0x8080_8080_8080_8080_8080_8080_8080_8080;
    // What is beyond 16 bytes counts as not ASCII.
    high.trailing_zeros() as usize >= length.saturating_mul(8) && length <= 16
}

/// The same of any bytes.
#[inline(never)]
fn is_utf8(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        let Err(error) = std::str::from_utf8(rest) else {
            return true;
        };
        let Some(bad) = rest.get(error.valid_up_to()..) else {
            return false;
        };
        let [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] = bad else {
            return false;
        };
        rest = after;
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Str {}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_utf8_and_surrogates_only() {
        assert_eq!(Str::from_bytes("añ€😀".as_bytes()), Ok(Str::from("añ€😀")));
        let lone = Str::from_bytes(b"a\xed\xb2\x80b").unwrap();
        assert_eq!(lone.as_str(), None);
        assert_eq!(lone.as_bytes(), b"a\xed\xb2\x80b");
        assert_eq!(lone.to_string_lossy(), "a\u{fffd}\u{fffd}\u{fffd}b");
        for bad in [
            &b"\xff"[..],
            b"\xed\xb2",
            b"a\xed",
            b"\xc0\x80",
            b"\xf5\x80\x80\x80",
        ] {
            assert_eq!(Str::from_bytes(bad), Err(NotText), "{bad:?}");
        }
    }
}
