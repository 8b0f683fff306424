//! Copies of the session that can be gone back to: the add-on's own session files, in a folder
//! beside the session.
//!
//! One task makes them, one at a time, off the session's path: at an interval, when the last user
//! has left, when the server ends, when it is told to, and before something happens that somebody
//! may regret. [`Backups`] is its handle. A backup is a [`Snapshot`](crate::session::Snapshot),
//! whose bytes are the session's own; it is written under a temporary name, synced and renamed, so
//! that what has a backup's name is one. `retention` says which are removed again.

mod name;
mod policy;
mod read;
mod retention;
mod swap;
mod task;
#[cfg(test)]
mod tests;
mod trial;
mod write;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use thiserror::Error;

pub use self::name::{Found, find, list};
pub use self::policy::Policy;
pub use self::read::{Limits, read_file};
pub use self::retention::Keep;
pub use self::swap::{SwapError, Swapped, swap};
pub use self::task::{Backups, Status, start};
#[cfg(unix)]
pub(crate) use self::write::check_new;
pub use self::write::{Contents, Given, Place, contents, write_file};
use crate::config::Config;
use crate::session::snapshot::Occasion;
use crate::wire::identity::NodeId;

/// Why a backup is made. It becomes part of the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Time has passed.
    Interval,
    /// The last user has left.
    Left,
    /// The server ends.
    Stop,
    /// SIGUSR1.
    Signal,
    /// Somebody asked for it. It stays until somebody removes it.
    Manual,
    /// The session is about to be emptied.
    Reset,
    /// Another session is about to take its place.
    Restore,
    /// Clients of another version go on with it.
    Version,
    /// A user deleted much of it at once.
    Deletion,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Interval,
        Self::Left,
        Self::Stop,
        Self::Signal,
        Self::Manual,
        Self::Reset,
        Self::Restore,
        Self::Version,
        Self::Deletion,
    ];

    /// Its word in a file's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Left => "left",
            Self::Stop => "stop",
            Self::Signal => "signal",
            Self::Manual => "manual",
            Self::Reset => "reset",
            Self::Restore => "restore",
            Self::Version => Occasion::Version.word(),
            Self::Deletion => Occasion::Deletion.word(),
        }
    }

    /// The reason of this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

impl From<Occasion> for Reason {
    fn from(occasion: Occasion) -> Self {
        match occasion {
            Occasion::Version => Self::Version,
            Occasion::Deletion => Self::Deletion,
        }
    }
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// The nodes in it.
    pub nodes: usize,
    /// Nodes that are not in it, because they are set aside.
    pub aside: usize,
    /// Nodes that are in it without their last changes: the server cannot read such a node (it names
    /// what `session.extra_globals` permits), and so not put its changes into it.
    pub without_changes: Vec<NodeId>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Tells what is in it from other states.
    #[serde(skip)]
    pub state: Option<u64>,
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file cannot be written.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A node cannot be written.
    #[error("{0}")]
    Session(String),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

impl BackupError {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}

/// Where the backups of a session go.
pub fn directory(config: &Config, session: &str) -> PathBuf {
    let all = config.backup.dir.clone();
    all.unwrap_or_else(|| config.data_dir.join("backups"))
        .join(session)
}

/// Seconds since 1970; none for times before.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
