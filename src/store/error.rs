//! What can go wrong with a store, in words for whoever runs the server.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::disk::is_unreadable;
use crate::wire::identity::NodeId;

/// Why something was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has it open.
    #[error(
        "another server is using {}: stop that one, or give this one another data directory",
        dir.display()
    )]
    Locked {
        /// The directory of the session.
        dir: PathBuf,
    },
    /// The disk is full, or the user's share of it.
    #[error(
        "no space left for {}: what changes from now on would be lost if the server ended; make \
         space on that disk", path.display()
    )]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// It may not be written.
    #[error(
        "cannot write {}: {source}; the user that runs the server must be able to write there, and \
         the disk must not be mounted read-only", path.display()
    )]
    Unwritable {
        /// What was being written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It may not be read.
    #[error(
        "cannot read {}: {source}; say that as the user who runs the server, or as root",
        path.display()
    )]
    Forbidden {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system failed at it.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "cannot …".
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged ({what}). Nothing was changed. \"multi-user-server session recover\" saves what \
         can be read, and \"session restore\" goes back to a backup",
        path.display()
    )]
    Damaged {
        /// What is wrong with it.
        what: String,
        /// The damaged file.
        path: PathBuf,
    },
    /// A newer server has written it.
    #[error(
        "{} was written by multi-user-server {by} in format {format}; this server, {}, reads \
         formats up to {known}: run that version or a newer one",
        path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The version that wrote it.
        by: String,
        /// Its format.
        format: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The system refuses the thread that reads and writes.
    #[error("the system refuses a thread: {0}")]
    Thread(io::Error),
    /// There is no store.
    #[error("there is no session in {}", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no such node in it.
    #[error("there is no node {id} in {}", dir.display())]
    NoNode {
        /// The node.
        id: NodeId,
        /// The directory of the session.
        dir: PathBuf,
    },
    /// There is something where a new store was to be.
    #[error("{} is not empty: name a new directory", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
}

impl StoreError {
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        let (what, path) = (what.into(), path.to_owned());
        Self::Damaged { what, path }
    }

    /// What the system says, in our words.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        if doing == "read" && is_unreadable(&source) {
            return Self::damaged(path, format!("the disk cannot read it: {source}"));
        }
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied if doing == "read" => Self::Forbidden { path, source },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::Unwritable { path, source }
            }
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
}
