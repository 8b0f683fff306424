//! Values a person writes with a unit: sizes (`"64 MiB"`), durations (`"10s"`), shares of memory
//! (`"60%"`). Used by the configuration [tree](super::tree) and by the checks of single keys.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes. Written as `"64 MiB"`, `"1.5 GB"`, `"4096"` or a plain integer.
///
/// `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024; `kB`, `MB`, `GB` and `TB` powers of 1000.
/// The case of the unit's letters doesn't matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Names of the units, the largest first within each family, and their bytes.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many units of 1024 bytes (saturating).
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// So many units of 1024² bytes (saturating).
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// So many units of 1024³ bytes (saturating).
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; `usize::MAX` where it doesn't fit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides the value without a rest, so that what is shown can
    /// be written back and means the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .filter(|(_, bytes)| bytes.is_power_of_two())
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match exact {
            Some((name, bytes)) => write!(f, "{} {name}", self.0 / bytes),
            None => write!(f, "{} B", self.0),
        }
    }
}

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

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim();
        let factor = if unit.is_empty() {
            1
        } else {
            UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, bytes)| *bytes)
                .ok_or_else(|| UnitError::UnknownUnit(unit.chars().take(16).collect()))?
        };

        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // Nine digits are more than a size needs; more would overflow the scaled number below.
        if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') {
            return Err(UnitError::NoNumber);
        }
        let scale = 10_u128.saturating_pow(u32::try_from(fraction.len()).unwrap_or(9));
        let whole: u128 = whole.parse().map_err(|_| UnitError::TooLarge)?;
        let fraction: u128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().map_err(|_| UnitError::NoNumber)?
        };
        let bytes = whole
            .checked_mul(scale)
            .and_then(|scaled| scaled.checked_add(fraction))
            .and_then(|scaled| scaled.checked_mul(u128::from(factor)))
            .ok_or(UnitError::TooLarge)?
            / scale;
        u64::try_from(bytes)
            .map(Self)
            .map_err(|_| UnitError::TooLarge)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text::<Self>::new(|n| Ok(Self(n))))
    }
}

/// A limit on memory: a share of what this process may use, or a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Percent (1 to 100) of the memory of the control group, or else of the host.
    Share(u8),
    /// So many bytes.
    Size(ByteSize),
}

impl MemoryLimit {
    /// The limit in bytes where `memory` bytes may be used in all
    /// (see [`available_memory`](super::available_memory)).
    #[must_use]
    pub fn resolve(self, memory: ByteSize) -> ByteSize {
        match self {
            // Divided first: exactness matters less than never overflowing.
            Self::Share(percent) => {
                ByteSize((memory.as_u64() / 100).saturating_mul(u64::from(percent)))
            }
            Self::Size(size) => size,
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(percent) => write!(f, "{percent}%"),
            Self::Size(size) => size.fmt(f),
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim().strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Share(percent)),
                _ => Err(UnitError::Share),
            },
            None => text.parse().map(Self::Size),
        }
    }
}

impl Serialize for MemoryLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text::<Self>::new(|n| Ok(Self::Size(ByteSize(n)))))
    }
}

/// How long what was accepted may take to be safe on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is written.
    Off,
    /// At the latest after so long. After none: nobody is told of a change before it is safe.
    Within(Duration),
}

impl fmt::Display for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Within(Duration::ZERO) => f.write_str("0"),
            Self::Within(duration) => humantime::format_duration(*duration).fmt(f),
        }
    }
}

impl FromStr for Flush {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim() {
            "off" => Ok(Self::Off),
            text => parse_duration(text).map(Self::Within),
        }
    }
}

impl Serialize for Flush {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Flush {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Text::<Self>::new(|n| match n {
            0 => Ok(Self::Within(Duration::ZERO)),
            _ => Err(UnitError::MissingUnit),
        });
        deserializer.deserialize_any(visitor)
    }
}

/// Reads a duration with units: `"10s"`, `"500ms"`, `"1m 30s"`.
///
/// # Errors
/// If the text is no duration, or a number whose unit is missing.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if text != "0" && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(if text.is_empty() {
            UnitError::NoNumber
        } else {
            UnitError::MissingUnit
        });
    }
    humantime::parse_duration(text).map_err(|error| UnitError::Duration(error.to_string()))
}

/// Like [`parse_duration`]; a number without a unit means milliseconds, as the original server's
/// `--timeout` has it.
///
/// # Errors
/// If the text is neither.
pub fn parse_millis_or_duration(text: &str) -> Result<Duration, UnitError> {
    match text.trim().parse() {
        Ok(millis) => Ok(Duration::from_millis(millis)),
        Err(_) => parse_duration(text),
    }
}

/// `#[serde(with = …)]` for durations with units.
pub(super) mod duration {
    use super::*;

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        struct Human(Duration);
        impl FromStr for Human {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse_duration(text).map(Self)
            }
        }
        let visitor = Text::<Human>::new(|_| Err(UnitError::MissingUnit));
        deserializer.deserialize_any(visitor).map(|human| human.0)
    }
}

/// `#[serde(with = …)]` for durations whose bare numbers are milliseconds.
pub(super) mod millis_or_duration {
    pub(in crate::config) use super::duration::serialize;
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        struct Millis(Duration);
        impl FromStr for Millis {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse_millis_or_duration(text).map(Self)
            }
        }
        let visitor = Text::<Millis>::new(|n| Ok(Millis(Duration::from_millis(n))));
        deserializer.deserialize_any(visitor).map(|millis| millis.0)
    }
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

    #[test]
    fn flushes_are_durations_none_or_off() {
        assert_eq!("off".parse(), Ok(Flush::Off));
        assert_eq!("0".parse(), Ok(Flush::Within(Duration::ZERO)));
        assert_eq!(
            "100ms".parse(),
            Ok(Flush::Within(Duration::from_millis(100)))
        );
        assert!("100".parse::<Flush>().is_err());
        for text in ["off", "0", "100ms", "2s"] {
            assert_eq!(text.parse::<Flush>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64 MiB", 64 << 20),
            ("64mib", 64 << 20),
            (" 1.5 GiB ", 3 << 29),
            ("2 GB", 2_000_000_000),
            ("1 kB", 1000),
            ("0.5 B", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)), "{text}");
        }
        for (text, error) in [
            ("", UnitError::NoNumber),
            ("MiB", UnitError::NoNumber),
            ("-1", UnitError::UnknownUnit("-1".to_owned())),
            ("1.2.3 MiB", UnitError::NoNumber),
            (".5 MiB", UnitError::NoNumber),
            ("3 parsec", UnitError::UnknownUnit("parsec".to_owned())),
            ("64 M", UnitError::UnknownUnit("M".to_owned())),
            ("18446744073709551616", UnitError::TooLarge),
            ("16777216 TiB", UnitError::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
        assert_eq!(ByteSize::gib(2).to_string(), "2 GiB");
        assert_eq!(ByteSize::new(1536).to_string(), "1536 B");
        assert_eq!(ByteSize::new(0).to_string(), "0 B");
    }

    #[test]
    fn limits_on_memory() {
        let gib8 = ByteSize::gib(8);
        assert_eq!("60%".parse(), Ok(MemoryLimit::Share(60)));
        assert_eq!(
            "50 %"
                .parse::<MemoryLimit>()
                .unwrap()
                .resolve(gib8)
                .as_u64()
                >> 20,
            4095
        );
        assert_eq!(
            "1 GiB".parse::<MemoryLimit>().unwrap().resolve(gib8),
            ByteSize::gib(1)
        );
        for text in ["0%", "101%", "-1%", "%", "1.5%"] {
            assert_eq!(text.parse::<MemoryLimit>(), Err(UnitError::Share), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("10"), Err(UnitError::MissingUnit));
        assert_eq!(parse_duration(""), Err(UnitError::NoNumber));
        assert!(matches!(
            parse_duration("soon"),
            Err(UnitError::Duration(_))
        ));
        assert_eq!(parse_millis_or_duration("2000"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_millis_or_duration("2s"), Ok(Duration::from_secs(2)));
        assert!(parse_millis_or_duration("-1").is_err());
    }

    proptest! {
        #[test]
        fn sizes_can_be_written_back(bytes: u64) {
            prop_assert_eq!(ByteSize::new(bytes).to_string().parse(), Ok(ByteSize::new(bytes)));
            let kib = ByteSize::new(bytes >> 20 << 10);
            prop_assert_eq!(kib.to_string().parse(), Ok(kib));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,24}|[0-9.]{0,40} ?[a-zA-Z%]{0,3}") {
            let _ = text.parse::<MemoryLimit>();
            let _ = parse_millis_or_duration(&text);
        }
    }
}
