//! What is known of a session beside its nodes. It is in the comment of the gzip header, which
//! nobody else looks at, so that the pickle is the add-on's to the last byte.

use std::fmt::Write;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::text::shown;
use crate::wire::dialect::{Version, echoable};

/// Where a file comes from. What a file says of itself proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Version of the server that wrote it.
    pub server: String,
    /// Version of the client that wrote last in the session.
    pub client: Option<String>,
    /// What the session is called.
    pub session: String,
    /// When it was, to the second.
    pub saved: SystemTime,
    /// A number that tells this state of the session from others, if one was given.
    pub state: Option<u64>,
}

/// The comment. What is added to it later must be optional.
#[derive(Serialize, Deserialize)]
struct Comment {
    /// Also tells it from the comments of others.
    #[serde(rename = "multi-user-server")]
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(default)]
    session: String,
    saved: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<u64>,
}

impl About {
    /// By this server, now.
    pub fn now(client: Option<&str>, session: &str) -> Self {
        Self {
            server: env!("CARGO_PKG_VERSION").to_owned(),
            client: client.map(ToOwned::to_owned),
            session: session.to_owned(),
            saved: SystemTime::now(),
            state: None,
        }
    }

    /// As ASCII without control characters: gzip wants Latin-1 that ends with the first zero.
    pub(super) fn to_comment(&self) -> String {
        let comment = Comment {
            server: self.server.clone(),
            client: self.client.clone(),
            session: self.session.clone(),
            saved: humantime::format_rfc3339_seconds(self.saved).to_string(),
            state: self.state,
        };
        let json = serde_json::to_string(&comment).unwrap_or_default();
        let mut ascii = String::with_capacity(json.len());
        for char in json.chars() {
            if char.is_ascii() && !char.is_ascii_control() {
                ascii.push(char);
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(ascii, "\\u{unit:04x}");
                }
            }
        }
        ascii
    }

    /// Reads what [`to_comment`](Self::to_comment) writes; `None` for anything else. Texts are cut
    /// and made harmless, and a client's version is one.
    pub(super) fn from_comment(comment: &[u8]) -> Option<Self> {
        let comment: Comment = serde_json::from_slice(comment).ok()?;
        let client = comment.client.as_deref();
        Some(Self {
            server: echoable(&comment.server),
            client: client
                .filter(|version| Version::parse(version).is_some())
                .map(ToOwned::to_owned),
            session: shown(&comment.session).to_string(),
            saved: humantime::parse_rfc3339(&comment.saved).ok()?,
            state: comment.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_comment_is_ascii_and_comes_back() {
        let about = About {
            server: "0.1.0".to_owned(),
            client: Some("0.0.21a15".to_owned()),
            session: "Büro \u{1f600}".to_owned(),
            saved: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            state: Some(7),
        };
        let comment = about.to_comment();
        assert_eq!(
            comment,
            r#"{"multi-user-server":"0.1.0","client":"0.0.21a15","session":"B\u00fcro \ud83d\ude00","saved":"2023-11-14T22:13:20Z","state":7}"#
        );
        assert_eq!(About::from_comment(comment.as_bytes()), Some(about));
    }

    #[test]
    fn comments_of_others_and_bad_ones_are_harmless() {
        for comment in ["", "made by hand", "{}", "[1]", "{\"multi-user-server\":1}"] {
            assert_eq!(About::from_comment(comment.as_bytes()), None, "{comment}");
        }
        let comment = format!(
            r#"{{"multi-user-server":"<1>","client":"x","session":"a\nb{}","saved":"2023-11-14T22:13:20Z","more":[]}}"#,
            "y".repeat(100)
        );
        let about = About::from_comment(comment.as_bytes()).unwrap();
        assert_eq!((about.server.as_str(), about.client), ("1", None));
        assert!(about.session.starts_with("a\\u{a}b") && about.session.ends_with('…'));
    }

    proptest! {
        #[test]
        fn any_name_makes_a_comment(session in ".{0,60}") {
            let comment = About::now(None, &session).to_comment();
            prop_assert!(comment.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(About::from_comment(comment.as_bytes()).is_some());
        }
    }
}
