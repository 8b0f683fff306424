//! `session recover`, and what becomes of a damaged session: it stays beside the one that takes its
//! place. The server looks here whether that was ended half-way.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::error::{SessionError, io_error};
use super::report::Recovered;
use super::{Done, Here};
use crate::backup::unix_seconds;
use crate::store::disk::rename_for_good;
use crate::store::{self, StoreError, SystemDisk};

/// `session recover` did not come to its end.
#[derive(Debug, Error)]
#[error(
    "\"session recover\" was ended before it was done: run it again (what it has saved is in {})",
    .0.display()
)]
pub struct Interrupted(PathBuf);

/// Whether what is in a session's folder, which may be nothing, is all there is of it.
///
/// # Errors
/// If it was being recovered.
pub fn check_not_interrupted(dir: &Path) -> Result<(), Interrupted> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let recovering = dir.with_file_name(format!(".{name}.recovering"));
    match recovering.exists() && !dir.exists() {
        true => Err(Interrupted(recovering)),
        false => Ok(()),
    }
}

impl Here<'_> {
    /// Saves what can be read; the damaged session stays beside it.
    pub(super) fn recover(&self) -> Result<Done, SessionError> {
        let new = self.beside("recovering");
        if new.exists() && !self.dir.exists() {
            // An earlier attempt was ended when all was done but the last step.
            rename(&new, &self.dir)?;
        }
        match self.sound_store() {
            Ok(Some(_)) => {
                let text = format!("session {} is not damaged\n", self.name);
                let data = serde_json::json!({ "damaged": false });
                return Ok(Done { text, data });
            }
            Ok(None) => return Err(self.in_use()),
            Err(SessionError::Store(StoreError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
        if new.exists() {
            // Of an attempt that was ended.
            std::fs::remove_dir_all(&new).map_err(|error| io_error("remove", &new, error))?;
        }
        let report = self
            .limits
            .with_policy(|policy| store::recover(&self.dir, &new, policy))?;
        let damaged = self.set_aside()?;
        rename(&new, &self.dir)?;
        Ok(Done::new(&Recovered {
            recovered: report.nodes,
            lost: report.lost.iter().map(ToString::to_string).collect(),
            refused: report.refused.iter().map(ToString::to_string).collect(),
            searched: report.searched,
            damaged,
        }))
    }

    /// Gives the damaged session's folder another name, under which it stays.
    pub(super) fn set_aside(&self) -> Result<PathBuf, SessionError> {
        let mut number = unix_seconds(SystemTime::now());
        let damaged = loop {
            let damaged = self.beside(&format!("damaged-{number}"));
            if !damaged.exists() {
                break damaged;
            }
            number = number.saturating_add(1);
        };
        rename(&self.dir, &damaged)?;
        Ok(damaged)
    }

    fn beside(&self, what: &str) -> PathBuf {
        // No session is called so.
        self.dir.with_file_name(format!(".{}.{what}", self.name))
    }
}

/// Gives a session's folder another name, for good.
fn rename(from: &Path, to: &Path) -> Result<(), SessionError> {
    let renamed = rename_for_good(&SystemDisk, from, to);
    renamed.map_err(|error| io_error("rename", from, error))
}
