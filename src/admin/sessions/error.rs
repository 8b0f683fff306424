//! Why something cannot be done with a session that is kept.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::admin::answer::count;
use crate::backup::BackupError;
use crate::config::SESSION_NAME;
use crate::store::StoreError;
use crate::text::shown;

/// Why it is not done.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No session may be called so.
    #[error("\"{}\" cannot be a session's name: expected {SESSION_NAME}", shown(.0))]
    Name(String),
    /// The file or backup cannot be used.
    #[error("{0}")]
    File(String),
    /// No backup could be made of what is there.
    #[error("the session is not touched: {0}")]
    Backup(#[from] BackupError),
    /// There is something that would be lost.
    #[error(
        "session {name} has {}: say --replace to put another one in its place (it is saved as a \
         backup before), or choose another --name",
        count(*nodes, "node")
    )]
    Occupied {
        /// The session's name.
        name: String,
        /// What it has.
        nodes: usize,
    },
    /// The server that has it was asked.
    #[cfg(unix)]
    #[error(transparent)]
    Server(#[from] crate::admin::client::ClientError),
    /// A server has it, and this cannot be done then.
    #[error("session {name} is in use by a running server: stop it first")]
    InUse {
        /// The session's name.
        name: String,
    },
    /// The file system refuses.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

pub(super) fn io_error(what: &'static str, path: &Path, source: io::Error) -> SessionError {
    SessionError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}
