//! Puts another session in the place of the present one, or none, with a backup of what was there.
//!
//! What can fail is tried before anybody is sent away: the room, the disk, the backup. Then nobody is
//! let in, so that the backup has all there ever was.

use std::time::Duration;

use thiserror::Error;

use super::{BackupError, Backups, Made, Reason};
use crate::session::snapshot::ReplaceError;
use crate::session::{Handle, Outlet, Snapshot};

/// Why everything is as it was.
#[derive(Debug, Error)]
pub enum SwapError {
    /// What is there cannot be saved.
    #[error("the session is not touched, because no backup of it could be made: {0}")]
    Backup(#[from] BackupError),
    /// What is there is not on the disk.
    #[error(
        "the session is not touched, because its last changes cannot be written to the disk: {0}"
    )]
    Unsaved(String),
    /// The other session cannot take its place.
    #[error("the session is not touched: {0}")]
    Replace(#[from] ReplaceError),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

/// Another session has taken the place.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// It has so many nodes.
    pub nodes: usize,
    /// What was there before, if there was anything.
    pub backup: Option<Made>,
    /// Why it is not on the disk yet.
    pub unsaved: Option<String>,
}

/// How long changes may be looked into that came last.
const SETTLE: Duration = Duration::from_secs(10);

/// Replaces the session by another; `message` is what users read, and those who try to come
/// meanwhile.
///
/// # Errors
/// Why it did not happen.
pub async fn swap<O: Outlet + Sync>(
    session: &Handle<O>,
    backups: &Backups,
    reason: Reason,
    other: Snapshot,
    message: &'static str,
) -> Result<Swapped, SwapError> {
    // One after the other: the first to be done would let users in.
    let _turn = backups.turn().await;
    let (count, bytes) = (other.nodes.len(), other.bytes());
    let room = session.ask(move |session, _| session.check_room(count, bytes));
    room.await.ok_or(SwapError::Ended)??;
    session.save().await.map_err(SwapError::Unsaved)?;
    let first = backups.make_first(reason).await?;
    let opens = Opens(session.clone());
    let closed = session.ask(move |session, now| session.close(message, now));
    closed.await.ok_or(SwapError::Ended)?;
    // What artists did last belongs to what is saved.
    session.idle(SETTLE).await;
    let backup = backups.make_again(reason, first).await?;
    let replaced = session.ask(move |session, now| session.replace(other, None, message, now));
    let nodes = replaced.await.ok_or(SwapError::Ended)??;
    // What took its place is safe before anybody is told that it has. If it is not, there is no way
    // back that would be; the server goes on trying.
    let unsaved = session.save().await.err();
    opens.now().await;
    Ok(Swapped {
        nodes,
        backup,
        unsaved,
    })
}

/// Lets users in again, whatever happened.
struct Opens<O: Outlet + Sync>(Handle<O>);

impl<O: Outlet + Sync> Opens<O> {
    async fn now(self) {
        self.0.ask(|session, _| session.open()).await;
    }
}

impl<O: Outlet + Sync> Drop for Opens<O> {
    fn drop(&mut self) {
        let session = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { session.ask(|session, _| session.open()).await });
        }
    }
}
