//! Values a person writes with a unit: [sizes](ByteSize) (`"64 MiB"`), [durations](parse_duration)
//! (`"10s"`), [shares of memory](MemoryLimit) (`"60%"`). Used by the configuration
//! [tree](super::tree) and by the checks of single keys.

mod durations;
mod sizes;

use std::{fmt, str::FromStr};

use serde::de;

pub use durations::{Flush, parse_duration, parse_millis_or_duration};
pub(super) use durations::{duration, millis_or_duration};
pub use sizes::{ByteSize, MemoryLimit};

/// Why a text is not a size, duration or share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing, or nothing that starts with a digit.
    #[error("no number at the start")]
    NoNumber,
    /// Digits followed by something that is not a unit of a size.
    #[error("unknown unit \"{0}\" (known: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)")]
    UnknownUnit(String),
    /// More than 2^64 - 1 bytes.
    #[error("too large")]
    TooLarge,
    /// A duration without a unit.
    #[error("a unit is missing (ms, s, m, h)")]
    MissingUnit,
    /// Not a duration, in the words of the parser.
    #[error("{0}")]
    Duration(String),
    /// A percentage outside 1 to 100.
    #[error("a share is from 1% to 100%")]
    Share,
}

/// Accepts a text that `T` parses, or a whole number that `number` turns into a `T`.
struct Text<T> {
    number: fn(u64) -> Result<T, UnitError>,
}

impl<T> Text<T> {
    fn new(number: fn(u64) -> Result<T, UnitError>) -> Self {
        Self { number }
    }
}

impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text with a unit, or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,24}|[0-9.]{0,40} ?[a-zA-Z%]{0,3}") {
            let _ = text.parse::<MemoryLimit>();
            let _ = parse_millis_or_duration(&text);
        }
    }
}
