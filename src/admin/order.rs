//! What can be ordered, as it is written on a command line and sent through the socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::config::{UnitError, parse_duration};

/// An order to a running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "order", rename_all = "lowercase", deny_unknown_fields)]
pub enum Order {
    /// List who is in the session, with round trips
    Users,
    /// Remove a user
    Kick {
        /// The user's name
        name: String,
    },
    /// Show everybody a text
    Say {
        /// The text, in one word or several
        #[arg(value_name = "TEXT", required = true)]
        #[serde(with = "sentence")]
        text: Vec<String>,
    },
    /// List what the scene is made of, the largest first
    Nodes {
        /// Only those of this owner, or with a uuid that begins like this
        #[arg(default_value = "", hide_default_value = true)]
        #[serde(default)]
        which: String,
    },
    /// Set a node aside that nobody can load; it is kept
    Quarantine {
        /// Its uuid, or the beginning of it
        node: String,
    },
    /// Put a node back that was set aside
    Release {
        /// Its uuid, or the beginning of it
        node: String,
    },
    /// List who owns how much, or give nodes to somebody
    Rights {
        /// A node's uuid or the beginning of it, or an owner: all that is theirs
        #[arg(requires = "owner")]
        which: Option<String>,
        /// Who is to own it: a user, or COMMON for nobody
        owner: Option<String>,
    },
    /// Wait until everything is safe on the disk
    Save,
    /// Make a backup; it stays until somebody removes it
    Backup,
    /// List the backups, or go back to one; what is there is saved as a backup before
    ///
    /// Everybody is sent away and can come again at once.
    Restore {
        /// "latest", or a backup's name or a part of it, or the path of a session file
        backup: Option<String>,
        /// Its name in the data directory, if it was put there to be read
        #[arg(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<String>,
    },
    /// Empty the session, for another scene; what is there is saved as a backup before
    ///
    /// Everybody is sent away and can come again at once.
    Reset,
    /// Tell how the server is: users, nodes, disk, backups, counters
    Stats,
    /// Tell everybody and end the server
    Stop {
        /// Tell everybody so long before: "60s", "5m"
        #[arg(long, value_name = "DURATION", value_parser = notice)]
        #[serde(default, with = "notice_text")]
        notice: Option<Duration>,
    },
    /// Write the session to a file, where the server can
    #[command(skip)]
    Export {
        /// The file, which must not exist
        path: PathBuf,
        /// Its name in the data directory, if whoever asks will fetch it there
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<String>,
    },
}

#[cfg(unix)]
impl Order {
    /// Whether it takes as long as the disk does.
    pub(super) fn waits_for_the_disk(&self) -> bool {
        match self {
            Self::Save
            | Self::Backup
            | Self::Restore { .. }
            | Self::Reset
            | Self::Export { .. } => true,
            Self::Users
            | Self::Kick { .. }
            | Self::Say { .. }
            | Self::Nodes { .. }
            | Self::Quarantine { .. }
            | Self::Release { .. }
            | Self::Rights { .. }
            | Self::Stats
            | Self::Stop { .. } => false,
        }
    }
}

const LONGEST_NOTICE: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn notice(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as \"60s\" or \"5m\", at most 24h";
    match parse_duration(text) {
        Ok(notice) if notice <= LONGEST_NOTICE => Ok(notice),
        Err(error @ UnitError::MissingUnit) => Err(format!("{error}: {expected}")),
        // The parser's words say where it stopped, not what would be right.
        _ => Err(expected.to_owned()),
    }
}

/// Words as one text.
mod sentence {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        words: &[String],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&words.join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        String::deserialize(deserializer).map(|text| vec![text])
    }
}

mod notice_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        notice: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match notice {
            Some(notice) => serializer.collect_str(&humantime::format_duration(*notice)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::notice(&text).map_err(de::Error::custom))
            .transpose()
    }
}
