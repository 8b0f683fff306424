//! Periods that may also be none: how often something is done, and how long an empty session is
//! kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units::{UnitError, parse_duration};

/// How often something is done by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Never.
    Off,
    /// Each time so long has passed.
    Every(Duration),
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Every(duration) => humantime::format_duration(*duration).fmt(f),
        }
    }
}

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim() {
            "off" => Ok(Self::Off),
            text => parse_duration(text).map(Self::Every),
        }
    }
}

/// What becomes of a session in which nobody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenEmpty {
    /// It waits for whoever comes next.
    Keep,
    /// After so long it is saved as a backup and emptied.
    ResetAfter(Duration),
}

impl fmt::Display for WhenEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::ResetAfter(duration) => {
                write!(f, "reset after {}", humantime::format_duration(*duration))
            }
        }
    }
}

impl FromStr for WhenEmpty {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        if text == "keep" {
            return Ok(Self::Keep);
        }
        let after = text.strip_prefix("reset after ");
        let Some(after) = after else {
            let expected = "expected \"keep\" or \"reset after\" and a duration".to_owned();
            return Err(UnitError::Duration(expected));
        };
        parse_duration(after).map(Self::ResetAfter)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

as_text!(Interval, WhenEmpty);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written() {
        let hour = Duration::from_secs(3600);
        assert_eq!("off".parse(), Ok(Interval::Off));
        assert_eq!("1h".parse(), Ok(Interval::Every(hour)));
        assert!("30".parse::<Interval>().is_err());
        assert_eq!("keep".parse(), Ok(WhenEmpty::Keep));
        assert_eq!("reset after 1h".parse(), Ok(WhenEmpty::ResetAfter(hour)));
        for wrong in ["reset", "reset after", "reset after 5", "drop", ""] {
            assert!(wrong.parse::<WhenEmpty>().is_err(), "{wrong}");
        }
        assert_eq!(Interval::Every(hour).to_string(), "1h");
        assert_eq!(WhenEmpty::ResetAfter(hour).to_string(), "reset after 1h");
    }
}
