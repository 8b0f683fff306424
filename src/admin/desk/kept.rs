//! Orders about what is kept: on the disk, in backups, in files.

use std::path::PathBuf;

use super::Desk;
use crate::admin::answer::Answer;
use crate::admin::exchange;
use crate::backup::{self, Reason, Swapped};
use crate::session::snapshot::Durability;
use crate::session::{Outlet, Session, Snapshot};
use crate::text::shown;

const NOTHING_KEPT: &str = "nothing is kept on the disk: durability.flush is \"off\" (backup and session \
    export make files)";
/// What users read who are sent away so that another session can take the place of theirs.
const RESTORED: &str = "the session was put back to an earlier state, please join again";
const RESET: &str = "the session was reset, please join again";

impl<O: Outlet + Sync> Desk<O> {
    pub(super) async fn save(&self) -> Result<Answer, String> {
        let is_kept = |session: &mut Session<O>, _| *session.durability() != Durability::Off;
        if !self.ask(is_kept).await? {
            return Err(NOTHING_KEPT.to_owned());
        }
        self.session.save().await?;
        let sequence = self.ask(|session, _| session.sequence()).await?;
        Ok(Answer::Saved { sequence })
    }

    pub(super) async fn back_up(&self) -> Result<Answer, String> {
        let made = self.backups.make(Reason::Manual).await;
        Ok(Answer::BackedUp(made.map_err(|error| error.to_string())?))
    }

    pub(super) async fn list_backups(&self) -> Result<Answer, String> {
        let policy = self.backups.policy().clone();
        let listed = tokio::task::spawn_blocking(move || {
            backup::list(&policy.dir, &policy.session)
                .map_err(|error| format!("can't list {}: {error}", policy.dir.display()))
        });
        let backups = listed.await.map_err(|error| error.to_string())??;
        Ok(Answer::Backups { backups })
    }

    pub(super) async fn restore(
        &self,
        which: String,
        through: Option<String>,
    ) -> Result<Answer, String> {
        let policy = self.backups.policy().clone();
        let exchanged = self.exchanged(through)?;
        let read = tokio::task::spawn_blocking(move || {
            let Some(there) = exchanged else {
                let path = backup::find(&policy.dir, &policy.session, &which)?;
                let snapshot = backup::read_file(&path, &policy.limits)?;
                return Ok::<_, String>((path, snapshot));
            };
            // Whoever ordered knows it by its own name.
            let named = |error: String| error.replace(&there.display().to_string(), &which);
            let snapshot = backup::read_file(&there, &policy.limits).map_err(named)?;
            Ok((PathBuf::from(which), snapshot))
        });
        let (restored, snapshot) = read.await.map_err(|error| error.to_string())??;
        let swapped = self.swap(Reason::Restore, snapshot, RESTORED).await?;
        Ok(Answer::Restored {
            restored,
            nodes: swapped.nodes,
            backup: swapped.backup,
            unsaved: swapped.unsaved,
        })
    }

    pub(super) async fn reset(&self) -> Result<Answer, String> {
        let swapped = self.swap(Reason::Reset, Snapshot::default(), RESET).await?;
        Ok(Answer::Reset {
            backup: swapped.backup,
            unsaved: swapped.unsaved,
        })
    }

    async fn swap(
        &self,
        reason: Reason,
        other: Snapshot,
        message: &'static str,
    ) -> Result<Swapped, String> {
        let swapped = backup::swap(&self.session, &self.backups, reason, other, message).await;
        swapped.map_err(|error| error.to_string())
    }

    /// Where a file is that was put into the data directory, or is to be fetched there.
    fn exchanged(&self, through: Option<String>) -> Result<Option<PathBuf>, String> {
        let session = &self.backups.policy().session;
        let place = |name: String| {
            let place = exchange::place(&self.data_dir, session, &name);
            place.ok_or_else(|| format!("{} is not exchanged", shown(&name)))
        };
        through.map(place).transpose()
    }

    pub(super) async fn export(
        &self,
        path: PathBuf,
        through: Option<String>,
    ) -> Result<Answer, String> {
        let there = self.exchanged(through)?.unwrap_or_else(|| path.clone());
        let snapshot = self.ask(|session, _| session.snapshot()).await?;
        let policy = self.backups.policy().clone();
        let written = tokio::task::spawn_blocking(move || {
            let contents = backup::contents(&snapshot);
            backup::write_file(&there, &policy.session, policy.limits.content(), contents)
        });
        let made = written.await.map_err(|error| error.to_string())?;
        let made = made.map_err(|error| error.to_string())?;
        Ok(Answer::exported(backup::Made { path, ..made }))
    }
}
