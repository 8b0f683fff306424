//! Durations, and how soon something has to be safe on the disk.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Text, UnitError};

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
pub(in crate::config) mod duration {
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
pub(in crate::config) mod millis_or_duration {
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

#[cfg(test)]
mod tests {
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
}
