//! Sizes, and shares of memory.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Text, UnitError};

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
    /// (see [`available_memory`](crate::config::available_memory)).
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn sizes_can_be_written_back(bytes: u64) {
            prop_assert_eq!(ByteSize::new(bytes).to_string().parse(), Ok(ByteSize::new(bytes)));
            let kib = ByteSize::new(bytes >> 20 << 10);
            prop_assert_eq!(kib.to_string().parse(), Ok(kib));
        }
    }
}
