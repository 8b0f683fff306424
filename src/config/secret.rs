//! What may be a password, and one that can't be shown by accident. Held by the configuration and the command line,
//! compared by the session when somebody logs in.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// What is shown in place of a secret.
pub(super) const MASK: &str = "********";

/// Clients without a password may send this word, and the original server's launchers write it
/// for "no server password".
pub(super) const NO_PASSWORD: &str = "None";

/// Longest password, in bytes: far more than anybody types, and less than a stranger's message.
pub(super) const MAX_PASSWORD: usize = 1024;

/// A password. `Debug`, `Display` and `Serialize` show a mask; comparing takes the same time
/// wherever the difference is (not its length, which says little).
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a password.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The password itself, for the one place that has to write or send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it has no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `given` (as it came from the network) is this password, in constant time.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self)
    }
}

/// A password without the byte order mark that editors and shells of Windows put before a text: nobody
/// sees it, and no client sends it.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether a password can be typed by every client, and makes who knows it admin.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn check_admin_password(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text == NO_PASSWORD {
        return Err(format!(
            "clients without a password may send {NO_PASSWORD:?}"
        ));
    }
    check_password(text)
}

/// Whether a password can be typed by every client.
pub(super) fn check_password(text: &str) -> Result<(), String> {
    if text.len() > MAX_PASSWORD {
        Err("it is too long".to_owned())
    } else if text.contains(char::is_control) {
        Err("it contains a line break or another control character".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_password() {
        let secret = Secret::new("pixie dust");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "******** ******** ********"
        );
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"********\"");
    }

    #[test]
    fn matches_only_the_same_bytes() {
        let secret = Secret::new("pixie");
        assert!(secret.matches(b"pixie"));
        for other in [
            &b"pixif"[..],
            b"pixi",
            b"pixie ",
            b"",
            b"Pixie",
            MASK.as_bytes(),
        ] {
            assert!(!secret.matches(other), "{other:?}");
        }
        assert_eq!(secret, Secret::new("pixie"));
        assert_ne!(secret, Secret::new("dixie"));
    }
}
