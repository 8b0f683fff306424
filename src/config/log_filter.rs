//! `log.level`: a level, or directives per module. Read by `main`, which builds the subscriber.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// A level (`info`) or directives (`info,multi_user_server::net=debug`), known to parse.
///
/// The original server's level names (`WARNING`, `CRITICAL`, …) are understood as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LogFilter(String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Python's names of levels that `tracing` has under another name.
const PYTHON_LEVELS: [(&str, &str); 4] = [
    ("warning", "warn"),
    ("critical", "error"),
    ("fatal", "error"),
    ("notset", "trace"),
];

impl LogFilter {
    /// The filter as directives for [`EnvFilter`].
    #[must_use]
    pub fn directives(&self) -> &str {
        &self.0
    }

    /// The filter, ready for a subscriber.
    #[must_use]
    pub fn env_filter(&self) -> EnvFilter {
        // It parsed when it was made; the lossy constructor can't fail.
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// Why a text is no log level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFilterError {
    /// A word that is no level. `EnvFilter` would take it for a module and log nothing else.
    #[error("\"{0}\" is no level")]
    NoLevel(String),
    /// Not a directive, in the words of its parser.
    #[error("{0}")]
    Directive(String),
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        let text = text.trim();
        // Fields in braces may contain commas: such a filter is left to EnvFilter alone.
        let words: Vec<&str> = if text.contains('{') {
            vec![text]
        } else {
            text.split(',').map(str::trim).collect()
        };
        let words: Vec<String> = words.into_iter().map(directive).collect::<Result<_, _>>()?;
        let directives = words.join(",");
        EnvFilter::try_new(&directives)
            .map_err(|error| LogFilterError::Directive(error.to_string()))?;
        Ok(Self(directives))
    }
}

/// One directive, its level in `tracing`'s words.
fn directive(word: &str) -> Result<String, LogFilterError> {
    let Some((target, level)) = word.rsplit_once('=') else {
        return level(word).ok_or_else(|| LogFilterError::NoLevel(word.to_owned()));
    };
    match self::level(level) {
        Some(level) => Ok(format!("{target}={level}")),
        None => Err(LogFilterError::NoLevel(level.to_owned())),
    }
}

/// A level's name in `tracing`'s words.
fn level(word: &str) -> Option<String> {
    let word = word.trim().to_ascii_lowercase();
    if LEVELS.contains(&word.as_str()) {
        return Some(word);
    }
    PYTHON_LEVELS
        .iter()
        .find(|(python, _)| *python == word)
        .map(|(_, ours)| (*ours).to_owned())
}

impl TryFrom<String> for LogFilter {
    type Error = LogFilterError;

    fn try_from(text: String) -> Result<Self, LogFilterError> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives() {
        for (text, directives) in [
            ("info", "info"),
            ("DEBUG", "debug"),
            ("WARNING", "warn"),
            ("CRITICAL", "error"),
            (
                " info , multi_user_server::net=DEBUG",
                "info,multi_user_server::net=debug",
            ),
            (
                "off,[session{user=ann}]=trace",
                "off,[session{user=ann}]=trace",
            ),
        ] {
            let filter: LogFilter = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(filter.directives(), directives);
        }
        assert_eq!(LogFilter::default().env_filter().to_string(), "info");
    }

    #[test]
    fn words_that_are_no_level() {
        for text in [
            "",
            "inof",
            "loud",
            "info,net",
            "net=inof",
            "info,,debug",
            "20",
        ] {
            assert!(
                matches!(text.parse::<LogFilter>(), Err(LogFilterError::NoLevel(_))),
                "{text}"
            );
        }
    }
}
