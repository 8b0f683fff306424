//! Where a value comes from, and what can be wrong with it. Printed by `main`.

use std::{fmt, path::PathBuf};

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Built in.
    Default,
    /// A default that follows an environment variable which is not ours (`HOME`).
    DefaultFrom {
        /// The variable's name.
        variable: &'static str,
    },
    /// A key of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The key's full name (`net.grace`).
        key: String,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// The flag with its dashes.
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::DefaultFrom { variable } => write!(f, "default, from ${variable}"),
            Self::File { path, key } => write!(f, "{}: {key}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// One mistake in the configuration. Passwords are never part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file can't be read.
    #[error("{}: can't read this configuration file{}: {why}", path.display(), given(by))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What named it, unless it was found by itself.
        by: Option<Origin>,
        /// The reason, in the words of the system.
        why: String,
    },
    /// A file is not TOML.
    #[error("{}: not valid TOML, {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// There is no such key or variable.
    #[error("{at}: unknown{}", did_you_mean(nearest))]
    Unknown {
        /// Where it is.
        at: Origin,
        /// What was probably meant, spelled as in that place.
        nearest: Option<String>,
    },
    /// A value where a section (a table) belongs.
    #[error("{at}: this is a section: write [{section}] and its keys below")]
    NotASection {
        /// Where it is.
        at: Origin,
        /// The section's name.
        section: String,
    },
    /// Two environment variables that differ only in case.
    #[error("{first} and {second} mean the same: keep one")]
    Twice {
        /// One of them.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A value that is not right for its key.
    #[error("{at}: {found}{}: expected {expected}", because(problem))]
    BadValue {
        /// Where it is.
        at: Origin,
        /// The value, shortened; its kind only for passwords.
        found: String,
        /// What is wrong, where that isn't plain.
        problem: Option<String>,
        /// What would be right.
        expected: String,
    },
    /// A password file that can't be used.
    #[error("{at}: the password file {}: {why}", path.display())]
    PasswordFile {
        /// What named the file.
        at: Origin,
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Values that are right alone, but not together.
    #[error("{problem}: {}", list(settings))]
    Contradiction {
        /// What is wrong and what would be right.
        problem: String,
        /// The keys that take part.
        settings: Vec<Setting>,
    },
}

/// A key with its value, as an error shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's full name.
    pub key: &'static str,
    /// Its value in TOML, masked if secret.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.origin)
    }
}

/// All mistakes in the configuration, at least one. `Display` lists them, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// The mistakes: files first, then the environment, flags, contradictions.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            n => write!(f, "the configuration has {n} mistakes:")?,
        }
        self.0
            .iter()
            .try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

fn given(by: &Option<Origin>) -> String {
    by.as_ref()
        .map_or_else(String::new, |origin| format!(" (given by {origin})"))
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |nearest| format!(", did you mean {nearest}?"))
}

fn because(problem: &Option<String>) -> String {
    problem
        .as_ref()
        .map_or_else(String::new, |problem| format!(" ({problem})"))
}

fn list(settings: &[Setting]) -> String {
    settings
        .iter()
        .map(Setting::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
