//! Version numbers of clients, and texts that claim to be one.

use std::fmt;

use thiserror::Error;

use super::DIALECTS;

/// The version of a client: `major.minor.patch`, of an alpha with its number. Whether two clients
/// run the same one is decided on their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub patch: u16,
    /// Which alpha it is, if it is no release: those come first.
    alpha: u16,
}

/// Stands for a release where alphas have their number.
const RELEASE: u16 = u16::MAX;

impl Version {
    /// The release of these numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
            alpha: RELEASE,
        }
    }

    /// An alpha of this release: 0.0.21a15 is its fifteenth.
    pub const fn alpha(self, number: u16) -> Self {
        Self {
            alpha: number,
            ..self
        }
    }

    /// Reads texts like `0.10.2` and `0.0.21a15`: three decimal numbers, then at most a suffix
    /// of letters, digits and dots. One that does not tell an alpha is not kept: nothing else was
    /// ever published. Anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > ECHO_MAX {
            return None;
        }
        let mut parts = text.splitn(3, '.');
        let major = number(parts.next()?)?;
        let minor = number(parts.next()?)?;
        let rest = parts.next()?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (patch, suffix) = rest.split_at_checked(digits)?;
        let suffix_ok = suffix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.');
        let release = Self::new(major, minor, number(patch)?);
        let alpha = suffix.strip_prefix('a').and_then(number);
        suffix_ok.then_some(alpha.map_or(release, |number| release.alpha(number)))
    }

    /// Whether it is newer than every version the table knows, so that a warning is due.
    pub fn is_newer_than_known(self) -> bool {
        DIALECTS.last().is_some_and(|row| row.last < self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.alpha {
            RELEASE => Ok(()),
            alpha => write!(f, "a{alpha}"),
        }
    }
}

/// A version text that is none. The text was made echoable (see [`echoable`]).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is not a version of the form 0.1.2")]
pub struct UnknownVersion(pub String);

/// A version text cut to what may be repeated in a log or an answer: the first 32 characters of
/// `[0-9A-Za-z.]`, the others left out.
pub fn echoable(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .take(ECHO_MAX)
        .collect()
}

/// Longest version text that is read or repeated, in bytes.
const ECHO_MAX: usize = 32;

fn number(digits: &str) -> Option<u16> {
    // `parse` alone would let a sign pass.
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}
