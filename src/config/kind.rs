//! Which values are right for a key: what the [list of keys](super::keys) is made of. Values are
//! checked as they were written, before the types of the [tree](super::tree) see them, so that an
//! error can say what would be right.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use figment::value::Value;
use serde::de::DeserializeOwned;

use crate::wire::dialect::Version;

use super::{
    globals,
    log_filter::LogFilter,
    periods::{Interval, WhenEmpty},
    secret::{MAX_PASSWORD, check_password},
    units::{ByteSize, Flush, MemoryLimit, UnitError, parse_duration, parse_millis_or_duration},
};

/// What a key takes. Bounds are inclusive.
#[derive(Debug)]
pub(super) enum Kind {
    /// A list of IP addresses.
    Addresses,
    Port,
    /// A whole number.
    Count(u64, u64),
    Size(ByteSize, ByteSize),
    Memory,
    /// How soon changes are safe on the disk.
    Flush,
    /// How often something is done.
    Interval,
    /// What becomes of an empty session.
    WhenEmpty,
    Duration(Duration, Duration),
    /// A duration whose bare numbers are milliseconds.
    Millis(Duration, Duration),
    Choice(&'static [&'static str]),
    /// A list of different ones of these words, at least one.
    Words(&'static [&'static str]),
    /// A list of Python names.
    Globals,
    /// A version of clients; the empty text means none.
    OptionalVersion,
    Switch,
    Threads,
    Filter,
    /// The name of a session, which becomes a folder.
    Name,
    Path,
    /// A path; the empty text means none.
    OptionalPath,
    /// A password; the empty text means none. Its value is never shown.
    Secret,
}

/// A bound for sizes that have none.
pub(super) const NO_LIMIT: ByteSize = ByteSize::new(i64::MAX as u64);

const MAX_THREADS: u64 = 1024;
/// The ports p+1 to p+3 have to exist.
const MAX_PORT: u64 = 65_532;
/// More work than this nobody wants to do again.
const MAX_FLUSH: Duration = Duration::from_secs(60);
/// Nobody needs a backup more often, and each has to be written.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// About ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const MIN_SESSION: ByteSize = ByteSize::mib(1);

/// What is wrong with a value: its own words where the expectation alone wouldn't tell.
pub(super) type Problem = Option<String>;

impl Kind {
    /// Whether values are paths.
    pub(super) fn is_path(&self) -> bool {
        matches!(self, Self::Path | Self::OptionalPath)
    }

    /// Whether `value` is right.
    pub(super) fn check(&self, value: &Value) -> Result<(), Problem> {
        match self {
            Self::Addresses => check_addresses(value),
            Self::Port => check_count(value, 0, MAX_PORT),
            Self::Count(min, max) => check_count(value, *min, *max),
            Self::Size(min, max) => in_range(read::<ByteSize>(value)?, *min, *max),
            Self::Memory => match read(value)? {
                MemoryLimit::Size(size) => in_range(size, MIN_SESSION, NO_LIMIT),
                MemoryLimit::Share(_) => Ok(()),
            },
            Self::Flush => match read(value)? {
                Flush::Within(duration) => in_range(duration, Duration::ZERO, MAX_FLUSH),
                Flush::Off => Ok(()),
            },
            Self::Interval => match read(value)? {
                Interval::Every(duration) => in_range(duration, MIN_INTERVAL, LONGEST),
                Interval::Off => Ok(()),
            },
            Self::WhenEmpty => match read(value)? {
                WhenEmpty::ResetAfter(duration) => in_range(duration, Duration::ZERO, LONGEST),
                WhenEmpty::Keep => Ok(()),
            },
            Self::Duration(min, max) => {
                if whole(value).is_some() {
                    return Err(Some(UnitError::MissingUnit.to_string()));
                }
                let text = value.as_str().ok_or(None)?;
                let duration = parse_duration(text).map_err(|error| Some(error.to_string()))?;
                in_range(duration, *min, *max)
            }
            Self::Millis(min, max) => {
                let text = match whole(value) {
                    Some(millis) => millis.to_string(),
                    None => value.as_str().ok_or(None)?.to_owned(),
                };
                let duration =
                    parse_millis_or_duration(&text).map_err(|error| Some(error.to_string()))?;
                in_range(duration, *min, *max)
            }
            Self::Choice(words) => {
                let text = value.as_str().ok_or(None)?;
                if words.contains(&text) {
                    Ok(())
                } else {
                    Err(None)
                }
            }
            Self::Words(words) => check_words(value, words),
            Self::Globals => {
                let list = value.as_array().ok_or(None)?;
                let texts: Option<Vec<_>> = list.iter().map(Value::as_str).collect();
                globals::check(texts.ok_or(None)?.into_iter()).map_err(Some)
            }
            Self::OptionalVersion => match value.as_str().ok_or(None)? {
                "" => Ok(()),
                text => Version::parse(text).map(drop).ok_or(None),
            },
            Self::Switch => value.to_bool().map(drop).ok_or(None),
            Self::Threads if value.as_str() == Some("auto") => Ok(()),
            Self::Threads => check_count(value, 1, MAX_THREADS),
            Self::Filter => {
                let text = value.as_str().ok_or(None)?;
                text.parse::<LogFilter>()
                    .map(drop)
                    .map_err(|error| Some(error.to_string()))
            }
            Self::Name => {
                if is_session_name(value.as_str().ok_or(None)?) {
                    Ok(())
                } else {
                    Err(None)
                }
            }
            Self::Path if value.as_str() == Some("") => Err(None),
            Self::Path | Self::OptionalPath => {
                let text = value.as_str().ok_or(None)?;
                if text.contains('\0') {
                    Err(None)
                } else {
                    Ok(())
                }
            }
            Self::Secret => check_password(value.as_str().ok_or(None)?).map_err(Some),
        }
    }

    /// A text from the environment or a flag as the value this key takes. What can't be turned
    /// is kept as text, for [`check`](Self::check) to refuse. Never guessed from the text alone:
    /// a password `007` stays what it is.
    pub(super) fn value_of(&self, text: &str) -> Value {
        let trimmed = text.trim();
        match self {
            Self::Port | Self::Count(..) | Self::Threads => trimmed
                .parse::<u64>()
                .map_or_else(|_| text.into(), Value::from),
            Self::Switch => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => true.into(),
                "false" | "no" | "off" | "0" => false.into(),
                _ => text.into(),
            },
            Self::Addresses | Self::Words(_) | Self::Globals => Value::from(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .collect::<Vec<_>>(),
            ),
            Self::Choice(_) | Self::OptionalVersion => trimmed.into(),
            _ => text.into(),
        }
    }
}

impl Kind {
    /// What would be right in a variable or a flag, where lists have commas instead of brackets.
    pub(super) fn expected_in_text(&self) -> String {
        match self {
            Self::Addresses => "different IP addresses with commas between them, such as \
                                127.0.0.1,::1"
                .to_owned(),
            Self::Words(words) => format!(
                "different ones of these, with commas between them: {}",
                words.join(", ")
            ),
            Self::Globals => "different Python names with commas between them, such as \
                              numpy.core.multiarray.scalar"
                .to_owned(),
            kind => kind.to_string(),
        }
    }
}

impl fmt::Display for Kind {
    /// What would be right in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let human = humantime::format_duration;
        match self {
            Self::Addresses => {
                f.write_str("a list of different IP addresses such as [\"0.0.0.0\", \"::\"]")
            }
            Self::Port => write!(
                f,
                "a whole number from 1 to {MAX_PORT} (the three ports above it are used too)"
            ),
            Self::Count(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Size(min, NO_LIMIT) => {
                write!(
                    f,
                    "a size such as \"64 MiB\" or a number of bytes, at least {min}"
                )
            }
            Self::Size(min, max) => {
                write!(
                    f,
                    "a size such as \"64 KiB\" or a number of bytes, from {min} to {max}"
                )
            }
            Self::Memory => write!(
                f,
                "a share of the memory such as \"60%\" or a size such as \"8 GiB\", at least \
                 {MIN_SESSION}"
            ),
            Self::Flush => write!(
                f,
                "a duration such as \"100ms\", at most {}, \"0\" or \"off\"",
                human(MAX_FLUSH)
            ),
            Self::Interval => write!(
                f,
                "a duration such as \"30m\", at least {}, or \"off\"",
                human(MIN_INTERVAL)
            ),
            Self::WhenEmpty => f.write_str("\"keep\", or such as \"reset after 2h\""),
            Self::Duration(min, max) => write!(
                f,
                "a duration such as \"10s\" or \"500ms\", from {} to {}",
                human(*min),
                human(*max)
            ),
            Self::Millis(min, max) => write!(
                f,
                "a duration such as \"2s\" or a number of milliseconds, from {} to {}",
                human(*min),
                human(*max)
            ),
            Self::Choice(words) => write!(f, "\"{}\"", words.join("\" or \"")),
            Self::Words(words) => write!(
                f,
                "a list of different ones of \"{}\"",
                words.join("\", \"")
            ),
            Self::Globals => f.write_str(
                "a list of different Python names such as [\"numpy.core.multiarray.scalar\"]",
            ),
            Self::OptionalVersion => f.write_str("a version such as \"0.9.11\", or \"\" for none"),
            Self::Switch => f.write_str("true or false"),
            Self::Threads => write!(f, "a whole number from 1 to {MAX_THREADS}, or \"auto\""),
            Self::Filter => f.write_str(
                "error, warn, info, debug or trace, or directives such as \
                 \"info,multi_user_server::net=debug\"",
            ),
            Self::Name => f.write_str(SESSION_NAME),
            Self::Path => f.write_str("a path in quotes"),
            Self::OptionalPath => f.write_str("a path in quotes, or \"\" for none"),
            Self::Secret => {
                write!(
                    f,
                    "a text in quotes of at most {MAX_PASSWORD} bytes and one line"
                )
            }
        }
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    value.deserialize().map_err(|error| match error.kind {
        figment::error::Kind::Message(message) => Some(message),
        _ => None,
    })
}

fn in_range<T: PartialOrd>(value: T, min: T, max: T) -> Result<(), Problem> {
    if value < min {
        Err(Some("too small".to_owned()))
    } else if value > max {
        Err(Some("too large".to_owned()))
    } else {
        Ok(())
    }
}

fn check_count(value: &Value, min: u64, max: u64) -> Result<(), Problem> {
    match value {
        Value::Num(..) => in_range(whole(value).ok_or(None)?, min.into(), max.into()),
        _ => Err(None),
    }
}

fn check_words(value: &Value, words: &[&str]) -> Result<(), Problem> {
    let list = value.as_array().ok_or(None)?;
    let mut seen = BTreeSet::new();
    for item in list {
        let text = item
            .as_str()
            .filter(|text| words.contains(text))
            .ok_or(None)?;
        if !seen.insert(text) {
            return Err(Some(format!("{text:?} is there twice")));
        }
    }
    if seen.is_empty() { Err(None) } else { Ok(()) }
}

fn check_addresses(value: &Value) -> Result<(), Problem> {
    let list = value.as_array().ok_or(None)?;
    let mut seen = BTreeSet::new();
    for item in list {
        let text = item.as_str().ok_or(None)?;
        let address: IpAddr = text
            .parse()
            .map_err(|_| Some(format!("{text:?} is no IP address")))?;
        if !seen.insert(address.to_canonical()) {
            return Err(Some(format!("{address} is there twice")));
        }
    }
    for address in &seen {
        // Each is opened for its own kind alone, so that `::` has no address of IPv4 in it.
        let all = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        if *address != all && seen.contains(&all) {
            return Err(Some(format!("{address} is part of {all}, leave it out")));
        }
    }
    if seen.is_empty() {
        Err(Some("the list is empty".to_owned()))
    } else {
        Ok(())
    }
}

/// What a session may be called.
pub(crate) const SESSION_NAME: &str =
    "1 to 64 letters (a-z), digits, '-', '_' or '.', the first a letter or digit";

/// Whether a session may be called so.
pub(crate) fn is_session_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A whole number, however the layer holds it.
pub(super) fn whole(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128()?.try_into().ok())
}
